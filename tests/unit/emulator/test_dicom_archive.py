"""The emulated archive: what it takes, refuses and gives back; and the golden reports that it takes."""

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pydicom
import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.emulator import dicom_archive
from orchestrator.emulator.dicom_archive import CANNOT_UNDERSTAND, DicomArchive
from orchestrator.emulator.dicom_check import CheckedObject
from orchestrator.emulator.golden import golden_reports
from orchestrator.interop.dicom import quiet
from tests.dicom_results import made_reports

REPORTS = made_reports()
FINAL = REPORTS["final.sr.dcm"]
RELATED = 'multipart/related; type="application/dicom"; boundary=b'


@asynccontextmanager
async def asked(archive: DicomArchive) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(archive.app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://lab") as client:
        yield client


def body(files: Sequence[bytes]) -> bytes:
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + file + b"\r\n" for file in files) + b"--b--\r\n"


async def stored(client: httpx2.AsyncClient, *files: bytes, path: str = "studies") -> httpx2.Response:
    return await client.post(f"/dicom-web/{path}", content=body(files), headers={"content-type": RELATED})


def changed(file: bytes, keyword: str, value: str) -> bytes:
    written = io.BytesIO()
    with quiet():
        dataset = pydicom.dcmread(io.BytesIO(file))
        setattr(dataset, keyword, value)
        dataset.save_as(written)
    return written.getvalue()


async def test_every_golden_report_is_taken_and_says_what_it_must_not_be_used_for():
    told: list[CheckedObject] = []
    async with asked(DicomArchive(tell=told.append)) as client:
        answer = await stored(client, *REPORTS.values())
    assert answer.status_code == 200, answer.text
    assert [one.problems for one in told] == [()] * len(REPORTS)
    for one in told:
        assert DISCLAIMER in [line.value for line in one.lines]


async def test_a_report_is_told_with_its_values():
    told: list[CheckedObject] = []
    async with asked(DicomArchive(tell=told.append)) as client:
        await stored(client, FINAL)
    said = [f"{line.name}: {line.value}" for line in told[0].lines]
    assert "Neutrophils/Leukocytes in Blood: 78 %" in said
    assert "Person Observer Name: dr.demir^" in said


async def test_what_was_stored_is_found_and_given_back_byte_by_byte_and_once():
    async with asked(DicomArchive()) as client:
        await stored(client, FINAL)
        await stored(client, FINAL)
        study = pydicom.dcmread(io.BytesIO(FINAL)).StudyInstanceUID
        found = (await client.get("/dicom-web/instances", params={"StudyInstanceUID": study})).json()
        none = (await client.get("/dicom-web/instances", params={"StudyInstanceUID": "1.2"})).json()
        series, instance = (found[0][tag]["Value"][0] for tag in ("0020000E", "00080018"))
        place = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
        given = await client.get(place)
        elsewhere = await client.get(place.replace(study, "1.2"))
    assert (len(found), none, elsewhere.status_code) == (1, [], 404)
    boundary = given.headers["content-type"].split("boundary=")[1].encode()
    assert given.content.split(b"\r\n\r\n", 1)[1] == FINAL + b"\r\n--" + boundary + b"--\r\n"


async def test_of_several_the_wrong_one_is_refused_and_the_others_are_kept():
    archive = DicomArchive()
    wrong = changed(FINAL, "StudyInstanceUID", "not a UID")
    async with asked(archive) as client:
        some = await stored(client, REPORTS["preliminary.sr.dcm"], wrong)
        none = await stored(client, wrong)
    assert (some.status_code, none.status_code, len(archive.objects)) == (202, 409, 1)
    failed = some.json()["00081198"]["Value"]
    assert [item["00081197"]["Value"] for item in failed] == [[CANNOT_UNDERSTAND]]
    assert "00081199" not in none.json()


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"", "no DICOM file"),
        (FINAL[:100], "no DICOM file"),
        (FINAL[:3000], "cannot be read"),
        (changed(FINAL, "SOPInstanceUID", "2.25.1"), "names another instance"),
        (changed(FINAL, "Modality", ""), "Modality is missing"),
        (changed(FINAL, "ValueType", "TEXT"), "cannot be read"),
    ],
    ids=["nothing", "cut in its header", "cut", "two names", "no modality", "no container"],
)
async def test_what_is_wrong_with_an_object_is_told(file, problem):
    told: list[CheckedObject] = []
    async with asked(DicomArchive(tell=told.append)) as client:
        answer = await stored(client, file)
    assert answer.status_code == 409
    assert problem in " ".join(told[0].problems)


async def test_an_object_of_another_study_than_the_address_is_refused():
    async with asked(DicomArchive()) as client:
        assert (await stored(client, FINAL, path="studies/1.2.3")).status_code == 409


async def test_it_answers_first_as_it_was_told_to():
    async with asked(DicomArchive([503, 429])) as client:
        assert [(await stored(client, FINAL)).status_code for _ in range(3)] == [503, 429, 200]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (FINAL, "application/dicom", 415),
        (body([FINAL]), 'multipart/related; type="application/dicom"', 415),
        (b"--c\r\n\r\n", RELATED, 400),
        (b"", RELATED, 400),
    ],
    ids=["no parts", "no boundary", "another boundary", "nothing"],
)
async def test_a_request_that_is_none_is_refused(content, content_type, status):
    async with asked(DicomArchive()) as client:
        answer = await client.post(
            "/dicom-web/studies", content=content, headers={"content-type": content_type}
        )
    assert answer.status_code == status


async def test_more_than_it_can_hold_is_413(monkeypatch):
    monkeypatch.setattr(dicom_archive, "MAX_BYTES", 100)
    async with asked(DicomArchive()) as client:
        assert (await stored(client, FINAL)).status_code == 413


def test_golden_reports_are_the_same_every_time():
    assert golden_reports() == REPORTS
