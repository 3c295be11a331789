"""Images and differentials end as DICOM objects in a real archive, by the commands that a site runs."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx2
import pydicom
import pytest
from typer.testing import CliRunner, Result

from orchestrator.commands.cli import app
from orchestrator.documents.reading import write_differential
from orchestrator.domain import DISCLAIMER
from orchestrator.emulator.examples import examples
from tests.dicom_files import PATIENT, native_file
from tests.fakes.scripted_http import scripted
from tests.orthanc import PASSWORD, USER, running_orthanc
from tests.running_service import free_port
from tests.synthetic_cells import synthetic_cell

CELL = synthetic_cell("Neutrophil", seed=3, size=240)


@dataclass(frozen=True)
class Archive:
    """The running archive, and how the commands reach it."""

    url: str
    credential_file: Path

    def found(self, **wanted: str) -> list[dict[str, Any]]:
        """Instances by QIDO-RS."""
        with self._client("application/dicom+json") as client:
            return list(client.get("/instances", params=wanted).raise_for_status().json())

    def retrieved(self, instance: dict[str, Any]) -> pydicom.Dataset:
        """One of them by WADO-RS."""
        study, series, uid = (instance[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        with self._client('multipart/related; type="application/dicom"') as client:
            answer = client.get(f"/studies/{study}/series/{series}/instances/{uid}").raise_for_status()
        boundary = answer.headers["content-type"].split("boundary=")[1].split(";")[0].strip('"')
        file = answer.content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + boundary.encode(), 1)[0]
        return pydicom.dcmread(io.BytesIO(file))

    def _client(self, accept: str) -> httpx2.Client:
        headers = {"Accept": accept}
        return httpx2.Client(base_url=self.url, auth=(USER, PASSWORD), headers=headers, timeout=20)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("orthanc")
    credential = folder / "credential"
    credential.write_text(f"{USER}:{PASSWORD}\n")
    with running_orthanc(folder) as url:
        yield Archive(url, credential)


def wbc(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def value(instance: dict[str, Any], tag: str) -> Any:
    return instance[tag]["Value"][0]


def test_images_are_analysed_into_pictures_and_reports_that_the_archive_holds_once(archive, tmp_path):
    (tmp_path / "smear.dcm").write_bytes(native_file(CELL))
    cv2.imwrite(str(tmp_path / "cell.png"), CELL[:, :, ::-1])
    command = (
        *("dicom", "analyse", tmp_path / "smear.dcm", tmp_path / "cell.png", "--output", tmp_path / "made"),
        *("--specimen-id", "S-77", "--stow", archive.url, "--credential-file", archive.credential_file),
        "--verify",
    )
    for _ in range(2):
        result = wbc(*command)
        assert result.exit_code == 0, result.output
        assert DISCLAIMER in result.output
        assert len(list((tmp_path / "made").glob("*.dcm"))) == 4
    of_patient = archive.found(PatientID=PATIENT)
    assert sorted(value(one, "00080060") for one in of_patient) == ["OT", "SR"]
    everything = archive.found()
    assert len(everything) == 4
    for instance in everything:
        there, here = archive.retrieved(instance), tmp_path / "made" / f"{value(instance, '00080018')}.dcm"
        assert there == pydicom.dcmread(here)


def test_a_signed_differential_reaches_the_archive_under_its_patient(archive, tmp_path):
    document = tmp_path / "differential.json"
    document.write_bytes(write_differential(examples()["final"].differential))
    sent = wbc(
        *("export", "dicom", document, "--send", archive.url, "--token-file", archive.credential_file),
        *("--patient-id", "MRN-9", "--patient-family", "Çelik", "--order-number", "A-1", "--verify"),
    )
    assert sent.exit_code == 0, sent.output
    (instance,) = archive.found(PatientID="MRN-9")
    report = archive.retrieved(instance)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert report.PatientName.family_name == "Çelik"
    assert report.AccessionNumber == "A-1"


def test_a_wrong_credential_stores_nothing_and_says_so(archive, tmp_path):
    wrong = tmp_path / "credential"
    wrong.write_text(f"{USER}:not the password")
    (tmp_path / "cell.dcm").write_bytes(native_file(CELL, StudyInstanceUID="2.25.4711"))
    result = wbc(
        *("dicom", "analyse", tmp_path / "cell.dcm", "--output", tmp_path / "made"),
        *("--stow", archive.url, "--credential-file", wrong),
    )
    assert result.exit_code != 0
    assert "401" in str(result.exception) + result.output
    assert "not the password" not in str(result.exception) + result.output
    assert archive.found(StudyInstanceUID="2.25.4711") == []
    assert len(list((tmp_path / "made").glob("*.dcm"))) == 2


def test_an_image_that_fails_fails_alone(tmp_path):
    (tmp_path / "cell.dcm").write_bytes(native_file(CELL))
    (tmp_path / "broken.dcm").write_bytes(native_file(CELL)[:2000])
    result = wbc(
        "dicom", "analyse", tmp_path / "cell.dcm", tmp_path / "broken.dcm", "--output", tmp_path / "made"
    )
    assert result.exit_code == 1
    assert "broken.dcm" in result.output
    assert len(list((tmp_path / "made").glob("*.dcm"))) == 2


def test_an_archive_that_confirms_nothing_has_stored_nothing(tmp_path):
    (tmp_path / "cell.dcm").write_bytes(native_file(CELL))
    with scripted([(200, {"Content-Type": "text/html"}, b"<p>Please sign in</p>")]) as (url, _):
        result = wbc("dicom", "analyse", tmp_path / "cell.dcm", "--output", tmp_path / "made", "--stow", url)
    assert result.exit_code == 2
    assert result.output.count('not confirmed: it answered 200 with text/html, "Please sign in"') == 2


def test_an_archive_that_is_not_there_is_told_and_the_objects_are_kept(tmp_path):
    (tmp_path / "cell.dcm").write_bytes(native_file(CELL))
    result = wbc(
        *("dicom", "analyse", tmp_path / "cell.dcm", "--output", tmp_path / "made", "--attempts", 1),
        *("--stow", f"http://127.0.0.1:{free_port()}/dicom-web"),
    )
    assert result.exit_code != 0
    assert "did not answer" in str(result.exception) + result.output
    assert len(list((tmp_path / "made").glob("*.dcm"))) == 2
    assert json.dumps(PATIENT) not in result.output
