import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest

from orchestrator.emulator import fhir_endpoint
from orchestrator.emulator.examples import examples
from orchestrator.emulator.fhir_endpoint import FhirEndpoint, ReceivedBundle
from orchestrator.interop.fhir import bundle

BUNDLE = bundle(examples()["without_total"].differential)


@asynccontextmanager
async def asked(endpoint: FhirEndpoint) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(endpoint.app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://lab") as client:
        yield client


async def test_a_transaction_is_kept_and_can_be_read_and_told():
    told: list[ReceivedBundle] = []
    async with asked(FhirEndpoint(tell=told.append)) as client:
        first = await client.post("/fhir", json=BUNDLE)
        second = await client.post("/fhir", json=BUNDLE)
        report = BUNDLE["entry"][0]["resource"]
        kept = await client.get(f"/fhir/DiagnosticReport/{report['id']}")
    assert {entry["response"]["status"] for entry in first.json()["entry"]} == {"201 Created"}
    assert {entry["response"]["status"] for entry in second.json()["entry"]} == {"200 OK"}
    assert kept.json() == report
    number = len(BUNDLE["entry"])
    assert [(r.status, r.created, r.replaced) for r in told] == [(200, number, 0), (200, 0, number)]


async def test_it_says_what_it_can():
    async with asked(FhirEndpoint()) as client:
        answer = (await client.get("/fhir/metadata")).json()
    assert (answer["resourceType"], answer["fhirVersion"]) == ("CapabilityStatement", "4.0.1")


def issues(response: httpx2.Response) -> str:
    assert response.headers["content-type"] == "application/fhir+json"
    assert response.json()["resourceType"] == "OperationOutcome"
    return " ".join(issue["diagnostics"] for issue in response.json()["issue"])


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
async def test_what_is_no_json_is_refused(body):
    async with asked(FhirEndpoint()) as client:
        response = await client.post("/fhir", content=body)
    assert response.status_code == 400
    assert "no JSON" in issues(response)


async def test_a_body_without_end_is_refused():
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 2**20

    async with asked(FhirEndpoint()) as client:
        response = await client.post("/fhir", content=endless())
    assert response.status_code == 400
    assert fhir_endpoint.MAX_BYTES == 32 * 2**20


async def test_a_wrong_bundle_is_refused_with_all_that_is_wrong_and_not_kept():
    wrong = json.loads(json.dumps(BUNDLE))
    wrong["entry"][0]["resource"]["status"] = "finished"
    endpoint = FhirEndpoint()
    async with asked(endpoint) as client:
        response = await client.post("/fhir", json=wrong)
    assert response.status_code == 422
    assert "status is not one of FHIR R4" in issues(response)
    assert not endpoint.resources


async def test_a_bundle_goes_where_its_type_belongs():
    collection = bundle(examples()["without_total"].differential, bundle_type="collection")
    async with asked(FhirEndpoint()) as client:
        wrong_place = await client.post("/fhir", json=collection)
        wrong_id = await client.put("/fhir/Bundle/1", json=collection)
        right = await client.put(f"/fhir/Bundle/{collection['id']}", json=collection)
        missing = await client.get("/fhir/Patient/1")
    assert "type transaction" in issues(wrong_place)
    assert "not that of the Bundle" in issues(wrong_id)
    assert (right.status_code, missing.status_code) == (201, 404)


async def test_it_is_busy_as_often_as_it_was_told_to():
    statuses: Sequence[int] = (503, 500)
    async with asked(FhirEndpoint(statuses)) as client:
        answers = [(await client.post("/fhir", json=BUNDLE)).status_code for _ in range(3)]
    assert answers == [503, 500, 200]
