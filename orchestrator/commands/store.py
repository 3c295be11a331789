"""``wbc audit`` and ``wbc store``: the audit trail, and the store's keys and schema."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.bootstrap.store import build_store
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.settings import load_settings
from orchestrator.store.base import AuditEntry, AuditVerdict, Store

T = TypeVar("T")

audit_app = typer.Typer(help=f"The audit trail of the store. {DISCLAIMER}", no_args_is_help=True)
store_app = typer.Typer(help=f"The store itself. {DISCLAIMER}", no_args_is_help=True)
_out = Console()


@audit_app.command()
def verify() -> None:
    """Check the whole chain; exit code 1 where a row was changed, removed or reordered.

    Prints how many rows there are and the hash of the last: kept somewhere else, it proves later that nobody
    wrote the chain anew.
    """

    async def check(store: Store) -> tuple[AuditVerdict, list[AuditEntry]]:
        return await store.verify(), (await store.audit())[-1:]

    verdict, last = _with_store(check)
    if not verdict.ok:
        _out.print(f"[bold red]broken[/] at row {verdict.first_wrong}: {verdict.why}", highlight=False)
        raise typer.Exit(1)
    head = last[0].row_hash if last else "none"
    _out.print(f"[green]whole[/]: {verdict.rows} rows, last hash {head}", highlight=False, soft_wrap=True)


@audit_app.command()
def show(
    differential: Annotated[
        str | None, typer.Argument(help="Id of one differential; all where absent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")] = False,
) -> None:
    """Who did what, the earliest first."""
    entries = _with_store(lambda store: store.audit(differential))
    if as_json:
        for entry in entries:
            typer.echo(json.dumps(_document(entry), ensure_ascii=False))
        return
    table = Table("row", "at", "who", "what", "differential", "cell", "details", caption=DISCLAIMER)
    for entry in entries:
        document = _document(entry)
        details = ", ".join(f"{name} {value}" for name, value in entry.details.items())
        ids = [(document[name] or "")[:8] for name in ("differential_id", "cell_id")]
        table.add_row(str(entry.sequence), document["at"], entry.actor, entry.action, *ids, details)
    _out.print(table)


@store_app.command()
def key() -> None:
    """Make a key for WBC_STORE__ENCRYPTION_KEY and print it; what it encrypts is lost with it."""
    from orchestrator.store.encryption import new_key

    typer.echo(new_key())


@store_app.command()
def migrate() -> None:
    """Bring the database to the schema of this version, as a start of the service does."""

    async def nothing(store: Store) -> None:
        del store

    _with_store(nothing)
    _out.print("the schema is up to date")


def _with_store(use: Callable[[Store], Awaitable[T]]) -> T:
    store = build_store(load_settings().store)
    if store is None:
        raise ConfigurationError("WBC_STORE__URL: expected the store's address, received none")

    async def run() -> T:
        await store.start()
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _document(entry: AuditEntry) -> dict[str, str]:
    return {
        "sequence": str(entry.sequence),
        "at": entry.at.isoformat(timespec="seconds"),
        "actor": entry.actor,
        "action": entry.action,
        "differential_id": entry.differential_id or "",
        "cell_id": entry.cell_id or "",
        "details": json.dumps(dict(entry.details), ensure_ascii=False),
        "row_hash": entry.row_hash,
    }
