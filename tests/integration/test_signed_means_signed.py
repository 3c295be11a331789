"""What was changed in the database, past the service: found by verify, and given out by no edge."""

import asyncio
import hashlib
import logging
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from loadtests import tamper
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.commands.cli import app
from orchestrator.edge.grpc.problems import code_of
from orchestrator.errors import ConfigurationError, RecordAltered
from orchestrator.settings import Settings
from orchestrator.store.anchors import FileAnchor, SyslogAnchor, head_line, heads_in
from orchestrator.store.base import Store
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from orchestrator.store.trail_replay import COMMENTED
from tests.fakes.model_server import FakeModelServer
from tests.postgresql import running_postgresql
from tests.running_service import PROJECT_ROOT


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each change that is found is an error in the log."""
    logging.getLogger("orchestrator.store.sql_store").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("orchestrator.store.sql_store").setLevel(logging.NOTSET)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/wbc.db"


@pytest.fixture
async def ids(url: str) -> tamper.Ids:
    return await tamper.made(url)


async def forge(url: str, case: str, ids: tamper.Ids) -> None:
    await tamper.do(url, next(one for one in tamper.cases() if one.name == case), ids)


@asynccontextmanager
async def service(store: Store) -> AsyncIterator[httpx2.AsyncClient]:
    services = build_services(Settings(), model_server=FakeModelServer())
    application = build_app(Settings(), services, store=store)
    transport = httpx2.ASGITransport(application, raise_app_exceptions=False)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://service") as client,
        application.router.lifespan_context(application),
    ):
        yield client


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
async def test_every_change_of_a_store_is_found_or_refused_or_known_to_be_harmless(server: str) -> None:
    if server == "sqlite":
        untouched, *found = await tamper.outcomes()
    else:
        with running_postgresql() as address:
            untouched, *found = await tamper.outcomes(address)
    assert (untouched.verify, untouched.anchored, untouched.export) == (None, None, None)
    assert [outcome.case.name for outcome in found if not outcome.is_right] == []
    refused = {outcome.case.name for outcome in found if outcome.export is not None}
    assert refused >= {
        f"cells.{name}" for name in ("label", "result", "image_sha256", "decided_by", "payload")
    }
    assert refused >= {f"specimens.{name}" for name in ("specimen_id", "total_wbc", "signed_by", "state")}
    told = (PROJECT_ROOT / "docs" / "security.md").read_text()
    assert [line for line in tamper.table(found) if line not in told] == []
    assert f"{len(found)} changes, 0 of them" in told
    assert set(tamper.HARMLESS) < {outcome.case.name for outcome in found}


@pytest.mark.parametrize(
    "rest", ["", "/fhir", "/hl7", "/hl7?message=oul", "/export.csv", "/export.csv?table=cells", "/dicom"]
)
async def test_no_edge_gives_out_what_was_forged_after_the_signature(
    url: str, ids: tamper.Ids, rest: str
) -> None:
    await forge(url, "every label and the signer forged", ids)
    async with service(SqlStore(Database(url))) as client:
        refused = await client.get(f"/v1/differentials/{ids.signed}{rest}")
        other = await client.get(f"/v1/differentials/{ids.cancelled}{rest}")
    assert refused.status_code == 409, refused.text
    assert refused.json()["type"] == "urn:wbc-analyzer:problem:record-altered"
    assert "cell 1: the decision about it is not that of row" in refused.json()["detail"]
    assert other.status_code == 200, other.text


def test_grpc_says_data_loss_of_what_was_forged() -> None:
    assert code_of(RecordAltered.kind).name == "DATA_LOSS"


@pytest.mark.usefixtures("ids")
async def test_what_was_forged_before_the_signature_is_not_signed(url: str) -> None:
    store = SqlStore(Database(url))
    specimen, _ = await store.create(tamper.ORDER, [b"image"], "lis")
    await store.record_result(
        specimen.differential_id, specimen.cells[0].cell_id, tamper.result("Monocyte", 1)
    )
    await change(
        url,
        "UPDATE cells SET result = replace(result, 'Monocyte', 'Basophil') "
        f"WHERE differential_id = '{specimen.differential_id}'",
    )
    with pytest.raises(RecordAltered, match="cell 1: its result"):
        await store.sign(specimen.differential_id, "doctor")
    assert (await store.get(specimen.differential_id)).signature is None
    await store.close()


async def change(url: str, statement: str) -> None:
    """Beside a service that runs, whose own writes need the loop to end: it is not held meanwhile."""

    def write() -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(statement)

    await asyncio.to_thread(write)


async def test_what_was_forged_is_neither_decided_nor_taken_back_nor_cancelled_over(
    url: str, ids: tamper.Ids
) -> None:
    async with service(SqlStore(Database(url))) as client:
        place = f"/v1/differentials/{ids.open}"
        first, second = (cell["id"] for cell in (await client.get(place)).json()["cells"])
        await change(
            url, f"UPDATE cells SET result = replace(result, 'Mono', 'Baso') WHERE cell_id = '{first}'"
        )
        decision = f"{place}/cells/{second}/decision"
        for answer in (
            await client.post(decision, json={"label": "Monocyte"}),
            await client.delete(decision),
            await client.post(f"{place}/cancel"),
        ):
            assert answer.status_code == 409, answer.text
            assert answer.json()["type"] == "urn:wbc-analyzer:problem:record-altered"
    store = SqlStore(Database(url))
    assert {entry.action for entry in await store.audit(ids.open)} <= {"ordered", "analysed", "failed"}
    await store.close()


async def test_an_image_that_was_exchanged_together_with_its_digest_is_not_given_out(
    url: str, ids: tamper.Ids
) -> None:
    async with service(SqlStore(Database(url), keep_images="always")) as client:
        place = f"/v1/differentials/{ids.signed}"
        cells = [cell["id"] for cell in (await client.get(place)).json()["cells"]]
        other = hashlib.sha256(b"forged").hexdigest()
        await change(
            url,
            f"UPDATE cells SET payload = CAST('forged' AS BLOB), image_sha256 = '{other}' "
            f"WHERE cell_id = '{cells[0]}'",
        )
        answers = [await client.get(f"{place}/cells/{cell}/image") for cell in cells]
    assert {answer.status_code for answer in answers} == {409}
    assert answers[0].json()["type"] == "urn:wbc-analyzer:problem:record-altered"


@pytest.mark.usefixtures("ids")
async def test_a_specimen_that_was_made_older_is_not_removed_by_retention(url: str, ids: tamper.Ids) -> None:
    await change(url, "UPDATE specimens SET created_at = '2001-01-01T00:00:00+00:00'")
    store = SqlStore(Database(url), retention=timedelta(days=30))
    await store.start()
    now = datetime.now(UTC)
    assert [await store.purge(now), await store.purge(now)] == [0, 0]
    with pytest.raises(RecordAltered, match="who ordered it, or when"):
        await store.checked(ids.signed)
    await store.close()


async def test_what_was_signed_before_digests_is_compared_with_what_its_rows_name(
    url: str, ids: tamper.Ids
) -> None:
    await without_digests(url, ids)
    store = SqlStore(Database(url))
    verdict = await store.verify()
    assert (verdict.ok, set(verdict.older)) == (True, {ids.signed, ids.cancelled})
    assert (await store.checked(ids.signed)).signature is not None
    await store.close()
    forged = ("cells.label", "cells.result", "specimens.signed_by", "specimens.total_wbc", "cells.decided_by")
    for case in forged:
        await forge(url, case, ids)
        with pytest.raises(RecordAltered):
            await store.checked(ids.signed)
        assert not (await store.verify()).ok
        await store.close()


async def without_digests(url: str, ids: tamper.Ids) -> None:
    """The trail as a version before digests wrote it; comments came later."""

    def older(row: dict[str, Any]) -> dict[str, Any]:
        if row["action"] in COMMENTED:
            return row
        details = tamper.details_of(row)
        return row | {"details": tamper.told({n: v for n, v in details.items() if n not in _NEW})}

    await tamper.do(url, tamper.Case("older", lambda c, _: tamper.write_chain_anew(c, older)), ids)


_NEW = ("digest", "failure")


@pytest.mark.usefixtures("ids")
async def test_the_head_is_kept_elsewhere_at_each_signature(url: str, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere.log"
    store = SqlStore(Database(url), anchors=[FileAnchor(tmp_path / "none" / "x"), FileAnchor(kept)])
    specimen, _ = await store.create(tamper.ORDER, [], "lis")

    await store.sign(specimen.differential_id, "doctor")  # stands although the first takes nothing

    assert (await store.get(specimen.differential_id)).state == "signed"
    assert dict([await store.head()]) == heads_in(kept.read_text().splitlines())
    await store.close()


def test_syslog_is_sent_the_head_and_found_in_its_log() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        SyslogAnchor(f"127.0.0.1:{receiver.getsockname()[1]}").keep(head_line(7, "ab" * 32))
        line = receiver.recv(1000).decode()
    assert line.startswith("<86>wbc: wbc-audit-head 7 ")
    assert heads_in([f"Nov 29 host {line}", "another line"]) == {7: "ab" * 32}


@pytest.mark.parametrize("address", ["", "host:0", "host:port", ":514"])
def test_an_address_of_a_syslog_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="WBC_STORE__ANCHOR_SYSLOG"):
        SyslogAnchor(address)


def run(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["audit", *arguments])
    return (2 if isinstance(ran.exception, ConfigurationError) else ran.exit_code), ran.output or str(
        ran.exception
    )


async def test_the_commands_print_the_head_and_compare_with_it(
    url: str, ids: tamper.Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBC_STORE__URL", url)
    code, head = await asyncio.to_thread(run, "head")
    assert code == 0
    (tmp_path / "heads").write_text(head)
    verify = ("verify", "--anchor", str(tmp_path / "heads"))
    assert (await asyncio.to_thread(run, *verify))[0] == 0

    await forge(url, "a decision forged, with its row and the whole chain written anew", ids)

    assert (await asyncio.to_thread(run, "verify"))[0] == 0  # as security.md says
    code, said = await asyncio.to_thread(run, *verify)
    assert (code, "noted elsewhere" in said) == (1, True)


def test_verify_of_a_database_that_is_missing_or_empty_fails_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBC_STORE__URL", f"sqlite:///{tmp_path}/none.db")
    assert run("verify")[0] == 2
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "none.db").touch()
    assert run("verify")[0] == 2


async def test_verify_of_a_store_without_a_row_fails(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore(Database(url))
    await store.start()
    await store.close()
    monkeypatch.setenv("WBC_STORE__URL", url)
    code, said = await asyncio.to_thread(run, "verify")
    assert (code, "empty" in said) == (1, True)


async def test_a_start_of_an_older_store_leaves_its_trail_as_it_is(url: str, ids: tamper.Ids) -> None:
    await without_digests(url, ids)
    store = SqlStore(Database(url))
    await store.start()
    told = [entry for entry in await store.audit() if entry.action not in COMMENTED]
    assert not any("digest" in entry.details for entry in told)
    await store.close()
