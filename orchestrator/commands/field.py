"""``wbc field``: every white cell of whole fields."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from orchestrator import __version__, field_steps
from orchestrator.analyse import Services
from orchestrator.analyse_field import FieldOptions, analyse_field
from orchestrator.bootstrap.interop import site_of
from orchestrator.bootstrap.services import build_services, profile_of
from orchestrator.commands.image_files import ImageFile, image_files, make_folder, progress_of
from orchestrator.commands.terminal_text import print_failed, reason_of, shown
from orchestrator.documents.field import NO_CELL, field_document
from orchestrator.domain import DISCLAIMER, FieldAnalysis
from orchestrator.edge.parameters import MOST_RED_CELL_PX
from orchestrator.errors import WbcError
from orchestrator.interop import field_formats
from orchestrator.interop.dicom_process import require_dicom
from orchestrator.interop.site import Site
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import load_settings
from orchestrator.vision.containers import is_dicom
from orchestrator.vision.tta import TtaMode

FORMATS: Final = {"geojson": "geojson", "csv": "csv", "png": "png", "jpeg": "jpeg", "dicom": "dcm"}
"""With the ending of their files' names."""

_out = Console(emoji=False)
_err = Console(stderr=True, emoji=False)


def field(
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files of fields, or folders or zip archives of them.", metavar="IMAGE..."),
    ],
    profile: Annotated[str | None, typer.Option(help="Device profile; see `wbc check`.")] = None,
    tta: Annotated[
        TtaMode | None, typer.Option(help="Test-time augmentation; the profile's where absent.")
    ] = None,
    red_cell_px: Annotated[
        float | None,
        typer.Option(
            min=1, max=MOST_RED_CELL_PX, help="Diameter of the red cells in pixels; else as the field tells."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document per line on stdout.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="A folder for a file of each field in the formats of --format.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help=f"With --output; repeatable: {', '.join(FORMATS)}."),
    ] = None,
) -> None:
    """Find, classify and count the white cells of whole fields.

    A table in the terminal, or JSON lines; files for QuPath (GeoJSON), tables, pictures and DICOM reports
    with --output.
    Exit code 1 when a file failed; the others are done all the same.
    """
    if (output is None) != (not formats):
        raise typer.BadParameter("--output and --format go together")
    if wrong := set(formats or ()) - set(FORMATS):
        raise typer.BadParameter(f"expected {', '.join(FORMATS)}, received {', '.join(sorted(wrong))}")
    if "dicom" in (formats or ()):
        require_dicom()
    settings = load_settings()
    services = build_services(settings)
    profile_of(services, profile)
    paths = image_files(images)
    options = FieldOptions(profile=profile, tta=tta, red_cell_px=red_cell_px)
    if output is not None:
        make_folder(output, "--output")
    outcomes = asyncio.run(_analyse_all(paths, services, options, output, formats or (), site_of(settings)))
    if as_json:
        for outcome in outcomes:
            typer.echo(json.dumps({"file": str(outcome.path), **_document(outcome)}, ensure_ascii=False))
    else:
        _print_table(outcomes)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print_failed(_err, f"{outcome.path}: {outcome.error}")
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Outcome:
    path: ImageFile
    analysis: FieldAnalysis | None = None
    error: str = ""


async def _analyse_all(
    paths: Sequence[ImageFile],
    services: Services,
    options: FieldOptions,
    output: Path | None,
    formats: Sequence[str],
    site: Site,
) -> list[_Outcome]:
    """One after the other: a field has work for all processors, and takes memory."""
    outcomes = []
    async with services.running():
        with progress_of(len(paths), _err) as advance:
            for number, path in enumerate(paths, start=1):
                try:
                    payload = await asyncio.to_thread(path.read_bytes)
                    found = await analyse_field(payload, services, options)
                    for kind in formats if output is not None else ():
                        name = f"{number:03d}_{path.path.stem}.{FORMATS[kind]}"
                        data = await _file_of(payload, found, services, kind, site)
                        await asyncio.to_thread((output / name).write_bytes, data)  # type: ignore[operator]
                    outcomes.append(_Outcome(path, found))
                except (WbcError, OSError) as error:
                    outcomes.append(_Outcome(path, error=reason_of(error)))
                advance()
    return outcomes


async def _file_of(payload: bytes, found: FieldAnalysis, services: Services, kind: str, site: Site) -> bytes:
    if kind == "geojson":
        return field_formats.geojson(found).encode()
    if kind == "csv":
        return field_formats.csv_of(found).encode()
    if kind == "dicom":
        from orchestrator.interop.dicom_report import field_report  # costs two seconds and 140 MB

        made = await asyncio.to_thread(
            field_report,
            found,
            sha256(payload).hexdigest(),
            payload if is_dicom(payload) else None,
            site,
            moment=datetime.now(UTC),
            service_version=__version__,
        )
        return made.data
    return await services.images.run(
        field_steps.annotate, payload, services.field_limits, field_steps.labels_of(found), kind
    )


def _document(outcome: _Outcome) -> dict[str, object]:
    if outcome.analysis is None:
        return {"error": outcome.error, "disclaimer": DISCLAIMER}
    return field_document(outcome.analysis).model_dump(mode="json", by_alias=True)


def _print_table(outcomes: Sequence[_Outcome]) -> None:
    table = Table(Column("file", overflow="fold"), *CLASS_NAMES, "review", "cut", "unidentified", "")
    for outcome in outcomes:
        found = outcome.analysis
        if found is not None:
            numbers = (
                *found.counts,
                sum(cell.finding.needs_review for cell in found.cells),
                sum(cell.is_cut for cell in found.cells),
                len(found.unidentified),
            )
            note = "" if found.cells else NO_CELL
            table.add_row(shown(outcome.path.name), *map(str, numbers), note)
    _out.print(table)
    _out.print(DISCLAIMER)
