"""From labelled cells to a head and what the trust view says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from orchestrator.adaptation.cells import LabelledCell
from orchestrator.cell_features import MIN_FITTED, FeatureStatistics, device_statistics, projection
from orchestrator.domain import ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import Profile
from orchestrator.routing import energy
from orchestrator.site_head.examples import Examples
from orchestrator.site_head.head_file import SiteHead, made, summary_of
from orchestrator.site_head.learning import Learnt, applied, learn
from orchestrator.site_head.trust import Trust, judge

USUAL_ENERGIES: Final = 0.97
"""Of the labelled cells, under the energy from which on a cell is marked for review."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A head that was learnt, as the first version of its profile until it is kept, and what the trust view
    says of it."""

    head: SiteHead
    trust: Trust
    learnt: Learnt


def examples_of(cells: Sequence[LabelledCell]) -> tuple[Examples, ModelIdentity]:
    """Labelled cells for the learner, and the model that saw them; an image that came twice counts once.

    The same cells give the same examples, in whatever order they came and whatever their groups are called.

    Raises :class:`~orchestrator.errors.ConfigurationError` where there is none, one image has two labels, or
    two models saw them.
    """
    by_image: dict[str, LabelledCell] = {}
    for cell in cells:
        other = by_image.setdefault(cell.seen.image_sha256, cell)
        if other.class_index != cell.class_index:
            raise ConfigurationError(
                f"{cell.name} is the same image as {other.name}, with another label: decide on one"
            )
    kept = [by_image[sha256] for sha256 in sorted(by_image)]
    first_of: dict[str, str] = {}
    for cell in kept:
        first_of.setdefault(cell.group, cell.seen.image_sha256)
    models = {cell.seen.model for cell in kept}
    if len(models) != 1:
        raise ConfigurationError(
            "expected labelled cells, received none"
            if not models
            else "another version of the model came into service meanwhile; begin again"
        )
    examples = Examples(
        np.stack([cell.seen.features for cell in kept]).astype(np.float32),
        np.stack([cell.seen.logits for cell in kept]).astype(np.float64),
        np.array([cell.class_index for cell in kept], np.intp),
        tuple(first_of[cell.group] for cell in kept),
        tuple(cell.name for cell in kept),
    )
    return examples, models.pop()


def adapt(
    cells: Sequence[LabelledCell],
    profile: Profile,
    *,
    who: str,
    now: datetime,
    hold_out: Sequence[LabelledCell] = (),
) -> Adaptation:
    """Learn a head and judge it; nothing is kept.

    Raises :class:`~orchestrator.errors.ConfigurationError` as :func:`examples_of` and
    :func:`~orchestrator.site_head.learning.learn`, and where a cell is in the hold-out too.
    """
    examples, model = examples_of(cells)
    held = None
    if hold_out:
        held, other = examples_of(hold_out)
        if other != model:
            raise ConfigurationError("another version of the model came into service meanwhile; begin again")
        _refuse_shared(cells, hold_out)
    learnt = learn(examples)
    trust = judge(examples, learnt, held)
    head = made(
        name=f"{profile.name}.1",
        model=model,
        recipe_sha256=profile.recipe_sha256,
        delta=learnt.delta,
        temperature=learnt.temperature,
        review_threshold=learnt.review_threshold,
        max_energy=float(np.quantile(energy(learnt.left_out), USUAL_ENERGIES)),
        features=_statistics(examples, learnt, model),
        made_at=now,
        made_by=who,
        decision=trust.decision,
        summary=summary_of(trust),
    )
    return Adaptation(head, trust, learnt)


def refusal(head: SiteHead, profile: Profile, model: ModelIdentity) -> str | None:
    """Why a head, of another site maybe, cannot answer for a profile; None where it can."""
    if not head.belongs_to(model):
        return (
            f"{head.name} was learnt on version {head.model.version} of the model, and now {model.version} "
            "answers: learn it anew from the same labels"
        )
    if head.recipe_sha256 != profile.recipe_sha256:
        return (
            f"{head.name} was learnt from images that were prepared otherwise than profile {profile.name!r} "
            "prepares them: learn it anew from the same labels"
        )
    return None


def _refuse_shared(cells: Sequence[LabelledCell], hold_out: Sequence[LabelledCell]) -> None:
    images = {cell.seen.image_sha256: cell.name for cell in cells}
    groups: Mapping[str, str] = {cell.group: cell.name for cell in cells}
    for cell in hold_out:
        if (other := images.get(cell.seen.image_sha256)) is not None:
            raise ConfigurationError(f"hold-out: {cell.name} is among the cells to learn from, as {other}")
        if cell.group in groups:
            raise ConfigurationError(
                f"hold-out: {cell.name} is of specimen {cell.group}, which is learnt from; hold out whole "
                "specimens"
            )


def _statistics(examples: Examples, learnt: Learnt, model: ModelIdentity) -> FeatureStatistics | None:
    """Where the site's cells lie; None where nobody can say, or they are too few."""
    shipped = projection()
    if not shipped.belongs_to(model) or examples.features.shape[2] != len(shipped.directions):
        return None
    if len(examples) < MIN_FITTED:
        return None
    features = examples.mean_features
    said = applied(features, examples.mean_logits, learnt.delta).argmax(axis=1)
    return device_statistics(shipped.place(features), said, shipped)
