"""``wbc emulate``: a laboratory that listens, and messages to develop with."""

import asyncio
import itertools
import json
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.domain import DISCLAIMER
from orchestrator.emulator.fhir_endpoint import FhirEndpoint, ReceivedBundle
from orchestrator.emulator.fhir_schema import schema_check
from orchestrator.emulator.golden import golden_files, golden_reports
from orchestrator.emulator.lis import ANSWERS, Answer, EmulatedLis, Received
from orchestrator.errors import ConfigurationError, DicomOff
from orchestrator.interop import fhir_check, hl7v2_check
from orchestrator.interop.dicom_process import require_dicom
from orchestrator.interop.mllp import DEFAULT_PORT
from orchestrator.interop.mllp_listener import MllpListener

if TYPE_CHECKING:
    from orchestrator.emulator.dicom_check import CheckedObject

FHIR_PORT: Final = 8089
DICOM_PORT: Final = 8042

app = typer.Typer(
    name="emulate",
    help="Play a laboratory's side, so that nobody needs one to build and to test an integration. "
    "Nothing that is received leaves this process, but for what --save writes.",
    no_args_is_help=True,
)
_out = Console()

_Host = Annotated[str, typer.Option(help="Address to listen on.")]
_Save = Annotated[Path | None, typer.Option(help="Write everything that comes into this folder.")]


@app.command()
def mllp(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = DEFAULT_PORT,
    host: _Host = "127.0.0.1",
    answer: Annotated[
        list[str] | None,
        typer.Option(
            help=f"How to answer: {', '.join(ANSWERS)}. Several times: for the first messages, one each, and "
            "the last one for all that follow. A wrong message gets AE whatever stands here."
        ),
    ] = None,
    save: _Save = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM; with it the line is TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of the certificate's key.")] = None,
) -> None:
    """Receive HL7 v2 messages over MLLP, check them, acknowledge them, and print them."""
    answers = _answers(answer or ["accept"])
    write = _writer(save, "hl7")
    if not hl7v2_check.can_validate():
        _out.print("hl7apy is not installed: own rules only (the extra `interop` brings it)")

    def tell(received: Received) -> None:
        write(received.data)
        _print_message(received)

    lis = EmulatedLis(answers, tell)
    asyncio.run(_listen(MllpListener(lis, host, port, tls=_tls(certificate, key)), host))


@app.command()
def fhir(
    port: Annotated[int, typer.Option(min=1, max=65535)] = FHIR_PORT,
    host: _Host = "127.0.0.1",
    status: Annotated[
        list[int] | None,
        typer.Option(min=400, max=599, help="Answer the first Bundles with these, one each, such as 503."),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Check against this fhir.schema.json of FHIR R4, too.")
    ] = None,
    save: _Save = None,
) -> None:
    """Receive FHIR R4 Bundles at /fhir, check them, keep their resources, and print them."""
    if not fhir_check.can_validate():
        _out.print("fhir.resources is not installed: own rules only (the extra `interop` brings it)")
    by_schema = schema_check(schema) if schema else None
    write = _writer(save, "json")

    def check(document: object) -> list[str]:
        return (by_schema(document) if by_schema else []) or fhir_check.problems(document)

    def tell(received: ReceivedBundle) -> None:
        write(json.dumps(received.resources, ensure_ascii=False, indent=1).encode())
        _print_bundle(received)

    endpoint = FhirEndpoint(status or (), check, tell)
    _out.print(f"a FHIR R4 server on http://{host}:{port}/fhir\n{DISCLAIMER}", highlight=False)
    uvicorn.run(endpoint.app(), host=host, port=port, log_level="warning", server_header=False)


@app.command()
def dicom(
    port: Annotated[int, typer.Option(min=1, max=65535)] = DICOM_PORT,
    host: _Host = "127.0.0.1",
    status: Annotated[
        list[int] | None,
        typer.Option(min=400, max=599, help="Answer the first requests with these, one each, such as 503."),
    ] = None,
    save: _Save = None,
) -> None:
    """Receive DICOM objects by STOW-RS at /dicom-web, check them, keep the last of them, and print them."""
    require_dicom()
    from orchestrator.emulator.dicom_archive import DicomArchive  # which costs two seconds

    write = _writer(save, "dcm")

    def tell(received: "CheckedObject") -> None:
        write(received.data)
        _print_object(received)

    _out.print(f"a DICOM archive on http://{host}:{port}/dicom-web\n{DISCLAIMER}", highlight=False)
    archive = DicomArchive(status or (), tell)
    uvicorn.run(archive.app(), host=host, port=port, log_level="warning", server_header=False)


@app.command()
def golden(directory: Annotated[Path, typer.Argument(help="Made where it does not exist.")]) -> None:
    """Write made-up differentials in every format: signed and not, without a total, with too few cells,
    with text that breaks a careless parser, cancelled."""
    directory.mkdir(parents=True, exist_ok=True)
    files = golden_files()
    try:
        require_dicom()
    except DicomOff as error:
        _out.print(f"without DICOM: {error}")
    else:
        files |= golden_reports()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    _out.print(f"{len(files)} files\n{DISCLAIMER}", highlight=False)


async def _listen(listener: MllpListener, host: str) -> None:
    """Until SIGINT or SIGTERM, whatever whoever started this process ignores."""
    try:
        async with listener:
            serving = asyncio.ensure_future(listener.serve_forever())
            for stop in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(stop, serving.cancel)
            _out.print(f"a LIS on mllp://{host}:{listener.port}\n{DISCLAIMER}", highlight=False)
            with suppress(asyncio.CancelledError):
                await serving
    except OSError as error:
        raise ConfigurationError(f"cannot listen ({error.strerror or type(error).__name__})") from error


def _answers(given: list[str]) -> list[Answer]:
    chosen: list[Answer] = [known for name in given for known in ANSWERS if known == name]
    if len(chosen) != len(given):
        raise typer.BadParameter(f"expected one of {', '.join(ANSWERS)}", param_hint="--answer")
    return chosen


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigurationError("--certificate: expected a PEM file, and its key") from error
    return context


def _writer(directory: Path | None, suffix: str) -> Callable[[bytes], None]:
    """Writes numbered files: what a peer calls its messages is no name for a file."""
    if directory is None:
        return lambda _: None
    directory.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1)

    def write(data: bytes) -> None:
        (directory / f"{next(numbers):06d}.{suffix}").write_bytes(data)

    return write


def _print_message(received: Received) -> None:
    state = "wrong" if received.problems else "repeated" if received.is_repeated else "good"
    table = Table("code", "what", "value", "unit", "flag", "status")
    table.title = escape(
        f"{received.kind} {received.control_id}, specimen {received.specimen_id}: {state}, {received.answer}"
    )
    for result in received.results:
        row = (result.code, result.name, result.value, result.unit, result.flag, result.status)
        table.add_row(*map(escape, row))
    _out.print(table)
    _print_problems(received.problems)


def _print_bundle(received: ReceivedBundle) -> None:
    table = Table("resource", "code", "value", "status")
    counts = f"{received.created} new, {received.replaced} replaced"
    table.title = escape(f"Bundle ({received.bundle_type}): {received.status}, {counts}")
    for resource in received.resources:
        quantity = resource.get("valueQuantity", {})
        value = f"{quantity.get('value', '')} {quantity.get('unit', '')}".strip()
        code = resource.get("code", {}).get("text", "")
        row = (resource["resourceType"], code, value, str(resource.get("status", "")))
        table.add_row(*map(escape, row))
    _out.print(table)
    _print_problems(received.problems)


def _print_object(received: "CheckedObject") -> None:
    _out.print(
        f"[bold]{escape(received.modality or '?')}[/] {escape(received.instance)}, "
        f"study {escape(received.study)}: {'wrong' if received.problems else 'good'}",
        highlight=False,
    )
    for line in received.lines:
        text = f"{line.name}: {line.value}" if line.value else line.name
        _out.print(f"{'  ' * (line.depth + 1)}{escape(text)}", highlight=False)
    _print_problems(received.problems)


def _print_problems(problems: tuple[str, ...]) -> None:
    for problem in problems:
        _out.print(f"[bold red]wrong:[/] {escape(problem)}", highlight=False)
