"""``wbc export``: a differential in the format of another system, into a file or to that system."""

import asyncio
import json
import ssl
import sys
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

import typer
from rich.console import Console

from orchestrator.bootstrap.interop import site_of
from orchestrator.commands.identifiers import printable
from orchestrator.commands.terminal_text import shown
from orchestrator.documents.reading import MAX_BYTES, read_differential
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError, PeerRefused, PeerUnavailable, PeerUnconfirmed
from orchestrator.interop.csv_tables import Spreadsheet, cell_table, class_table
from orchestrator.interop.destination import Destination, parse_destination
from orchestrator.interop.dicom_process import require_dicom
from orchestrator.interop.fhir import BundleType, bundle
from orchestrator.interop.fhir_client import send_bundle
from orchestrator.interop.fhir_elements import Json
from orchestrator.interop.hl7v2 import message
from orchestrator.interop.hl7v2_ack import Acknowledgement
from orchestrator.interop.http_answers import reason_of
from orchestrator.interop.http_peer import HttpPeer, authorization_of
from orchestrator.interop.mllp import MllpClient, RetryPolicy, client_tls
from orchestrator.interop.site import OrderContext, Patient, Site
from orchestrator.interop.stow import found, store
from orchestrator.settings import load_settings
from orchestrator.specimen import Differential

_FETCH_TIMEOUT_S: Final = 60.0

SpreadsheetOption = Annotated[
    Spreadsheet | None,
    typer.Option(
        help="CSV for a spreadsheet whose decimal separator is this; with comma, as in Turkish and German, "
        "semicolons part the columns. RFC 4180 where absent."
    ),
]

_err = Console(stderr=True)


class Format(StrEnum):
    """What a differential becomes."""

    FHIR = "fhir"
    ORU = "oru"
    OUL = "oul"
    CSV = "csv"
    CELLS_CSV = "cells-csv"
    DICOM = "dicom"


@dataclass(frozen=True, slots=True)
class _Line:
    """How a receiver is reached."""

    attempts: int
    timeout_s: float
    token: str | None
    tls: ssl.SSLContext | None
    resend_rejected: int = 0


def export(
    output_format: Annotated[
        Format,
        typer.Argument(
            metavar="FORMAT",
            help="fhir: a FHIR R4 Bundle; oru: HL7 v2.5.1 ORU^R01; oul: OUL^R22 as analysers send it; "
            "csv: a row for each class; cells-csv: a row for each cell; dicom: a structured report.",
        ),
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIFFERENTIAL",
            help="A JSON file as `GET /v1/differentials/{id}` answers, - for stdin, or with --service an id.",
        ),
    ],
    send: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Send it: oru and oul to mllp://host:port or mllps://host:port, fhir to "
            "http(s)://host/fhir, dicom to http(s)://host/dicom-web.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write it here; stdout where it is neither written nor sent.")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The running service that keeps it, such as http://localhost:8000."),
    ] = None,
    service_key_file: Annotated[
        Path | None, typer.Option(help="Holds the key that the service asks for.")
    ] = None,
    bundle_type: Annotated[
        str, typer.Option(help="Of fhir: transaction for a server, collection for a file.")
    ] = "transaction",
    cells: Annotated[bool, typer.Option(help="Of fhir: also one Observation for each cell.")] = False,
    detail: Annotated[
        bool, typer.Option(help="Of oru and oul: also numbers of cells and intervals, under own codes.")
    ] = True,
    spreadsheet: SpreadsheetOption = None,
    patient_id: Annotated[str | None, typer.Option(callback=printable, help="Whose specimen it is.")] = None,
    patient_family: Annotated[str, typer.Option(help="Family name.")] = "",
    patient_given: Annotated[str, typer.Option(help="Given name.")] = "",
    order_number: Annotated[
        str | None, typer.Option(callback=printable, help="Of the order that it answers.")
    ] = None,
    collected_at: Annotated[
        str | None, typer.Option(help="When the blood was drawn: 2026-03-02T06:30:00+01:00.")
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="Of dicom: it is stored only where the archive finds it (QIDO-RS).")
    ] = False,
    attempts: Annotated[int, typer.Option(min=1, max=100, help="Of sending.")] = 5,
    timeout_s: Annotated[float, typer.Option(min=0.1, max=600, help="For an answer to each.")] = 30.0,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Holds what a receiver asks for over HTTP: a token, or user:password."),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM that the receiver's certificate is checked with.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM of one's own certificate: mutual TLS.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of its key.")] = None,
) -> None:
    """Write a differential as FHIR, HL7 v2, DICOM or CSV; print, keep, or send it until it is acknowledged.

    Exit code 2 where the receiver refused it, was not reached, or did not confirm it as its standard says.
    What the site's messages look like is in the settings WBC_INTEROP__….
    """
    if bundle_type not in ("transaction", "collection"):
        raise typer.BadParameter("expected transaction or collection", param_hint="--bundle-type")
    kind: BundleType = "transaction" if bundle_type == "transaction" else "collection"
    destination = _destination(output_format, send)
    every = load_settings()
    site, settings = site_of(every), every.interop
    differential = read_differential(_source(source, service, _secret(service_key_file)))
    context = _context(patient_id, patient_family, patient_given, order_number, collected_at)
    document = None
    if output_format is Format.FHIR:
        document = bundle(differential, site, context, bundle_type=kind, per_cell=cells)
    data = _written(output_format, differential, site, context, detail, document, spreadsheet)
    if output is not None:
        output.write_bytes(data)
    if destination is not None:
        tls = _tls(destination, ca_file, certificate, key)
        line = _Line(attempts, timeout_s, _secret(token_file), tls, settings.resend_rejected)
        said = (
            _store(destination, data, line, verify=verify)
            if output_format is Format.DICOM
            else _send(destination, data, document, line)
        )
        _err.print(shown(said), highlight=False, soft_wrap=True)
    if output is None and destination is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _err.print(DISCLAIMER, highlight=False)


def _written(
    output_format: Format,
    differential: Differential,
    site: Site,
    context: OrderContext,
    detail: bool,
    document: Json | None,
    spreadsheet: Spreadsheet | None,
) -> bytes:
    match output_format:
        case Format.FHIR:
            return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()
        case Format.ORU:
            return message(differential, "oru", site, context, detail=detail)
        case Format.OUL:
            return message(differential, "oul", site, context, detail=detail)
        case Format.CSV:
            return class_table(differential, site, spreadsheet).encode()
        case Format.CELLS_CSV:
            return cell_table(differential, spreadsheet).encode()
        case Format.DICOM:
            require_dicom()
            from orchestrator.interop.dicom_report import differential_report  # two seconds and 140 MB

            return differential_report(differential, site, context).data


def _destination(output_format: Format, address: str | None) -> Destination | None:
    """Where to, once it is known that this format goes there."""
    if address is None:
        return None
    destination = parse_destination(address)
    is_mllp = destination.scheme in ("mllp", "mllps")
    if is_mllp != (output_format in (Format.ORU, Format.OUL)) or output_format in (
        Format.CSV,
        Format.CELLS_CSV,
    ):
        raise ConfigurationError(
            "expected oru or oul with mllp:// or mllps://, and fhir or dicom with http:// or https://"
        )
    return destination


def _send(destination: Destination, data: bytes, document: Json | None, line: _Line) -> str:
    if document is None:
        answer = asyncio.run(_send_mllp(destination, data, line))
        which = (
            f"control id {answer.control_id}" if answer.control_id else "in an answer without a control id"
        )
        return f"acknowledged with {answer.code}, {which}" + (f": {answer.text}" if answer.text else "")
    return f"taken by the FHIR server, {len(send_bundle(_peer(destination, line), document))} places told"


def _store(destination: Destination, data: bytes, line: _Line, *, verify: bool) -> str:
    from orchestrator.interop.dicom import object_of

    server = _peer(destination, line)
    outcomes = store(server, [object_of(data)])
    (outcome,) = found(server, outcomes) if verify else outcomes
    if outcome.unconfirmed is not None:
        raise PeerUnconfirmed(f"The archive did not confirm the report: {outcome.unconfirmed}.")
    if not outcome.is_stored:
        raise PeerRefused(f"The archive did not store the report: {outcome.words}.")
    return f"stored by the archive as {outcome.sop_instance_uid}" + (", which finds it" if verify else "")


def _peer(destination: Destination, line: _Line) -> HttpPeer:
    try:
        authorization = None if line.token is None else authorization_of(line.token)
    except ValueError as error:
        raise ConfigurationError(f"the file of a token: {error}") from error
    return HttpPeer(destination.url, authorization, line.tls, line.timeout_s, line.attempts)


async def _send_mllp(destination: Destination, data: bytes, line: _Line) -> Acknowledgement:
    retries = RetryPolicy(
        acknowledgement_s=line.timeout_s, attempts=line.attempts, after_rejection=line.resend_rejected
    )
    async with MllpClient(destination.host, destination.port, tls=line.tls, retries=retries) as client:
        return await client.send(data)


def _tls(
    destination: Destination, ca_file: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    if destination.scheme in ("mllp", "http"):
        if ca_file or certificate or key:
            raise ConfigurationError("expected mllps:// or https:// with certificates")
        return None
    try:
        return client_tls(ca_file, certificate, key)
    except OSError as error:
        raise ConfigurationError(
            "a file of certificates cannot be read, or does not fit the other"
        ) from error


def _context(
    patient_id: str | None, family: str, given: str, order_number: str | None, collected_at: str | None
) -> OrderContext:
    if patient_id is None and (family or given):
        raise typer.BadParameter("expected --patient-id with a name", param_hint="--patient-id")
    moment = None
    if collected_at is not None:
        try:
            moment = datetime.fromisoformat(collected_at)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise typer.BadParameter("expected a time with its zone", param_hint="--collected-at")
    patient = None if patient_id is None else Patient(patient_id, family, given)
    return OrderContext(patient, order_number, moment)


def _source(source: str, service: str | None, service_key: str | None) -> bytes:
    if service is not None:
        return _fetched(service, source, service_key)
    if source == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with Path(source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the differential ({error.strerror}); an id needs --service"
        ) from error


def _fetched(service: str, differential_id: str, service_key: str | None) -> bytes:
    """The document from the service that keeps it."""
    parts = urlsplit(service)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("--service: expected http://host:port or https://host:port")
    authorization = None if service_key is None else f"Bearer {service_key}"
    server = HttpPeer(
        service, authorization, timeout_s=_FETCH_TIMEOUT_S, attempts=1, max_answer_bytes=MAX_BYTES + 1
    )
    try:
        answer = server.asked("GET", f"/v1/differentials/{quote(differential_id, safe='')}")
    except PeerUnavailable as error:
        raise PeerUnavailable("The service that should keep the differential did not answer.") from error
    if answer.status != 200:
        raise PeerRefused(
            f"The service answered {answer.status} to the question for the differential: {reason_of(answer)}"
        )
    return answer.body


def _secret(path: Path | None) -> str | None:
    """The first line of a file: arguments are seen by every user of a machine."""
    if path is None:
        return None
    try:
        lines = path.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("the file of a key or token cannot be read") from error
    if not lines[0].strip().isascii() or not lines[0].strip():
        raise ConfigurationError("the file of a key or token holds none in its first line")
    return lines[0].strip()
