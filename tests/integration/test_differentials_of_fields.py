"""Differentials whose images are whole fields: their cells counted, each once, in every format."""

import io
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pydicom
import pytest

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.bootstrap.specimens import build_specimens
from orchestrator.client import AsyncClient, Connection
from orchestrator.client import SpecimenOrder as ClientOrder
from orchestrator.commands.differential import count_files, document_of
from orchestrator.commands.image_files import image_files
from orchestrator.domain import DISCLAIMER, UInt8Array
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.interop import fhir_check, hl7v2_check
from orchestrator.painting.fields import paint_field
from orchestrator.painting.looks import scanner
from orchestrator.settings import DifferentialSettings, Settings
from orchestrator.specimen import SpecimenOrder
from orchestrator.specimens.differential import DifferentialRules
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.grpc_edge import grpc_edge
from tests.http_edge import client_of
from tests.integration.test_differentials_api import finished, ordered
from tests.integration.test_http_api import assert_problem
from tests.synthetic_cells import cell_file, image_file
from tests.waiting import LONGEST_S

FEW = DifferentialSettings(min_cells=2)
NAMES = ("Neutrophil", "Lymphocyte", "Monocyte")


def painted(seed: int, names: tuple[str, ...] = NAMES) -> UInt8Array:
    random = np.random.default_rng(seed)
    return paint_field(scanner(random), random, names, crowding=0.3).rgb


def again(field: UInt8Array) -> bytes:
    """A part of the field that has nearly all of it, in another light, with another noise."""
    height, width = (side * 9 // 10 for side in field.shape[:2])
    part = field[-height:, -width:].astype(np.float32) * 0.95 + 4
    part += np.random.default_rng(1).normal(0, 2, part.shape)
    _, data = cv2.imencode(".jpg", np.clip(part, 0, 255).astype(np.uint8)[:, :, ::-1])
    return data.tobytes()


def with_a_missed_cell() -> tuple[UInt8Array, dict[str, float]]:
    """A field of which the first white cell is so pale that the service misses it, and the box around it."""
    random = np.random.default_rng(4)
    field = paint_field(scanner(random), random, NAMES, crowding=0.3)
    left, top, right, bottom = field.cells[0].box
    pale = field.rgb.astype(np.float32)
    part = (slice(max(0, top - 4), bottom + 4), slice(max(0, left - 4), right + 4))
    light = np.median(pale.reshape(-1, 3), axis=0)
    pale[part] = light + 0.3 * (pale[part] - light)
    box = {"top": top - 2.0, "left": left - 2.0, "bottom": bottom + 2.0, "right": right + 2.0}
    return pale.round().astype(np.uint8), box


@pytest.fixture(scope="module")
def fields() -> list[UInt8Array]:
    return [painted(4), painted(5, ("Eosinophil", "Basophil"))]


@pytest.fixture(scope="module")
def files(fields: list[UInt8Array]) -> list[bytes]:
    return [*map(image_file, fields), again(fields[0])]


def client_with(store: Any, settings: DifferentialSettings = FEW) -> Any:
    chosen = Settings(differential=settings)
    services = build_services(chosen, model_server=FakeModelServer())
    return client_of(build_app(chosen, services, store=store))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    store = SqlStore(Database(f"sqlite:///{tmp_path}/wbc.db"), keep_images="until_signed")
    async with client_with(store) as client:
        yield client


async def test_a_specimen_of_fields_is_counted_reviewed_signed_and_sent_in_every_format(
    client: httpx2.AsyncClient, fields: list[UInt8Array], files: list[bytes]
) -> None:
    response = await ordered(client, files[:2], kind="field")
    document = await finished(client, response)
    path = f"/v1/differentials/{document['id']}"

    assert document["kind"] == "field"
    assert [field["number"] for field in document["fields"]] == [1, 2]
    assert [field["image_size"] for field in document["fields"]] == [list(f.shape[:2]) for f in fields]
    assert document["cells_per_field"] == sum(field["cells"] for field in document["fields"]) / 2
    assert document["progress"]["total"] == len(document["cells"]) == 5
    assert [cell["place"]["number"] for cell in document["cells"]].count(1) == len(NAMES)
    first = document["cells"][0]
    image = await client.get(f"{path}/cells/{first['id']}/image")
    seen = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
    box = first["result"]["box"]
    field = cv2.cvtColor(fields[first["place"]["number"] - 1], cv2.COLOR_RGB2BGR)
    cut_out = field[round(box["top"]) : round(box["bottom"]), round(box["left"]) : round(box["right"])]
    assert seen is not None
    assert cv2.matchTemplate(seen, cut_out, cv2.TM_SQDIFF).min() == pytest.approx(0, abs=1)

    for cell in document["cells"]:
        told = await client.post(
            f"{path}/cells/{cell['id']}/decision", json={"label": cell["result"]["class"]}
        )
        assert told.status_code == 200, told.text
    signed = (await client.post(f"{path}/sign")).json()
    assert signed["state"] == "signed"
    assert signed["progress"]["counted"] == 5
    fhir, hl7, dicom, table = [
        await client.get(f"{path}/{ending}") for ending in ("fhir", "hl7", "dicom", "export.csv?table=cells")
    ]
    assert fhir_check.problems(fhir.json()) == []
    assert hl7v2_check.problems(hl7.content) == []
    report = pydicom.dcmread(io.BytesIO(dicom.content))
    assert report.VerificationFlag == "VERIFIED"
    assert DISCLAIMER in table.text
    assert ",same_as," in table.text.splitlines()[0]


async def test_a_cell_that_lies_in_two_fields_counts_once_and_that_is_said(
    client: httpx2.AsyncClient, files: list[bytes]
) -> None:
    document = await finished(client, await ordered(client, files, kind="field"))

    doubles = [cell for cell in document["cells"] if cell["place"]["same_as"]]
    assert len(doubles) >= 2
    assert len({cell["place"]["same_as"] for cell in doubles}) == len(doubles)
    by_id = {cell["id"]: cell for cell in document["cells"]}
    for cell in doubles:
        other = by_id[cell["place"]["same_as"]]
        assert {cell["place"]["number"], other["place"]["number"]} == {1, 3}
        assert cell["label"] is None
        assert cell["id"] not in document["review_list"]
    (said,) = (one for one in document["limitations"] if one["code"] == "same_cells")
    assert said["message"].startswith(f"Fields overlap: {len(doubles)} finds")


async def test_a_missed_cell_that_a_person_draws_is_analysed_counted_and_in_the_trail(
    client: httpx2.AsyncClient,
) -> None:
    field, box = with_a_missed_cell()
    document = await finished(client, await ordered(client, [image_file(field)], kind="field"))
    path = f"/v1/differentials/{document['id']}"
    adding = f"{path}/fields/{document['fields'][0]['id']}/cells"
    assert len(document["cells"]) == len(NAMES) - 1

    answer = await client.post(adding, json=box, headers={"If-Match": f'"{document["etag"]}"'})

    assert answer.status_code == 200, answer.text
    after = answer.json()
    added = after["cells"][-1]
    assert added["number"] == document["cells"][-1]["number"] + 1
    assert added["place"] == {
        "number": 1, "is_cut": False, "is_clump": False, "is_identified": True, "same_as": None,
        "added_by": "local",
    }  # fmt: skip
    assert added["result"]["box"] == box
    assert added["label"] in (added["result"]["class"], "Unidentified")
    assert [cell["place"]["added_by"] for cell in after["cells"][:-1]] == [None] * (len(NAMES) - 1)
    assert after["progress"]["counted"] == document["progress"]["counted"] + 1
    assert after["progress"]["total"] == document["progress"]["total"] + 1
    assert after["cells_per_field"] == document["cells_per_field"] + 1
    image = await client.get(f"{path}/cells/{added['id']}/image")
    seen = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
    cut_out = field[round(box["top"]) : round(box["bottom"]), round(box["left"]) : round(box["right"])]
    assert seen is not None
    best = cv2.matchTemplate(seen, cv2.cvtColor(cut_out, cv2.COLOR_RGB2BGR), cv2.TM_SQDIFF).min()
    assert best == pytest.approx(0, abs=1)
    row = (await client.get(f"{path}/audit")).json()["entries"][-1]
    assert (row["action"], row["actor"], row["cell_id"]) == ("added", "local", added["id"])
    table = (await client.get(f"{path}/export.csv?table=cells")).text.splitlines()
    assert table[0].split(",").index("added_by") == table[-1].split(",").index("local")

    stale = await client.post(
        adding, json={**box, "top": 0, "bottom": 40}, headers={"If-Match": f'"{document["etag"]}"'}
    )
    assert_problem(stale, 412, "changed-meanwhile")
    assert_problem(await client.post(adding, json=box), 409, "counted-already")
    none = await client.post(f"{path}/fields/{added['id']}/cells", json=box)
    assert_problem(none, 404, "unknown-cell")
    decision = f"{path}/cells/{added['id']}/decision"
    removed = (await client.post(decision, json={"label": "Artefact"})).json()
    assert removed["progress"]["counted"] == document["progress"]["counted"]
    signed = await client.post(f"{path}/sign")
    assert signed.status_code == 200, signed.text
    assert_problem(await client.post(adding, json=box), 409, "specimen-closed")


@pytest.mark.parametrize(
    "wrong",
    [
        {"right": 10_000},
        {"top": -1},
        {"bottom": 1},
        {"right": 740},
        {"left": None},
        {"left": "0"},
        {"left": True},
        {"more": 1},
    ],
    ids=["beyond", "before", "too small", "too long", "nothing", "text", "truth", "unknown"],
)
async def test_a_box_that_is_none_of_the_field_is_refused(
    client: httpx2.AsyncClient, files: list[bytes], wrong: dict[str, Any]
) -> None:
    document = await finished(client, await ordered(client, files[:1], kind="field"))
    adding = f"/v1/differentials/{document['id']}/fields/{document['fields'][0]['id']}/cells"

    box = {"top": 0, "left": 0, "bottom": 60, "right": 60} | wrong

    assert_problem(await client.post(adding, json=box), 422, "invalid-parameter")


async def test_without_the_image_of_the_field_nothing_is_added_and_it_is_said_why(files: list[bytes]) -> None:
    async with client_with(MemoryStore(keeps_images=False)) as client:
        document = await finished(client, await ordered(client, files[:1], kind="field"))
        adding = f"/v1/differentials/{document['id']}/fields/{document['fields'][0]['id']}/cells"
        refused = await client.post(adding, json={"top": 0, "left": 0, "bottom": 60, "right": 60})

    assert_problem(refused, 404, "image-not-kept")


async def test_a_site_may_want_every_find_counted(files: list[bytes]) -> None:
    settings = DifferentialSettings(min_cells=2, same_cells_once=False)
    async with client_with(MemoryStore(), settings) as client:
        document = await finished(client, await ordered(client, files, kind="field"))

    assert not any(cell["place"]["same_as"] for cell in document["cells"])
    assert "same_cells" not in {one["code"] for one in document["limitations"]}


async def test_an_image_says_itself_whether_it_is_a_field_where_nobody_does(files: list[bytes]) -> None:
    async with client_with(MemoryStore()) as client:
        response = await ordered(client, [files[0], cell_file("Monocyte", 3)], kind="auto")
        document = await finished(client, response)

    assert [field["number"] for field in document["fields"]] == [1]
    assert [cell["number"] for cell in document["cells"] if cell["place"] is None] == [2]
    assert len(document["cells"]) == 1 + len(NAMES)


async def test_fields_without_white_cells_are_a_differential_without_cells() -> None:
    async with client_with(MemoryStore()) as client:
        document = await finished(client, await ordered(client, [image_file(painted(6, ()))], kind="field"))

    assert document["state"] == "analysed"
    assert document["progress"]["total"] == 0
    assert (document["cells"], document["cells_per_field"]) == ([], 0)


async def test_a_field_that_cannot_be_analysed_is_a_failure_that_says_why(files: list[bytes]) -> None:
    async with client_with(MemoryStore()) as client:
        document = await finished(client, await ordered(client, [files[0], b"no image"], kind="field"))

    assert document["progress"]["failed"] == 1
    assert len(document["fields"]) == 1


async def test_grpc_takes_and_tells_fields_as_http_does(files: list[bytes]) -> None:
    server, store = FakeModelServer(), MemoryStore()
    services = build_services(Settings(), model_server=server)
    specimens = build_specimens(FEW, services, store, Admission(), Draining())
    async with (
        grpc_edge(server, specimens=specimens) as edge,
        AsyncClient(Connection(edge.target)) as client,
    ):
        order = ClientOrder("S-1", tta="none", kind="field")
        created, _ = await client.create_differential(order, files[:1])
        found = await client.wait_for_differential(created.differential_id, timeout_s=LONGEST_S, poll_s=0.02)

    kept = await store.get(created.differential_id)
    assert kept.order.kind == "field"
    assert [asdict(field) for field in found.fields] == [asdict(field) for field in kept.fields]
    assert found.cells_per_field == kept.fields[0].cells
    assert len(found.cells) == len(NAMES)
    for told, cell in zip(found.cells, kept.cells, strict=True):
        assert told.place is not None
        assert cell.place is not None
        assert asdict(told.place) == asdict(cell.place)


async def test_the_command_line_counts_fields_by_the_same_rules(tmp_path: Path, files: list[bytes]) -> None:
    for number, file in enumerate(files):
        (tmp_path / f"{number}.png").write_bytes(file)
    services = build_services(Settings(), model_server=FakeModelServer())
    paths = image_files([tmp_path])

    order, rules = SpecimenOrder("S-1", kind="field"), DifferentialRules(min_cells=2)
    found = await count_files(paths, order, services, rules, nullcontext(lambda: None))
    document = document_of(found, paths)

    async with client_with(MemoryStore()) as client:
        served = await finished(client, await ordered(client, files, kind="field", tta=""))
    for told in (document, served):
        told["finds"] = [
            (cell["place"]["number"], cell["result"]["box"], bool(cell["place"]["same_as"]), cell["label"])
            for cell in sorted(told["cells"], key=lambda c: (c["place"]["number"], c["result"]["box"]["top"]))
        ]
    assert document["finds"] == served["finds"]
    assert {cell["file"] for cell in document["cells"]} == {str(path) for path in paths}
