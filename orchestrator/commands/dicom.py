"""``wbc dicom``: images analysed into DICOM objects, in a folder and, where wanted, in an archive."""

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from orchestrator import __version__
from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.bootstrap.interop import site_of
from orchestrator.bootstrap.services import build_services, profile_of
from orchestrator.commands.identifiers import printable
from orchestrator.commands.image_files import ImageFile, image_files
from orchestrator.commands.terminal_text import print_failed, shown
from orchestrator.device_state import device_sentences
from orchestrator.domain import DISCLAIMER, Analysis
from orchestrator.errors import ConfigurationError, WbcError
from orchestrator.interop.destination import parse_destination
from orchestrator.interop.dicom_process import require_dicom
from orchestrator.interop.http_peer import HttpPeer, authorization_of
from orchestrator.interop.mllp import client_tls
from orchestrator.interop.site import Site
from orchestrator.interop.stow import Outcome, found, store
from orchestrator.settings import load_settings
from orchestrator.vision.containers import is_dicom, read_container
from orchestrator.vision.tta import TtaMode

if TYPE_CHECKING:
    from orchestrator.interop.dicom import DicomObject

CONCURRENCY: Final = 4

_ANY_PIXELS: Final = 2**31
"""An image that was analysed was held against the limits."""

_out = Console()
_err = Console(stderr=True)

dicom_app = typer.Typer(
    help="Results as DICOM objects; needs the extra `dicom`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@dicom_app.callback()
def _about() -> None:
    """One command is no less a group: others may come."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked of every image."""

    output: Path
    options: AnalysisOptions
    tta: str
    specimen_id: str | None
    site: Site


@dataclass(frozen=True, slots=True)
class _Done:
    path: ImageFile
    analysis: Analysis | None = None
    objects: "tuple[DicomObject, ...]" = ()
    error: str = ""


@dicom_app.command(name="analyse")
def analyse_to_dicom(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Image files, DICOM or any other format, or folders or zip archives of them.",
            metavar="IMAGE...",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the objects, `<SOP Instance UID>.dcm` each.")],
    stow: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Also store them by STOW-RS, such as https://archive/dicom-web."),
    ] = None,
    credential_file: Annotated[
        Path | None,
        typer.Option(help="Holds what the archive asks for: a bearer token, or user:password."),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM that the archive's certificate is checked with.")
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="Stored is only what the archive then finds (QIDO-RS).")
    ] = False,
    attempts: Annotated[int, typer.Option(min=1, max=100, help="Of storing.")] = 4,
    timeout_s: Annotated[float, typer.Option(min=0.1, max=600, help="For an answer to each.")] = 30.0,
    profile: Annotated[str | None, typer.Option(help="Device profile; see `wbc check`.")] = None,
    tta: Annotated[
        TtaMode | None, typer.Option(help="Test-time augmentation; the profile's where absent.")
    ] = None,
    specimen_id: Annotated[
        str | None,
        typer.Option(
            callback=printable,
            help="Of images that are no DICOM: they share a study. Without it each has its own.",
        ),
    ] = None,
) -> None:
    """Analyse images, and write for each its heatmap (Secondary Capture) and its result (Comprehensive SR).

    Of a DICOM image both belong to its patient and study. The same image, model and profile give the same
    identifiers; what is in the folder already is kept as it is, so that a second try stores the same objects.
    Exit code 1 where an image failed, and 2 where the archive did not take an object or did not confirm it.
    """
    require_dicom()
    files = image_files(images)
    settings = load_settings()
    services = build_services(settings)
    chosen = profile_of(services, profile)
    server = None if stow is None else stow_server(stow, credential_file, ca_file, attempts, timeout_s)
    output.mkdir(parents=True, exist_ok=True)
    options = AnalysisOptions(profile=profile, tta=tta, report=False)
    order = _Order(output, options, tta or chosen.tta, specimen_id, site_of(settings))
    done = asyncio.run(_analyse_all(files, services, order))
    objects = [one for result in done for one in result.objects]
    outcomes: list[Outcome] = []
    if server is not None and objects:
        outcomes = store(server, objects)
        outcomes = found(server, outcomes) if verify else outcomes
    _print(done, outcomes, is_sent=server is not None)
    failed = [outcome for outcome in outcomes if not outcome.is_stored]
    for outcome in failed:
        _err.print(
            f"[bold red]not stored:[/] {outcome.sop_instance_uid}: {shown(outcome.words)}",
            highlight=False,
            soft_wrap=True,
        )
    if failed or any(result.error for result in done):
        raise typer.Exit(2 if failed else 1)


def stow_server(
    url: str, credential_file: Path | None, ca_file: Path | None, attempts: int, timeout_s: float
) -> HttpPeer:
    """The archive that the options name; raises ConfigurationError where they are wrong."""
    if parse_destination(url).scheme not in ("http", "https"):
        raise ConfigurationError("expected an archive at http://host/path or https://host/path")
    tls: ssl.SSLContext | None = None
    try:
        if ca_file is not None:
            tls = client_tls(ca_file, None, None)
        secret = None if credential_file is None else credential_file.read_text().split("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("the file of a credential or of certificates cannot be read") from error
    try:
        authorization = None if secret is None else authorization_of(secret)
        return HttpPeer(url, authorization, tls, timeout_s, attempts)
    except ValueError as error:
        raise ConfigurationError(f"the archive to store in: {error}") from error


async def _analyse_all(paths: list[ImageFile], services: Services, order: _Order) -> list[_Done]:
    limit, writing = asyncio.Semaphore(CONCURRENCY), asyncio.Lock()
    async with services.running():

        async def one(number: int, path: ImageFile) -> _Done:
            async with limit:
                try:
                    payload = await asyncio.to_thread(path.read_bytes)
                    analysis = await analyse(payload, services, order.options)
                    async with writing:  # the library's settings belong to the whole process
                        objects = await asyncio.to_thread(_write, analysis, payload, number, order)
                    return _Done(path, analysis, objects)
                except OSError as error:
                    return _Done(path, error=error.strerror or type(error).__name__)
                except WbcError as error:
                    return _Done(path, error=str(error))

        return list(await asyncio.gather(*(one(n, path) for n, path in enumerate(paths, start=1))))


def _write(analysis: Analysis, payload: bytes, number: int, order: _Order) -> "tuple[DicomObject, ...]":
    """Both objects of one image, in their files."""
    from orchestrator.interop.dicom import CellSource, study_of_image  # these cost two seconds and 140 MB
    from orchestrator.interop.dicom_overlay import overlay_image
    from orchestrator.interop.dicom_report import cell_report

    image, model = hashlib.sha256(payload).hexdigest(), analysis.model
    model_key = f"{model.name}/{model.version}/{model.sha256}"
    head = () if analysis.head is None else (analysis.head,)
    profile = (analysis.profile, analysis.profile_sha256 or "", *head, analysis.device_state)
    study = study_of_image(image, payload if is_dicom(payload) else None, specimen=order.specimen_id)
    source = CellSource(
        key="/".join((image, model_key, *profile, order.tta, __version__)),
        number=number,
        study=study,
        is_lossy=study.was_lossy or read_container(payload, _ANY_PIXELS).is_lossy,
    )
    overlay = _kept(order.output, overlay_image(analysis, source, __version__))
    report = cell_report(
        analysis,
        source,
        overlay,
        moment=datetime.now(UTC),
        service_version=__version__,
        site=order.site,
    )
    return overlay, _kept(order.output, report)


def _kept(folder: Path, made: "DicomObject") -> "DicomObject":
    """The object that the folder has under this identifier, else the one that was made just now.

    A report holds the time of its analysis; two of one identifier must not differ.
    """
    from orchestrator.interop.dicom import object_of

    path = folder / f"{made.sop_instance_uid}.dcm"
    if path.exists():
        found = object_of(path.read_bytes())
        if found.sop_instance_uid == made.sop_instance_uid:
            return found
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(made.data)
    unfinished.replace(path)
    return made


def _print(done: list[_Done], outcomes: list[Outcome], *, is_sent: bool) -> None:
    stored = {outcome.sop_instance_uid for outcome in outcomes if outcome.is_stored}
    table = Table("file", "class", "confidence", "review", "objects", *(["stored"] if is_sent else []))
    for result in done:
        if result.analysis is None:
            print_failed(_err, f"{result.path}: {result.error}")
            continue
        finding, made = result.analysis.finding, result.objects
        cells = [
            result.path.name,
            finding.class_name,
            f"{finding.confidence:.1%}",
            "\n".join(reason.code for reason in finding.review_reasons),
            str(len(made)),
        ]
        table.add_row(*cells, *([str(sum(o.sop_instance_uid in stored for o in made))] if is_sent else []))
    _out.print(table)
    for sentence in device_sentences(result.analysis.finding for result in done if result.analysis):
        _out.print(f"device_unknown: {sentence}", highlight=False)
    _out.print(DISCLAIMER)
