"""The use cases where an edge alone would not show them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.specimens import build_specimens
from orchestrator.device_audits.audit import AuditFile
from orchestrator.device_audits.registry import AuditRegistry
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.settings import DifferentialSettings, Settings
from orchestrator.specimen import Specimen, SpecimenOrder
from orchestrator.specimens.differential import DifferentialRules
from orchestrator.specimens.runner import SpecimenRunner
from orchestrator.specimens.service import Progress, Specimens
from tests.audited_cells import MODEL, NOW, PRECISION, PROFILE, passed_audit, plan_of
from tests.counted_cells import cell, result, specimen
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import cell_file
from tests.waiting import LONGEST_S

ORDER = SpecimenOrder("S-1", tta="none")


@pytest.fixture(scope="module")
def payload() -> bytes:
    return cell_file("Neutrophil", 1, 130)


class SlowStore(MemoryStore):
    """Takes its time to keep an order, and notes what is asked about old ones."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.purged_at: list[datetime] = []

    async def create(self, *given, **named) -> tuple[Specimen, bool]:
        self.reached.set()
        await asyncio.sleep(0.05)
        return await super().create(*given, **named)

    async def purge(self, now: datetime) -> int:
        self.purged_at.append(now)
        if len(self.purged_at) == 1:
            raise errors.StoreUnavailable("The database does not answer.")
        return 0


@asynccontextmanager
async def running(store: MemoryStore) -> AsyncIterator[Specimens]:
    services = build_services(Settings(), model_server=FakeModelServer())
    runner = SpecimenRunner(store, services)
    specimens = Specimens(store, runner, DifferentialRules(), services.decode_limits)
    await services.model_server.start()
    async with specimens.running():
        yield specimens
    await services.model_server.close()


async def test_an_order_whose_sender_hangs_up_while_it_is_kept_is_analysed_all_the_same(payload):
    store = SlowStore()
    async with running(store) as specimens:
        ordering = asyncio.create_task(specimens.order(ORDER, [payload, b"no image"], "local", "key-1"))
        await store.reached.wait()
        ordering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ordering
        again, created = await specimens.order(ORDER, [payload, b"no image"], "local", "key-1")
        assert not created
        async with asyncio.timeout(LONGEST_S):
            async for progress in specimens.progress(again.specimen.differential_id):
                assert progress is not None
    assert (progress.state, progress.analysed, progress.failed) == ("analysed", 1, 1)


async def test_an_order_without_an_image_is_refused():
    async with running(MemoryStore()) as specimens:
        with pytest.raises(ValueError, match="at least one image"):
            await specimens.order(ORDER, [], "local")


async def test_what_is_too_old_is_removed_from_the_start_and_a_failure_of_that_stops_nothing(payload):
    store = SlowStore()
    async with running(store) as specimens:
        await specimens.order(ORDER, [payload], "local")
    assert len(store.purged_at) == 1
    assert store.purged_at[0].tzinfo is not None


class ForgetfulStore(MemoryStore):
    async def get(self, differential_id: str) -> Specimen:  # noqa: ARG002 (the port's signature)
        raise errors.UnknownDifferential("There is no differential of this id.")


async def test_the_trail_of_what_retention_removed_can_still_be_read(payload):
    store = ForgetfulStore()
    kept, _ = await store.create(ORDER, [payload], "local")
    specimens = Specimens(
        store,
        SpecimenRunner(store, build_services(Settings(), model_server=FakeModelServer())),
        DifferentialRules(),
        build_services(Settings(), model_server=FakeModelServer()).decode_limits,
    )
    assert [entry.action for entry in await specimens.audit(kept.differential_id)] == ["ordered"]
    with pytest.raises(errors.UnknownDifferential):
        await specimens.audit("nowhere")


async def test_who_follows_hears_that_nothing_happened(payload):
    store = MemoryStore()
    kept, _ = await store.create(ORDER, [payload], "local")
    services = build_services(Settings(), model_server=FakeModelServer())
    specimens = Specimens(store, SpecimenRunner(store, services), DifferentialRules(), services.decode_limits)
    heard = []
    async with asyncio.timeout(LONGEST_S):
        async for progress in specimens.progress(kept.differential_id, heartbeat_s=0.01):
            heard.append(progress)
            if len(heard) == 3:
                break
    assert heard[0] == Progress(kept.differential_id, "waiting", 1, 1, 0, 0)
    assert heard[1:] == [None, None]


async def test_nobody_is_told_of_progress_for_longer_than_agreed(payload):
    store = MemoryStore()
    kept, _ = await store.create(ORDER, [payload], "local")
    services = build_services(Settings(), model_server=FakeModelServer())
    specimens = Specimens(store, SpecimenRunner(store, services), DifferentialRules(), services.decode_limits)
    async with asyncio.timeout(60):
        heard = [told async for told in specimens.progress(kept.differential_id, longest_s=0.3)]
    assert heard == [Progress(kept.differential_id, "waiting", 1, 1, 0, 0)]


def test_progress_counts_cells_by_state():
    cells = [cell(1), cell(2, result()), cell(3, "The file is empty."), cell(4, result())]
    progress = Progress.of(specimen(cells, state="running"))
    assert (progress.total, progress.waiting, progress.analysed, progress.failed) == (4, 1, 2, 1)
    assert not progress.ended
    for state in ("analysed", "signed", "cancelled"):
        assert replace(progress, state=state).ended


def audited_specimens(folder, store: MemoryStore, labels: Path | None = None) -> Specimens:
    services = build_services(Settings(), model_server=FakeModelServer())
    services = replace(services, audits=AuditRegistry(folder, PRECISION))
    return build_specimens(DifferentialSettings(labels=labels), services, store, Admission(), Draining())


async def sampled_cells(store: MemoryStore, count: int) -> Specimen:
    """As many cells that the audit of `passed_audit` released as eosinophils and sampled."""
    files = (f"image {number}".encode() for number in range(1000))
    sampled = (file for file in files if plan_of().is_sampled(hashlib.sha256(file).hexdigest()))
    ordered, _ = await store.create(
        ORDER, [file for _, file in zip(range(count), sampled, strict=False)], "x"
    )
    released = result("Eosinophil", review=["audit_sample"], model=MODEL, device_state="audited")
    released = replace(released, profile_sha256=PROFILE.sha256, analysed_at=NOW)
    for one in ordered.cells:
        await store.record_result(ordered.differential_id, one.cell_id, released)
    return await store.get(ordered.differential_id)


async def test_what_persons_decide_of_sampled_cells_reaches_the_audit_and_ends_it(tmp_path):
    AuditFile(tmp_path / "audit.json").create(passed_audit())
    store = MemoryStore()
    specimens, kept = audited_specimens(tmp_path, store), await sampled_cells(store, 3)
    labels = ("Eosinophil", "Neutrophil", "Unidentified")

    for one, label in zip(kept.cells, labels, strict=True):
        assert not AuditFile(tmp_path / "audit.json").read().is_suspended()
        await specimens.decide(kept.differential_id, one.cell_id, label, "ayse")

    audit = AuditFile(tmp_path / "audit.json").read()
    assert [sample.correct for sample in audit.samples] == [True, False, False]
    assert audit.is_suspended()
    trail = [entry for entry in await specimens.audit(kept.differential_id) if entry.action == "audit_sample"]
    assert {entry.actor for entry in trail} == {"ayse"}
    assert [(entry.cell_id, entry.details["said"], entry.details["audit_holds"]) for entry in trail] == [
        (kept.cells[0].cell_id, "right", "yes"),
        (kept.cells[1].cell_id, "wrong", "yes"),
        (kept.cells[2].cell_id, "wrong", "no"),
    ]
    assert trail[0].details["audit"] == audit.plan_sha256
    assert trail[0].details["class"] == "Eosinophil"

    await specimens.undecide(kept.differential_id, kept.cells[2].cell_id, "ayse")
    assert not AuditFile(tmp_path / "audit.json").read().is_suspended()
    assert len(AuditFile(tmp_path / "audit.json").read().samples) == 2


async def test_an_answer_is_right_where_a_persons_word_is_part_of_its_class(tmp_path):
    AuditFile(tmp_path / "audit.json").create(passed_audit())
    labels = tmp_path / "labels.toml"
    labels.write_text('[[label]]\nname = "Bilobed"\npart_of = "Eosinophil"\n', "utf-8")
    store = MemoryStore()
    specimens = audited_specimens(tmp_path, store, labels)
    kept = await sampled_cells(store, 2)

    for one, label in zip(kept.cells, ("Bilobed", "Band"), strict=True):
        await specimens.decide(kept.differential_id, one.cell_id, label, "ayse")

    audit = AuditFile(tmp_path / "audit.json").read()
    assert [sample.correct for sample in audit.samples] == [True, False]


async def test_a_differential_carries_the_error_that_the_audit_knows_of(tmp_path):
    AuditFile(tmp_path / "audit.json").create(passed_audit())
    store = MemoryStore()
    ordered, _ = await store.create(ORDER, [b"one", b"two"], "x")
    released = result("Eosinophil", model=MODEL, device_state="audited")
    for one in ordered.cells:
        found = replace(released, profile_sha256=PROFILE.sha256, analysed_at=NOW)
        await store.record_result(ordered.differential_id, one.cell_id, found)

    found = await audited_specimens(tmp_path, store).get(ordered.differential_id)

    assert found.released_errors is not None
    assert found.released_errors.limits.keys() == {"Eosinophil"}


async def test_a_sample_that_cannot_be_counted_is_told_and_the_signature_brings_it(tmp_path, caplog):
    path = tmp_path / "audit.json"
    AuditFile(path).create(passed_audit())
    store = MemoryStore()
    specimens, kept = audited_specimens(tmp_path, store), await sampled_cells(store, 1)
    lock = tmp_path / ".audit.json.lock"
    lock.unlink()
    lock.mkdir()  # nobody can hold it

    await specimens.decide(kept.differential_id, kept.cells[0].cell_id, "Neutrophil", "ayse")
    assert "a sample of an audit could not be counted" in caplog.text
    assert (await store.get(kept.differential_id)).cells[0].label == "Neutrophil"
    lock.rmdir()
    await specimens.sign(kept.differential_id, "ayse")

    assert [sample.correct for sample in AuditFile(path).read().samples] == [False]


async def test_a_decision_that_was_taken_back_while_the_audit_could_not_be_changed_is_forgotten_later(
    tmp_path,
):
    path = tmp_path / "audit.json"
    AuditFile(path).create(passed_audit())
    store = MemoryStore()
    specimens, kept = audited_specimens(tmp_path, store), await sampled_cells(store, 2)
    first, second = (cell.cell_id for cell in kept.cells[:2])
    lock = tmp_path / ".audit.json.lock"
    await specimens.decide(kept.differential_id, first, "Neutrophil", "ayse")
    lock.unlink()
    lock.mkdir()
    await specimens.undecide(kept.differential_id, first, "ayse")
    lock.rmdir()

    await specimens.decide(kept.differential_id, second, "Eosinophil", "ayse")

    assert [sample.correct for sample in AuditFile(path).read().samples] == [True]
