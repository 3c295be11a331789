"""The cells of a field as GeoJSON, which QuPath reads as annotations, and as a table.

GeoJSON: RFC 7946, in pixels instead of degrees, x before y; properties as QuPath 0.5 exports them
(``objectType``, ``classification``, ``measurements``).
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from orchestrator.domain import DISCLAIMER, FieldAnalysis, FieldCell
from orchestrator.interop.csv_tables import Cell, Spreadsheet, table
from orchestrator.model_contract import CLASS_NAMES

GEOJSON_TYPE: Final = "application/geo+json"

UNIDENTIFIED: Final = "Unidentified"

_COLOURS: Final = ([68, 119, 170], [238, 102, 119], [34, 136, 51], [204, 187, 68], [102, 204, 238])
"""By class; a palette that people who see few colours tell apart (Tol 2021, bright)."""
_GREY: Final = [140, 140, 140]

COLUMNS: Final = (
    "number", "class", "confidence", *(f"p_{name.lower()}" for name in CLASS_NAMES), "not_wbc",
    "top", "left", "bottom", "right", "is_cut", "is_clump", "is_identified", "review_codes",
    "model", "model_version", "profile", "head", "device_state", "disclaimer",
)  # fmt: skip


def geojson(field: FieldAnalysis) -> str:
    """All that was found, as a FeatureCollection of polygons, which says what found it (RFC 7946, 6.1)."""
    document = {
        "type": "FeatureCollection",
        "features": [_feature(number, cell) for number, cell in _numbered(field)],
        "model": None if field.model is None else asdict(field.model),
        "profile": field.profile,
        "profile_sha256": field.profile_sha256,
        "head": field.head,
        "device_state": field.device_state,
        "disclaimer": DISCLAIMER,
    }
    return json.dumps(document, ensure_ascii=False)


def csv_of(field: FieldAnalysis, spreadsheet: Spreadsheet | None = None) -> str:
    """A row for each find; boxes in pixels."""
    return table(COLUMNS, (_row(number, cell, field) for number, cell in _numbered(field)), spreadsheet)


def _numbered(field: FieldAnalysis) -> Iterator[tuple[int, FieldCell]]:
    return enumerate((*field.cells, *field.unidentified), start=1)


def _feature(number: int, cell: FieldCell) -> dict[str, Any]:
    finding = cell.finding
    polygon = max(cell.outlines.cell, key=len)
    ring = [[column, row] for row, column in (*polygon, polygon[0])]
    name = finding.class_name if cell.is_identified else UNIDENTIFIED
    measurements = dict(zip(CLASS_NAMES, finding.probabilities, strict=True))
    return {
        "type": "Feature",
        "id": str(number),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "name": f"{number} {name}",
            "classification": {
                "name": name,
                "color": _COLOURS[finding.class_index] if cell.is_identified else _GREY,
            },
            "measurements": {key: round(value, 4) for key, value in measurements.items()}
            | {"not_wbc": round(finding.not_wbc, 4)},
            "review_codes": [reason.code for reason in finding.review_reasons],
            "is_cut": cell.is_cut,
            "is_clump": cell.is_clump,
        },
    }


def _row(number: int, cell: FieldCell, field: FieldAnalysis) -> list[Cell]:
    finding, box, model = cell.finding, cell.box, field.model
    return [
        number,
        finding.class_name if cell.is_identified else UNIDENTIFIED,
        round(finding.confidence, 4),
        *(round(share, 4) for share in finding.probabilities),
        round(finding.not_wbc, 4),
        *(round(edge, 1) for edge in (box.top, box.left, box.bottom, box.right)),
        *(str(flag).lower() for flag in (cell.is_cut, cell.is_clump, cell.is_identified)),
        " ".join(reason.code for reason in finding.review_reasons),
        None if model is None else model.name,
        None if model is None else model.version,
        field.profile,
        field.head,
        field.device_state,
        DISCLAIMER,
    ]
