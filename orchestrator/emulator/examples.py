"""Made-up differentials for integrators and golden messages; no cell of them was ever seen by a model.

Counts are of 100 cells, so that percentages equal counts; intervals are Clopper and Pearson's for these.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.domain import DEVICE_UNKNOWN, Box, ModelIdentity
from orchestrator.interop.site import NO_CONTEXT, OrderContext, Patient
from orchestrator.labels import CELL_LABELS, LABELS, UNIDENTIFIED, Label, labels_of
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CellDecision,
    CellResult,
    ClassCount,
    Comment,
    Differential,
    FieldPlace,
    Range,
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenField,
    SpecimenOrder,
)
from orchestrator.specimens.differential import DifferentialRules, differential

_BEGUN: Final = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
_MODEL: Final = ModelIdentity("wbc", 4, hashlib.sha256(b"made up").hexdigest(), "embedded")
_PROFILE_SHA256: Final = hashlib.sha256(b"a device profile").hexdigest()
_MIN_CELLS: Final = 100
_TOTAL_WBC: Final = 6.2

_COUNTS: Final = MappingProxyType(
    {"Basophil": 0, "Eosinophil": 1, "Lymphocyte": 12, "Monocyte": 5, "Neutrophil": 78, UNIDENTIFIED: 4}
)
_INTERVALS: Final[Mapping[int, tuple[float, float]]] = MappingProxyType(
    {
        0: (0.0, 3.6217),
        1: (0.0253, 5.4459),
        4: (1.1004, 9.9257),
        5: (1.6432, 11.2835),
        12: (6.3569, 20.0236),
        78: (68.608, 85.6696),
        100: (96.3783, 100.0),
    }
)
_REFERENCES: Final = MappingProxyType(
    {
        "Basophil": Range(0, 1),
        "Eosinophil": Range(0, 5.5),
        "Lymphocyte": Range(12, 44),
        "Monocyte": Range(4, 9),
        "Neutrophil": Range(40, 75),
    }
)
AWKWARD_TEXT: Final = 'a|b^c~d\\e&f "g" <h> \r\n=1+1 Öztürk 血 😀'
"""Delimiters of HL7, marks of XML, a line break, a formula, and letters beyond ASCII."""


@dataclass(frozen=True, slots=True)
class Example:
    """A differential and what its sender adds. ``per_cell`` asks for the single cells in FHIR."""

    differential: Differential
    context: OrderContext = NO_CONTEXT
    per_cell: bool = False


def examples() -> dict[str, Example]:
    """All of them by name."""
    unsigned = _preliminary("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c001", "S-2026-000123", _TOTAL_WBC)
    without_total = _preliminary("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c002", "S-2026-000124", None)
    awkward = _preliminary("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c004", AWKWARD_TEXT, _TOTAL_WBC)
    to_be_added_to = _preliminary("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c009", "S-2026-000129", _TOTAL_WBC)
    patient = Patient(identifier="P|1^2", family="O'Brien & Söhne", given="Zoë\n|~")
    return {
        "preliminary": Example(unsigned),
        "final": Example(
            signed(unsigned, "dr.demir"),
            OrderContext(
                Patient("PID-4711", "Yılmaz", "Ayşe"), "ORD-42", collected_at=_BEGUN - timedelta(hours=2)
            ),
        ),
        "without_total": Example(without_total),
        "too_few_cells": Example(_too_few("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c003"), per_cell=True),
        "awkward_text": Example(signed(awkward, AWKWARD_TEXT), OrderContext(patient, AWKWARD_TEXT)),
        "cancelled": Example(
            replace(unsigned, specimen=replace(unsigned.specimen, state="cancelled", signature=None))
        ),
        "persons_labels": Example(_persons_labels("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c007")),
        "fields": Example(_fields("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c008")),
        "addendum": Example(_with_addendum(signed(to_be_added_to, "dr.demir"))),
        "unknown_device": Example(_unknown_device("4b0cbd19-3a4e-4d57-9f5e-1f8a5cf1c006")),
    }


def signed(differential: Differential, person: str) -> Differential:
    """Every cell that waits for a person is left unidentified by one, who then signs."""
    decided_at, signed_at = _BEGUN + timedelta(minutes=30), _BEGUN + timedelta(minutes=35)
    waiting = set(differential.review_list)
    decision = CellDecision(UNIDENTIFIED, person, decided_at)
    cells = tuple(
        replace(cell, decision=decision) if cell.cell_id in waiting else cell
        for cell in differential.specimen.cells
    )
    specimen = replace(
        differential.specimen, state="signed", cells=cells, signature=Signature(person, signed_at)
    )
    return replace(
        differential, specimen=specimen, review_list=(), computed_at=signed_at + timedelta(seconds=1)
    )


def _with_addendum(differential: Differential) -> Differential:
    """Two comments before the signature, and two addenda an hour after it."""
    before, after = _BEGUN + timedelta(minutes=32), _BEGUN + timedelta(minutes=95)
    comments = (
        Comment(1, differential.specimen.cells[2].cell_id, "dr.demir", before, "Vacuoles."),
        Comment(2, None, "dr.demir", before, "Thick smear:\nstained anew."),
        Comment(3, None, "dr.demir", after, "Told to the ward by telephone.", is_addendum=True),
        Comment(4, None, AWKWARD_TEXT, after, AWKWARD_TEXT, is_addendum=True),
    )
    return replace(
        differential,
        specimen=replace(differential.specimen, comments=comments),
        computed_at=after + timedelta(seconds=1),
    )


def _preliminary(differential_id: str, specimen_id: str, total_wbc: float | None) -> Differential:
    labels = [label for label in CELL_LABELS for _ in range(_COUNTS[label])]
    cells = tuple(_cell(differential_id, n, label) for n, label in enumerate(labels, start=1))
    counts = tuple(_class_count(label, _COUNTS[label], total_wbc) for label in CELL_LABELS)
    return Differential(
        specimen=Specimen(
            differential_id=differential_id,
            order=SpecimenOrder(specimen_id, total_wbc),
            state="analysed",
            created_by="lis",
            created_at=_BEGUN,
            cells=cells,
        ),
        counts=counts,
        cells_counted=len(cells),
        cells_waiting=0,
        cells_failed=0,
        min_cells=_MIN_CELLS,
        review_list=tuple(cell.cell_id for cell in cells if cell.needs_review),
        label_shift=(0.002, 0.011, 0.134, 0.055, 0.798),
        models=(_MODEL,),
        service_version="1.0.0",
        computed_at=_BEGUN + timedelta(minutes=20),
        reference_source="made up for this example",
    )


def _too_few(differential_id: str) -> Differential:
    """Twelve images: eight analysed, of which a person reclassified one, one failed, three wait."""
    labels = ["Neutrophil"] * 5 + ["Lymphocyte", "Eosinophil", UNIDENTIFIED]
    cells = [_cell(differential_id, n, label) for n, label in enumerate(labels, start=1)]
    decided_at = _BEGUN + timedelta(minutes=25)
    cells[6] = replace(cells[6], decision=CellDecision("Neutrophil", "dr.demir", decided_at))
    missing = [replace(_cell(differential_id, n, "Monocyte"), result=None) for n in range(9, 13)]
    failed = replace(missing[0], state="failed", failure="The JPEG data ends early: the file is truncated.")
    waiting = [replace(cell, state="waiting") for cell in missing[1:]]
    cells += [failed, *waiting]
    said_at = decided_at + timedelta(minutes=1)
    comment = Comment(1, cells[6].cell_id, "dr.demir", said_at, "Granules are fine:\nnot coarse.")
    whole = _preliminary(differential_id, "S-2026-000125", _TOTAL_WBC)
    counted = {label: sum(cell.label == label for cell in cells) for label in CELL_LABELS}
    counts = tuple(
        ClassCount(label, number, None, None, None, None, _REFERENCES.get(label), None)
        for label, number in counted.items()
    )
    return replace(
        whole,
        specimen=replace(whole.specimen, state="running", cells=tuple(cells), comments=(comment,)),
        counts=counts,
        cells_counted=8,
        cells_waiting=3,
        cells_failed=1,
        review_list=(cells[7].cell_id,),
        label_shift=None,
    )


def _persons_labels(differential_id: str) -> Differential:
    """A person told the neutrophils apart, and named what is none of the five classes, with a word of the
    site among it."""
    named = {
        "Segmented": 60, "Band": 12, "Immature granulocyte": 3, "Blast": 2, "Atypical lymphocyte": 4,
        "Smudge": 6, "Nucleated red cell": 9, "Giant platelet": 2, "Artefact": 3, "Hairy cell": 1,
        "Lymphocyte": 15, "Monocyte": 3,
    }  # fmt: skip
    words = [label for label, number in named.items() for _ in range(number)]
    decided_at = _BEGUN + timedelta(minutes=25)
    cells = tuple(
        replace(
            _cell(differential_id, number, LABELS.class_of(word) or "Lymphocyte"),
            decision=CellDecision(word, "dr.demir", decided_at),
        )
        for number, word in enumerate(words, start=1)
    )
    order = SpecimenOrder("S-2026-000127", _TOTAL_WBC)
    specimen = Specimen(differential_id, order, "analysed", "lis", _BEGUN, cells)
    rules = DifferentialRules(labels=labels_of([Label("Hairy cell", "Saçlı hücre", "y")]))
    found = differential(specimen, rules, _BEGUN + timedelta(minutes=30))
    return replace(found, service_version="1.0.0", reference_source="made up for this example")


def _fields(differential_id: str) -> Differential:
    """Two fields of 1080 x 675 pixels: of the second one cell was added by a person, one lies in the first
    field too, and one may be no white cell."""
    places = [FieldPlace(number, False, False, True) for number in (1, 1, 2, 2, 2, 2)]
    found = [
        replace(_cell(differential_id, number, label), place=place)
        for number, (label, place) in enumerate(
            zip(
                ("Neutrophil", "Monocyte", "Lymphocyte", "Neutrophil", "Eosinophil", UNIDENTIFIED),
                places,
                strict=True,
            ),
            start=3,
        )
    ]
    found[3] = replace(found[3], place=replace(places[3], same_as=found[0].cell_id))
    found[4] = replace(found[4], place=replace(places[4], added_by="dr.demir"))
    found[5] = replace(found[5], place=replace(places[5], is_identified=False))
    cells = tuple(
        replace(
            cell,
            result=replace(
                cell.result, image_size=(675, 1080), box=Box(40.5, 150.0 * n, 140.0, 150.0 * n + 98.5)
            ),
        )
        for n, cell in enumerate(found)
        if cell.result is not None
    )
    fields = tuple(
        SpecimenField(
            f"{differential_id[:8]}-field-{number}",
            number,
            hashlib.sha256(f"{differential_id}/field {number}".encode()).hexdigest(),
            (675, 1080),
            61.5,
            white_cells,
        )
        for number, white_cells in ((1, 2), (2, 3))
    )
    order = SpecimenOrder("S-2026-000128", _TOTAL_WBC, kind="field")
    specimen = Specimen(differential_id, order, "analysed", "lis", _BEGUN, cells, fields=fields)
    counted = differential(specimen, DifferentialRules(min_cells=_MIN_CELLS), _BEGUN + timedelta(minutes=30))
    return replace(counted, service_version="1.0.0", reference_source="made up for this example")


def _unknown_device(differential_id: str) -> Differential:
    """Nobody chose the profile of the microscope: each cell waits for a person."""
    whole = _preliminary(differential_id, "S-2026-000126", None)
    cells = tuple(
        replace(
            cell,
            result=replace(
                cell.result,
                review_codes=(*cell.result.review_codes, DEVICE_UNKNOWN),
                profile="default",
                device_state="unknown",
            ),
        )
        for cell in whole.specimen.cells
        if cell.result is not None
    )
    return replace(
        whole,
        specimen=replace(whole.specimen, cells=cells),
        counts=tuple(
            _class_count(label, len(cells) if label == UNIDENTIFIED else 0, None) for label in CELL_LABELS
        ),
        review_list=tuple(cell.cell_id for cell in sorted(cells, key=_confidence)),
        label_shift=None,
    )


def _confidence(cell: SpecimenCell) -> float:
    return 0.0 if cell.result is None else cell.result.confidence


def _class_count(label: str, percentage: int, total_wbc: float | None) -> ClassCount:
    low, high = _INTERVALS[percentage]
    reference = _REFERENCES.get(label)
    flag: Literal["low", "high"] | None = None
    if reference is not None and not reference.low <= percentage <= reference.high:
        flag = "low" if percentage < reference.low else "high"
    return ClassCount(
        label=label,
        count=percentage,
        percentage=float(percentage),
        interval=Range(low, high),
        absolute=None if total_wbc is None else percentage / 100 * total_wbc,
        absolute_interval=None if total_wbc is None else Range(low / 100 * total_wbc, high / 100 * total_wbc),
        reference=reference,
        flag=flag,
    )


def _cell(differential_id: str, number: int, label: str) -> SpecimenCell:
    """Analysed at a second of its own; one that is to be unidentified is a close call."""
    is_unsure = label == UNIDENTIFIED
    name = CLASS_NAMES[number % len(CLASS_NAMES)] if is_unsure else label
    likely, others = (0.44, 0.14) if is_unsure else (0.92, 0.02)
    return SpecimenCell(
        cell_id=f"{differential_id[:8]}-{number:04d}",
        number=number,
        image_sha256=hashlib.sha256(f"{differential_id}/{number}".encode()).hexdigest(),
        state="analysed",
        result=CellResult(
            class_name=name,
            probabilities=tuple(likely if name == other else others for other in CLASS_NAMES),
            margin=likely - others,
            energy=-6.5,
            review_codes=("close_call",) if is_unsure else (),
            focus_ratio=0.9,
            views=8,
            image_size=(360, 360),
            model=_MODEL,
            profile="cellavision-dm96",
            analysed_at=_BEGUN + timedelta(seconds=number),
            profile_sha256=_PROFILE_SHA256,
            not_wbc=0.31 if is_unsure else 0.01,
            device_state="known",
            box=Box(96.0, 90.0, 262.5, 270.0),
        ),
    )
