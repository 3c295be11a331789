"""Files of TLS that are replaced while they are in use, as cert-manager and ACME clients do before they end.

They are looked at when somebody connects, at most once a second: a look costs microseconds, and there is no
task that could die unseen.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from orchestrator.common.deadline import Clock
from orchestrator.common.whole_file import FileState, state_of
from orchestrator.errors import ConfigurationError
from orchestrator.observability.metrics import TLS_FILES_REFUSED

CHECK_EVERY_S: Final = 1.0

T = TypeVar("T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The certificate of this service with its chain, its key, and where clients must show a certificate
    (mutual TLS) the authorities that issue these. All in PEM."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """As far as there are any."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


class RenewedFiles(Generic[T]):
    """What ``load`` makes of ``paths``, as they are now; for any thread.

    Files that cannot be used change nothing: what was made of those before them is still given, and a warning
    and ``wbc_tls_files_refused`` say so until they are mended. That also bears a key that is written a moment
    before its certificate.

    Raises what ``load`` raises, where the files are wrong from the beginning.

    Args:
        edge: whose files they are in the log and the metrics: ``http`` or ``grpc``.
        load: raises ``ConfigurationError``, without a path in it, where the files cannot be used.
    """

    def __init__(
        self, edge: str, paths: tuple[Path, ...], load: Callable[[], T], *, clock: Clock = time.monotonic
    ) -> None:
        self._edge = edge
        self._paths = paths
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._state = self._seen()
        self._made = load()
        self._look_at_s = clock() + CHECK_EVERY_S
        TLS_FILES_REFUSED.labels(edge).set(0)

    def current(self) -> T:
        """What was made of the newest files that could be used; the same object until they change."""
        with self._lock:
            if self._clock() >= self._look_at_s:
                self._look_at_s = self._clock() + CHECK_EVERY_S
                self._renew()
            return self._made

    def _renew(self) -> None:
        # Before they are read: what is written while they are is seen at the next look.
        seen = self._seen()
        if seen == self._state:
            return
        self._state = seen
        try:
            self._made = self._load()
        except ConfigurationError as error:
            TLS_FILES_REFUSED.labels(self._edge).set(1)
            _logger.warning("TLS of %s: the new files are not used: %s", self._edge, error)
        else:
            TLS_FILES_REFUSED.labels(self._edge).set(0)
            _logger.info("TLS of %s: the new files are used", self._edge)

    def _seen(self) -> tuple[FileState | None, ...]:
        return tuple(_state_of(path) for path in self._paths)


def _state_of(path: Path) -> FileState | None:
    """Also where a link leads elsewhere; None where there is no file."""
    try:
        return state_of(path.stat())
    except OSError:
        return None
