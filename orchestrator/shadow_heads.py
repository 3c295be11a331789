"""A site's head in the shadow: what it would say of the images that another one answers, counted."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from orchestrator import routing
from orchestrator.domain import Prediction
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.observability.metrics import HEAD_SHADOW_COMPARISONS
from orchestrator.profiles import Profile
from orchestrator.site_head.head_file import SiteHead
from orchestrator.site_head.learning import applied


def class_by(shadow: SiteHead, prediction: Prediction, profile: Profile) -> int:
    """The class (of ``CLASS_NAMES``) that a head gives where ``profile`` answered with ``prediction``.

    The network is not asked again: its last step is linear, and what it starts from stands in the answer. The
    views are those that were looked at for the answer.
    """
    delta = shadow.delta if profile.delta is None else shadow.delta - profile.delta
    logits = applied(prediction.features, prediction.logits.astype(np.float64), delta)
    likelihoods = np.exp(logits - logits.max(axis=1, keepdims=True))
    main_out = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    otherwise = replace(
        prediction, main_out=main_out.astype(np.float32), logits=logits.astype(np.float32), cams=None
    )
    return routing.route(routing.average(otherwise), profile.with_head(shadow).routing).class_index


class ShadowCounts:
    """What heads in the shadow said of the images that others answered, in this process.

    Another replica counts its own images; a new process begins with none.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str | None, str], Counter[tuple[int, int]]] = defaultdict(Counter)

    def add(self, shadow: SiteHead, prediction: Prediction, profile: Profile, class_index: int) -> None:
        """Count one more image, which ``profile`` answered with a class. One of another model, or that was
        prepared otherwise than those that the head was learnt from, is none."""
        if not (
            shadow.belongs_to(prediction.model)
            and shadow.recipe_sha256 == profile.recipe_sha256
            and len(shadow.delta) == prediction.features.shape[1] + 1
        ):
            return
        pair = class_index, class_by(shadow, prediction, profile)
        self._counts[_label(profile.head), shadow.label][pair] += 1
        HEAD_SHADOW_COMPARISONS.labels(profile.name, *(CLASS_NAMES[index] for index in pair)).inc()

    def of(self, shadow: SiteHead, answering: SiteHead | None) -> Mapping[tuple[int, int], int]:
        """Images by the class that was answered, by ``answering`` (None: the model's own), and the class that
        ``shadow`` gives; those without an image are not there."""
        return dict(self._counts.get((_label(answering), shadow.label), {}))


def _label(head: SiteHead | None) -> str | None:
    return None if head is None else head.label
