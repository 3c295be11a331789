"""Writes the report of a differential or of a field in a process of its own, which stays for the next one.

The libraries behind it cost 140 MB and seconds of imports: the process that answers requests has neither, and
who asks for a report does not wait for them.
"""

import asyncio
import gc
import importlib.util
import pickle
import struct
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from orchestrator import __version__
from orchestrator.domain import FieldAnalysis
from orchestrator.errors import DeadlineExceeded, DicomOff, WbcError
from orchestrator.interop.site import Site
from orchestrator.specimen import Differential

DICOM_TYPE: Final = "application/dicom"
"""The media type, for who must not load the libraries."""

BEGIN_AFTER_S: Final = 5.0
_TIMEOUT_S: Final = 60.0
_LENGTH: Final = struct.Struct("<I")


def require_dicom() -> None:
    """Raises :class:`~orchestrator.errors.DicomOff` where the extra ``dicom`` is not installed."""
    if importlib.util.find_spec("highdicom") is None or importlib.util.find_spec("pydicom") is None:
        raise DicomOff("DICOM objects need the extra 'dicom': pip install 'wbc-analyzer[dicom]'.")


class ReportProcess:
    """The process, begun by :meth:`begin` or by the first report, and anew where it ended.

    One report at a time: others wait.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def begin(self, after_s: float = BEGIN_AFTER_S) -> None:
        """Begin it, so that the first report need not wait for its imports; nothing without the extra."""
        await asyncio.sleep(after_s)  # the service's own start goes first
        with suppress(DicomOff):
            async with self._lock:
                await self._running()

    async def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            assert process.stdin is not None
            process.stdin.close()
            await process.communicate()

    async def written(self, differential: Differential, site: Site) -> bytes:
        """The DICOM file of :func:`~orchestrator.interop.dicom_report.differential_report`.

        The process is ended where whoever asks goes away.

        Raises:
            DicomOff: the extra ``dicom`` is not installed.
            DeadlineExceeded: it took longer than a minute.
        """
        return await self._asked("differential_report", differential, _sendable(site))

    async def written_of_field(
        self, field: FieldAnalysis, image_sha256: str, dicom_file: bytes | None, site: Site, moment: datetime
    ) -> bytes:
        """The DICOM file of :func:`~orchestrator.interop.dicom_report.field_report`.

        Raises as :meth:`written`, and MalformedMessage where the field's ``dicom_file`` names no study.
        """
        about = {"moment": moment, "service_version": __version__}
        return await self._asked("field_report", field, image_sha256, dicom_file, _sendable(site), **about)

    async def _asked(self, report: str, *args: object, **kwargs: object) -> bytes:
        """What the function of this name in ``dicom_report`` writes."""
        question = pickle.dumps((report, args, kwargs))
        async with self._lock:
            process = await self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    process.stdin.write(_LENGTH.pack(len(question)) + question)
                    await process.stdin.drain()
                    (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
                    answer: bytes | WbcError = pickle.loads(await process.stdout.readexactly(length))
            except TimeoutError as error:
                await self.close()
                raise DeadlineExceeded("The DICOM report was not written in time.") from error
            except (asyncio.IncompleteReadError, OSError) as error:
                await self.close()
                raise RuntimeError("the process that writes DICOM reports ended") from error
            except BaseException:
                await self.close()
                raise
        if isinstance(answer, WbcError):
            raise answer
        return answer

    async def _running(self) -> asyncio.subprocess.Process:
        require_dicom()
        if self._process is not None and self._process.returncode is not None:
            await self.close()
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # what libraries say there may quote values
                start_new_session=True,  # a signal to the service's group is the service's to handle
            )
        return self._process


def _sendable(site: Site) -> Site:
    return replace(site, snomed=dict(site.snomed))  # a read-only view cannot be sent


def main() -> None:
    """Read from standard input which report is wanted and of what, and write each one's file, or why there is
    none, to standard output, with its length before it, until there are no more."""
    from orchestrator.interop import dicom_report

    gc.freeze()  # what the libraries hold stays: it need not be looked through at each report
    while len(head := sys.stdin.buffer.read(_LENGTH.size)) == _LENGTH.size:
        # From the service that started this process, and nobody else.
        report, args, kwargs = pickle.loads(sys.stdin.buffer.read(*_LENGTH.unpack(head)))
        answer: bytes | WbcError
        try:
            answer = getattr(dicom_report, report)(*args, **kwargs).data
        except WbcError as error:
            answer = error
        data = pickle.dumps(answer)
        sys.stdout.buffer.write(_LENGTH.pack(len(data)) + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
