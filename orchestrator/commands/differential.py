"""What ``wbc differential`` does: counts image files as one specimen, without a service and without a
store."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Column, Table

from orchestrator.analyse import Services
from orchestrator.commands.image_files import ImageFile
from orchestrator.commands.terminal_text import shown
from orchestrator.documents.differential import DifferentialResult
from orchestrator.domain import DEVICE_UNKNOWN, DISCLAIMER
from orchestrator.edge.http_app import running
from orchestrator.errors import WbcError
from orchestrator.specimen import (
    ClassCount,
    Differential,
    Range,
    Specimen,
    SpecimenCell,
    SpecimenField,
    SpecimenOrder,
)
from orchestrator.specimens.differential import DifferentialRules, differential
from orchestrator.specimens.runner import cell_options, outcome_of
from orchestrator.store.base import FoundField, SameCells
from orchestrator.vision.same_cells import same_cells

CONCURRENCY: Final = 4
SHOWN_REVIEWS: Final = 20

Progress = AbstractContextManager[Callable[[], None]]


async def count_files(
    paths: Sequence[ImageFile],
    order: SpecimenOrder,
    services: Services,
    rules: DifferentialRules,
    progress: Progress,
    same: SameCells = same_cells,
) -> Differential:
    """Analyse the files, a few at a time, as the cells of one specimen, in the order given; ``same`` says
    which cells of a field are those of earlier ones.

    A file that cannot be read or analysed is a failed cell.
    """
    limit = asyncio.Semaphore(CONCURRENCY)
    created_at = datetime.now(UTC)
    async with running(services):
        with progress as advance:

            async def one(number: int, path: ImageFile) -> tuple[SpecimenCell, FoundField | None]:
                async with limit:
                    try:
                        return await _image(number, path, order, services)
                    finally:
                        advance()

            images = await asyncio.gather(*(one(n, path) for n, path in enumerate(paths, start=1)))
    specimen = Specimen(uuid.uuid4().hex, order, "analysed", "local", created_at, ())
    specimen = await asyncio.to_thread(_with_images, specimen, images, same)
    released_errors = services.audits.released_errors(specimen.cells)
    return differential(specimen, rules, datetime.now(UTC), released_errors)


async def _image(
    number: int, path: ImageFile, order: SpecimenOrder, services: Services
) -> tuple[SpecimenCell, FoundField | None]:
    """What a file shows, as a cell that waits where it is a field."""
    cell_id, image_sha256 = uuid.uuid4().hex, ""
    try:
        payload = await asyncio.to_thread(path.read_bytes)
        image_sha256 = hashlib.sha256(payload).hexdigest()
        outcome = await outcome_of(payload, services, cell_options(order), order.kind)
    except (WbcError, OSError) as error:
        why = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        return SpecimenCell(cell_id, number, image_sha256, "failed", failure=why), None
    if isinstance(outcome, FoundField):
        return SpecimenCell(cell_id, number, image_sha256, "waiting"), outcome
    return SpecimenCell(cell_id, number, image_sha256, "analysed", outcome), None


def _with_images(
    specimen: Specimen, images: Sequence[tuple[SpecimenCell, FoundField | None]], same: SameCells
) -> Specimen:
    """The specimen with what its images show: fields, and the cells of each after all that came."""
    cells = [cell for cell, found in images if found is None]
    fields = list[SpecimenField]()
    marked = list[tuple[str, bytes]]()
    number = len(images)
    for image, found in images:
        if found is None:
            continue
        fields.append(
            SpecimenField(
                image.cell_id,
                image.number,
                image.image_sha256,
                found.image_size,
                found.red_cell_px,
                found.white_cells,
            )
        )
        doubles = same([cell.mark for cell in found.cells], [mark for _, mark in marked])
        known = tuple(marked)
        for cell, double in zip(found.cells, doubles, strict=True):
            number += 1
            same_as = None if double is None else known[double][0]
            place = replace(cell.place, number=image.number, same_as=same_as)
            image_sha256 = hashlib.sha256(cell.image).hexdigest()
            cells.append(
                SpecimenCell(uuid.uuid4().hex, number, image_sha256, "analysed", cell.result, place=place)
            )
            if same_as is None:
                marked.append((cells[-1].cell_id, cell.mark))
    return replace(specimen, cells=tuple(cells), fields=tuple(fields))


def _path_of(cell: SpecimenCell, paths: Sequence[ImageFile]) -> ImageFile:
    """Of the file in which it is."""
    return paths[(cell.number if cell.place is None else cell.place.number) - 1]


def document_of(of: Differential, paths: Sequence[ImageFile]) -> dict[str, Any]:
    """As ``GET /v1/differentials/{id}`` answers, each cell with its file."""
    document = DifferentialResult.of(of).model_dump(mode="json", by_alias=True)
    for told, cell in zip(document["cells"], of.specimen.cells, strict=True):
        told["file"] = str(_path_of(cell, paths))
    for told in document["fields"]:
        told["file"] = str(paths[told["number"] - 1])
    return document


def print_differential(of: Differential, paths: Sequence[ImageFile], out: Console) -> None:
    """Two tables for a person: the classes, and the cells to look at; then what limits the figures."""
    out.print(_classes(of))
    if of.cells_per_field is not None:
        fields = len(of.specimen.fields)
        out.print(f"- {of.cells_per_field:.1f} white cells a field, of {fields} fields.", highlight=False)
    if of.review_list:
        out.print(_reviews(of, paths))
    if of.cells_failed:
        out.print(_failures(of, paths))
    for limitation in of.limitations:
        out.print(f"- {limitation.message}", highlight=False)
    models = ", ".join(f"{model.name} {model.version} ({(model.sha256 or '?')[:12]})" for model in of.models)
    out.print(f"- Models: {models or 'none'}; service {of.service_version}.", highlight=False)
    out.print(DISCLAIMER)


def _classes(of: Differential) -> Table:
    with_total = of.specimen.order.total_wbc is not None
    columns = ["class", "cells", "%", "95 % CI"]
    columns += ["10^9/L", "95 % CI"] if with_total else []
    columns += ["range", "flag", "est."]
    table = Table(
        title=f"{of.cells_counted} cells counted",
        caption=f"CI: exact interval. Range, in %: {of.reference_source}.\n"
        "est.: % of the five classes, by the probabilities of all cells.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in columns:
        right = column in ("cells", "%", "10^9/L", "est.")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    shares: Sequence[float | None] = of.label_shift or (None,) * (len(of.counts) - 1)
    for count, share in zip(of.counts, (*shares, None), strict=True):
        table.add_row(*_class_row(count, None if share is None else 100 * share, with_total=with_total))
    return table


def _class_row(count: ClassCount, estimate: float | None, *, with_total: bool) -> Iterator[str]:
    yield count.label
    yield str(count.count)
    yield _number(count.percentage, 1)
    yield _range(count.interval, 1)
    if with_total:
        yield _number(count.absolute, 2)
        yield _range(count.absolute_interval, 2)
    yield "" if count.reference is None else f"{count.reference.low:g}-{count.reference.high:g}"
    yield count.flag or ""
    yield _number(estimate, 1)


def _file_column() -> Column:
    return Column("file", overflow="fold", min_width=8)


def _reviews(of: Differential, paths: Sequence[ImageFile]) -> Table:
    by_id = {cell.cell_id: cell for cell in of.specimen.cells}
    more = len(of.review_list) - SHOWN_REVIEWS
    table = Table(
        "no.", _file_column(), "class", "confidence", "margin", Column("reasons", min_width=22),
        box=box.SIMPLE,
        title=f"{len(of.review_list)} cells to look at, the least confident first",
        caption=f"and {more} more; --json lists all" if more > 0 else None,
    )  # fmt: skip
    for cell_id in of.review_list[:SHOWN_REVIEWS]:
        cell = by_id[cell_id]
        if (result := cell.result) is not None:
            table.add_row(
                str(cell.number),
                shown(_path_of(cell, paths).name),
                result.class_name,
                f"{result.confidence:.1%}",
                f"{result.margin:.2f}",
                " ".join(code for code in result.review_codes if code != DEVICE_UNKNOWN),  # said below
            )
    return table


def _failures(of: Differential, paths: Sequence[ImageFile]) -> Table:
    table = Table("no.", _file_column(), "why it could not be analysed", box=box.SIMPLE)
    for cell in of.specimen.cells:
        if cell.failure is not None:
            table.add_row(str(cell.number), shown(_path_of(cell, paths).name), shown(cell.failure))
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _range(limits: Range | None, digits: int) -> str:
    return "" if limits is None else f"{limits.low:.{digits}f}-{limits.high:.{digits}f}"
