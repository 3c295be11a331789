"""Every format tells every field of a result, or the table says why it does not (``documents/fields.py``)."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from orchestrator import client
from orchestrator.documents.analysis import AnalysisResult, PredictResult
from orchestrator.documents.fields import RESULT, AnalysisFormat, Format, SpecimenFormat, told
from orchestrator.documents.reading import read_differential, write_differential
from orchestrator.domain import (
    Analysis,
    Box,
    Finding,
    Focus,
    FocusShares,
    ModelIdentity,
    Overlay,
    Report,
    ReviewReason,
)
from orchestrator.edge.grpc.differentials import differential_message
from orchestrator.edge.grpc.messages import analysis_message
from orchestrator.edge.open_inference.models import analysis_outputs
from orchestrator.emulator.examples import examples
from orchestrator.interop.csv_tables import cell_table
from orchestrator.interop.dicom import CellSource, DicomObject, new_study
from orchestrator.interop.dicom_report import cell_report, differential_report
from orchestrator.interop.fhir import bundle
from orchestrator.interop.hl7v2 import message
from orchestrator.interop.site import NO_CONTEXT
from orchestrator.specimen import CellResult, Differential
from orchestrator.store.documents import result_document, result_of

NOW = datetime(2026, 3, 2, 9, 41, tzinfo=UTC)

ANALYSIS = Analysis(
    request_id="lab-42",
    finding=Finding(4, (0.05, 0.1, 0.2, 0.05, 0.6), 0.9, -3.5, 0.25, "none", (ReviewReason("a", "A."),)),
    model=ModelIdentity("wbc", 3, "ab" * 32),
    profile="raabin",
    profile_sha256="cd" * 32,
    device_state="known",
    image_size=(480, 640),
    views=8,
    focus=Focus(0.8, FocusShares(0.5, 0.3, 0.2)),
    overlay=Overlay(b"\x89PNG", "image/png"),
    report=Report("A neutrophil.", "rule-based", "en"),
    timings_ms={},
)


def finding(**changes: Any) -> Analysis:
    return replace(ANALYSIS, finding=replace(ANALYSIS.finding, **changes))


OTHER_ANALYSES: Mapping[str, Analysis] = {
    "class_name": finding(class_index=3),
    "confidence": finding(probabilities=(0.05, 0.1, 0.2, 0.0, 0.65)),
    "margin": finding(probabilities=(0.05, 0.1, 0.25, 0.0, 0.6)),
    "decided_by": finding(decided_by="aux"),
    "probabilities": finding(probabilities=(0.1, 0.05, 0.2, 0.05, 0.6)),
    "aux_neutrophil": finding(aux_neutrophil=0.1),
    "energy": finding(energy=2.5),
    "not_wbc": finding(not_wbc=0.75),
    "review_codes": finding(review_reasons=(ReviewReason("b", "A."),)),
    "focus_ratio": replace(ANALYSIS, focus=Focus(0.7, FocusShares(0.5, 0.3, 0.2))),
    "views": replace(ANALYSIS, views=1),
    "image_size": replace(ANALYSIS, image_size=(481, 640)),
    "box": replace(ANALYSIS, box=Box(20.0, 30.0, 200.5, 230.0)),
    "model": replace(ANALYSIS, model=ModelIdentity("wbc", 4, "ab" * 32)),
    "profile": replace(ANALYSIS, profile="barcelona"),
    "profile_sha256": replace(ANALYSIS, profile_sha256="ef" * 32),
    "head": replace(ANALYSIS, head=f"raabin.1:{'ab' * 32}"),
    "device_state": replace(ANALYSIS, device_state="audited"),
    "looks_like": replace(ANALYSIS, looks_like={"raabin": False}),
}
"""By field the same analysis with another value of it."""

EXAMPLE = examples()["final"].differential
FIRST = next(number for number, cell in enumerate(EXAMPLE.specimen.cells) if cell.result is not None)
DIFFERENTIAL = replace(EXAMPLE, specimen=replace(EXAMPLE.specimen, cells=EXAMPLE.specimen.cells[: FIRST + 2]))
"""Of one cell that changes and one that does not, although it counts a hundred."""
RESULT_OF_FIRST = DIFFERENTIAL.specimen.cells[FIRST].result
assert RESULT_OF_FIRST is not None
KEPT = replace(RESULT_OF_FIRST, decided_by="none", not_wbc=0.25, focus_ratio=0.8)

OTHER_RESULTS: Mapping[str, CellResult] = {
    "class_name": replace(KEPT, class_name="Monocyte"),
    "margin": replace(KEPT, margin=0.125),
    "decided_by": replace(KEPT, decided_by="aux"),
    "probabilities": replace(KEPT, probabilities=(0.1, 0.2, 0.3, 0.25, 0.15)),
    "confidence": replace(KEPT, probabilities=(0.1, 0.2, 0.3, 0.25, 0.15)),
    "energy": replace(KEPT, energy=2.5),
    "not_wbc": replace(KEPT, not_wbc=0.75),
    "review_codes": replace(KEPT, review_codes=("b",)),
    "focus_ratio": replace(KEPT, focus_ratio=0.7),
    "views": replace(KEPT, views=3),
    "image_size": replace(KEPT, image_size=(481, 640)),
    "box": replace(KEPT, box=Box(20.0, 30.0, 200.5, 230.0)),
    "model": replace(KEPT, model=replace(KEPT.model, version=99)),
    "profile": replace(KEPT, profile="barcelona"),
    "profile_sha256": replace(KEPT, profile_sha256="ef" * 32),
    "head": replace(KEPT, head=f"raabin.1:{'ab' * 32}"),
    "device_state": replace(KEPT, device_state="unknown"),
    "looks_like": replace(KEPT, looks_like={"raabin": False}),
    "analysed_at": replace(KEPT, analysed_at=KEPT.analysed_at + timedelta(days=400)),
}
"""By field the same result of a cell with another value of it."""


def with_first(result: CellResult) -> Differential:
    """The example with that result in its first cell, and its models and lists as that makes them."""
    specimen = DIFFERENTIAL.specimen
    cells = list(specimen.cells)
    cells[FIRST] = replace(cells[FIRST], result=result, decision=None)
    models = tuple(dict.fromkeys(cell.result.model for cell in cells if cell.result is not None))
    return replace(DIFFERENTIAL, specimen=replace(specimen, cells=tuple(cells)), models=models)


def dicom_cell(analysis: Analysis) -> bytes:
    heatmap = DicomObject(SecondaryCaptureImageStorage, "2.25.7", b"")
    source = CellSource("cell", 1, new_study("2.25.1", NO_CONTEXT, begun_at=NOW))
    return cell_report(analysis, source, heatmap, moment=NOW, service_version="1").data


ANALYSIS_FORMATS: Mapping[Format, Callable[[Analysis], object]] = {
    "predict": lambda of: PredictResult.model_validate(of).model_dump(mode="json"),
    "analysis": lambda of: AnalysisResult.model_validate(of).model_dump(mode="json"),
    "grpc analysis": lambda of: analysis_message(of).SerializeToString(deterministic=True),
    "client analysis": lambda of: client.Analysis.of(analysis_message(of)),
    "open inference": analysis_outputs,
    "dicom cell": dicom_cell,
}
SPECIMEN_FORMATS: Mapping[Format, Callable[[CellResult], object]] = {
    "store": lambda of: result_of(result_document(of)),
    "differential": lambda of: read_differential(write_differential(with_first(of))),
    "grpc differential": lambda of: differential_message(with_first(of), cells=True).SerializeToString(),
    "client differential": lambda of: client.Differential.of(
        differential_message(with_first(of), cells=True)
    ),
    "csv": lambda of: cell_table(with_first(of)),
    "fhir": lambda of: bundle(with_first(of), per_cell=True),
    "dicom differential": lambda of: differential_report(with_first(of)).data,
    "hl7": lambda of: message(with_first(of), "oul"),
}

DERIVED = {"confidence", "margin"}
"""They cannot be changed alone."""


def test_every_field_of_the_values_stands_in_the_table_and_has_an_example():
    assert {field.name for field in fields(CellResult)} <= set(RESULT)
    assert set(OTHER_ANALYSES) | set(OTHER_RESULTS) == set(RESULT)
    assert set(get_args(AnalysisFormat)) == set(ANALYSIS_FORMATS)
    assert set(get_args(SpecimenFormat)) == set(SPECIMEN_FORMATS)


@cache
def unchanged(of: Format) -> object:
    return ANALYSIS_FORMATS[of](ANALYSIS) if of in ANALYSIS_FORMATS else SPECIMEN_FORMATS[of](KEPT)


@pytest.mark.parametrize("name", RESULT)
@pytest.mark.parametrize("of", [*ANALYSIS_FORMATS, *SPECIMEN_FORMATS])
def test_a_field_is_told_or_the_table_says_why_not(name: str, of: Format):
    changed = (OTHER_ANALYSES if of in ANALYSIS_FORMATS else OTHER_RESULTS).get(name)
    render: Any = {**ANALYSIS_FORMATS, **SPECIMEN_FORMATS}[of]
    is_told = changed is not None and render(changed) != unchanged(of)

    reason = told(name).left_out.get(of)

    if reason is None:
        assert is_told, f"{of} does not tell {name}, and documents/fields.py does not say why"
    elif name not in DERIVED:
        assert not is_told, f"{of} tells {name}, and documents/fields.py says that it does not"
