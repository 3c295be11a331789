"""Differentials over HTTP, with a store in memory and a model server that needs no model."""

import asyncio
import csv
import io
import json
import logging
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import Message

from orchestrator import errors
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.bootstrap.specimens import order_limits
from orchestrator.domain import DISCLAIMER, Prediction, Question
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.access.security import API_KEY_PREFIX, ROLES, Authenticator, Principal
from orchestrator.edge.draining import Draining
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.rest.differentials_api import EventStream
from orchestrator.labels import CELL_LABELS, LABELS
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.model_server.base import ModelServer
from orchestrator.settings import DeadlineSettings, DifferentialSettings, ImageSettings, Settings
from orchestrator.store.base import Store
from tests.counted_cells import NOT_PRINTED
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.http_edge import client_of
from tests.integration.test_http_api import assert_problem
from tests.synthetic_cells import cell_file
from tests.waiting import LONGEST_S, becomes

PATH = "/v1/differentials"
FEW = DifferentialSettings(min_cells=5)


@pytest.fixture(scope="module")
def cells() -> list[bytes]:
    return [cell_file(name, seed) for seed, name in enumerate(CLASS_NAMES * 2)]


def zipped(*files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, content in enumerate(files):
            archive.writestr(f"{number}.png", content)
    return out.getvalue()


def app_of(
    store: Store | None = None,
    model_server: ModelServer | None = None,
    differential: DifferentialSettings = FEW,
    draining: Draining | None = None,
    access: AccessRules | None = None,
) -> FastAPI:
    settings = Settings(
        differential=differential,
        images=ImageSettings(processes=0, max_bytes=200_000),
        deadline=DeadlineSettings(default_s=LONGEST_S, longest_s=LONGEST_S),
    )
    services = build_services(settings, model_server=model_server or FakeModelServer())
    return build_app(settings, services, draining, store=store or MemoryStore(), access=access)


def endpoints() -> set[tuple[str, str]]:
    routes = [route for route in app_of().routes if isinstance(route, Endpoint)]
    return {(route.method, route.path) for route in routes if route.path.startswith(PATH)}


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of()) as client:
        yield client


def as_files(payloads: list[bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("files", (f"{n}.png", payload, "image/png")) for n, payload in enumerate(payloads)]


async def ordered(
    client: httpx2.AsyncClient, payloads: list[bytes], key: str | None = None, **fields: str
) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    data = {"specimen_id": "S-1", "tta": "none", **fields}
    return await client.post(PATH, files=as_files(payloads), data=data, headers=headers)


def place_of(response: httpx2.Response) -> str:
    """Where an order is, as a caller resolves it."""
    return response.url.join(response.headers["location"]).path


async def finished(client: httpx2.AsyncClient, response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    place, progress = place_of(response), None
    async with asyncio.timeout(LONGEST_S) as patience:
        while (document := (await client.get(place)).json())["state"] in ("waiting", "running"):
            if document["progress"] != progress:  # however long all of it takes
                progress = document["progress"]
                patience.reschedule(asyncio.get_running_loop().time() + LONGEST_S)
            await asyncio.sleep(0.02)
    return document


async def done(client: httpx2.AsyncClient, payloads: list[bytes], **fields: str) -> dict[str, Any]:
    return await finished(client, await ordered(client, payloads, **fields))


def counts(document: dict[str, Any]) -> dict[str, int]:
    return {one["label"]: one["count"] for one in document["counts"]}


# Ordering


async def test_an_order_is_accepted_analysed_and_counted(client, cells):
    response = await ordered(client, cells, total_wbc="6.2", profile="raabin")
    assert response.status_code == 202
    accepted = response.json()
    assert place_of(response) == f"{PATH}/{accepted['id']}"
    behind_a_proxy = httpx2.URL(f"https://lab.example/wbc{PATH}")
    assert behind_a_proxy.join(response.headers["location"]).path == f"/wbc{PATH}/{accepted['id']}"
    assert accepted["progress"]["total"] == len(cells)
    assert [cell["number"] for cell in accepted["cells"]] == list(range(1, len(cells) + 1))

    document = await finished(client, response)
    assert document["state"] == "analysed"
    assert document["specimen_id"] == "S-1"
    assert document["total_wbc"] == 6.2
    assert [one["label"] for one in document["counts"]] == list(CELL_LABELS)
    assert sum(counts(document).values()) == document["progress"]["counted"] == len(cells)
    assert document["progress"]["unreviewed"] == len(document["review_list"])
    assert sum(one["percentage"] for one in document["counts"]) == pytest.approx(100)
    assert sum(one["absolute"] for one in document["counts"]) == pytest.approx(6.2)
    for one in document["counts"]:
        assert one["interval"]["low"] <= one["percentage"] <= one["interval"]["high"]
    assert sum(document["label_shift"].values()) == pytest.approx(1)
    assert document["models"][0]["sha256"] == "f" * 64
    assert "example" in document["reference_source"]
    assert document["disclaimer"] == DISCLAIMER
    assert "normal" not in json.dumps(document).lower()


async def test_each_cell_is_what_one_analysis_of_the_image_says(client, cells):
    document = await done(client, cells)
    for payload, cell in zip(cells, document["cells"], strict=True):
        alone = (await client.post("/v1/analyses", files={"file": payload}, data={"tta": "none"})).json()
        found = cell["result"]
        assert found["probabilities"] == alone["probabilities"]
        assert found["class"] == alone["decision"]["class"]
        assert found["margin"] == alone["decision"]["margin"]
        assert found["energy"] == alone["energy"]
        assert found["not_wbc"] == alone["not_wbc"]
        assert found["focus_ratio"] == alone["focus"]["ratio"]
        assert found["review_codes"] == [reason["code"] for reason in alone["review"]["reasons"]]
        assert cell["needs_review"] == alone["review"]["needed"]
        assert cell["label"] == ("Unidentified" if alone["review"]["needed"] else found["class"])


async def test_on_the_default_profile_every_cell_waits_for_a_person_the_least_confident_first(client, cells):
    document = await done(client, cells)
    assert document["device_state"] == "unknown"
    by_id = {cell["id"]: cell for cell in document["cells"]}
    confidences = [by_id[cell]["result"]["confidence"] for cell in document["review_list"]]
    assert len(confidences) == len(cells)
    assert confidences == sorted(confidences)
    assert counts(document)["Unidentified"] == len(cells)
    assert document["label_shift"] is None
    assert [one["code"] for one in document["limitations"]].count("device_unknown") == 1

    known = await done(client, cells, profile="raabin")
    assert known["device_state"] == "known"
    assert "device_unknown" not in json.dumps(known)


async def test_a_zip_is_as_good_as_its_files(client, cells):
    one_by_one = await done(client, cells[:5])
    from_zip = await done(client, [zipped(*cells[:5])])
    assert [c["image_sha256"] for c in from_zip["cells"]] == [c["image_sha256"] for c in one_by_one["cells"]]
    assert counts(from_zip) == counts(one_by_one)


async def test_a_hundred_files_are_one_specimen(cells):
    async with client_of(app_of(differential=DifferentialSettings(concurrency=4))) as client:
        document = await done(client, cells * 10)
    assert document["progress"]["counted"] == 100
    assert all(one["percentage"] is not None for one in document["counts"])
    assert [cell["number"] for cell in document["cells"]] == list(range(1, 101))


async def test_an_image_that_is_none_is_a_failed_cell_and_fails_nothing_else(client, cells):
    response = await ordered(client, [b"not an image", cells[0], b"", cells[1][:200], cells[2]])
    at_once = {cell["number"]: cell["state"] for cell in response.json()["cells"]}
    assert (at_once[1], at_once[3], at_once[4]) == ("failed", "failed", "failed")
    document = await finished(client, response)
    assert document["state"] == "analysed"
    assert document["progress"] | {"unreviewed": 0} == {
        "total": 5, "counted": 2, "waiting": 0, "failed": 3, "unreviewed": 0,
    }  # fmt: skip
    failures = [cell["failure"] for cell in document["cells"]]
    assert "JPEG, PNG" in failures[0]
    assert failures[2] == "The file is empty."
    assert "failed" in [limitation["code"] for limitation in document["limitations"]]


async def test_damage_that_only_the_pixels_show_is_a_failed_cell_too(client, cells):
    damaged = bytearray(cells[0])
    middle = damaged.index(b"IDAT") + 200
    damaged[middle : middle + 50] = bytes(50)
    document = await done(client, [bytes(damaged), cells[1]])
    assert [cell["state"] for cell in document["cells"]] == ["failed", "analysed"]


async def test_an_order_with_no_image_that_can_be_analysed_comes_to_an_end(client):
    document = await done(client, [b"one", b"two"])
    assert (document["state"], document["progress"]["failed"]) == ("analysed", 2)


# Idempotency


async def test_the_same_order_under_the_same_key_is_one_order(client, cells):
    first = await ordered(client, cells[:3], key="abc-1")
    again = await ordered(client, cells[:3], key="abc-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await client.get(PATH)).json()["items"]) == 1
    assert (await finished(client, again))["progress"]["counted"] == 3


async def test_another_order_under_the_same_key_is_refused(client, cells):
    await ordered(client, cells[:3], key="abc-2")
    assert_problem(await ordered(client, cells[:2], key="abc-2"), 422, "idempotency-conflict")
    other = await ordered(client, cells[:3], key="abc-2", specimen_id="S-2")
    assert_problem(other, 422, "idempotency-conflict")
    assert len((await client.get(PATH)).json()["items"]) == 1


# What is refused


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"specimen_id": ""}, "specimen_id"),
        ({"specimen_id": "x" * 65}, "specimen_id"),
        *(({"specimen_id": blank}, "specimen_id") for blank in (" ", " a", "a ", "\u3000a")),
        *(({"specimen_id": f"a{mark}b"}, "specimen_id") for mark in NOT_PRINTED),
        ({"total_wbc": "-1"}, "total_wbc"),
        ({"total_wbc": "nan"}, "total_wbc"),
        ({"total_wbc": "many"}, "total_wbc"),
        ({"total_wbc": "1_0"}, "total_wbc"),
        ({"profile": "no-such"}, "profile"),
        ({"tta": "all"}, "tta"),
        ({"patient": "Yilmaz"}, "patient"),
    ],
)
async def test_wrong_fields_are_refused_by_name(client, cells, fields, field):
    document = assert_problem(await ordered(client, cells[:1], **fields), 422, "invalid-parameter")
    assert [error["field"] for error in document["errors"]] == [field]
    assert (await client.get(PATH)).json()["items"] == []


async def test_what_is_no_order_is_refused(client, cells):
    for request, status, name in (
        (client.post(PATH, data={"specimen_id": "S-1"}), 400, "malformed-upload"),
        (client.post(PATH, json={"specimen_id": "S-1"}), 415, "unsupported-body"),
        (ordered(client, [zipped(cells[0]), cells[1]]), 400, "malformed-upload"),
        (ordered(client, [zipped()]), 400, "malformed-upload"),
        (ordered(client, [zipped(cells[0])[:-40]]), 400, "malformed-upload"),
        (ordered(client, [b"x" * 200_001]), 413, "image-too-large"),
        (ordered(client, cells[:1], key="a key with spaces"), 422, "invalid-parameter"),
    ):
        assert_problem(await request, status, name)
    assert (await client.get(PATH)).json()["items"] == []


async def test_a_zip_bomb_and_too_many_files_are_refused():
    limits = DifferentialSettings(max_files=4, max_total_bytes=500_000)
    async with client_of(app_of(differential=limits)) as client:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("cell.png", bytes(50_000_000))
        assert_problem(await ordered(client, [out.getvalue()]), 413, "image-too-large")
        assert_problem(await ordered(client, [zipped(*[b"x"] * 5)]), 413, "upload-too-large")
        assert_problem(await ordered(client, [b"x"] * 5), 413, "upload-too-large")
        assert_problem(await ordered(client, [b"x" * 180_000] * 3), 413, "upload-too-large")
        assert (await client.get(PATH)).json()["items"] == []


async def test_only_so_many_orders_are_received_at_a_time(cells):
    async with client_of(app_of(differential=DifferentialSettings(max_orders=1))) as client:
        begun, released = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"--b\r\n"
            begun.set()
            await released.wait()
            yield b'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n--b--\r\n'

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        first = asyncio.create_task(client.post(PATH, content=slow(), headers=headers))
        await begun.wait()
        refused = await ordered(client, cells[:1])
        assert_problem(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        released.set()
        assert_problem(await first, 422, "invalid-parameter")  # it named no specimen
        assert (await ordered(client, cells[:1])).status_code == 202


async def test_without_a_store_it_is_said_how_to_get_one():
    services = build_services(Settings(), model_server=FakeModelServer())
    async with client_of(build_app(Settings(), services)) as client:
        for method, path in endpoints():
            document = assert_problem(await client.request(method, path), 501, "store-off")
            assert "WBC_STORE__URL" in document["detail"]
        assert PATH not in (await client.get("/openapi.json")).json()["paths"]


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/sign"), ("GET", "/audit"),
        ("GET", "/export.csv"), ("GET", "/cells/x/image"), ("DELETE", "/cells/x/decision"),
    ],
)  # fmt: skip
async def test_what_does_not_exist_is_not_found(client, method, rest):
    assert_problem(await client.request(method, f"{PATH}/nowhere{rest}"), 404, "unknown-differential")


# What people do


async def test_a_person_has_more_words_than_the_model_and_the_counts_follow_them(client, cells):
    document = await done(client, cells, total_wbc="6.2")
    labels = (await client.get("/v1/labels")).json()
    assert [one["name"] for one in labels["labels"]] == [label.name for label in LABELS]
    assert labels["disclaimer"] == DISCLAIMER
    said = ["Band", "Segmented", "Nucleated red cell", "Artefact", "Immature granulocyte"]
    for cell, label in zip(document["cells"], said, strict=False):
        place = f"{PATH}/{document['id']}/cells/{cell['id']}/decision"
        after = (await client.post(place, json={"label": label})).json()
        assert after["cells"][cell["number"] - 1]["label"] == label
        # What the model said stays.
        assert after["cells"][cell["number"] - 1]["result"] == cell["result"]
    rows = {one["label"]: one for one in after["counts"]}
    assert list(rows)[:6] == list(CELL_LABELS)
    assert set(list(rows)[6:]) == set(said)
    assert rows["Band"]["part_of"] == "Neutrophil"
    assert rows["Neutrophil"]["count"] >= 2
    assert after["progress"]["counted"] == len(cells) - 2
    assert rows["Nucleated red cell"]["percentage"] == pytest.approx(100 / (len(cells) - 2))
    assert rows["Nucleated red cell"]["absolute"] is None
    assert (rows["Artefact"]["denominator"], rows["Artefact"]["percentage"]) == ("none", None)
    whole = [one for one in after["counts"] if one["denominator"] == "white_cells" and not one["part_of"]]
    assert sum(one["percentage"] for one in whole) == pytest.approx(100)
    assert sum(one["absolute"] for one in whole) == pytest.approx(6.2)
    place = f"{PATH}/{document['id']}"
    signed = (await client.post(f"{place}/sign")).json()
    assert signed["counts"] == after["counts"]
    table = list(csv.DictReader(io.StringIO((await client.get(f"{place}/export.csv")).text)))
    assert {row["label"]: row["percentage_code"] for row in table}["Band"] == "26508-2"
    assert b"26508-2^Band form neutrophils" in (await client.get(f"{place}/hl7")).content


async def test_a_word_that_the_site_does_not_have_is_refused_and_the_others_are_named(client, cells):
    document = await done(client, cells[:2])
    place = f"{PATH}/{document['id']}/cells/{document['cells'][0]['id']}/decision"
    refused = assert_problem(await client.post(place, json={"label": "Hairy cell"}), 422, "invalid-parameter")
    assert "Atypical lymphocyte" in refused["detail"]
    assert (await client.get(f"{PATH}/{document['id']}")).json()["etag"] == document["etag"]


async def test_a_sites_own_words_and_its_rule_for_smudge_cells_are_settings(cells, tmp_path):
    path = tmp_path / "labels.toml"
    path.write_text('[[label]]\nname = "Hairy cell"\nturkish = "Saçlı hücre"\nkey = "y"\n', "utf-8")
    own = FEW.model_copy(update={"labels": path, "smudge": "lymphocytes"})
    async with client_of(app_of(differential=own)) as client:
        told = (await client.get("/v1/labels")).json()["labels"]
        assert [one for one in told if one["is_own"]] == [
            {"name": "Hairy cell", "turkish": "Saçlı hücre", "key": "y", "denominator": "white_cells",
             "part_of": None, "is_own": True}
        ]  # fmt: skip
        document = await done(client, cells)
        for cell, label in zip(document["cells"], ("Hairy cell", "Smudge"), strict=False):
            place = f"{PATH}/{document['id']}/cells/{cell['id']}/decision"
            after = (await client.post(place, json={"label": label})).json()
        rows = {one["label"]: one for one in after["counts"]}
        assert rows["Smudge"]["part_of"] == "Lymphocyte"
        assert rows["Hairy cell"]["count"] == 1
        assert after["progress"]["counted"] == len(cells)


async def test_a_decision_changes_the_differential_and_can_be_taken_back(client, cells):
    document = await done(client, cells)
    before = counts(document)
    cell = document["cells"][0]
    other = next(name for name in CLASS_NAMES if name != cell["label"])
    place = f"{PATH}/{document['id']}/cells/{cell['id']}/decision"

    after = (await client.post(place, json={"label": other})).json()
    assert counts(after)[other] == before[other] + 1
    assert counts(after)[cell["label"]] == before[cell["label"]] - 1
    assert after["cells"][0]["decision"]["person"] == "local"
    assert cell["id"] not in after["review_list"]

    undone = (await client.delete(place)).json()
    assert counts(undone) == before
    assert undone["cells"][0]["decision"] is None
    assert undone["review_list"] == document["review_list"]


class OneKey:
    """Knows one API key, of one person."""

    async def verify(self, credential: str) -> Principal:
        assert credential == f"{API_KEY_PREFIX}1"
        return Principal("key:ayse", frozenset(ROLES))


async def test_the_person_who_acts_is_who_is_logged_in(cells):
    access = AccessRules(Authenticator(api_keys=OneKey()))
    async with client_of(app_of(access=access)) as client:
        client.headers["X-API-Key"] = f"{API_KEY_PREFIX}1"
        document = await done(client, cells[:1])
        place = f"{PATH}/{document['id']}"
        decided = await client.post(
            f"{place}/cells/{document['cells'][0]['id']}/decision", json={"label": "Monocyte"}
        )
        signed = (await client.post(f"{place}/sign")).json()
        trail = (await client.get(f"{place}/audit")).json()["entries"]
    assert document["created_by"] == "key:ayse"
    assert decided.json()["cells"][0]["decision"]["person"] == "key:ayse"
    assert signed["signature"]["person"] == "key:ayse"
    assert {entry["actor"] for entry in trail} == {"key:ayse"}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"label": "blast"}', b'{"label": "Monocyte", "more": 1}', b"[", b"\xff"]
)
async def test_a_decision_that_is_none_is_refused(client, cells, body):
    document = await done(client, cells[:1])
    place = f"{PATH}/{document['id']}/cells/{document['cells'][0]['id']}/decision"
    assert_problem(await client.post(place, content=body), 422, "invalid-parameter")


async def test_a_decision_of_megabytes_is_refused_unread(client, cells):
    document = await done(client, cells[:1])
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1
            yield b" " * 1000

    place = f"{PATH}/{document['id']}/cells/{document['cells'][0]['id']}/decision"
    assert_problem(await client.post(place, content=endless()), 413, "upload-too-large")
    assert sent < 100


async def test_a_signature_closes_the_differential(client, cells):
    document = await done(client, cells[:3])
    place = f"{PATH}/{document['id']}"
    signed = (await client.post(f"{place}/sign")).json()
    assert signed["state"] == "signed"
    assert signed["signature"]["person"] == "local"
    decision = f"{place}/cells/{document['cells'][0]['id']}/decision"
    for request in (
        client.post(decision, json={"label": "Monocyte"}),
        client.delete(decision),
        client.post(f"{place}/sign"),
        client.post(f"{place}/cancel"),
    ):
        assert_problem(await request, 409, "specimen-closed")
    now = (await client.get(place)).json()
    assert (now["state"], counts(now)) == ("signed", counts(signed))


async def test_an_unknown_cell_is_not_found(client, cells):
    document = await done(client, cells[:1])
    place = f"{PATH}/{document['id']}/cells/none"
    assert_problem(await client.post(f"{place}/decision", json={"label": "Monocyte"}), 404, "unknown-cell")
    assert_problem(await client.get(f"{place}/image"), 404, "unknown-cell")


# While it runs


class GatedModelServer(FakeModelServer):
    """Answers so many questions as the gate lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)
        self.asked = 0
        self.reached = asyncio.Event()

    async def explain(self, question: Question) -> Prediction:
        self.asked += 1
        self.reached.set()
        await self.gate.acquire()
        return await super().explain(question)

    def let(self, answers: int) -> None:
        for _ in range(answers):
            self.gate.release()


@asynccontextmanager
async def gated(
    draining: Draining | None = None, differential: DifferentialSettings = FEW
) -> AsyncIterator[tuple[httpx2.AsyncClient, GatedModelServer]]:
    model_server = GatedModelServer()
    app = app_of(model_server=model_server, draining=draining, differential=differential)
    async with client_of(app) as client:
        try:
            yield client, model_server
        finally:
            model_server.let(1000)


async def test_cancel_ends_the_work_and_keeps_what_is_done(cells):
    async with gated() as (client, model_server):
        place = place_of(await ordered(client, cells))
        model_server.let(3)
        async with asyncio.timeout(LONGEST_S):
            while (await client.get(place)).json()["progress"]["counted"] < 3:
                await asyncio.sleep(0.02)
        assert_problem(await client.post(f"{place}/sign"), 409, "not-ready")
        cancelled = (await client.post(f"{place}/cancel")).json()
        assert cancelled["state"] == "cancelled"
        asked = model_server.asked
        model_server.let(100)
        await asyncio.sleep(0.1)
        now = (await client.get(place)).json()
        assert (now["state"], now["progress"]["counted"], model_server.asked) == ("cancelled", 3, asked)
        assert now["limitations"][0]["code"] == "cancelled"
        assert_problem(await client.post(f"{place}/cancel"), 409, "specimen-closed")


async def test_a_persons_request_goes_before_waiting_cells(cells):
    async with gated() as (client, model_server):
        await ordered(client, cells)
        await becomes(lambda: model_server.asked == 2)  # as many as may be under way
        person = asyncio.create_task(
            client.post(
                "/predict",
                files={"file": cells[0]},
                data={"tta": "none"},
                headers={"X-Request-Timeout-Ms": "60000"},
            )
        )
        await becomes(lambda: model_server.asked == 3)
        model_server.let(2)  # those two cells end, and only one other may begin beside the person
        await becomes(lambda: model_server.asked == 4)
        await asyncio.sleep(0.2)
        assert model_server.asked == 4
        model_server.let(1)
        assert (await person).status_code == 200
        await becomes(lambda: model_server.asked == 5)


async def test_a_drain_begins_no_further_cell(cells):
    draining = Draining()
    async with gated(draining) as (client, model_server):
        place = place_of(await ordered(client, cells))
        await becomes(lambda: model_server.asked == 2)  # as many as may be under way
        draining.begin()
        model_server.let(100)
        async with asyncio.timeout(LONGEST_S):
            while (now := (await client.get(place)).json())["progress"]["counted"] < 2:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        now = (await client.get(place)).json()
        assert now["state"] in ("waiting", "running")
        assert now["progress"]["counted"] == model_server.asked == 2
        assert now["progress"]["waiting"] == len(cells) - 2


def events_of(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


async def test_progress_is_told_until_all_is_done(client, cells):
    place = place_of(await ordered(client, cells))
    async with asyncio.timeout(LONGEST_S):
        response = await client.get(f"{place}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    assert [event["event"] for event in events[:-1]] == ["progress"] * (len(events) - 1)
    assert events[-1]["event"] == "done"
    data = [json.loads(event["data"]) for event in events]
    finished_cells = [one["analysed"] + one["failed"] for one in data]
    assert finished_cells == sorted(finished_cells)
    assert data[-1]["analysed"] == data[-1]["total"] == len(cells)
    assert data[-1]["state"] == "analysed"
    assert data[-1]["disclaimer"] == DISCLAIMER

    late = events_of((await client.get(f"{place}/events")).text)
    assert [event["event"] for event in late] == ["done"]
    again = await client.get(f"{place}/events", headers={"Last-Event-ID": events[-1]["id"]})
    assert again.status_code == 204
    behind = await client.get(f"{place}/events", headers={"Last-Event-ID": "running-1"})
    assert [event["event"] for event in events_of(behind.text)] == ["done"]


async def test_a_stream_of_progress_ends_when_the_process_leaves(cells):
    draining = Draining()
    async with gated(draining) as (client, _):
        place = place_of(await ordered(client, cells))
        stream = asyncio.create_task(client.get(f"{place}/events"))
        await asyncio.sleep(0.1)
        draining.begin()
        async with asyncio.timeout(60):
            events = events_of((await stream).text)
        assert events
        assert all(event["event"] == "progress" for event in events)


async def test_a_stream_of_progress_ends_at_its_age_and_who_asks_again_hears_the_rest(cells):
    async with gated(differential=DifferentialSettings(min_cells=5, max_stream_s=0.5)) as (client, server):
        place = place_of(await ordered(client, cells))
        async with asyncio.timeout(60):
            first = events_of((await client.get(f"{place}/events")).text)
        assert first
        assert {event["event"] for event in first} == {"progress"}
        assert int(first[-1]["retry"]) > 0
        server.let(1000)
        async with asyncio.timeout(LONGEST_S):
            while (await client.get(place)).json()["state"] != "analysed":
                await asyncio.sleep(0.05)
        again = await client.get(f"{place}/events", headers={"Last-Event-ID": first[-1]["id"]})
        assert [event["event"] for event in events_of(again.text)] == ["done"]


async def test_a_stream_that_nobody_reads_holds_its_source_no_longer_than_agreed():
    """Neither where it is never read, nor where it is read so slowly that no clock of the server cuts it."""
    is_closed = asyncio.Event()
    sent = []

    async def events() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"data: {}\n\n"
        finally:
            is_closed.set()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if len(sent) == 3:
            await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await EventStream(events(), 0.2)({"type": "http"}, receive, send)
    assert is_closed.is_set()
    assert sent == ["http.response.start", "http.response.body", "http.response.body"]


# What is kept


async def test_a_decision_about_what_was_changed_meanwhile_is_refused(client, cells):
    document = await done(client, cells[:2])
    place = f"/v1/differentials/{document['id']}"
    seen = await client.get(place)
    tag, (cell, other) = seen.headers["etag"], document["cells"]
    assert tag == f'"{seen.json()["etag"]}"'
    decision = f"{place}/cells/{cell['id']}/decision"

    async def decided(label: str, *tags: str, at: str = decision) -> httpx2.Response:
        headers = {"If-Match": ", ".join(tags)} if tags else {}
        return await client.post(at, json={"label": label}, headers=headers)

    first = await decided("Monocyte", tag)
    assert first.status_code == 200
    assert first.headers["etag"] not in (tag, None)
    for stale in (tag, f'"{cell["etag"]}"', 'W/"1"', f"W/{first.headers['etag']}"):
        for late in (
            await decided("Basophil", stale),
            await client.delete(decision, headers={"If-Match": stale}),
            await client.post(f"{place}/sign", headers={"If-Match": stale}),
            await client.post(f"{place}/cancel", headers={"If-Match": stale}),
        ):
            assert late.status_code == 412
            assert late.json()["type"] == "urn:wbc-analyzer:problem:changed-meanwhile"
            assert "read it again" in late.json()["detail"]
    for none in ("no tag", "", ",", '*, "1"'):
        assert (await decided("Basophil", none)).status_code == 422
    at = f"{place}/cells/{other['id']}/decision"
    assert (await decided("Basophil", f'"{other["etag"]}"', at=at)).status_code == 200
    assert (await decided("Basophil", "*")).status_code == 200
    last = await decided("Eosinophil")  # as ever, whoever does not say what they saw
    assert last.status_code == 200
    last = await decided("Basophil", '"cell-999"', last.headers["etag"])
    last = await decided("Basophil", "", last.headers["etag"], " ")  # empty members of a list are none
    lines = [("If-Match", '"cell-999"'), ("If-Match", last.headers["etag"])]  # which are one list
    last = await client.post(decision, json={"label": "Monocyte"}, headers=lines)
    assert last.status_code == 200
    signed = await client.post(f"{place}/sign", headers={"If-Match": last.headers["etag"]})
    assert (signed.status_code, signed.json()["state"]) == (200, "signed")


async def test_the_list_is_searched(client, cells):
    first = await done(client, cells[:1], specimen_id="S-1")
    second = await done(client, [*cells[:1], b"no image"], specimen_id="S-2")
    await client.post(f"/v1/differentials/{second['id']}/sign")

    async def found(**query: Any) -> list[str]:
        response = await client.get("/v1/differentials", params=query)
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["items"]]

    assert await found() == [second["id"], first["id"]]
    assert await found(specimen_id="S-1") == [first["id"]]
    assert await found(state=["signed", "cancelled"]) == [second["id"]]
    assert await found(created_from=second["created_at"]) == [second["id"]]
    assert await found(created_before=second["created_at"]) == [first["id"]]
    (listed, _) = (await client.get("/v1/differentials")).json()["items"]
    assert (listed["cells"], listed["waiting"], listed["failed"]) == (2, 0, 1)
    assert listed["signature"]["person"] == "local"
    for wrong in (
        {"state": "gone"},
        {"created_from": "2026-03-02"},
        {"created_before": "2026-03-02T10:00:00"},
        {"created_before": "9999-12-31T23:59:59-14:00"},
        {"created_from": "0001-01-01T00:00:00+14:00"},
    ):
        assert (await client.get("/v1/differentials", params=wrong)).status_code == 422


async def test_the_list_comes_in_pages_the_newest_first(client, cells):
    ids = [(await ordered(client, cells[:1], specimen_id=f"S-{n}")).json()["id"] for n in range(5)]
    listed: list[str] = []
    cursor: str | None = None
    for expected in (2, 2, 1):
        query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = (await client.get(PATH, params=query)).json()
        assert len(page["items"]) == expected
        listed += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert listed == ids[::-1]
    assert_problem(await client.get(PATH, params={"limit": 0}), 422, "invalid-parameter")
    assert_problem(await client.get(PATH, params={"cursor": "nowhere"}), 404, "unknown-differential")


async def test_the_worklist_is_sorted_and_says_what_waits_and_who_has_it(client, cells):
    broken = [b"no image"]
    first = await done(client, [*cells[:1], *broken], specimen_id="S-1")
    second = await done(client, cells[:2], specimen_id="S-2")
    place = f"{PATH}/{second['id']}"

    async def found(**query: Any) -> list[str]:
        response = await client.get(PATH, params=query)
        assert response.status_code == 200, response.text
        return [item["specimen_id"] for item in response.json()["items"]]

    assert await found(sort="created") == ["S-1", "S-2"]
    assert await found(sort="-doubt") == ["S-2", "S-1"]
    assert await found(text=second["id"][:8]) == ["S-2"]
    taken = await client.post(f"{place}/assign", json={"assignee": "local", "instead_of": None})
    assert (taken.json()["assignee"], taken.headers["etag"] != f'"{second["etag"]}"') == ("local", True)
    assert await found(mine=True) == await found(assignee="local") == ["S-2"]
    assert await found(assignee="") == ["S-1"]
    page = (await client.get(PATH, params={"mine": True})).json()
    assert (page["person"], page["items"][0]["assignee"]) == ("local", "local")
    for wrong in ({"sort": "name"}, {"assignee": "a\nb"}, {"text": "x" * 65}, {"needs_review": "perhaps"}):
        assert (await client.get(PATH, params=wrong)).status_code == 422, wrong
    cursor = (await client.get(PATH, params={"limit": 1})).json()["next_cursor"]
    other = await client.get(PATH, params={"limit": 1, "cursor": cursor, "sort": "doubt"})
    assert_problem(other, 404, "unknown-differential")
    assert first["assignee"] is None


async def test_a_specimen_that_somebody_else_took_meanwhile_is_refused_in_words_and_signed_by_anybody(
    client, cells
):
    document = await done(client, cells[:2])
    place = f"{PATH}/{document['id']}"
    assert (await client.post(f"{place}/assign", json={"assignee": "anna"})).status_code == 200

    refused = await client.post(f"{place}/assign", json={"assignee": "local", "instead_of": None})
    assert_problem(refused, 412, "changed-meanwhile")
    assert "taken by anna" in refused.json()["detail"]
    for wrong in ({}, {"assignee": ""}, {"assignee": "a\tb"}, {"assignee": 3}, {"assignee": "x" * 256}):
        assert (await client.post(f"{place}/assign", json=wrong)).status_code == 422, wrong
    seen = (await client.get(place)).headers["etag"]
    signed = await client.post(f"{place}/sign", headers={"If-Match": seen})
    assert (signed.status_code, signed.json()["assignee"]) == (200, "anna")
    closed = await client.post(f"{place}/assign", json={"assignee": None})
    assert_problem(closed, 409, "specimen-closed")
    trail = (await client.get(f"{place}/audit")).json()["entries"]
    assert [entry["details"] for entry in trail if entry["action"] == "assigned"] == [{"assignee": "anna"}]


async def test_comments_are_kept_with_who_and_when_and_addenda_come_after_the_signature(client, cells):
    document = await done(client, cells[:2])
    place, cell = f"{PATH}/{document['id']}", document["cells"][0]["id"]

    said = await client.post(
        f"{place}/comments", json={"text": "  Smudged,\nstained anew.\n", "cell_id": cell}
    )
    assert said.status_code == 200, said.text
    assert said.headers["etag"] != f'"{document["etag"]}"'
    assert_problem(await client.post(f"{place}/addenda", json={"text": "early"}), 409, "not-ready")
    signed = (await client.post(f"{place}/sign")).json()
    assert_problem(await client.post(f"{place}/comments", json={"text": "late"}), 409, "specimen-closed")
    seen = {"If-Match": f'"{signed["etag"]}"'}
    added = await client.post(f"{place}/addenda", json={"text": "Told."}, headers=seen)
    again = await client.post(f"{place}/addenda", json={"text": "Told."}, headers=seen)
    assert_problem(again, 412, "changed-meanwhile")

    told = (await client.get(place)).json()
    assert told["comments"] == added.json()["comments"]
    assert [{**one, "said_at": ""} for one in told["comments"]] == [
        {"number": 1, "cell_id": cell, "person": "local", "said_at": "", "is_addendum": False,
         "text": "Smudged,\nstained anew."},
        {"number": 2, "cell_id": None, "person": "local", "said_at": "", "is_addendum": True,
         "text": "Told."},
    ]  # fmt: skip
    assert (told["signature"], told["counts"]) == (signed["signature"], signed["counts"])
    trail = (await client.get(f"{place}/audit")).json()["entries"]
    assert [entry["action"] for entry in trail[-3:]] == ["commented", "signed", "addendum"]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"text": ""}, {"text": " \n "}, {"text": "a\x00b"}, {"text": "a\u202eb"}, {"text": "a\tb"},
     {"text": "x" * 2001}, {"text": 3}, {"text": "a", "person": "anna"}],
)  # fmt: skip
async def test_a_comment_is_text_that_is_printed_as_it_was_typed(client, cells, wrong):
    document = await done(client, cells[:1])
    for what in ("comments", "addenda"):
        refused = await client.post(f"{PATH}/{document['id']}/{what}", json=wrong)
        assert_problem(refused, 422, "invalid-parameter")
    unknown = {"text": "on nothing", "cell_id": "f" * 32}
    refused = await client.post(f"{PATH}/{document['id']}/comments", json=unknown)
    assert_problem(refused, 404, "unknown-cell")


async def test_the_longest_comment_is_taken_in_whatever_way_its_characters_are_written(client, cells):
    document = await done(client, cells[:1])
    text = "\U0001fa78" * 2000
    for as_ascii in (True, False):
        body = json.dumps({"text": text, "cell_id": document["cells"][0]["id"]}, ensure_ascii=as_ascii)
        said = await client.post(f"{PATH}/{document['id']}/comments", content=body.encode())
        assert said.status_code == 200, said.text
        assert said.json()["comments"][-1]["text"] == text


async def test_what_is_as_the_caller_has_it_is_not_sent_again_until_somebody_changes_it(client, cells):
    document = await done(client, cells[:2])
    place = f"{PATH}/{document['id']}"
    for path, assignee in ((PATH, "anna"), (f"{PATH}?mine=true", "local"), (place, "bob")):
        etag = (await client.get(path)).headers["etag"]

        for known in (etag, f'"other", W/{etag}', "*"):
            again = await client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        await client.post(f"{place}/assign", json={"assignee": assignee})

        changed = await client.get(path, headers={"If-None-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag
    gone = await client.get(f"{PATH}/{'0' * 32}", headers={"If-None-Match": '"1"'})
    assert_problem(gone, 404, "unknown-differential")


async def test_the_cells_can_be_left_out(client, cells):
    document = await done(client, cells[:2])
    assert (await client.get(f"{PATH}/{document['id']}", params={"cells": "false"})).json()["cells"] is None


async def test_an_image_is_given_back_as_it_was_sent_and_runs_nowhere(client, cells):
    script = b"<html><script>alert(1)</script>"
    document = await done(client, [cells[0], script])
    place = f"{PATH}/{document['id']}/cells"
    image = await client.get(f"{place}/{document['cells'][0]['id']}/image")
    assert (image.content, image.headers["content-type"]) == (cells[0], "image/png")
    other = await client.get(f"{place}/{document['cells'][1]['id']}/image")
    assert other.content == script
    assert other.headers["content-type"] == "application/octet-stream"
    assert other.headers["content-disposition"] == "attachment"
    for response in (image, other):
        assert "sandbox" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"


async def test_where_images_are_not_kept_there_is_none(cells):
    async with client_of(app_of(MemoryStore(keeps_images=False))) as client:
        document = await done(client, cells[:1])
        place = f"{PATH}/{document['id']}/cells/{document['cells'][0]['id']}/image"
        assert_problem(await client.get(place), 404, "image-not-kept")


async def test_the_trail_tells_who_did_what(client, cells):
    document = await done(client, cells[:1])
    place = f"{PATH}/{document['id']}"
    cell_id = document["cells"][0]["id"]
    await client.post(f"{place}/cells/{cell_id}/decision", json={"label": "Monocyte"})
    await client.post(f"{place}/sign")
    trail = (await client.get(f"{place}/audit")).json()["entries"]
    assert [entry["sequence"] for entry in trail] == sorted(entry["sequence"] for entry in trail)
    assert trail[-1]["actor"] == "local"
    assert cell_id in [entry["cell_id"] for entry in trail]


async def test_tables_are_csv(client, cells):
    document = await done(client, cells, specimen_id="=1+1")
    place = f"{PATH}/{document['id']}/export.csv"
    response = await client.get(place)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert {row["label"]: int(row["count"]) for row in rows} == counts(document)
    assert all(row["disclaimer"] == DISCLAIMER for row in rows)
    assert not any(row["specimen_id"].startswith("=") for row in rows)
    rows = list(csv.DictReader(io.StringIO((await client.get(place, params={"table": "cells"})).text)))
    assert [int(row["number"]) for row in rows] == list(range(1, len(cells) + 1))


# What is told, and to whom


async def test_nothing_that_names_a_specimen_or_a_file_is_logged_or_measured(
    cells, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    async with client_of(app_of()) as client:
        response = await client.post(
            PATH,
            files=[
                ("files", ("Yilmaz_Ayse.png", payload, "image/png")) for payload in (cells[0], b"no image")
            ],
            data={"specimen_id": "Yilmaz-1984"},
        )
        document = await finished(client, response)
        metrics = (await client.get("/metrics")).text
    assert "Ayse" not in json.dumps(document)
    for text in (
        metrics,
        *(record.getMessage() for record in caplog.records if "orchestrator" in record.name),
    ):
        assert "Yilmaz" not in text
        assert document["id"] not in text


async def test_metrics_tell_of_specimens_and_cells(client, cells):
    async def value(line: str) -> float:
        text = (await client.get("/metrics")).text
        return sum(float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(line))

    lines = (
        'wbc_specimens_total{event="ordered"}', 'wbc_specimens_total{event="signed"}',
        'wbc_specimen_cells_total{outcome="analysed"}', 'wbc_specimen_cells_total{outcome="failed"}',
        "wbc_specimen_decisions_total",
    )  # fmt: skip
    before = [await value(line) for line in lines]
    document = await done(client, [*cells[:3], b"no image"])
    place = f"{PATH}/{document['id']}"
    await client.post(f"{place}/cells/{document['cells'][0]['id']}/decision", json={"label": "Monocyte"})
    await client.post(f"{place}/sign")
    after = [await value(line) for line in lines]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 3, 1, 1]
    assert await value("wbc_specimens_under_way") == 0


class FullStore(MemoryStore):
    async def probe(self) -> None:
        raise errors.StoreUnavailable("The store is full: make room.")


async def test_a_store_that_keeps_no_order_is_told_to_prometheus_until_it_does() -> None:
    async with client_of(app_of(FullStore())) as client:
        await client.get("/readyz")
        assert "wbc_store_ready 0.0" in (await client.get("/metrics")).text
    async with client_of(app_of(MemoryStore())) as client:
        await client.get("/readyz")
        assert "wbc_store_ready 1.0" in (await client.get("/metrics")).text


async def test_a_service_whose_store_keeps_no_order_is_not_ready_and_says_what_to_do() -> None:
    async with client_of(app_of(FullStore())) as client:
        response = await client.get("/readyz")
        assert_problem(response, 503, "store-unavailable")
        assert response.json()["detail"] == "The store is full: make room."
        assert (await client.get("/livez")).status_code == 200


class AwayStore(MemoryStore):
    async def get(self, differential_id: str) -> Any:  # noqa: ARG002 (the port's signature)
        raise errors.StoreUnavailable("The database does not answer.")


async def test_a_store_that_is_away_is_a_problem_that_may_pass():
    async with client_of(app_of(AwayStore())) as client:
        response = await client.get(f"{PATH}/x")
        assert_problem(response, 503, "store-unavailable")
        assert int(response.headers["retry-after"]) >= 1


async def test_the_openapi_document_describes_every_endpoint_with_examples(client):
    document = (await client.get("/openapi.json")).json()
    paths = document["paths"]
    assert {
        (method, path) for method, path in endpoints() if method.lower() not in paths.get(path, {})
    } == set()
    form = document["paths"][PATH]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["files", "specimen_id"]
    assert form["properties"]["files"]["type"] == "array"
    answers = document["paths"][PATH]["post"]["responses"]
    assert {"202", "400", "413", "415", "422", "503"} <= set(answers)
    for path in {path for _, path in endpoints()}:
        for operation in paths[path].values():
            for status, answer in operation["responses"].items():
                for media_type, content in answer.get("content", {}).items():
                    if status[0] in "45":
                        assert media_type == "application/problem+json"
                        assert content["examples"]
    page = (await client.get("/docs")).text
    for example in ("S-2026-00417", "close_call", "event: progress", "unknown-cell"):
        assert example in page, example


def test_the_limits_of_an_order_are_what_the_settings_say():
    settings = DifferentialSettings(
        max_files=7, max_total_bytes=8, upload_timeout_s=9, max_orders=3, max_stream_s=4
    )
    assert order_limits(settings) == OrderLimits(7, 8, 9, 3, 4)
