"""``wbc keys``: make, change and list API keys, on the machine that has their file. No service need run."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.api_key_file import change_keys, keys_or_none
from orchestrator.edge.access.api_keys import KeyRing
from orchestrator.errors import ConfigurationError
from orchestrator.settings import read_settings

T = TypeVar("T")

keys_app = typer.Typer(
    help=f"API keys of callers: create, rotate, revoke, list. {DISCLAIMER}", no_args_is_help=True
)
_out = Console()
_err = Console(stderr=True)

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_File = Annotated[
    Path | None,
    typer.Option("--file", help="The file of keys; WBC_SECURITY__API_KEYS_FILE where absent."),
]
_Lifetime = Annotated[str, typer.Option(help="How long it is good for: 30m, 12h, 90d, 52w, or never.")]
_Which = Annotated[str, typer.Argument(help="The id or the name of a key.")]


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what it is for; stands in the audit trail for good.")],
    role: Annotated[
        list[str], typer.Option("--role", help="What it may: analyse, review, sign, admin. Repeat for more.")
    ],
    expires: _Lifetime = "52w",
    file: _File = None,
) -> None:
    """Make a key and print it. This is the only time that it is shown."""
    lifetime, now = parsed_lifetime(expires), _now()
    _tell(_change(file, lambda ring: ring.created(name, role, lifetime, now)))


@keys_app.command()
def rotate(
    key: _Which,
    overlap: Annotated[str, typer.Option(help="How long the old secret still opens: 30m, 24h, 7d.")] = "24h",
    expires: _Lifetime = "52w",
    file: _File = None,
) -> None:
    """Give a key a new secret and print it; the old one opens for a while more."""
    lifetime, now = parsed_lifetime(expires), _now()
    both = parsed_lifetime(overlap)
    if both is None:
        raise ConfigurationError("--overlap: expected a time such as 24h, received 'never'")
    _tell(_change(file, lambda ring: ring.rotated(key, both, lifetime, now)))


@keys_app.command()
def revoke(key: _Which, file: _File = None) -> None:
    """Close a key for good, at once. Its name stays taken."""
    now = _now()
    _change(file, lambda ring: (ring.revoked(key, now), None))
    _err.print(f"{key} is revoked; services that run see it within a second", highlight=False)


@keys_app.command(name="list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    file: _File = None,
) -> None:
    """Show all keys, never a secret."""
    now = _now()
    try:
        ring = keys_or_none(_path(file))
    except OSError as error:
        raise ConfigurationError(f"the file of keys: {error.strerror}") from error
    rows = [
        {
            "id": key.id,
            "name": key.name,
            "roles": list(key.roles),
            "state": key.state(now),
            "created_at": _shown(key.created_at),
            "expires_at": _shown(key.expires_at),
            "secrets": sum(secret.opens(now) for secret in key.secrets),
        }
        for key in ring.keys
    ]
    if as_json:
        typer.echo(json.dumps({"keys": rows, "disclaimer": DISCLAIMER}))
        return
    table = Table()
    for name in rows[0] if rows else ("no keys",):
        table.add_column(name, no_wrap=name in ("id", "name"))
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _out.print(table)
    _out.print(DISCLAIMER)


def parsed_lifetime(text: str) -> timedelta | None:
    """``90d`` as a time; None for ``never``.

    Raises ``ConfigurationError`` for anything else, and for more than 100 years.
    """
    if text == "never":
        return None
    parts = re.fullmatch(r"([1-9][0-9]{0,6})([mhdw])", text)
    lifetime = timedelta(**{_UNITS[parts[2]]: int(parts[1])}) if parts else None
    if lifetime is None or lifetime > timedelta(days=36_525):
        raise ConfigurationError(f"expected a time such as 30m, 12h, 90d or 52w, or never, received {text!r}")
    return lifetime


def _change(file: Path | None, change: Callable[[KeyRing], tuple[KeyRing, T]]) -> T:
    try:
        return change_keys(_path(file), change)
    except OSError as error:
        raise ConfigurationError(f"the file of keys: {error.strerror}") from error


def _path(file: Path | None) -> Path:
    if file is not None:
        return file
    try:
        path = read_settings().security.api_keys_file
    except ValidationError as error:
        raise ConfigurationError("the settings of the environment are wrong; see `wbc check`") from error
    if path is None:
        raise ConfigurationError("which file? Set WBC_SECURITY__API_KEYS_FILE, or say --file FILE")
    return path


def _tell(key: str) -> None:
    """The key alone on standard output, for a pipe; what a person should know beside it."""
    typer.echo(key)
    _err.print(f"Keep it now: only its hash is kept. {DISCLAIMER}", highlight=False)


def _now() -> datetime:
    return datetime.now(UTC)


def _shown(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return "never" if value is None else str(value)
