"""One image's heatmap and report as DICOM objects, read by libraries that did not write them."""

import io
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from highdicom.sr import ComprehensiveSR, srread
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import DISCLAIMER
from orchestrator.emulator.dicom_check import checked_object
from orchestrator.errors import MalformedMessage
from orchestrator.interop.dicom import DicomObject, derived_uid, new_study, quiet, study_of
from orchestrator.interop.site import NO_CONTEXT, Site
from orchestrator.model_contract import CLASS_NAMES
from tests.dicom_files import PATIENT, described, native_file, written
from tests.dicom_results import MOMENT, CellObjects, cell_objects, read
from tests.synthetic_cells import image_file, synthetic_cell

CELL = synthetic_cell("Neutrophil", seed=3, size=240)
DICOM = native_file(CELL)
DCIODVFY = shutil.which("dciodvfy")
PNG = image_file(CELL)


@pytest.fixture
async def of_dicom() -> CellObjects:
    return await cell_objects(DICOM, study_of(DICOM))


@pytest.fixture
async def of_a_photograph() -> CellObjects:
    study = new_study(derived_uid("study", "S-1"), NO_CONTEXT, specimen="S-1")
    return await cell_objects(PNG, study)


def faults(one: DicomObject, folder: Path) -> list[str]:
    """What dciodvfy finds, where it is installed."""
    if DCIODVFY is None:
        return []
    file = folder / "one.dcm"
    file.write_bytes(one.data)
    said = subprocess.run([DCIODVFY, file], capture_output=True, text=True, timeout=30, check=False)
    return [line for line in said.stderr.splitlines() if line.startswith("Error")]


def sr_of(made: CellObjects) -> ComprehensiveSR:
    report = srread(io.BytesIO(made.report.data))
    assert isinstance(report, ComprehensiveSR)
    return report


async def test_the_picture_shows_the_heatmap_pixel_by_pixel_and_words_below_it(of_dicom):
    picture = read(of_dicom.overlay)
    overlay = of_dicom.analysis.overlay
    assert overlay is not None
    drawn = cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    height, width = CELL.shape[:2]
    assert picture.pixel_array.shape[1:] == (width, 3)
    np.testing.assert_array_equal(picture.pixel_array[:height], drawn)
    words = picture.pixel_array[height:]
    assert (words.min(), words.max()) == (0, 255)
    assert picture.ImageComments == DISCLAIMER
    assert picture.Modality == "OT"


@pytest.mark.parametrize("which", ["overlay", "report"])
async def test_of_a_dicom_image_both_belong_to_its_patient_and_study_in_series_of_their_own(of_dicom, which):
    source, made = described(), read(getattr(of_dicom, which))
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyInstanceUID",
        "StudyDate", "StudyTime", "StudyID",
    ):  # fmt: skip
        assert made[keyword].value == source[keyword].value, keyword
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SOPInstanceUID != source.SOPInstanceUID
    assert "PatientComments" not in made


async def test_the_picture_names_its_source(of_dicom, of_a_photograph):
    (reference,) = read(of_dicom.overlay).SourceImageSequence
    source = described()
    assert reference.ReferencedSOPClassUID == source.SOPClassUID
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "SourceImageSequence" not in read(of_a_photograph.overlay)


async def test_a_picture_of_an_image_with_losses_says_so():
    said = [
        read((await cell_objects(DICOM, study_of(DICOM), is_lossy=is_lossy)).overlay)
        for is_lossy in (True, False)
    ]
    assert [image.get("LossyImageCompression") for image in said] == ["01", None]


def test_losses_of_long_ago_are_remembered():
    assert study_of(native_file(CELL, LossyImageCompression="01")).was_lossy
    assert not study_of(DICOM).was_lossy


def test_a_name_in_the_characters_of_its_source_stays_the_same_name():
    turkish = native_file(CELL, SpecificCharacterSet="ISO_IR 148", PatientName="Çelik^Ayşe Şule")
    assert "Çelik".encode() not in turkish
    study = study_of(turkish).study
    assert (study.PatientName.family_name, study.PatientName.given_name) == ("Çelik", "Ayşe Şule")
    assert study.SpecificCharacterSet == "ISO_IR 192"


async def test_an_image_that_is_no_dicom_names_no_patient(of_a_photograph):
    for one in (of_a_photograph.overlay, of_a_photograph.report):
        made = read(one)
        assert (made.PatientName, made.PatientID, made.AccessionNumber) == ("", "", "")
        assert PATIENT.encode() not in one.data


async def test_the_report_holds_the_result_in_numbers_and_codes(of_dicom):
    finding, focus = of_dicom.analysis.finding, of_dicom.analysis.focus
    assert focus is not None
    report = sr_of(of_dicom)
    (group,) = report.content.get_image_measurement_groups()
    values = {m.name.meaning: m.value for m in group.get_measurements()}
    for name, probability in zip(CLASS_NAMES, finding.probabilities, strict=True):
        assert values[f"Probability of {name}"] == pytest.approx(probability, abs=5e-5)
    assert values["Probability of none of the five classes"] == pytest.approx(finding.not_wbc, abs=5e-5)
    assert values["Share of the heatmap that lies on the cell"] == pytest.approx(focus.focus_ratio, abs=5e-5)
    said = [(q.name.meaning, q.value.meaning) for q in group.get_qualitative_evaluations()]
    assert ("Class of one cell", finding.class_name) in said
    assert ("A person should look at it", "Yes" if finding.needs_review else "No") in said
    assert of_dicom.analysis.device_state == "unknown"  # the service's default profile
    assert ("How far the microscope is known", "Unknown microscope") in said
    assert len(said) == 3 + len(finding.review_reasons)
    lines = [(line.name, line.value) for line in checked_object(of_dicom.report.data).lines]
    assert ("Comment", DISCLAIMER) in lines
    for reason in finding.review_reasons:
        assert any(value.endswith(reason.message) for _, value in lines), reason.message
    assert of_dicom.overlay.sop_instance_uid in [value for _, value in lines]


async def test_nobody_signs_a_single_cell(of_dicom):
    report = sr_of(of_dicom)
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"


async def test_the_same_result_gives_the_same_objects_another_study_others(of_dicom):
    again = await cell_objects(DICOM, study_of(DICOM))
    assert again.overlay == of_dicom.overlay
    assert again.report == of_dicom.report
    later = await cell_objects(DICOM, study_of(DICOM), MOMENT + timedelta(days=1))
    assert later.report.sop_instance_uid == of_dicom.report.sop_instance_uid
    site = Site(snomed={"Neutrophil": "30630007"})
    in_other_codes = await cell_objects(DICOM, study_of(DICOM), site=site)
    assert in_other_codes.overlay == of_dicom.overlay
    assert in_other_codes.report.sop_instance_uid != of_dicom.report.sop_instance_uid
    moved = native_file(CELL, StudyInstanceUID="2.25.77")
    elsewhere = await cell_objects(moved, study_of(moved))
    assert elsewhere.overlay.sop_instance_uid != of_dicom.overlay.sop_instance_uid
    assert elsewhere.report.sop_instance_uid != of_dicom.report.sop_instance_uid


async def test_no_object_has_a_fault_that_dciodvfy_finds(of_dicom, of_a_photograph, tmp_path):
    if DCIODVFY is None:
        pytest.skip("no dciodvfy: install Debian's package dicom3tools")
    for made in (of_dicom, of_a_photograph):
        for one in (made.overlay, made.report):
            assert faults(one, tmp_path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientName": "Ünal\\=^^^^^\r\nX" + "y" * 300},
        {"PatientBirthDate": "yesterday"},
        {"PatientBirthDate": "19571312"},
        {"StudyDate": "20260230"},
        {"StudyTime": "99"},
        {"StudyTime": "0975"},
        {"PatientID": "a\\b\tc"},
        {"TimezoneOffsetFromUTC": "east"},
        {"AccessionNumber": "A-4242424242424242"},
    ],
    ids=[
        "a name",
        "a word for a date",
        "a 13th month",
        "a 30th of February",
        "a 99th hour",
        "a 75th minute",
        "an id",
        "an offset",
        "a long number",
    ],
)
async def test_what_a_careless_source_holds_makes_no_broken_object(changes, tmp_path):
    with quiet():
        payload = native_file(CELL, **changes)
    made = await cell_objects(payload, study_of(payload))
    for one in (made.overlay, made.report):
        assert checked_object(one.data).problems == ()
        dataset = read(one)
        assert all(len(group) <= 64 for group in str(dataset.PatientName).split("="))
        assert faults(one, tmp_path) == []
        assert dataset.PatientID in ("", PATIENT)
        assert dataset.AccessionNumber in ("", "A-42")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"StudyInstanceUID": ""}, "StudyInstanceUID"),
        ({"SeriesInstanceUID": "1.2.a"}, "SeriesInstanceUID"),
        ({"SOPInstanceUID": "1." + "2" * 80}, "SOPInstanceUID"),
    ],
)
def test_a_source_without_valid_identifiers_is_refused_by_their_names(changes, names):
    with quiet():
        payload = written(described(**changes))
    with pytest.raises(MalformedMessage, match=names):
        study_of(payload)


@pytest.mark.parametrize("payload", [b"", b"\0" * 128 + b"DICM" + b"\1" * 40], ids=["nothing", "no elements"])
def test_what_is_no_dicom_file_is_refused(payload):
    with pytest.raises(MalformedMessage):
        study_of(payload)


@given(st.data())
def test_a_damaged_header_gives_a_belonging_or_is_refused(data):
    payload = bytearray(native_file(CELL[:4, :4]))
    for _ in range(data.draw(st.integers(1, 5))):
        payload[data.draw(st.integers(132, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        study = study_of(bytes(payload))
    except MalformedMessage:
        return
    assert re.fullmatch(r"[0-9.]{3,64}", study.study_uid)
