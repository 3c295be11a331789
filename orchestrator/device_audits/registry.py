"""The judged audits of a site's microscopes, as they lie in a folder; the service asks them for each answer.

The folder is looked at once a second at most, when somebody asks, and a file is read again only where it has
changed: an audit that is judged or suspended counts without a restart. What people decide about the sampled
cells of specimens is written into the file of their audit.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from orchestrator.common.deadline import Clock
from orchestrator.common.whole_file import FileState, state_of
from orchestrator.device_audits.audit import Audit, AuditFile, AuditSample, CountedSample, Verdict
from orchestrator.domain import AUDIT_SAMPLED, ModelIdentity, ReviewReason
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import Profile
from orchestrator.specimen import CellResult, ReleasedErrors, SpecimenCell

CHECK_EVERY_S: Final = 1.0

LOCK_WAIT_S: Final = 2.0
"""How long a decision waits for another process that changes the audit; then the next decision counts it."""

AUDIT_SAMPLE: Final = ReviewReason(
    AUDIT_SAMPLED,
    "The audit of this microscope releases this answer; it is one of the sample that a person checks all the "
    "same.",
)

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Judged:
    path: Path
    audit: Audit
    verdict: Verdict
    is_suspended: bool
    wrong_limits: Mapping[str, float]

    @property
    def holds(self) -> bool:
        return not self.is_suspended and any(one.released for one in self.verdict.classes)


def audit_files(folder: Path) -> list[Path]:
    """The files of a folder that are to be audits. Raises ``OSError`` where it cannot be read."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix == ".json" and not path.name.startswith(".") and path.is_file()
    )


class AuditRegistry:
    """For any thread. Of several audits of one profile and model the one that was judged last counts.

    A file that is no audit, or was tampered with, counts as none and is told by a warning in the log.

    Args:
        folder: holds a ``*.json`` for each audit.
        embedded_precision: what the model inside this process may compute in.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the folder is none.
    """

    def __init__(
        self,
        folder: Path,
        embedded_precision: str,
        *,
        clock: Clock = time.monotonic,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"expected a folder, received {folder.name!r}, which is none")
        self._folder = folder
        self._embedded_precision = embedded_precision
        self._clock = clock
        self._lock_wait_s = lock_wait_s
        self._lock = threading.Lock()
        self._look_at_s = float("-inf")
        self._read: dict[Path, tuple[FileState, _Judged | None]] = {}
        self._refresh()

    def state_of(self, profile: Profile, model: ModelIdentity) -> Literal["audited", "suspended"] | None:
        """``audited`` where the last audit of this profile, as it is used, and of this very model passed and
        holds; ``suspended`` where it released nothing, or its samples prove it worse."""
        judged = self._last(profile.sha256, model)
        if judged is None:
            return None
        return "audited" if judged.holds else "suspended"

    def releases(self, profile: Profile, model: ModelIdentity, class_index: int, confidence: float) -> bool:
        """Whether an answer of a class (of ``CLASS_NAMES``) at a confidence, in [0, 1], needs no person."""
        judged = self._passed(profile, model)
        return judged is not None and judged.verdict.releases(CLASS_NAMES[class_index], confidence)

    def sample_of(self, profile: Profile, model: ModelIdentity, image_sha256: str) -> ReviewReason | None:
        """Why a person should see a released answer for this image all the same; None for most of them."""
        judged = self._passed(profile, model)
        if judged is None or not judged.audit.plan.is_sampled(image_sha256):
            return None
        return AUDIT_SAMPLE

    def count_samples(self, cells: Sequence[SpecimenCell]) -> tuple[CountedSample, ...]:
        """Keep what people decided about released cells that were sampled, in the file of the audit that
        released them, and forget it where the decision was taken back; what was new in that.

        A cell that was for review for other reasons too was not released, and says nothing of those that
        are. Of the same image the last decision counts. Of which no audit is found any more, nothing is kept.

        Raises :class:`~orchestrator.errors.ConfigurationError` where a file cannot be changed.
        """
        # What is undecided comes first, so that a decision about the same image stays.
        latest = {
            cell.cell_id if cell.decision is None else cell.image_sha256: cell
            for cell in sorted(cells, key=_decided_at)
        }
        of: dict[Path, list[tuple[SpecimenCell, CellResult]]] = {}
        for cell in latest.values():
            result = cell.result
            if result is None or result.review_codes != (AUDIT_SAMPLE.code,) or not result.profile_sha256:
                continue
            judged = self._last(result.profile_sha256, result.model, result.analysed_at)
            if judged is not None and _counted(judged.audit, cell, result) is not judged.audit:
                of.setdefault(judged.path, []).append((cell, result))
        return tuple(counted for path, found in of.items() for counted in self._count(path, found))

    def released_errors(self, cells: Iterable[SpecimenCell]) -> ReleasedErrors | None:
        """What the audits that released the cells which nobody looked at know of their error, of several the
        largest; None where there is no such cell, or one that no audit released."""
        limits: dict[str, float] = {}
        ended = False
        for cell in cells:
            result = cell.result
            if not cell.is_unseen or result is None:
                continue
            if result.device_state != "audited" or result.profile_sha256 is None:
                return None
            judged = self._last(result.profile_sha256, result.model, result.analysed_at)
            if judged is None or (limit := judged.wrong_limits.get(result.class_name)) is None:
                return None
            limits[result.class_name] = max(limit, limits.get(result.class_name, 0.0))
            ended |= judged.is_suspended
        return ReleasedErrors(limits, ended) if limits else None

    def _count(self, path: Path, cells: Iterable[tuple[SpecimenCell, CellResult]]) -> list[CountedSample]:
        file, new = AuditFile(path), []
        with file.held(wait_s=self._lock_wait_s):
            before = audit = file.read()
            for cell, result in cells:
                after = _counted(audit, cell, result)
                if after is not audit:
                    audit = after
                    new.append((cell, result))
            if audit is not before:
                file.write(audit)
        with self._lock:
            self._look_at_s = float("-inf")
        suspended = audit.is_suspended()
        if suspended and not before.is_suspended():
            _LOGGER.warning("audits: %s is suspended: its samples prove it worse", path.name)
        return [
            CountedSample(
                cell.cell_id, result.class_name, _is_right(cell, result), audit.plan_sha256, suspended
            )
            for cell, result in new
        ]

    def _passed(self, profile: Profile, model: ModelIdentity) -> _Judged | None:
        judged = self._last(profile.sha256, model)
        return judged if judged is not None and judged.holds else None

    def _last(
        self, profile_sha256: str, model: ModelIdentity, before: datetime | None = None
    ) -> _Judged | None:
        """What was judged last of a profile and model; ``before`` a moment where one is given."""
        with self._lock:
            if self._clock() >= self._look_at_s:
                self._look_at_s = self._clock() + CHECK_EVERY_S
                self._refresh()
            return max(
                (
                    judged
                    for _, judged in self._read.values()
                    if judged is not None
                    and judged.audit.plan.profile_sha256 == profile_sha256
                    and judged.audit.plan.model.is_that(model, self._embedded_precision)
                    and (before is None or judged.verdict.judged_at <= before)
                ),
                key=lambda judged: judged.verdict.judged_at,
                default=None,
            )

    def _refresh(self) -> None:
        try:
            states = {path: state_of(path.stat()) for path in audit_files(self._folder)}
        except OSError as error:
            if self._read:
                _LOGGER.error("audits: none holds, the folder cannot be read (%s)", error.strerror)
            states = {}
        self._read = {
            path: known
            if (known := self._read.get(path)) and known[0] == state
            else (state, self._judged(path, known[1] if known else None))
            for path, state in states.items()
        }

    @staticmethod
    def _judged(path: Path, before: _Judged | None) -> _Judged | None:
        """What the file says now; a suspended audit stays one where it cannot be read any more."""
        try:
            audit = AuditFile(path).read()
        except ConfigurationError as error:
            _LOGGER.warning("audits: not used: %s", error)
            return before if before is not None and before.is_suspended else None
        if (verdict := audit.verdict) is None:
            return None
        return _Judged(path, audit, verdict, audit.is_suspended(), verdict.wrong_limits())


def _decided_at(cell: SpecimenCell) -> datetime:
    return _BEFORE_ALL if cell.decision is None else cell.decision.decided_at


def _is_right(cell: SpecimenCell, result: CellResult) -> bool | None:
    return None if cell.decision is None else cell.decision.label == result.class_name


def _counted(audit: Audit, cell: SpecimenCell, result: CellResult) -> Audit:
    """The audit with what was decided about the cell; itself where it knows that, or a later decision about
    the same image, or the image is none of its sample."""
    before = next((one for one in audit.samples if one.image_sha256 == cell.image_sha256), None)
    if cell.decision is None:
        mine = before is not None and before.cell_id == cell.cell_id
        return audit.without_sample(cell.image_sha256) if mine else audit
    said = AuditSample(
        image_sha256=cell.image_sha256,
        class_name=result.class_name,
        correct=cell.decision.label == result.class_name,
        cell_id=cell.cell_id,
        decided_at=cell.decision.decided_at,
    )
    if before is not None:
        is_older = before.decided_at is not None and cell.decision.decided_at < before.decided_at
        return audit if is_older or said == before else audit.with_corrected_sample(said)
    try:
        return audit.with_sample(said)
    except ConfigurationError:
        return audit
