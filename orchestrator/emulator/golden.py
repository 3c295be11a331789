"""Golden messages: every example in every format, as files that an integrator's code can be tested with."""

import json

from orchestrator.documents.reading import write_differential
from orchestrator.emulator.examples import Example, examples
from orchestrator.interop.csv_tables import cell_table, class_table
from orchestrator.interop.fhir import bundle
from orchestrator.interop.hl7v2 import message


def golden_files() -> dict[str, bytes]:
    """Names of files and what is in them; the same in every run."""
    return {
        f"{name}.{ending}": data
        for name, example in examples().items()
        for ending, data in _formats(example).items()
    }


def golden_reports() -> dict[str, bytes]:
    """The same of DICOM reports, Comprehensive SR. Needs the extra ``dicom``."""
    from orchestrator.interop.dicom_report import differential_report  # which costs two seconds

    return {
        f"{name}.sr.dcm": differential_report(example.differential, context=example.context).data
        for name, example in examples().items()
    }


def _formats(example: Example) -> dict[str, bytes]:
    differential, context = example.differential, example.context
    document = bundle(differential, context=context, per_cell=example.per_cell)
    files = {
        "fhir.json": (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode(),
        "oru.hl7": message(differential, "oru", context=context),
        "oul.hl7": message(differential, "oul", context=context),
        "classes.csv": class_table(differential).encode(),
    }
    if example.per_cell:
        files["cells.csv"] = cell_table(differential).encode()
        files["differential.json"] = write_differential(differential) + b"\n"
    return files
