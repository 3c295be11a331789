"""``wbc audit`` and ``wbc store``: the audit trail, and the store's keys and schema."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.bootstrap.store import build_store
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.settings import load_settings
from orchestrator.store.base import AuditEntry, Store

T = TypeVar("T")

OPERATOR: Final = "operator"
"""Who acts by this command."""

audit_app = typer.Typer(help=f"The audit trail of the store. {DISCLAIMER}", no_args_is_help=True)
store_app = typer.Typer(help=f"The store itself. {DISCLAIMER}", no_args_is_help=True)
_out = Console()


@audit_app.command()
def verify(
    anchor: Annotated[
        Path | None,
        typer.Option(help="A file with lines of `wbc audit head`, also within a log, from elsewhere."),
    ] = None,
) -> None:
    """Check the whole chain, and that specimens, cells, decisions and images are what it says.

    Exit code 1 where a row or what it tells of was changed, removed or reordered, or where there is no row.
    Who can write to the database can write all of it anew: --anchor finds that.
    """
    noted = {} if anchor is None else _heads_of(anchor)
    verdict = _reading(lambda store: store.verify(noted))

    def say(words: str) -> None:
        _out.print(words, highlight=False, soft_wrap=True)

    if verdict.first_wrong is not None:
        say(f"[bold red]broken[/] at row {verdict.first_wrong}: {verdict.why}")
    for what in verdict.altered:
        say(f"[bold red]altered[/]: {what}")
    if not verdict.ok:
        raise typer.Exit(1)
    if not verdict.rows:
        say("[bold red]empty[/]: no row; either nothing was ever ordered, or this is not the store")
        raise typer.Exit(1)
    for differential_id in verdict.older:
        say(
            f"{differential_id}: closed before digests were kept; compared with what the rows of then say, "
            "which is all but the words of failures and the ids of cells"
        )
    noted_words = f", with {len(noted)} heads noted elsewhere" if noted else ""
    say(f"[green]whole[/]: {verdict.rows} rows{noted_words}, last hash {verdict.head}")


@audit_app.command()
def head() -> None:
    """Print the head of the chain: number and hash of the last row, in one line to keep elsewhere."""
    from orchestrator.store.anchors import head_line

    typer.echo(head_line(*_reading(lambda store: store.head())))


@audit_app.command()
def show(
    differential: Annotated[
        str | None, typer.Argument(help="Id of one differential; all where absent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")] = False,
) -> None:
    """Who did what, the earliest first."""
    entries = _reading(lambda store: store.audit(differential))
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


@store_app.command()
def confirm_clock() -> None:
    """Say that this machine's clock is right, where retention waits because it has jumped."""
    now = datetime.now(UTC)
    _reading(lambda store: store.confirm_clock(now, OPERATOR))
    _out.print(f"it is {now.isoformat(timespec='seconds')}: retention goes on with its next look")


def _heads_of(path: Path) -> dict[int, str]:
    from orchestrator.store.anchors import heads_in

    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            heads = heads_in(lines)
    except OSError as error:
        raise ConfigurationError(f"--anchor: cannot be read ({error.strerror})") from error
    if not heads:
        raise ConfigurationError("--anchor: the file holds no line of `wbc audit head`")
    return heads


def _reading(use: Callable[[Store], Awaitable[T]]) -> T:
    """As it is, without a migration, and without retention."""
    return _with_store(use, lambda store: store.open())


def _with_store(
    use: Callable[[Store], Awaitable[T]],
    begin: Callable[[Store], Awaitable[None]] = lambda store: store.start(),
) -> T:
    store = build_store(load_settings().store)
    if store is None:
        raise ConfigurationError("WBC_STORE__URL: expected the store's address, received none")

    async def run() -> T:
        await begin(store)
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
