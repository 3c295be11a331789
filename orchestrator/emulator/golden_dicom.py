"""Golden DICOM reports: every example as a Comprehensive SR. Needs the extra ``dicom``."""

from orchestrator.emulator.examples import examples
from orchestrator.interop.dicom_report import differential_report


def golden_reports() -> dict[str, bytes]:
    """Names of files and what is in them; the same in every run of the same version."""
    return {
        f"{name}.sr.dcm": differential_report(example.differential, context=example.context).data
        for name, example in examples().items()
    }
