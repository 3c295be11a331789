"""The judged audits of a site's microscopes, as they lie in a folder; the service asks them for each answer.

The folder is looked at once a second at most, when somebody asks, and a file is read again only where it has
changed: an audit that is judged or suspended counts without a restart.
"""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from orchestrator.deadline import Clock
from orchestrator.device_audit import Audit, AuditFile, Verdict
from orchestrator.domain import ModelIdentity, ReviewReason
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import Profile
from orchestrator.whole_file import FileState, state_of

CHECK_EVERY_S: Final = 1.0

AUDIT_SAMPLE: Final = ReviewReason(
    "audit_sample",
    "The audit of this microscope releases this answer; it is one of the sample that a person checks all the "
    "same.",
)

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Judged:
    audit: Audit
    verdict: Verdict
    is_suspended: bool


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

    def __init__(self, folder: Path, embedded_precision: str, *, clock: Clock = time.monotonic) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"expected a folder, received {folder.name!r}, which is none")
        self._folder = folder
        self._embedded_precision = embedded_precision
        self._clock = clock
        self._lock = threading.Lock()
        self._look_at_s = float("-inf")
        self._read: dict[Path, tuple[FileState, _Judged | None]] = {}
        self._refresh()

    def state_of(self, profile: Profile, model: ModelIdentity) -> Literal["audited"] | None:
        """``audited`` where an audit of this profile, as it is used, and of this very model passed and
        holds."""
        return None if self._passed(profile, model) is None else "audited"

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

    def _passed(self, profile: Profile, model: ModelIdentity) -> _Judged | None:
        with self._lock:
            if self._clock() >= self._look_at_s:
                self._look_at_s = self._clock() + CHECK_EVERY_S
                self._refresh()
            newest = max(
                (
                    judged
                    for _, judged in self._read.values()
                    if judged is not None
                    and judged.audit.plan.profile_sha256 == profile.sha256
                    and judged.audit.plan.model.is_that(model, self._embedded_precision)
                ),
                key=lambda judged: judged.verdict.judged_at,
                default=None,
            )
        if newest is None or newest.is_suspended:
            return None
        return newest if any(one.released for one in newest.verdict.classes) else None

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
            else (state, self._judged(path))
            for path, state in states.items()
        }

    @staticmethod
    def _judged(path: Path) -> _Judged | None:
        try:
            audit = AuditFile(path).read()
        except ConfigurationError as error:
            _LOGGER.warning("audits: not used: %s", error)
            return None
        return None if audit.verdict is None else _Judged(audit, audit.verdict, audit.is_suspended())
