"""A whole field as a structured report, read by libraries that did not write it."""

import asyncio
import io
import shutil
import subprocess
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import ComprehensiveSR, srread
from pydicom.uid import VLMicroscopicImageStorage

from orchestrator.analyse_field import analyse_field
from orchestrator.bootstrap.services import build_services
from orchestrator.domain import DISCLAIMER, FieldAnalysis
from orchestrator.emulator.dicom_check import checked_object
from orchestrator.errors import MalformedMessage
from orchestrator.interop.dicom import DicomObject
from orchestrator.interop.dicom_process import ReportProcess
from orchestrator.interop.dicom_report import field_report, field_uid
from orchestrator.interop.site import DEFAULT_SITE, Site
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.fields import paint_field
from orchestrator.painting.looks import scanner
from orchestrator.settings import Settings
from tests.dicom_files import PATIENT, described, native_file
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import image_file

MOMENT = datetime(2026, 11, 30, 12, tzinfo=UTC)
VERSION = "1.0.0"
NAMES = ("Neutrophil", "Lymphocyte", "Monocyte")


@cache
def painted(names: tuple[str, ...]) -> np.ndarray:
    random = np.random.default_rng(4)
    return paint_field(scanner(random), random, names).rgb


@cache
def analysed(payload: bytes) -> FieldAnalysis:
    async def analysis() -> FieldAnalysis:
        services = build_services(Settings(), model_server=FakeModelServer())
        async with services.running():
            return await analyse_field(payload, services)

    return asyncio.run(analysis())


@cache
def pictured(names: tuple[str, ...] = NAMES) -> tuple[bytes, FieldAnalysis, DicomObject]:
    payload = image_file(painted(names))
    return payload, analysed(payload), reported(payload)


def reported(payload: bytes, *, is_dicom: bool = False, site: Site = DEFAULT_SITE) -> DicomObject:
    return field_report(
        analysed(payload),
        sha256(payload).hexdigest(),
        payload if is_dicom else None,
        site,
        moment=MOMENT,
        service_version=VERSION,
    )


def sr_of(one: DicomObject) -> ComprehensiveSR:
    report = srread(io.BytesIO(one.data))
    assert isinstance(report, ComprehensiveSR)
    return report


def evidence(report: ComprehensiveSR) -> set[tuple[str, str]]:
    return {
        (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def test_each_find_has_its_region_class_probabilities_reasons_and_algorithm():
    payload, field, made = pictured()
    assert field.model is not None
    finds = (*field.cells, *field.unidentified)
    assert len(finds) == len(NAMES)
    assert any(cell.finding.review_reasons for cell in finds)
    groups = {g.tracking_identifier: g for g in sr_of(made).content.get_planar_roi_measurement_groups()}

    assert set(groups) == {f"Cell {number}" for number in range(1, len(finds) + 1)}
    for number, cell in enumerate(finds, start=1):
        group, box = groups[f"Cell {number}"], cell.box
        label = cell.finding.class_name if cell.is_identified else "Unidentified"
        assert group.finding_type.meaning == label
        points = group.roi.value
        assert (points[0] == points[-1]).all()
        assert points.min(axis=0).tolist() == pytest.approx([box.left, box.top])
        assert points.max(axis=0).tolist() == pytest.approx([box.right, box.bottom])
        selected = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert selected.ReferencedSOPInstanceUID == field_uid(sha256(payload).hexdigest())
        values = {m.name.meaning: m.value for m in group.get_measurements()}
        for name, probability in zip(CLASS_NAMES, cell.finding.probabilities, strict=True):
            assert values[f"Probability of {name}"] == pytest.approx(probability, abs=5e-5)
        said = [(q.name.meaning, q.value) for q in group.get_qualitative_evaluations()]
        reasons = [code.value for name, code in said if name == "Why a person should look at it"]
        assert reasons == [reason.code.replace("_", "-") for reason in cell.finding.review_reasons]
        texts = [item.TextValue for item in group[0].ContentSequence if item.ValueType == "TEXT"]
        assert field.model.name in texts
        assert any(field.model.sha256 in text for text in texts)
        assert f"views: {cell.views}" in texts


def test_it_says_what_it_must_not_be_used_for_whose_image_it_is_and_why_a_person_should_look():
    payload, field, made = pictured()
    report = sr_of(made)
    comments = [line.value for line in checked_object(made.data).lines if line.name == "Comment"]

    assert comments[0] == DISCLAIMER
    digest = sha256(payload).hexdigest()
    assert any(digest in text and field_uid(digest) in text for text in comments)
    for cell in field.found:
        for reason in cell.finding.review_reasons:
            assert any(text.endswith(reason.message) for text in comments)
    assert evidence(report) == {(VLMicroscopicImageStorage, field_uid(digest))}
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert (report.PatientName, report.PatientID) == ("", "")


def test_that_of_a_dicom_image_belongs_to_its_patient_and_study_and_names_it():
    payload = native_file(painted(NAMES))
    made, source = reported(payload, is_dicom=True), described()
    report = sr_of(made)

    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "StudyDate"):
        assert report[keyword].value == source[keyword].value, keyword
    assert PATIENT.encode() in made.data
    assert evidence(report) == {(source.SOPClassUID, source.SOPInstanceUID)}
    for group in report.content.get_planar_roi_measurement_groups():
        selected = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert selected.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_a_field_without_cells_is_a_report_that_counts_none():
    _, field, made = pictured(())
    assert field.found == ()
    content = sr_of(made).content
    (group,) = content.get_image_measurement_groups()

    assert content.get_planar_roi_measurement_groups() == []
    assert {m.name.meaning: m.value for m in group.get_measurements()}["Cells counted"] == 0


@pytest.mark.parametrize("kind", ["picture", "dicom", "no cells"])
def test_none_has_a_fault_that_dciodvfy_finds(kind: str, tmp_path: Path):
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("no dciodvfy: install Debian's package dicom3tools")
    if kind == "dicom":
        made = reported(native_file(painted(NAMES)), is_dicom=True)
    else:
        made = pictured(NAMES if kind == "picture" else ())[2]
    (tmp_path / "report.dcm").write_bytes(made.data)
    said = subprocess.run(
        [program, tmp_path / "report.dcm"], capture_output=True, text=True, timeout=30, check=False
    )
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


async def test_the_process_writes_it_too_and_goes_on_after_a_file_without_a_study():
    payload, field, made = pictured()
    digest = sha256(payload).hexdigest()
    nameless = native_file(painted(NAMES), StudyInstanceUID="")
    reports = ReportProcess()
    try:
        with pytest.raises(MalformedMessage, match="no valid StudyInstanceUID"):
            await reports.written_of_field(field, digest, nameless, DEFAULT_SITE, MOMENT)
        process = reports._process
        data = await reports.written_of_field(field, digest, None, DEFAULT_SITE, MOMENT)
        assert reports._process is process
    finally:
        await reports.close()
    assert len(data) > 0.9 * len(made.data)
    assert sr_of(DicomObject("", "", data)).StudyInstanceUID == sr_of(made).StudyInstanceUID
