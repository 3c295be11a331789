"""The ``wbc`` command: serve, analyse files, check an installation."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from orchestrator import __version__
from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.bootstrap.interop import site_of
from orchestrator.bootstrap.process import serve as run_server
from orchestrator.bootstrap.services import build_services, profile_of
from orchestrator.bootstrap.specimens import differential_rules, same_of
from orchestrator.commands.adapt import adapt_command
from orchestrator.commands.audit_device import audit_device_app
from orchestrator.commands.check import check
from orchestrator.commands.dicom import dicom_app
from orchestrator.commands.differential import count_files, document_of, print_differential
from orchestrator.commands.export import SpreadsheetOption, export
from orchestrator.commands.field import field
from orchestrator.commands.identifiers import printable
from orchestrator.commands.image_files import ImageFile, image_files, make_folder, progress_of
from orchestrator.commands.keys import keys_app
from orchestrator.commands.model import model_app
from orchestrator.commands.report import report
from orchestrator.commands.samples import samples
from orchestrator.commands.store import audit_app, store_app
from orchestrator.commands.terminal_text import print_failed, reason_of, shown
from orchestrator.device_state import device_sentences
from orchestrator.documents.analysis import analysis_document
from orchestrator.domain import DISCLAIMER, Analysis, Language
from orchestrator.emulator.command import app as emulate_app
from orchestrator.errors import WbcError
from orchestrator.interop.csv_tables import Spreadsheet, class_table, table
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import load_settings
from orchestrator.specimen import ImageKind, SpecimenOrder
from orchestrator.vision.tta import TtaMode

app = typer.Typer(
    help=f"White-blood-cell analysis of blood-smear images. {DISCLAIMER}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_out = Console(emoji=False)  # of a file named :smiley:.png
_err = Console(stderr=True, emoji=False)

CONCURRENCY: Final = 4


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    if version:
        _out.print(__version__, highlight=False)
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; the settings' where absent.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Start the service. Every setting is an environment variable, such as WBC_HTTP__PORT."""
    settings = load_settings()
    chosen = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    run_server(settings.model_copy(update={"http": settings.http.model_copy(update=chosen)}))


@app.command(name="analyse")
def analyse_files(
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files, or folders or zip archives of them.", metavar="IMAGE..."),
    ],
    profile: Annotated[str | None, typer.Option(help="Device profile; see `wbc check`.")] = None,
    tta: Annotated[
        TtaMode | None, typer.Option(help="Test-time augmentation; the profile's where absent.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of the reports: en or tr.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document per line on stdout.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One CSV row per image on stdout.")] = False,
    spreadsheet: SpreadsheetOption = None,
    with_report: Annotated[
        bool, typer.Option("--report", help="Print the text of each report below the table.")
    ] = False,
    heatmap_dir: Annotated[
        Path | None, typer.Option(help="Write each image's heatmap overlay here, as PNG.")
    ] = None,
) -> None:
    """Analyse images: a table in the terminal, or JSON lines, or CSV.

    Exit code 1 when a file failed; the others are done all the same.
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if with_report and (as_json or as_csv):
        raise typer.BadParameter("--report goes with the table; --json has the reports without it")
    if language not in (None, "en", "tr"):
        raise typer.BadParameter(f"expected en or tr, received {language!r}", param_hint="--language")
    chosen_language: Language | None = language  # type: ignore[assignment]
    services = build_services(load_settings())
    profile_of(services, profile)
    paths = image_files(images)
    if heatmap_dir is not None:
        make_folder(heatmap_dir, "--heatmap-dir")
    options = AnalysisOptions(profile=profile, tta=tta, language=chosen_language)
    outcomes = asyncio.run(_analyse_all(paths, services, options, heatmap_dir))

    if as_json:
        _print_json(outcomes)
    elif as_csv:
        _print_csv(outcomes, spreadsheet)
    else:
        _print_table(outcomes, with_report)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print_failed(_err, f"{outcome.path}: {outcome.error}")
    if failed:
        raise typer.Exit(1)


@app.command(name="differential")
def differential_of_files(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Image files of one specimen, or folders or zip archives of them.", metavar="IMAGE..."
        ),
    ],
    specimen_id: Annotated[
        str, typer.Option(callback=printable, help="The laboratory's own name of the specimen.")
    ],
    total_wbc: Annotated[
        float | None,
        typer.Option(
            min=0, help="White cell count in 10^9/L, measured elsewhere; no absolute counts without it."
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Device profile; see `wbc check`.")] = None,
    tta: Annotated[
        TtaMode | None, typer.Option(help="Test-time augmentation; the profile's where absent.")
    ] = None,
    kind: Annotated[
        ImageKind, typer.Option(help="What the images show: a cell each, a field each, or what each tells.")
    ] = "cell",
    as_json: Annotated[bool, typer.Option("--json", help="The whole result as one JSON document.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One CSV row per class on stdout.")] = False,
    spreadsheet: SpreadsheetOption = None,
) -> None:
    """Count images as one specimen: shares of the classes with exact 95 % intervals, and what to review.

    Needs no service and keeps nothing. Exit code 1 when a file failed; the others are counted all the same.
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    settings = load_settings()
    services = build_services(settings)
    profile_of(services, profile)
    paths = image_files(images)
    order = SpecimenOrder(specimen_id, total_wbc or None, profile, tta, kind)
    rules = differential_rules(settings.differential, services)
    progress, same = progress_of(len(paths), _err), same_of(settings.differential)
    found = asyncio.run(count_files(paths, order, services, rules, progress, same))
    if as_json:
        typer.echo(json.dumps(document_of(found, paths), ensure_ascii=False))
    elif as_csv:
        typer.echo(class_table(found, site_of(settings), spreadsheet), nl=False)
    else:
        print_differential(found, paths, _out)
    if found.cells_failed:
        raise typer.Exit(1)


app.command(name="adapt")(adapt_command)
app.command()(field)
app.command()(check)
app.command()(report)
app.command()(export)
app.command()(samples)
app.add_typer(dicom_app, name="dicom")
app.add_typer(emulate_app, name="emulate")
app.add_typer(keys_app, name="keys")
app.add_typer(model_app, name="model")
app.add_typer(audit_app, name="audit")
app.add_typer(audit_device_app, name="audit-device")
app.add_typer(store_app, name="store")


@dataclass(frozen=True, slots=True)
class _Outcome:
    path: ImageFile
    analysis: Analysis | None = None
    error: str = ""


async def _analyse_all(
    paths: Sequence[ImageFile], services: Services, options: AnalysisOptions, heatmap_dir: Path | None
) -> list[_Outcome]:
    """Analyse all files, a few at a time, and answer in the order given."""
    limit = asyncio.Semaphore(CONCURRENCY)
    names = _heatmap_names(paths)
    async with services.running():
        with progress_of(len(paths), _err) as advance:

            async def one(path: ImageFile) -> _Outcome:
                async with limit:
                    try:
                        payload = await asyncio.to_thread(path.read_bytes)
                        analysis = await analyse(payload, services, options)
                        if heatmap_dir is not None and analysis.overlay is not None:
                            target = heatmap_dir / names[path]
                            await asyncio.to_thread(target.write_bytes, analysis.overlay.data)
                        return _Outcome(path, analysis)
                    except (WbcError, OSError) as error:
                        return _Outcome(path, error=reason_of(error))
                    finally:
                        advance()

            return list(await asyncio.gather(*(one(path) for path in paths)))


def _heatmap_names(paths: Sequence[ImageFile]) -> dict[ImageFile, str]:
    """A PNG name for every file; two files of one name in different folders do not overwrite each other."""
    names: dict[ImageFile, str] = {}
    taken: set[str] = set()
    for path in paths:
        name, number = f"{path.path.stem}_heatmap.png", 1
        while name in taken:
            number += 1
            name = f"{path.path.stem}_heatmap_{number}.png"
        taken.add(name)
        names[path] = name
    return names


def _print_table(outcomes: Sequence[_Outcome], with_report: bool) -> None:
    # None is no_wrap: of those that are, rich keeps the width until nothing is left of the others.
    table = Table(Column("file", overflow="fold"), "class", "confidence", "review")
    done = [(outcome.path, outcome.analysis) for outcome in outcomes if outcome.analysis]
    for path, found in done:
        table.add_row(
            shown(path.name),
            found.finding.class_name,
            f"{found.finding.confidence:.1%}",
            "\n".join(reason.code for reason in found.finding.review_reasons),
        )
    _out.print(table)
    for path, found in done if with_report else ():
        _out.print(f"\n[bold]{shown(path.name)}[/]", highlight=False, soft_wrap=True)
        _out.print(found.report.text if found.report else "no report", markup=False, highlight=False)
    for sentence in device_sentences(found.finding for _, found in done):
        _out.print(f"device_unknown: {sentence}", highlight=False)
    _out.print(DISCLAIMER)


def _print_json(outcomes: Sequence[_Outcome]) -> None:
    for outcome in outcomes:
        if outcome.analysis is None:
            document: dict[str, Any] = {"error": outcome.error, "disclaimer": DISCLAIMER}
        else:
            document = analysis_document(outcome.analysis, include_heatmap=False)
        typer.echo(json.dumps({"file": str(outcome.path), **document}, ensure_ascii=False))


def _print_csv(outcomes: Sequence[_Outcome], spreadsheet: Spreadsheet | None) -> None:
    columns = (
        *("file", "class", "confidence", *CLASS_NAMES, "focus_ratio", "review_reasons", "device_state"),
        *("error", "disclaimer"),
    )
    typer.echo(table(columns, map(_csv_row, outcomes), spreadsheet), nl=False)


def _csv_row(outcome: _Outcome) -> list[str | float | None]:
    found = outcome.analysis
    if found is None:
        return [str(outcome.path), *[None] * (len(CLASS_NAMES) + 5), outcome.error, DISCLAIMER]
    return [
        str(outcome.path),
        found.finding.class_name,
        *(round(p, 4) for p in (found.finding.confidence, *found.finding.probabilities)),
        None if found.focus is None else round(found.focus.focus_ratio, 4),
        " ".join(reason.code for reason in found.finding.review_reasons),
        found.device_state,
        None,
        DISCLAIMER,
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, by default that of the process; an error that a person can mend is exit code 2.

    It is one line, however narrow the terminal.
    """
    try:
        app(arguments, prog_name="wbc")
    except WbcError as error:
        _err.print(f"[bold red]error:[/] {shown(str(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from error
