"""While an upgrade is under way, replicas of the version before work on the migrated schema beside new ones.

What the version before says is played from ``tests/golden/store_statements``, as it was written down; see
``tests/store_statements.py``. This version is itself.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.specimen import SpecimenOrder
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from tests.postgresql import running_postgresql
from tests.running_service import PROJECT_ROOT
from tests.store_statements import FOLDER, say

REVISIONS = sorted(path.stem for path in FOLDER.glob("*.json"))
MIGRATIONS = PROJECT_ROOT / "orchestrator" / "store" / "migrations" / "versions"


def newest(folder: Path, pattern: str) -> str:
    return max(path.name for path in folder.glob(pattern))[:4]


def test_what_this_version_says_is_written_down_for_the_next() -> None:
    """``python -m tests.store_statements`` writes it."""
    assert newest(FOLDER, "*.json") == newest(MIGRATIONS, "0*.py")


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_version_of_a_revision_goes_on_beside_this_one(revision: str) -> None:
    steps = json.loads((FOLDER / f"{revision}.json").read_text(encoding="utf-8"))
    with running_postgresql() as server:
        new = SqlStore(Database(f"{server}postgres"))
        await new.start()  # migrates
        engine = create_async_engine(f"{server}postgres".replace("postgresql:", "postgresql+asyncpg:"))
        try:
            async with engine.connect() as old:
                await beside(new, lambda step: say(old, steps[step]))
        finally:
            await engine.dispose()
            await new.close()


async def beside(new: SqlStore, old: Any) -> None:
    """``old`` takes a step of the version before, and gives the rows that it was answered."""
    for step in ("order and analyse", "decide and sign", "cancel", "order another"):
        await old(step)

    # What the old one wrote is read by the new one, is whole, and is gone on with.
    found = {summary.specimen_id: summary for summary in (await new.page(50))[0]}
    states = {name: summary.state for name, summary in found.items()}
    assert states == {"OLD-1": "signed", "OLD-2": "cancelled", "OLD-3": "analysed"}
    signed = await new.checked(found["OLD-1"].differential_id)
    assert [cell.label for cell in signed.cells] == ["Monocyte", "Unidentified"]
    waiting = await new.get(found["OLD-3"].differential_id)
    assert found["OLD-3"].unreviewed == len(waiting.cells) == 2
    for cell in waiting.cells:
        await new.decide(waiting.differential_id, cell.cell_id, "Basophil", "doctor")
    await new.sign(waiting.differential_id, "doctor")
    mine, _ = await new.create(SpecimenOrder("NEW-1"), [b"cell"], "new")

    # What the new one wrote is read by the old one.
    listed = {value for row in await old("list") for value in row}
    assert {"NEW-1", "OLD-3", mine.differential_id} <= listed
    assert (mine.differential_id,) in await old("unfinished")

    verdict = await new.verify()
    assert (verdict.ok, verdict.altered) == (True, ())
