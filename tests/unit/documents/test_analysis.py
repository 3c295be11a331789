import dataclasses
import json

import pytest

from orchestrator.documents.analysis import AnalysisResult, PredictResult, analysis_document
from orchestrator.domain import (
    Analysis,
    Box,
    CellOutlines,
    Finding,
    Focus,
    FocusReason,
    FocusShares,
    FocusVerdict,
    ModelIdentity,
    Overlay,
    Report,
    ReviewReason,
)
from orchestrator.edge.parameters import AnalysisParameters, PredictParameters
from orchestrator.edge.rest.forms import form_schema
from orchestrator.model_contract import CLASS_NAMES


@pytest.fixture
def analysis() -> Analysis:
    return Analysis(
        request_id="lab-42",
        finding=Finding(
            4,
            (0.05, 0.1, 0.2, 0.05, 0.6),
            0.9,
            -3.5,
            0.25,
            "none",
            (ReviewReason("low_margin", "Two classes are near."),),
        ),
        model=ModelIdentity("wbc", 3, "ab" * 32),
        profile="raabin",
        profile_sha256="cd" * 32,
        device_state="audited",
        image_size=(480, 640),
        views=8,
        focus=Focus(
            0.8, FocusShares(0.5, 0.3, 0.2), FocusVerdict("sound", (FocusReason("on_cell", "80% of it."),))
        ),
        overlay=Overlay(b"\x89PNG", "image/png"),
        report=Report("A neutrophil.", "azure", "en", model="gpt-4o-2024"),
        timings_ms={"decode": 1.23456},
        box=Box(1.0, 2.0, 9.0, 8.0),
        outlines=CellOutlines(cell=(((1.0, 2.0), (9.0, 2.0), (5.0, 8.0)),), nucleus=()),
    )


def test_every_fact_of_an_analysis_stands_in_its_document(analysis):
    assert analysis_document(analysis) == {
        "request_id": "lab-42",
        "model": {"name": "wbc", "version": 3, "sha256": "ab" * 32, "server": "embedded"},
        "profile": "raabin",
        "profile_sha256": "cd" * 32,
        "head": None,
        "device_state": "audited",
        "looks_like": None,
        "image": {"height": 480, "width": 640},
        "box": {"top": 1.0, "left": 2.0, "bottom": 9.0, "right": 8.0},
        "views": 8,
        "decision": {
            "class": "Neutrophil",
            "confidence": 0.6,
            "margin": pytest.approx(0.4),
            "decided_by": "none",
        },
        "review": {
            "needed": True,
            "reasons": [{"code": "low_margin", "message": "Two classes are near."}],
        },
        "probabilities": dict(zip(CLASS_NAMES, (0.05, 0.1, 0.2, 0.05, 0.6), strict=True)),
        "aux_neutrophil_probability": 0.9,
        "energy": -3.5,
        "not_wbc": 0.25,
        "focus": {
            "ratio": 0.8,
            "shares": {"nucleus": 0.5, "cytoplasm": 0.3, "background": 0.2},
            "verdict": "sound",
            "reasons": [{"code": "on_cell", "message": "80% of it."}],
        },
        "heatmap": {"media_type": "image/png", "colour_map": "viridis", "data": "iVBORw=="},
        "outlines": {"cell": [[[1.0, 2.0], [9.0, 2.0], [5.0, 8.0]]], "nucleus": []},
        "report": {"text": "A neutrophil.", "writer": "azure", "language": "en", "model": "gpt-4o-2024"},
        "timings_ms": {"decode": 1.235},
        "disclaimer": "For research use only. Not for use in diagnostic procedures.",
    }


def test_a_document_may_be_had_without_the_heatmaps_picture(analysis):
    document = analysis_document(analysis, include_heatmap=False)
    assert "heatmap" not in document
    assert document["focus"]["ratio"] == 0.8


def test_a_document_is_json_and_reads_back_as_itself(analysis):
    text = json.dumps(analysis_document(analysis))
    assert AnalysisResult.model_validate_json(text) == AnalysisResult.model_validate(analysis)


def test_what_was_not_asked_for_is_null(analysis):
    bare = dataclasses.replace(analysis, focus=None, overlay=None, report=None)
    document = analysis_document(bare)
    assert document["focus"] is document["heatmap"] is document["report"] is None


def test_a_sum_that_exceeds_one_in_its_last_digit_is_answered(analysis):
    focus = Focus(1.0000001, FocusShares(1.0000001, 0.0, 0.0))
    document = analysis_document(dataclasses.replace(analysis, focus=focus))
    assert document["focus"]["ratio"] == pytest.approx(1)


def test_a_result_that_is_no_number_is_never_answered(analysis):
    broken = dataclasses.replace(analysis.finding, aux_neutrophil=float("nan"))
    with pytest.raises(ValueError, match="finite"):
        AnalysisResult.model_validate(dataclasses.replace(analysis, finding=broken))


def test_the_reference_systems_fields_carry_its_names(analysis):
    result = PredictResult.model_validate(analysis)
    document = result.model_dump(by_alias=True)
    assert document["class"] == "Neutrophil"
    assert document["all_probabilities"]["Neutrophil"] == document["confidence"] == 0.6
    assert document["gradcam_image"] == "iVBORw=="
    assert document["llm_report"] == "A neutrophil."
    assert document["review_reasons"] == ["low_margin"]
    assert document["device_state"] == "audited"
    assert (document["report_writer"], document["report_model"]) == (
        analysis.report.writer,
        analysis.report.model,
    )
    assert document["decided_by"] == analysis.finding.decided_by


@pytest.mark.parametrize("parameters", [PredictParameters, AnalysisParameters])
def test_a_form_is_described_with_its_file_and_every_choice(parameters):
    described = form_schema(parameters, "file")["content"]["multipart/form-data"]["schema"]
    assert described["required"] == ["file"]
    assert set(described["properties"]) == {"file", *parameters.model_fields}
