"""A differential as two tables: a row for each class, and a row for each cell (RFC 4180, UTF-8).

Spreadsheets split and read by the reader's locale: where the decimal separator is a comma, as in Turkish and
German, columns are parted by semicolons, and a file without a byte order mark is not taken for UTF-8. So each
table can also be written for a spreadsheet of either kind.

A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV injection"):
specimen ids and names of people are other people's text. Numbers are written as numbers.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeVar

from orchestrator.interop import coding
from orchestrator.interop.reporting import phase, reported
from orchestrator.interop.site import DEFAULT_SITE, Site
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CellDecision,
    CellResult,
    ClassCount,
    Comment,
    Differential,
    FieldPlace,
    Range,
    SpecimenCell,
)

Value = TypeVar("Value")

Spreadsheet = Literal["point", "comma"]
"""The decimal separator of the reader's spreadsheet."""

MEDIA_TYPE: Final = "text/csv; charset=utf-8"

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of a formula; the last four are the wide forms that some spreadsheets read as the narrow
ones."""

_BEHIND_SEPARATOR: Final = re.compile(f"([;,\t\r\n] *)(?=[{re.escape(''.join(_FORMULA))}])")

CLASS_COLUMNS: Final = (
    "differential_id", "specimen_id", "status", "label", "count", "cells_counted",
    "percentage", "interval_low", "interval_high",
    "absolute", "absolute_interval_low", "absolute_interval_high",
    "reference_low", "reference_high", "reference_source", "flag", "label_shift_percentage",
    "code_system", "percentage_code", "absolute_code", "unreviewed", "device_state",
    "denominator", "part_of", "comments", "disclaimer",
)  # fmt: skip

Cell = str | int | float | None


def _probability(index: int) -> Callable[[CellResult], Cell]:
    return lambda result: result.probabilities[index]


def _edge(name: str) -> Callable[[CellResult], Cell]:
    return lambda result: None if result.box is None else round(float(getattr(result.box, name)), 1)


_FOUND: Final[Mapping[str, Callable[[CellResult], Cell]]] = {
    "class": lambda result: result.class_name,
    **{f"p_{name.lower()}": _probability(index) for index, name in enumerate(CLASS_NAMES)},
    "not_wbc": lambda result: result.not_wbc,
    "margin": lambda result: result.margin,
    "energy": lambda result: result.energy,
    "review_codes": lambda result: " ".join(result.review_codes),
    "focus_ratio": lambda result: result.focus_ratio,
    "views": lambda result: result.views,
    **{edge: _edge(edge) for edge in ("top", "left", "bottom", "right")},
}
_DECIDED: Final[Mapping[str, Callable[[CellDecision], Cell]]] = {
    "decision": lambda decision: decision.label,
    "decided_by": lambda decision: decision.person,
    "decided_at": lambda decision: _time(decision.decided_at),
}
_PLACED: Final[Mapping[str, Callable[[FieldPlace], Cell]]] = {
    "field": lambda place: place.number,
    "same_as": lambda place: place.same_as,
    "added_by": lambda place: place.added_by,
}
_MADE: Final[Mapping[str, Callable[[CellResult], Cell]]] = {
    "model": lambda result: result.model.name,
    "model_version": lambda result: result.model.version,
    "model_sha256": lambda result: result.model.sha256,
    "model_server": lambda result: result.model.server,
    "profile": lambda result: result.profile,
    "profile_sha256": lambda result: result.profile_sha256,
    "head": lambda result: result.head,
    "routing": lambda result: result.decided_by,
    "device_state": lambda result: result.device_state,
    "analysed_at": lambda result: _time(result.analysed_at),
}

CELL_COLUMNS: Final = (
    "differential_id", "specimen_id", "cell_id", "number", "state", "label", "needs_review",
    *_FOUND, *_DECIDED, "failure", "image_sha256", *_MADE, *_PLACED, "comments", "disclaimer",
)  # fmt: skip


def class_table(
    differential: Differential, site: Site = DEFAULT_SITE, spreadsheet: Spreadsheet | None = None
) -> str:
    """One row for each label, in the order of the differential; each with what was written
    about the specimen."""
    told = reported(differential)
    return table(CLASS_COLUMNS, (_class_row(told, count, site) for count in told.counts), spreadsheet)


def cell_table(differential: Differential, spreadsheet: Spreadsheet | None = None) -> str:
    """One row for each cell of the specimen, analysed or not, in the order in which they came; boxes in
    pixels of their field."""
    rows = (_cell_row(differential, cell) for cell in differential.specimen.cells)
    return table(CELL_COLUMNS, rows, spreadsheet)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], spreadsheet: Spreadsheet | None = None
) -> str:
    """RFC 4180, or as a spreadsheet of a decimal point or comma opens it by a double click."""
    out = io.StringIO()
    if spreadsheet is not None:
        out.write("\ufeff")
    writer = csv.writer(out, delimiter=";" if spreadsheet == "comma" else ",", lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_written(cell, spreadsheet) for cell in row])
    return out.getvalue()


def safe(text: str) -> str:
    """Text that no spreadsheet runs, also not the rest of it where a spreadsheet splits it at its own
    separator."""
    text = _BEHIND_SEPARATOR.sub(r"\1'", text)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _class_row(differential: Differential, count: ClassCount, site: Site) -> list[Cell]:
    specimen, shift = differential.specimen, differential.label_shift
    percentage = coding.share(count, site.method)
    has_volume = count.denominator == "white_cells"
    return [
        specimen.differential_id,
        specimen.order.specimen_id,
        phase(differential),
        count.label,
        count.count,
        differential.cells_counted,
        count.percentage,
        *_ends(count.interval),
        count.absolute,
        *_ends(count.absolute_interval),
        *_ends(count.reference),
        differential.reference_source if count.reference else None,
        count.flag,
        None
        if shift is None or count.label not in CLASS_NAMES
        else 100 * shift[CLASS_NAMES.index(count.label)],
        percentage.system,
        percentage.code,
        coding.absolute(count.label, site.method).code if has_volume else None,
        len(differential.review_list),
        specimen.device_state,
        count.denominator,
        count.part_of,
        _remarks(specimen.comments_on(None) + specimen.addenda),
        differential.disclaimer,
    ]


def _cell_row(differential: Differential, cell: SpecimenCell) -> list[Cell]:
    specimen = differential.specimen
    return [
        specimen.differential_id,
        specimen.order.specimen_id,
        cell.cell_id,
        cell.number,
        cell.state,
        cell.label,
        "yes" if cell.needs_review else "no",
        *_columns(cell.result, _FOUND),
        *_columns(cell.decision, _DECIDED),
        cell.failure,
        cell.image_sha256,
        *_columns(cell.result, _MADE),
        *_columns(cell.place, _PLACED),
        _remarks(specimen.comments_on(cell.cell_id)),
        differential.disclaimer,
    ]


def _columns(of: Value | None, columns: Mapping[str, Callable[[Value], Cell]]) -> list[Cell]:
    return [None if of is None else column(of) for column in columns.values()]


def _remarks(comments: Sequence[Comment]) -> str | None:
    """One after the other, with who and when."""
    said = (f"{_time(one.said_at)} {one.person}: {one.text}" for one in comments)
    return "\n".join(said) or None


def _ends(limits: Range | None) -> tuple[Cell, Cell]:
    return (None, None) if limits is None else (limits.low, limits.high)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _written(cell: Cell, spreadsheet: Spreadsheet | None) -> Cell:
    if isinstance(cell, float):  # 78 and not 78.0, wherever the number came from
        number = round(cell, 6)
        if number.is_integer():
            return int(number)
        return f"{number:f}".rstrip("0").replace(".", ",") if spreadsheet == "comma" else number
    return safe(cell).encode(errors="replace").decode() if isinstance(cell, str) else cell
