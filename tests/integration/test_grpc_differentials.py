"""Differentials over gRPC, with a store in memory: the same as over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import httpx2
import pytest

from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.specimens import build_specimens
from orchestrator.client import (
    AnalyzerError,
    AsyncClient,
    Client,
    Connection,
    Differential,
    Search,
    SpecimenOrder,
)
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.http_app import create_app
from orchestrator.edge.orders import OrderLimits
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.model_server.base import ModelServer
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.settings import DifferentialSettings, ImageSettings, Settings
from tests.counted_cells import NOT_PRINTED
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.grpc_edge import Edge, grpc_edge
from tests.same_over_http import differential_over_http, with_times
from tests.synthetic_cells import cell_file
from tests.waiting import LONGEST_S

ORDER = SpecimenOrder("S-2026-00417", total_wbc=6.2, tta="none")
SETTINGS = Settings(
    differential=DifferentialSettings(min_cells=4), images=ImageSettings(processes=0, max_bytes=100_000)
)


@pytest.fixture(scope="module")
def cells() -> list[bytes]:
    return [cell_file(name, seed) for seed, name in enumerate(CLASS_NAMES)]


@asynccontextmanager
async def keeping(
    model_server: ModelServer | None = None, limits: OrderLimits | None = None
) -> AsyncIterator[Edge]:
    model_server = model_server or FakeModelServer()
    services = build_services(SETTINGS, model_server=model_server)
    specimens = build_specimens(SETTINGS.differential, services, MemoryStore(), Admission(), Draining())
    async with grpc_edge(model_server, settings=SETTINGS, specimens=specimens, order_limits=limits) as edge:
        yield edge


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with keeping() as edge:
        yield edge


async def ordered(edge: Edge, images: list[bytes], order: SpecimenOrder = ORDER, **more: Any) -> Differential:
    async with AsyncClient(Connection(edge.target)) as client:
        differential, _ = await client.create_differential(order, images, **more)
        return await client.wait_for_differential(differential.differential_id, timeout_s=20, poll_s=0.02)


async def test_an_order_is_kept_at_once_and_analysed_then(cells):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with keeping(model_server) as edge, AsyncClient(Connection(edge.target)) as client:
        differential, created = await client.create_differential(ORDER, cells)
        assert created
        assert (differential.specimen_id, differential.total_wbc) == ("S-2026-00417", 6.2)
        assert differential.state in ("waiting", "running")
        assert (differential.progress.total, differential.progress.waiting) == (5, 5)
        assert differential.cells == ()
        assert model_server.gate is not None
        model_server.gate.set()
        found = await client.wait_for_differential(differential.differential_id, timeout_s=20, poll_s=0.02)
    assert (found.state, found.progress.waiting, len(found.cells)) == ("analysed", 0, 5)
    assert found.disclaimer == DISCLAIMER


async def test_both_edges_tell_the_same_differential(edge, cells):
    images = [*cells, b"no image"]
    found = await ordered(edge, images)
    assert edge.specimens is not None
    first = found.cells[0].cell_id
    await edge.specimens.decide(found.differential_id, first, "Unidentified", "Dr. Noether")
    await edge.specimens.sign(found.differential_id, "Dr. Noether")
    transport = httpx2.ASGITransport(create_app(edge.services, specimens=edge.specimens))
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http,
        AsyncClient(Connection(edge.target)) as client,
    ):
        over_http = (await http.get(f"/v1/differentials/{found.differential_id}")).json()
        found = await client.get_differential(found.differential_id)
    for name in ("computed_at", "profile", "tta", "kind"):
        over_http.pop(name)
    for cell in over_http["cells"]:
        if cell["result"] is not None:
            del cell["result"]["looks_like"]  # which gRPC leaves out
    assert differential_over_http(found) == with_times(over_http)
    assert (found.state, found.progress.failed) == ("signed", 1)
    assert any(count.percentage for count in found.counts)
    assert found.cells[0].decision is not None


async def test_a_decision_about_a_cell_that_was_changed_meanwhile_is_aborted(edge, cells):
    seen = await ordered(edge, cells)
    of, cell = seen.differential_id, seen.cells[0]
    async with AsyncClient(Connection(edge.target)) as client:
        decided = await client.decide_cell(of, cell.cell_id, "Unidentified", etag=cell.etag)
        assert decided.cells[0].decision is not None
        assert decided.cells[0].decision.label == "Unidentified"
        for stale in (cell.etag, seen.etag):
            for late in (
                client.decide_cell(of, cell.cell_id, "Monocyte", etag=stale),
                client.undecide_cell(of, cell.cell_id, etag=stale),
                client.sign_differential(of, etag=stale),
            ):
                with pytest.raises(AnalyzerError) as raised:
                    await late
                assert (raised.value.code, raised.value.reason) == (
                    grpc.StatusCode.ABORTED,
                    "CHANGED_MEANWHILE",
                )
        other = await client.decide_cell(of, seen.cells[1].cell_id, "Monocyte", etag=seen.cells[1].etag)
        undone = await client.undecide_cell(of, cell.cell_id, etag=other.etag)
        assert undone.cells[0].decision is None
        with Client(Connection(edge.target)) as plain:
            signed = await asyncio.to_thread(plain.sign_differential, of, etag=undone.etag)
        assert signed.state == "signed"
        with pytest.raises(AnalyzerError) as raised:
            await client.decide_cell(of, cell.cell_id, "Monocyte")
    assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_persons_word_beyond_the_classes_goes_by_its_name(edge, cells):
    seen = await ordered(edge, cells)
    of = seen.differential_id
    async with AsyncClient(Connection(edge.target)) as client:
        await client.decide_cell(of, seen.cells[0].cell_id, "Band")
        found = await client.decide_cell(of, seen.cells[1].cell_id, "Nucleated red cell")
        with pytest.raises(AnalyzerError) as raised:
            await client.decide_cell(of, seen.cells[2].cell_id, "Hairy cell")
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [cell.label for cell in found.cells[:2]] == ["Band", "Nucleated red cell"]
    assert [cell.decision.label for cell in found.cells[:2] if cell.decision] == [
        "Band",
        "Nucleated red cell",
    ]
    told = {count.label: (count.denominator, count.part_of) for count in found.counts[6:]}
    assert told == {
        "Band": ("white_cells", "Neutrophil"),
        "Nucleated red cell": ("per_100_white_cells", None),
    }
    assert found.counts[4].label == "Neutrophil"


async def test_the_list_comes_in_pages_and_is_searched(edge, cells):
    names = ["S-1", "S-2", "S-1"]
    made = [await ordered(edge, cells[:2], SpecimenOrder(name, tta="none")) for name in names]
    async with AsyncClient(Connection(edge.target)) as client:
        first = await client.list_differentials(page_size=2)
        second = await client.list_differentials(page_size=2, page_token=first.next_page_token)
        found = await client.list_differentials(
            Search("S-1", ("analysed", "signed"), created_from=made[0].created_at)
        )
        none = await client.list_differentials(Search(created_before=made[0].created_at))
        for wrong in (client.list_differentials(page_size=0), client.list_differentials(page_size=101)):
            with pytest.raises(AnalyzerError) as raised:
                await wrong
            assert "page_size" in raised.value.fields
        for name in ("a\0b", " anna", "a" * 256):
            with pytest.raises(AnalyzerError) as raised:
                await client.list_differentials(Search(assignee=name))
            assert list(raised.value.fields) == ["assignee"]
    listed = [one.differential_id for one in (*first.differentials, *second.differentials)]
    assert listed == [one.differential_id for one in reversed(made)]
    assert (second.next_page_token, first.disclaimer) == ("", DISCLAIMER)
    assert [one.specimen_id for one in found.differentials] == ["S-1", "S-1"]
    assert (found.differentials[0].cells, found.differentials[0].waiting) == (2, 0)
    assert none.differentials == ()


async def test_the_worklist_is_sorted_searched_and_says_who_has_what(edge, cells):
    made = [await ordered(edge, cells[:count], SpecimenOrder(f"S-{count}", tta="none")) for count in (2, 1)]
    await edge.specimens.assign(made[0].differential_id, "anna", "anna")

    async def found(**search: Any) -> list[str]:
        page = await client.list_differentials(Search(**search))
        return [one.specimen_id for one in page.differentials]

    async with AsyncClient(Connection(edge.target)) as client:
        (mine,) = (await client.list_differentials(Search(assignee="anna"))).differentials
        assert (mine.specimen_id, mine.assignee) == ("S-2", "anna")
        assert (await client.get_differential(made[0].differential_id)).assignee == "anna"
        assert await found(assignee="") == ["S-1"]
        assert await found(mine=True) == []
        assert await found(text=made[1].differential_id[:6]) == ["S-1"]
        assert await found(sort="created") == ["S-2", "S-1"]
        assert await found(sort="-doubt") == ["S-2", "S-1"]
        assert await found(sort="doubt", needs_review=True) == ["S-1", "S-2"]
        with pytest.raises(ValueError, match="name"):
            await client.list_differentials(Search(sort="name"))


async def test_comments_come_before_the_signature_and_addenda_after_it(edge, cells):
    found = await ordered(edge, cells)
    one, cell = found.differential_id, found.cells[0].cell_id
    async with AsyncClient(Connection(edge.target)) as client:
        said = await client.comment_on_differential(one, " Smudged.\n", cell, etag=found.cells[0].etag)
        with pytest.raises(AnalyzerError) as early:
            await client.add_to_differential(one, "early")
        for wrong in ("", "a\u202eb", "x" * 2001):
            with pytest.raises(AnalyzerError) as raised:
                await client.comment_on_differential(one, wrong)
            assert list(raised.value.fields) == ["text"]
        await client.sign_differential(one, etag=said.etag)
        with pytest.raises(AnalyzerError) as late:
            await client.comment_on_differential(one, "late")
        added = await client.add_to_differential(one, "Told.")
        with pytest.raises(AnalyzerError) as meanwhile:
            await client.add_to_differential(one, "again", etag=said.etag)
    assert (early.value.reason, late.value.reason) == ("NOT_READY", "SPECIMEN_CLOSED")
    assert meanwhile.value.reason == "CHANGED_MEANWHILE"
    assert [(c.cell_id, c.text, c.is_addendum) for c in added.comments] == [
        (cell, "Smudged.", False),
        (None, "Told.", True),
    ]
    assert added.comments[0] == said.comments[0]


async def test_the_cells_may_be_left_out(edge, cells):
    found = await ordered(edge, cells)
    async with AsyncClient(Connection(edge.target)) as client:
        without = await client.get_differential(found.differential_id, cells=False)
    assert (without.cells, without.counts) == ((), found.counts)


async def test_the_same_order_under_the_same_key_is_analysed_once(edge, cells):
    async with AsyncClient(Connection(edge.target)) as client:
        first, created = await client.create_differential(ORDER, cells, idempotency_key="k-1")
        again, created_again = await client.create_differential(ORDER, cells, idempotency_key="k-1")
        assert (created, created_again) == (True, False)
        assert first.differential_id == again.differential_id
        with pytest.raises(AnalyzerError) as raised:
            await client.create_differential(ORDER, cells[:2], idempotency_key="k-1")
    assert raised.value.code is grpc.StatusCode.ALREADY_EXISTS
    assert raised.value.reason == "IDEMPOTENCY_CONFLICT"


async def test_the_plain_client_orders_too(edge, cells):
    def order() -> Differential:
        with Client(Connection(edge.target)) as client:
            differential, _ = client.create_differential(ORDER, cells)
            return client.wait_for_differential(differential.differential_id, timeout_s=20, poll_s=0.05)

    assert (await asyncio.to_thread(order)).state == "analysed"


async def test_an_unknown_differential_is_not_found(edge):
    async with AsyncClient(Connection(edge.target)) as client:
        with pytest.raises(AnalyzerError) as raised:
            await client.get_differential("0" * 32)
    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_DIFFERENTIAL")


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (pb.SpecimenOrder(), "order.specimen_id"),
        (pb.SpecimenOrder(specimen_id="x" * 65), "order.specimen_id"),
        *((pb.SpecimenOrder(specimen_id=f"a{mark}b"), "order.specimen_id") for mark in NOT_PRINTED),
        (pb.SpecimenOrder(specimen_id="S", total_wbc=-1), "order.total_wbc"),
        (pb.SpecimenOrder(specimen_id="S", total_wbc=float("nan")), "order.total_wbc"),
        (pb.SpecimenOrder(specimen_id="S", profile="x"), "order.profile"),
        (pb.SpecimenOrder(specimen_id="S", tta=99), "order.tta"),  # type: ignore[arg-type]
        (pb.SpecimenOrder(specimen_id="S", idempotency_key="a b"), "order.idempotency_key"),
        (pb.SpecimenOrder(specimen_id="S", idempotency_key="a" * 256), "order.idempotency_key"),
        (pb.SpecimenOrder(specimen_id="S"), "order.images"),
        (pb.SpecimenOrder(specimen_id="S", images=-1), "order.images"),
    ],
)
async def test_an_order_is_checked_before_its_images_are_read(edge, order, field):
    error = await refused(edge, pb.CreateDifferentialRequest(order=order))
    assert (error.code, list(error.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_parts_in_the_wrong_order_are_refused(edge, cells):
    order = pb.CreateDifferentialRequest(order=pb.SpecimenOrder(specimen_id="S", images=1))
    image = pb.CreateDifferentialRequest(image=cells[0])
    empty = pb.CreateDifferentialRequest()
    for parts in ([image, order], [order], [order, order], [order, empty], [order, image, image], []):
        error = await refused(edge, *parts)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_UPLOAD")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (OrderLimits(max_files=3), "UPLOAD_TOO_LARGE"),
        (OrderLimits(max_total_bytes=10_000), "UPLOAD_TOO_LARGE"),
        (OrderLimits(), "IMAGE_TOO_LARGE"),
        (OrderLimits(max_orders=0), "OVERLOADED"),
    ],
)
async def test_an_order_is_bounded(cells, limits, reason):
    async with keeping(limits=limits) as edge:
        images = [*cells, bytes(100_001)]
        error = await refused(edge, *parts_of(images))
    assert error.reason == reason


async def test_who_goes_away_while_he_orders_has_ordered_nothing(cells):
    others: list[str] = []
    async with (
        keeping(limits=OrderLimits(max_orders=1)) as edge,
        AsyncClient(Connection(edge.target)) as client,
        asyncio.timeout(LONGEST_S),
    ):

        async def another_is_taken() -> bool:
            try:
                differential, _ = await client.create_differential(ORDER, cells)
            except AnalyzerError as error:
                if error.reason != "OVERLOADED":
                    raise
                return False
            others.append(differential.differential_id)
            return True

        async def begun() -> Any:
            call = edge.stub.CreateDifferential()
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # refused already: it is done
                await call.write(
                    pb.CreateDifferentialRequest(order=pb.SpecimenOrder(specimen_id="S", images=2))
                )
                await call.write(pb.CreateDifferentialRequest(image=cells[0]))
            return call

        call = await begun()
        while await another_is_taken():  # until the service receives this one, and so no other
            if call.done():  # it came while another was taken, and was refused
                call = await begun()
        call.cancel()
        while not await another_is_taken():  # until it is done with this one
            await asyncio.sleep(0.01)
        assert edge.specimens is not None
        # To the service it may look like the end of the images.
        kept, _ = await edge.specimens.page(100)
    assert {specimen.differential_id for specimen in kept} == set(others)


async def test_who_is_refused_while_he_sends_much_is_told_why():
    """The end of the call must not overtake what is being sent: grpc.aio would lose its status."""
    async with grpc_edge(FakeModelServer()) as edge:
        codes = [(await refused(edge, *parts_of([bytes(3 * 2**20)] * 8))).reason for _ in range(15)]
    assert codes == ["STORE_OFF"] * 15


async def test_a_service_without_a_store_says_so(cells):
    async with grpc_edge(FakeModelServer()) as edge:
        error = await refused(edge, *parts_of(cells))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "STORE_OFF")


def parts_of(images: list[bytes]) -> Iterator[pb.CreateDifferentialRequest]:
    yield pb.CreateDifferentialRequest(order=pb.SpecimenOrder(specimen_id="S", images=len(images)))
    for image in images:
        yield pb.CreateDifferentialRequest(image=image)


async def refused(edge: Edge, *parts: pb.CreateDifferentialRequest) -> AnalyzerError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await edge.stub.CreateDifferential(iter(parts))
    return AnalyzerError.of_call(raised.value)
