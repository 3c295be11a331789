"""A stored differential over HTTP in the formats of other systems, and what a caller gets wrong."""

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2
import pydicom
import pytest

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.edge.http.problems import MEDIA_TYPE
from orchestrator.edge.rest.interop_api import MOST_DICOM_ASKED, InteropApi
from orchestrator.emulator.examples import examples
from orchestrator.errors import Overloaded, UnknownDifferential
from orchestrator.interop import fhir_check, hl7v2_check
from orchestrator.interop.dicom_process import ReportProcess
from orchestrator.interop.hl7v2_text import at, read
from orchestrator.interop.site import DEFAULT_SITE
from orchestrator.settings import Settings
from orchestrator.specimen import Differential
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer

CELLS = examples()["preliminary"].differential.specimen.cells
ORDER = replace(examples()["preliminary"].differential.specimen.order, specimen_id="S|1")


@asynccontextmanager
async def service(store: MemoryStore, **settings: object) -> AsyncIterator[httpx2.AsyncClient]:
    chosen = Settings.model_validate(settings)
    services = build_services(chosen, model_server=FakeModelServer())
    app = build_app(chosen, services, store=store)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://service") as client,
        app.router.lifespan_context(app),
    ):
        yield client


@pytest.fixture
async def stored() -> tuple[MemoryStore, str]:
    """A store with one specimen, whose hundred cells are analysed."""
    store = MemoryStore()
    specimen, _ = await store.create(ORDER, [b"image %d" % cell.number for cell in CELLS], "lis")
    for kept, cell in zip(specimen.cells, CELLS, strict=True):
        assert cell.result is not None
        await store.record_result(specimen.differential_id, kept.cell_id, cell.result)
    return store, f"/v1/differentials/{specimen.differential_id}"


async def test_a_differential_is_answered_as_a_sound_bundle_final_once_signed(stored):
    store, path = stored
    async with service(store) as client:
        response = await client.get(f"{path}/fhir")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/fhir+json"
        assert fhir_check.problems(response.json()) == []
        assert response.json()["entry"][0]["resource"]["status"] == "preliminary"
        assert len(response.json()["entry"]) < 30
        await store.sign(path.split("/")[-1], "dr.demir")
        signed = (await client.get(f"{path}/fhir", params={"bundle": "collection", "cells": "true"})).json()
    assert signed["type"] == "collection"
    assert signed["entry"][0]["resource"]["status"] == "final"
    assert len(signed["entry"]) > 100


@pytest.mark.parametrize(("kind", "trigger"), [("oru", "R01"), ("oul", "R22")])
async def test_a_differential_is_answered_as_a_sound_message_of_the_site(stored, kind, trigger):
    store, path = stored
    site = {"method": "manual", "sending_facility": "LAB 1", "processing_id": "P"}
    async with service(store, interop=site) as client:
        response = await client.get(f"{path}/hl7", params={"message": kind, "detail": "false"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/hl7-v2+er7; charset=utf-8"
    assert hl7v2_check.problems(response.content) == []
    message = read(response.content)
    assert message.value("MSH", 9, 2) == trigger
    assert (message.value("MSH", 4), message.value("MSH", 11)) == ("LAB 1", "P")
    assert message.value("SPM", 2) == "S|1"
    values = {message.component(at(obx, 3)): at(obx, 5) for obx in message.all("OBX")}
    assert values["23761-0"] == "78"


@pytest.mark.parametrize("ending", ["fhir", "hl7"])
async def test_what_does_not_exist_or_is_no_choice_is_a_problem(stored, ending):
    store, path = stored
    async with service(store) as client:
        unknown = await client.get(f"/v1/differentials/none/{ending}")
        wrong = await client.get(f"{path}/{ending}", params={"bundle": "x", "message": "x"})
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, MEDIA_TYPE)
    assert (wrong.status_code, wrong.headers["content-type"]) == (422, MEDIA_TYPE)


async def test_all_are_documented():
    async with service(MemoryStore()) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    fhir = paths["/v1/differentials/{differential_id}/fhir"]["get"]
    assert list(fhir["responses"]["200"]["content"]) == ["application/fhir+json"]
    hl7 = paths["/v1/differentials/{differential_id}/hl7"]["get"]
    assert list(hl7["responses"]["200"]["content"]) == ["application/hl7-v2+er7"]
    dicom = paths["/v1/differentials/{differential_id}/dicom"]["get"]
    assert list(dicom["responses"]["200"]["content"]) == ["application/dicom"]
    assert {"404", "501", "503"} <= set(dicom["responses"])


async def test_a_signed_differential_is_answered_as_a_verified_structured_report(stored):
    store, path = stored
    await store.sign(path.split("/")[-1], "dr.demir")
    async with service(store) as client:
        answer = await client.get(f"{path}/dicom")
        missing = await client.get("/v1/differentials/none/dicom")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom"
    assert "attachment" in answer.headers["content-disposition"]
    report = pydicom.dcmread(io.BytesIO(answer.content))
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "dr.demir^"
    assert (missing.status_code, missing.headers["content-type"]) == (404, MEDIA_TYPE)


async def test_without_the_extra_the_answer_says_which_one_is_missing(stored, monkeypatch):
    store, path = stored
    monkeypatch.setitem(sys.modules, "highdicom", None)  # how the import system says that there is none
    async with service(store) as client:
        answer = await client.get(f"{path}/dicom")
    assert (answer.status_code, answer.headers["content-type"]) == (501, MEDIA_TYPE)
    assert "wbc-analyzer[dicom]" in answer.json()["detail"]


async def test_more_reports_at_once_than_can_soon_be_written_are_refused():
    free = asyncio.Event()

    async def none_yet(differential_id: str) -> Differential:
        await free.wait()
        raise UnknownDifferential(differential_id)

    api = InteropApi(none_yet, DEFAULT_SITE, ReportProcess())
    waiting = [asyncio.create_task(api.dicom("none")) for _ in range(MOST_DICOM_ASKED)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await api.dicom("none")
    free.set()
    assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {
        UnknownDifferential
    }
    with pytest.raises(UnknownDifferential):
        await api.dicom("none")


def test_neither_the_service_nor_its_command_line_loads_the_libraries_of_dicom():
    program = (
        "import sys, orchestrator.commands.cli; from orchestrator.settings import Settings; "
        "from orchestrator.bootstrap.services import build_app; build_app(Settings()); "
        "print(*{'pydicom', 'highdicom'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


async def test_the_table_of_classes_has_the_codes_of_the_sites_method(stored):
    store, path = stored
    async with service(store) as client:
        unspecified = (await client.get(f"{path}/export.csv")).text
    async with service(store, interop={"method": "manual"}) as client:
        manual = await client.get(f"{path}/export.csv")
        cells = await client.get(f"{path}/export.csv", params={"table": "cells"})
        turkish = await client.get(f"{path}/export.csv", params={"spreadsheet": "comma"})
    assert ("26511-6" in unspecified, "26511-6" in manual.text) == (True, False)
    assert manual.text.count("LN") == unspecified.count("LN")
    assert manual.headers["content-type"] == "text/csv; charset=utf-8"
    assert turkish.content.startswith(b"\xef\xbb\xbfdifferential_id;specimen_id;")
    assert len(cells.text.splitlines()) == 1 + len(CELLS)
