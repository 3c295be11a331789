"""Writes the report of a differential in a process of its own, which ends with it.

The libraries behind it cost 140 MB and two seconds of imports, and a service that answers other requests has
neither. A report is asked for once or twice in a specimen's life.
"""

import asyncio
import importlib.util
import pickle
import sys
from dataclasses import replace
from typing import Final

from orchestrator.errors import DeadlineExceeded, DicomOff
from orchestrator.interop.site import Site
from orchestrator.specimen import Differential

_TIMEOUT_S: Final = 60.0


def require_dicom() -> None:
    """Raises :class:`~orchestrator.errors.DicomOff` where the extra ``dicom`` is not installed."""
    if importlib.util.find_spec("highdicom") is None or importlib.util.find_spec("pydicom") is None:
        raise DicomOff("DICOM objects need the extra 'dicom': pip install 'wbc-analyzer[dicom]'.")


async def written_report(differential: Differential, site: Site) -> bytes:
    """The DICOM file of :func:`~orchestrator.interop.dicom_report.differential_report`.

    The process is ended where whoever asks goes away.

    Raises:
        DicomOff: the extra ``dicom`` is not installed.
        DeadlineExceeded: it took longer than a minute.
    """
    require_dicom()
    plain_site = replace(site, snomed=dict(site.snomed))  # a read-only view cannot be sent
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # what libraries say there may quote values
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            data, _ = await process.communicate(pickle.dumps((differential, plain_site)))
    except TimeoutError as error:
        raise DeadlineExceeded("The DICOM report was not written in time.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the process that writes DICOM reports ended with {process.returncode}")
    return data


def main() -> None:
    """Read a differential and its site from standard input, and write the file to standard output."""
    from orchestrator.interop.dicom_report import differential_report

    # From the service that started this process, and nobody else.
    differential, site = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(differential_report(differential, site).data)


if __name__ == "__main__":
    main()
