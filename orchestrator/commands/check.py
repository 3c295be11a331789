"""``wbc check``: find before a start what ``wbc serve`` would stumble over, and say what to do about it."""

import asyncio
import json
import os
import platform
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Final, NamedTuple

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from orchestrator.bootstrap.model_servers import single_model_servers
from orchestrator.bootstrap.process import listen
from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.bootstrap.security import build_access, check_address, tls_context
from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.specimens import differential_rules
from orchestrator.bootstrap.store import build_store
from orchestrator.commands.terminal_text import shown
from orchestrator.device_audits.audit import AuditFile
from orchestrator.device_audits.registry import audit_files
from orchestrator.documents.model import Health
from orchestrator.domain import DISCLAIMER, Finding, Focus, FocusShares, ReportRequest
from orchestrator.edge.access.api_key_file import read_keys
from orchestrator.errors import ConfigurationError, WbcError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.model_server.base import ModelServer
from orchestrator.report.base import ReportWriter
from orchestrator.report.failures import ADVICE, WriterFailed
from orchestrator.settings import (
    Settings,
    StoreSettings,
    WritersSettings,
    no_json,
    read_settings,
    unknown_variables,
    variables,
    wrong_variables,
)

PATIENCE_S: Final = 5.0
"""How long a database or a TensorFlow Serving is waited for."""

ANSWER_PATIENCE_S: Final = 2.0
"""How long whoever has the HTTP port is waited for."""

MAX_ANSWER_BYTES: Final = 4096

MADE_UP: Final = ReportRequest(
    Finding(CLASS_NAMES.index("Neutrophil"), (0.005, 0.005, 0.005, 0.012, 0.973), 0.5, -4.0, 0.0, "none", ()),
    Focus(0.92, FocusShares(0.72, 0.2, 0.08)),
    "en",
)
"""A result of no cell, for language models that are asked whether they answer."""

ALREADY_RUNS: Final = "is in use: this service already runs"

_out = Console(emoji=False)


class Row(NamedTuple):
    """What was looked at, whether it is as it should be, and what it is or what to do."""

    what: str
    good: bool
    detail: str


def check(
    writers: Annotated[
        bool,
        typer.Option(
            "--writers",
            help="Also ask each language model for a report of a made-up result, and say what came.",
        ),
    ] = False,
) -> None:
    """Check settings, files, ports, store and models; exit code 1 where the service could not work.

    Changes nothing: a store is tried in a transaction that is taken back. Sends nothing either, but with
    --writers one made-up result to each language model.
    """
    problems = 0
    for what, good, detail in rows(ask_writers=writers):
        problems += not good
        state = "[green]good [/]" if good else "[bold red]wrong[/]"
        _out.print(f"{state}  {what:<8}  {shown(detail)}", highlight=False, soft_wrap=True)
    _out.print(DISCLAIMER, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def rows(*, ask_writers: bool = False) -> Iterator[Row]:
    """All that is looked at, one after the other; a problem hides none of those that do not rest on it."""
    yield Row("python", sys.version_info >= (3, 11), f"{platform.python_version()} (at least 3.11)")
    yield Row("cores", (os.cpu_count() or 0) >= 2, f"{os.cpu_count()} (at least 2)")
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Row("disk", free_gib > 1, f"{free_gib:.0f} GiB free (at least 1)")
    try:
        unknown = unknown_variables(variables())
    except ConfigurationError as error:
        yield Row("settings", False, str(error))
        return
    for name, advice in unknown.items():
        yield Row("settings", False, f"{name}: {advice}")
    try:
        settings = read_settings()
    except SettingsError as error:
        for variable in no_json(error):
            yield Row("settings", False, f"{variable}: expected JSON")
        return
    except ValidationError as error:
        told = {name.upper() for name in unknown}
        for variable, why in wrong_variables(error):
            if variable not in told:
                yield Row("settings", False, f"{variable}: {why}")
        return
    if not unknown:
        yield Row("settings", True, f"model repository {settings.model_repository}")
    yield _tried("access", lambda: _access(settings))
    with ExitStack() as held:  # so that HTTP and gRPC on one port are found out
        yield _tried("HTTP", lambda: _http(settings, held))
        if settings.grpc.port is not None:
            yield _tried("gRPC", lambda: _grpc(settings, settings.grpc.port or 0))
    if settings.store.url is not None:
        yield _tried("store", lambda: asyncio.run(_store(settings.store)))
    if settings.audits_dir is not None:
        yield _tried("audits", lambda: _audits(settings.audits_dir or Path()))
    if settings.embedded.cache_dir is not None:
        yield _tried("cache", lambda: _cache(settings.embedded.cache_dir or Path()))
    yield from _services(_as_patient(settings))
    yield from _writers(settings, ask_writers)


def _tried(what: str, look: Callable[[], str]) -> Row:
    """A row with what ``look`` says, or with why it could not."""
    try:
        return Row(what, True, look())
    except WbcError as error:
        return Row(what, False, str(error))


def _access(settings: Settings) -> str:
    try:
        access = build_access(settings)
    except ConfigurationError as error:
        if settings.security.api_keys_file is None:
            raise
        raise ConfigurationError(f"{error}; `wbc keys` makes the file") from error
    check_address(settings, settings.http.host, "WBC_HTTP__HOST", access)
    if settings.grpc.port is not None:
        check_address(settings, settings.grpc.host, "WBC_GRPC__HOST", access)
    path, now = settings.security.api_keys_file, datetime.now(UTC)
    if (
        path is not None
        and settings.security.oidc.issuer is None
        and not any(key.state(now) == "active" for key in read_keys(path)[0].keys)
    ):
        raise ConfigurationError(
            "WBC_SECURITY__API_KEYS_FILE: holds no key that opens; `wbc keys create` makes one"
        )
    return "callers show a key or a token" if access.authenticator.asks else "callers are not asked"


def _audits(folder: Path) -> str:
    try:
        found = [AuditFile(path).read() for path in audit_files(folder)]
    except OSError as error:
        raise ConfigurationError(
            f"WBC_AUDITS_DIR: expected a folder that can be read ({error.strerror})"
        ) from error
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(
            "WBC_AUDITS_DIR: expected a folder that can be written: what people say of sampled cells is "
            "kept there"
        )
    hold = sum(one.verdict is not None and not one.is_suspended() for one in found)
    return f"{len(found)} audits of microscopes, of which {hold} are judged and hold"


def _http(settings: Settings, held: ExitStack) -> str:
    http, certificate = settings.http, settings.security.tls.certificate_file
    state = "is free"
    try:
        held.enter_context(listen(http.host, http.port, "WBC_HTTP__PORT"))
    except ConfigurationError:
        if not _runs_already(settings):
            raise
        state = ALREADY_RUNS
    try:
        tls_context(settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; name the PEM files of one certificate and its key") from error
    return _edge(f"{http.host} port {http.port} {state}", certificate, "WBC_SECURITY__TLS__CERTIFICATE_FILE")


def _runs_already(settings: Settings) -> bool:
    """Whether it is this service that answers on the HTTP port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http.host, settings.http.host)
    connection = HTTPConnection(host, settings.http.port, timeout=ANSWER_PATIENCE_S)
    if settings.security.tls.certificate_file is not None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing secret is asked or told
        connection = HTTPSConnection(host, settings.http.port, timeout=ANSWER_PATIENCE_S, context=context)
    try:
        connection.request("GET", "/livez")
        said = json.loads(connection.getresponse().read(MAX_ANSWER_BYTES))
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return bool(said == Health(status="live").model_dump())


def _grpc(settings: Settings, port: int) -> str:
    from orchestrator.bootstrap.grpc_edge import grpc_options
    from orchestrator.edge.tls.grpc import server_credentials  # imports gRPC: time and memory

    state = "is free"
    try:
        listen(settings.grpc.host, port, "WBC_GRPC__PORT").close()
    except ConfigurationError:
        if port == settings.http.port or not _runs_already(settings):
            raise
        state = ALREADY_RUNS
    tls = grpc_options(settings).tls
    if tls is not None:
        try:
            server_credentials(tls)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error}; name the PEM files of one certificate and its key") from error
    certificate = None if tls is None else tls.certificate
    return _edge(f"{settings.grpc.host} port {port} {state}", certificate, "WBC_GRPC__TLS__CERTIFICATE_FILE")


def _edge(where: str, certificate: Path | None, variable: str) -> str:
    """What an edge does. Raises ``ConfigurationError`` where its certificate is not valid now."""
    if certificate is None:
        return f"{where}; no TLS"
    from cryptography import x509

    chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    ends, begins = min(c.not_valid_after_utc for c in chain), max(c.not_valid_before_utc for c in chain)
    now = datetime.now(UTC)
    if now >= ends:
        raise ConfigurationError(f"{variable}: expired on {ends:%Y-%m-%d}; renew the certificate")
    if now < begins:
        raise ConfigurationError(f"{variable}: not valid before {begins:%Y-%m-%d}; check the clock")
    return f"{where}; TLS, certificate valid until {ends:%Y-%m-%d}"


async def _store(settings: StoreSettings) -> str:
    """Open, migrate and write, and take all of it back."""
    build_store(settings)  # says what is wrong with URL and key
    assert settings.url is not None
    from orchestrator.store.database import Database  # imports SQLAlchemy: time and memory

    try:
        async with asyncio.timeout(PATIENCE_S):
            await Database(settings.url.get_secret_value(), 1, rehearsal=True).rehearse()
    except TimeoutError as error:
        why = f"WBC_STORE__URL: the database does not answer within {PATIENCE_S:g} s"
        raise ConfigurationError(f"{why}; look whether it runs, and whether another holds it") from error
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigurationError(f"WBC_STORE__URL: {why}; choose a folder that can be written") from error
    except ConfigurationError:
        raise
    except WbcError as error:
        raise ConfigurationError(f"WBC_STORE__URL: {error} Check address, rights and version.") from error
    images = "" if settings.encryption_key else "; images go when their cells are analysed, for want of a key"
    return f"can be written, and its schema is the newest or can be brought there{images}"


def _cache(folder: Path) -> str:
    """Whether a start can write there; a folder that is not there yet is not made."""
    folder = folder.absolute()
    try:
        with TemporaryFile(dir=next(there for there in (folder, *folder.parents) if there.exists())):
            return "can be written"
    except OSError as error:
        why = f"WBC_EMBEDDED__CACHE_DIR: cannot be written ({error.strerror})"
        raise ConfigurationError(f"{why}; choose another folder") from error


def _as_patient(settings: Settings) -> Settings:
    """The settings with the patience of this check, without a cache that it would fill, and without language
    models, which have rows of their own."""
    start_timeout_s = min(settings.tf_serving.start_timeout_s, PATIENCE_S)
    return settings.model_copy(
        update={
            "tf_serving": settings.tf_serving.model_copy(update={"start_timeout_s": start_timeout_s}),
            "embedded": settings.embedded.model_copy(update={"cache_dir": None}),
            "writers": WritersSettings(order=()),
        }
    )


def _writers(settings: Settings, ask: bool) -> Iterator[Row]:
    """Who writes reports; and where they are asked, what each says."""
    try:
        found = build_report_writers(settings)
    except WbcError as error:
        yield Row("writers", False, str(error))
        return
    yield Row("writers", True, ", then ".join(one.name for one in found.identities))
    for note in found.notes:
        yield Row("writers", True, note)
    if ask:
        yield from asyncio.run(_answers(found.single[:-1], settings.writers.deadline_s))


async def _answers(writers: Sequence[ReportWriter], deadline_s: float) -> list[Row]:
    return [await _answer(writer, deadline_s) for writer in writers]


async def _answer(writer: ReportWriter, deadline_s: float) -> Row:
    """The writer's own report of a made-up result, without a cache and the rules behind it."""
    begun_s = time.monotonic()
    try:
        async with asyncio.timeout(deadline_s):
            report = await writer.write(MADE_UP)
    except WriterFailed as error:
        advice = ADVICE.get(error.reason, "name another model: `wbc report --check` tells what each is worth")
        return Row("writers", False, f"{writer.name}: {error}; {advice}")
    except TimeoutError:
        return Row("writers", False, f"{writer.name}: no answer within {deadline_s:g} s; {ADVICE['timeout']}")
    finally:
        await writer.close()
    took_s = time.monotonic() - begun_s
    return Row("writers", True, f"{writer.name}: {report.model} wrote a report in {took_s:.1f} s")


def _services(settings: Settings) -> Iterator[Row]:
    try:
        servers = single_model_servers(settings)
        services = build_services(settings, model_server=servers["model"])
        min_cells = differential_rules(settings.differential, services).min_cells
    except WbcError as error:
        yield Row("service", False, str(error))
        return
    yield Row("profiles", True, ", ".join(services.profiles))
    if settings.store.url is not None:
        yield Row("counts", True, f"of at least {min_cells} cells")
    for part, server in servers.items():
        yield _tried(part, lambda server=server: asyncio.run(_identity(server)))  # type: ignore[misc]


async def _identity(server: ModelServer) -> str:
    await server.start()
    try:
        found = await server.identity()
    finally:
        await server.close()
    return f"{found.name} version {found.version} ({found.server}), sha256 {(found.sha256 or 'unknown')[:12]}"
