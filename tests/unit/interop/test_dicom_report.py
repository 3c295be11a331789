"""A specimen's differential as a structured report, read by a library that did not write it."""

import io
import shutil
import subprocess

import pytest
from highdicom.sr import ComprehensiveSR, srread

from orchestrator.domain import DISCLAIMER
from orchestrator.emulator.dicom_check import checked_object
from orchestrator.emulator.examples import AWKWARD_TEXT, Example, examples
from orchestrator.interop.dicom import DicomObject
from orchestrator.interop.dicom_process import ReportProcess
from orchestrator.interop.dicom_report import differential_report, field_uid
from orchestrator.interop.site import DEFAULT_SITE

EXAMPLES = examples()


def report_of(example: Example) -> DicomObject:
    return differential_report(example.differential, context=example.context)


def sr_of(one: DicomObject) -> ComprehensiveSR:
    report = srread(io.BytesIO(one.data))
    assert isinstance(report, ComprehensiveSR)
    return report


@pytest.mark.parametrize("name", ["preliminary", "without_total", "too_few_cells"])
def test_without_a_signature_it_is_partial_and_unverified(name):
    report = sr_of(report_of(EXAMPLES[name]))
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert "VerifyingObserverSequence" not in report


def test_the_person_who_signed_is_its_verifying_observer():
    example = EXAMPLES["final"]
    signature = example.differential.specimen.signature
    assert signature is not None
    report = sr_of(report_of(example))
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    (observer,) = report.VerifyingObserverSequence
    assert str(observer.VerifyingObserverName).startswith(signature.person)
    assert observer.VerificationDateTime.startswith(signature.signed_at.strftime("%Y%m%d%H%M%S"))


def test_each_class_is_a_group_with_its_share_interval_and_loinc_code():
    example = EXAMPLES["final"]
    groups = sr_of(report_of(example)).content.get_image_measurement_groups()
    by_class = {group.tracking_identifier: group for group in groups}
    for count in example.differential.counts:
        values = {m.name.meaning: m for m in by_class[count.label].get_measurements()}
        assert values["Cells of this class"].value == count.count
        share = next(m for name, m in values.items() if name.endswith("/Leukocytes in Blood"))
        assert share.value == pytest.approx(count.percentage, abs=0.005)
        assert share.unit.value == "%"
        if count.label == "Neutrophil":
            assert (share.name.value, share.name.scheme_designator) == ("26511-6", "LN")
        assert count.interval is not None
        lows = [
            m.value
            for m in by_class[count.label].get_measurements()
            if m.name.meaning == "Lower limit of the exact 95 % interval" and m.unit.value == "%"
        ]
        assert lows == [pytest.approx(count.interval.low, abs=0.005)]
    (flag,) = by_class["Neutrophil"].get_qualitative_evaluations()
    assert flag.value.meaning == "Above the reference range"


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("final", "Microscope that the model was trained on"), ("unknown_device", "Unknown microscope")],
)
def test_the_group_of_the_specimen_says_how_far_the_microscope_is_known(name, meaning):
    groups = sr_of(report_of(EXAMPLES[name])).content.get_image_measurement_groups()
    (specimen,) = [group for group in groups if group.tracking_identifier == "Specimen"]
    (state,) = specimen.get_qualitative_evaluations()
    assert (state.name.meaning, state.value.meaning) == ("How far the microscope is known", meaning)


def test_with_too_few_cells_there_are_counts_and_no_shares():
    lines = checked_object(report_of(EXAMPLES["too_few_cells"]).data).lines
    names = [line.name for line in lines]
    assert "Cells of this class" in names
    assert not [name for name in names if "/Leukocytes" in name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_one_says_what_it_must_not_be_used_for_and_which_model_spoke(name):
    one = checked_object(report_of(EXAMPLES[name]).data)
    assert one.problems == ()
    said = [(line.name, line.value) for line in one.lines]
    assert ("Comment", DISCLAIMER) in said
    if EXAMPLES[name].differential.models:
        assert any(n == "Algorithm Parameters" and "sha256: " in v for n, v in said)


def test_comments_and_addenda_are_texts_and_the_signature_stays_that_of_its_time():
    differential = EXAMPLES["addendum"].differential
    one = report_of(EXAMPLES["addendum"])
    assert checked_object(one.data).problems == ()
    report = sr_of(one)
    texts = [item.TextValue for item in report.ContentSequence if item.ValueType == "TEXT"]
    assert texts[-4:-1] == [
        "Comment on cell 3 (dr.demir, 2026-03-02 09:02 UTC): Vacuoles.",
        "Comment (dr.demir, 2026-03-02 09:02 UTC): Thick smear:\r\nstained anew.",
        "Addendum (dr.demir, 2026-03-02 10:05 UTC): Told to the ward by telephone.",
    ]
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    signature = differential.specimen.signature
    assert signature is not None
    verified_at = report.VerifyingObserverSequence[0].VerificationDateTime
    assert verified_at.startswith(signature.signed_at.strftime("%Y%m%d%H%M%S"))
    assert report.ContentTime.startswith("1005")


def test_text_that_breaks_a_careless_writer_is_held_without_its_control_characters():
    one = report_of(EXAMPLES["awkward_text"])
    assert checked_object(one.data).problems == ()
    report = sr_of(one)
    texts = f"{report.PatientName}{report.PatientID}{report.AccessionNumber}"
    assert not set(texts) & set("\r\n\t\\")
    assert "Öztürk" in AWKWARD_TEXT
    assert "Öztürk" in one.data.decode("utf-8", "replace")


def test_the_same_differential_gives_the_same_object_and_another_state_another():
    assert report_of(EXAMPLES["final"]) == report_of(EXAMPLES["final"])
    uids = {report_of(example).sop_instance_uid for example in EXAMPLES.values()}
    assert len(uids) == len(EXAMPLES)


def test_each_cell_of_a_field_that_counts_or_waits_has_its_region_in_the_image_of_its_field():
    specimen = EXAMPLES["fields"].differential.specimen
    report = sr_of(report_of(EXAMPLES["fields"]))
    groups = {g.tracking_identifier: g for g in report.content.get_planar_roi_measurement_groups()}

    told = [cell for cell in specimen.cells if not cell.is_double]
    assert set(groups) == {f"Cell {cell.number}" for cell in told}
    assert len(told) < len(specimen.cells)
    hashes = {field.number: field.image_sha256 for field in specimen.fields}
    for cell in told:
        group = groups[f"Cell {cell.number}"]
        assert cell.place is not None
        assert cell.result is not None
        assert cell.result.box is not None
        box = cell.result.box
        assert group.finding_type.meaning == (cell.label or "Unidentified")
        region = group.roi
        assert region.graphic_type.name == "POLYLINE"
        points = region.value
        assert (points[0] == points[-1]).all()
        assert points.min(axis=0).tolist() == [box.left, box.top]
        assert points.max(axis=0).tolist() == [box.right, box.bottom]
        selected = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert selected.ReferencedSOPInstanceUID == field_uid(hashes[cell.place.number])
    named = {
        one.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert named == {field_uid(sha256) for sha256 in hashes.values()}
    comments = [line.value for line in checked_object(report_of(EXAMPLES["fields"]).data).lines]
    for sha256 in hashes.values():
        assert any(sha256 in text and field_uid(sha256) in text for text in comments)


@pytest.mark.parametrize("name", EXAMPLES)
def test_none_has_a_fault_that_dciodvfy_finds(name, tmp_path):
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("no dciodvfy: install Debian's package dicom3tools")
    file = tmp_path / "report.dcm"
    file.write_bytes(report_of(EXAMPLES[name]).data)
    said = subprocess.run([program, file], capture_output=True, text=True, timeout=30, check=False)
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


async def test_a_process_of_its_own_writes_the_same_one_report_after_the_other():
    reports = ReportProcess()
    await reports.begin(after_s=0)
    process = reports._process
    for name in ("preliminary", "final"):
        differential = EXAMPLES[name].differential
        assert await reports.written(differential, DEFAULT_SITE) == differential_report(differential).data
    assert reports._process is process
    await reports.close()


async def test_a_process_that_ended_is_begun_anew():
    reports = ReportProcess()
    differential = EXAMPLES["preliminary"].differential
    first = await reports.written(differential, DEFAULT_SITE)
    reports._process.kill()
    await reports._process.wait()
    assert await reports.written(differential, DEFAULT_SITE) == first
    await reports.close()
