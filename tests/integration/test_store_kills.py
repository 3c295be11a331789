"""A process that writes to the store is killed at random moments: what it had acknowledged is there."""

import random
import select
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from tests.contract.store_suite import RESULT
from tests.postgresql import running_postgresql
from tests.running_service import PROJECT_ROOT

KILLS = 6

WRITER = """
import asyncio, sys
from orchestrator.specimen import SpecimenOrder
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from tests.contract.store_suite import RESULT

def acknowledged(*words):
    print(*words, flush=True)

async def main():
    store = SqlStore(Database(sys.argv[1]))
    await store.start()
    acknowledged("started")
    for number in range(1000):
        payloads = [bytes([number % 256, cell]) * 2000 for cell in range(5)]
        specimen, _ = await store.create(SpecimenOrder(f"S-{number}"), payloads, "writer")
        acknowledged("ordered", specimen.differential_id)
        for cell in specimen.cells:
            await store.record_result(specimen.differential_id, cell.cell_id, RESULT)
            acknowledged("recorded", specimen.differential_id, cell.cell_id)
        await store.decide(specimen.differential_id, cell.cell_id, "Monocyte", "doctor")
        acknowledged("decided", specimen.differential_id, cell.cell_id)
        await store.sign(specimen.differential_id, "doctor")
        acknowledged("signed", specimen.differential_id)

asyncio.run(main())
"""


def written_until_killed(url: str, seconds: float) -> list[list[str]]:
    """What a writer acknowledged before it was killed, so many seconds after its start."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0], "the writer does not start"
    assert process.stdout.readline().split() == ["started"]
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    out, _ = process.communicate(timeout=30)
    # A last line without an end was not acknowledged.
    return [line.split() for line in out.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_whatever_was_acknowledged_before_a_kill_is_there_and_nothing_twice(
    kind: str, tmp_path: Path
) -> None:
    if kind == "sqlite":
        await kill_again_and_again(f"sqlite:///{tmp_path}/wbc.db")
    else:
        with running_postgresql() as server:
            await kill_again_and_again(f"{server}postgres")


async def kill_again_and_again(url: str) -> None:
    moments = random.Random(17)
    acknowledged: list[list[str]] = []
    for _ in range(KILLS):
        acknowledged += written_until_killed(url, moments.uniform(0.01, 0.6))
    assert len(acknowledged) > 20

    store = SqlStore(Database(url))
    await store.start()
    for what, differential_id, *cell_id in acknowledged:
        specimen = await store.get(differential_id)
        cells = {cell.cell_id: cell for cell in specimen.cells}
        assert len(cells) == 5
        if what == "recorded":
            assert cells[cell_id[0]].result == RESULT
        elif what == "decided":
            decision = cells[cell_id[0]].decision
            assert decision is not None
            assert decision.label == "Monocyte"
        elif what == "signed":
            assert specimen.state == "signed"
    trail = await store.audit()
    recorded = [entry.cell_id for entry in trail if entry.action == "analysed"]
    assert len(recorded) == len(set(recorded))
    assert (await store.verify()).ok
    # And it goes on: what waits can be analysed.
    for differential_id in await store.unfinished():
        while (cell := await store.claim(differential_id, 60)) is not None:
            assert len(cell.payload) == 4000
            assert await store.record_result(differential_id, cell.cell_id, RESULT, cell.token)
    assert await store.unfinished() == []
    await store.close()
