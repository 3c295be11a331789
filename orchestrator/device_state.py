"""How far the service knows the microscope of an image, and what follows from that for the answer.

On a device that the model was not trained on, and that no audit has passed, an answer is a suggestion: it
waits for a person, however sure the model is. Nothing that can be set overrides that. On an audited device
the audit says which answers need nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from orchestrator.device_audits.audit import CountedSample
from orchestrator.domain import (
    DEVICE_UNKNOWN,
    NOT_AUDITED_CLASS,
    DeviceState,
    Finding,
    ModelIdentity,
    ReviewReason,
)
from orchestrator.profiles import Profile
from orchestrator.recent_cells import RecentCells
from orchestrator.specimen import ReleasedErrors, SpecimenCell, contradicted_words, offered_words


class DeviceAudits(Protocol):
    """The audits of a site's microscopes."""

    def state_of(self, profile: Profile, model: ModelIdentity) -> Literal["audited", "suspended"] | None:
        """``audited`` where an audit of this profile's device with this model passed and still holds,
        ``suspended`` where the last one released nothing, or its samples have proven it worse since."""

    def releases(self, profile: Profile, model: ModelIdentity, class_index: int, confidence: float) -> bool:
        """Whether that audit releases an answer of this class (of ``CLASS_NAMES``) at this confidence, in
        [0, 1]."""

    def sample_of(self, profile: Profile, model: ModelIdentity, image_sha256: str) -> ReviewReason | None:
        """The reason to look at a released answer all the same; None for all but a few per cent."""

    def count_samples(self, cells: Sequence[SpecimenCell]) -> tuple[CountedSample, ...]:
        """Keep what people decided about those of ``cells`` that were sampled, and forget what was kept of
        one that nobody decides any more; what was new in that.

        Raises :class:`~orchestrator.errors.ConfigurationError` where it cannot be kept.
        """

    def released_errors(self, cells: Iterable[SpecimenCell]) -> ReleasedErrors | None:
        """What audits know of the error of those of ``cells`` that count by the service's word alone; None
        where there are none, or not all were released by an audit."""


@dataclass(frozen=True, slots=True)
class NoAudits:
    """No device was audited."""

    def state_of(
        self,
        profile: Profile,  # noqa: ARG002
        model: ModelIdentity,  # noqa: ARG002
    ) -> Literal["audited", "suspended"] | None:
        """None."""
        return None

    def releases(
        self,
        profile: Profile,  # noqa: ARG002
        model: ModelIdentity,  # noqa: ARG002
        class_index: int,  # noqa: ARG002
        confidence: float,  # noqa: ARG002
    ) -> bool:
        """Never."""
        return False

    def sample_of(
        self,
        profile: Profile,  # noqa: ARG002
        model: ModelIdentity,  # noqa: ARG002
        image_sha256: str,  # noqa: ARG002
    ) -> ReviewReason | None:
        """None: nothing is released."""
        return None

    def count_samples(self, cells: Sequence[SpecimenCell]) -> tuple[CountedSample, ...]:  # noqa: ARG002
        """None."""
        return ()

    def released_errors(self, cells: Iterable[SpecimenCell]) -> ReleasedErrors | None:  # noqa: ARG002
        """None."""
        return None


NO_AUDITS: Final = NoAudits()

_WHAT_TO_DO: Final = (
    "this answer is a suggestion; choose the profile of the microscope if it is one of the known ones, or "
    "make a profile and audit it with `wbc audit-device`."
)
_NONE_CHOSEN: Final = f"No profile of this microscope was chosen: {_WHAT_TO_DO}"
_PROFILED: Final = f"This microscope has a profile but no passed audit: {_WHAT_TO_DO}"
_SUSPENDED: Final = (
    "The audit of this microscope does not hold: it released nothing, or people found more of its sampled "
    "answers wrong than it allows. This answer is a suggestion; find the cause, then make a new audit with "
    "`wbc audit-device`."
)
_NOT_RELEASED: Final = ReviewReason(
    NOT_AUDITED_CLASS,
    "Answers of this class at this confidence are not released by the audit of this microscope.",
)


def device_state(
    profile: Profile,
    model: ModelIdentity,
    audits: DeviceAudits = NO_AUDITS,
    recent: RecentCells | None = None,
) -> DeviceState:
    """How far the device of ``profile`` is known.

    A profile of no device is no device's, whatever an audit says of it; and a device of which an audit was
    proven wrong is known no more, only profiled. Nor is it known where the ``recent`` cells of the profile do
    not look like those of its device.
    """
    if profile.device == "unknown" or (recent is not None and recent.contradicts(profile.name)):
        return "unknown"
    audited = audits.state_of(profile, model)
    return "profiled" if audited == "suspended" else audited or profile.device


def with_device_reason(
    finding: Finding,
    state: DeviceState,
    profile: Profile,
    model: ModelIdentity,
    image_sha256: str,
    audits: DeviceAudits = NO_AUDITS,
    recent: RecentCells | None = None,
) -> Finding:
    """The finding, marked for review where it may not be released on a device of this ``state``: always on
    one that is unknown or merely profiled (``device_unknown``), on an audited one unless the audit says so
    (``not_audited_class``), and where the image (by its SHA-256, hex) falls into the audit's sample."""
    match state:
        case "unknown":
            reason = ReviewReason(DEVICE_UNKNOWN, _unknown_words(profile, recent))
        case "profiled":
            suspended = audits.state_of(profile, model) == "suspended"
            reason = ReviewReason(DEVICE_UNKNOWN, _SUSPENDED if suspended else _PROFILED)
        case "audited" if not audits.releases(profile, model, finding.class_index, finding.confidence):
            reason = _NOT_RELEASED
        case "audited" if (sampled := audits.sample_of(profile, model, image_sha256)) is not None:
            reason = sampled
        case _:
            return finding
    return replace(finding, review_reasons=(*finding.review_reasons, reason))


def _unknown_words(profile: Profile, recent: RecentCells | None) -> str:
    resembles = None if recent is None else recent.resembled(profile.name)
    if profile.device != "unknown":
        return contradicted_words(profile.name, resembles)
    return f"{_NONE_CHOSEN} {offered_words(resembles)}".rstrip()


def device_sentences(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What is said once of many findings: why the microscope makes suggestions of them, and what to do."""
    reasons = (reason for finding in findings for reason in finding.review_reasons)
    return tuple(dict.fromkeys(reason.message for reason in reasons if reason.code == DEVICE_UNKNOWN))
