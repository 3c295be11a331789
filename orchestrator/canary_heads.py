"""A site's head as a canary: how many images it and the head that is on answered, and how many were for
review."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

from orchestrator.domain import DEVICE_REASONS, Finding
from orchestrator.observability.metrics import HEAD_CANARY_ANSWERS
from orchestrator.profiles import Profile
from orchestrator.site_head.head_file import SiteHead

MODELS_OWN: Final = "model"
"""The model's own head, in the metric."""


class CanaryCounts:
    """What was answered while there was a canary, in this process.

    Another replica counts its own images; a new process begins with none.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str | None], Counter[bool]] = defaultdict(Counter)

    def add(self, canary: SiteHead, profile: Profile, finding: Finding) -> None:
        """Count one more image, which ``profile`` answered beside a canary, or by it. That a microscope is
        not known, or not audited with this very head, says nothing of the head."""
        for_review = any(reason.code not in DEVICE_REASONS for reason in finding.review_reasons)
        head = profile.head
        self._counts[canary.label, None if head is None else head.label][for_review] += 1
        HEAD_CANARY_ANSWERS.labels(
            profile.name, MODELS_OWN if head is None else head.name, str(for_review).lower()
        ).inc()

    def of(self, canary: SiteHead, head: SiteHead | None) -> Mapping[bool, int]:
        """Images that ``head`` (None: the model's own) answered since ``canary`` is one, by whether they were
        for review."""
        return dict(self._counts.get((canary.label, None if head is None else head.label), {}))
