"""Codes and units: LOINC for what was counted, UCUM for its unit, own codes for what neither has.

This material contains content from LOINC (https://loinc.org). LOINC is copyright Regenstrief Institute, Inc.
and the LOINC Committee, and is available at no cost under the licence at https://loinc.org/license. 26508-2
are band forms, and often mislabelled as neutrophils; the deprecated 752-6 is not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from orchestrator.domain import DeviceState
from orchestrator.interop.site import CountMethod
from orchestrator.labels import NUCLEATED_RED_CELL, UNIDENTIFIED, Denominator, slug
from orchestrator.specimen import ClassCount

LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
OWN: Final = "urn:wbc-analyzer:code"
"""System of the codes that are this project's own; in HL7 v2 its name is ``99WBC``."""


@dataclass(frozen=True, slots=True)
class Code:
    """A code, its system (a URI) and what it says."""

    system: str
    code: str
    display: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A UCUM code and what a person reads."""

    code: str
    display: str


PERCENT: Final = Unit("%", "%")
PER_100_CELLS: Final = Unit("/100{WBCs}", "/100 WBC")
PER_NANOLITRE: Final = Unit("10*3/uL", "10*3/uL")  # equal to 10^9/L
CELLS: Final = Unit("{cells}", "cells")
RATIO: Final = Unit("1", "1")

_UNITS: Final[Mapping[Denominator, Unit]] = MappingProxyType(
    {"white_cells": PERCENT, "per_100_white_cells": PER_100_CELLS, "none": CELLS}
)

_SUFFIX: Final[Mapping[CountMethod, str]] = MappingProxyType(
    {"unspecified": "", "automated": " by Automated count", "manual": " by Manual count"}
)

_PANEL: Final[Mapping[CountMethod, Code]] = MappingProxyType(
    {
        "unspecified": Code(LOINC, "69738-3", "Differential panel, method unspecified - Blood"),
        "automated": Code(LOINC, "57023-4", "Auto Differential panel - Blood"),
        "manual": Code(LOINC, "24318-8", "Manual differential panel - Blood"),
    }
)

_COUNTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Band": "Band form neutrophils",
        "Segmented": "Segmented neutrophils",
        "Atypical lymphocyte": "Variant lymphocytes",
        "Smudge": "Smudge cells",
        NUCLEATED_RED_CELL: "Nucleated erythrocytes",
        UNIDENTIFIED: "Unidentified cells",
    }
)
"""What LOINC calls the cells of a label, where it is more than the plural of it."""

_PERCENT: Final[Mapping[str, Mapping[CountMethod, str]]] = MappingProxyType(
    {
        "Neutrophil": {"automated": "770-8", "manual": "23761-0", "unspecified": "26511-6"},
        "Lymphocyte": {"automated": "736-9", "manual": "737-7", "unspecified": "26478-8"},
        "Monocyte": {"automated": "5905-5", "manual": "744-3", "unspecified": "26485-3"},
        "Eosinophil": {"automated": "713-8", "manual": "714-6", "unspecified": "26450-7"},
        "Basophil": {"automated": "706-2", "manual": "707-0", "unspecified": "30180-4"},
        "Band": {"automated": "35332-6", "manual": "764-1", "unspecified": "26508-2"},
        "Segmented": {"automated": "32200-8", "manual": "769-0", "unspecified": "26505-8"},
        "Immature granulocyte": {"automated": "71695-1", "unspecified": "38518-7"},
        "Blast": {"manual": "709-6", "unspecified": "26446-5"},
        "Atypical lymphocyte": {"manual": "735-1", "unspecified": "13046-8"},
        "Smudge": {"unspecified": "34992-8"},
        NUCLEATED_RED_CELL: {"automated": "58413-6", "unspecified": "19048-8"},
    }
)

_ABSOLUTE: Final[Mapping[str, Mapping[CountMethod, str]]] = MappingProxyType(
    {
        "Neutrophil": {"automated": "751-8", "manual": "753-4", "unspecified": "26499-4"},
        "Lymphocyte": {"automated": "731-0", "manual": "732-8", "unspecified": "26474-7"},
        "Monocyte": {"automated": "742-7", "manual": "743-5", "unspecified": "26484-6"},
        "Eosinophil": {"automated": "711-2", "manual": "712-0", "unspecified": "26449-9"},
        "Basophil": {"automated": "704-7", "manual": "705-4", "unspecified": "26444-0"},
        "Band": {"manual": "763-3", "unspecified": "26507-4"},
        "Segmented": {"unspecified": "30451-9"},
        "Immature granulocyte": {"automated": "53115-2", "unspecified": "51584-1"},
        "Blast": {"unspecified": "30376-8"},
        "Atypical lymphocyte": {"automated": "43743-4", "unspecified": "26477-0"},
        "Smudge": {"unspecified": "34993-6"},
    }
)

_DEVICE_STATES: Final[Mapping[DeviceState, str]] = MappingProxyType(
    {
        "unknown": "Unknown microscope",
        "profiled": "Microscope with a profile and no audit",
        "known": "Microscope that the model was trained on",
        "audited": "Microscope whose audit passed",
    }
)

COMMENT: Final = Code(LOINC, "48767-8", "Annotation comment [Interpretation] Narrative")
TOTAL_WBC: Final = Code(LOINC, "26464-8", "Leukocytes [#/volume] in Blood")
"""The total on which absolute counts rest. It was measured elsewhere, by a method that is not told here."""

CELLS_COUNTED: Final = Code(OWN, "cells-counted", "Cells counted")
CELLS_OF_CLASS: Final = Code(OWN, "cells-of-class", "Cells of this class")
CELLS_UNREVIEWED: Final = Code(OWN, "cells-unreviewed", "Cells that wait for a person")
CELLS_WAITING: Final = Code(OWN, "cells-waiting", "Images that wait for their analysis")
CELLS_FAILED: Final = Code(OWN, "cells-failed", "Images that could not be analysed")
MINIMUM_CELLS: Final = Code(OWN, "minimum-cells", "Least number of cells for percentages")
LABEL_SHIFT: Final = Code(OWN, "label-shift-estimate", "Share estimated under label shift")
CELL_CLASS: Final = Code(OWN, "cell-class", "Class of one cell")
DECISION: Final = Code(OWN, "decision", "Decision of a person")
MODEL_CLASS: Final = Code(OWN, "model-class", "Class found by the model")
DEVICE_STATE: Final = Code(OWN, "device-state", "How far the microscope is known")
NOT_WBC: Final = Code(OWN, "probability-not-wbc", "Probability of none of the five classes")
"""The model's, for one cell; apart from the five probabilities, which sum to 1 without it."""

CONFIDENCE_INTERVAL: Final = Code(
    "http://terminology.hl7.org/CodeSystem/precision-estimate-type", "CI", "confidence interval"
)


def panel(method: CountMethod) -> Code:
    """The differential as a whole."""
    return _PANEL[method]


def percentage(label: str, method: CountMethod) -> Code:
    """A label's share of the white cells, or its number per 100 of them."""
    what = "/100 leukocytes [Ratio] in Blood" if label == NUCLEATED_RED_CELL else "/Leukocytes in Blood"
    return _of(label, method, _PERCENT, "percentage", what)


def absolute(label: str, method: CountMethod) -> Code:
    """A label's cells per volume."""
    return _of(label, method, _ABSOLUTE, "absolute", " [#/volume] in Blood")


def share(count: ClassCount, method: CountMethod) -> Code:
    """What is told first of a label: its :func:`percentage`, or its cells alone where they are a share of
    nothing."""
    return counted(count.label) if count.denominator == "none" else percentage(count.label, method)


def unit_of(count: ClassCount) -> Unit:
    """That of what is told first."""
    return _UNITS[count.denominator]


def counted(label: str) -> Code:
    """A label's cells alone, of which there is no share."""
    return Code(OWN, f"{slug(label)}-count", f"{_cells(label)} counted")


def _of(
    label: str, method: CountMethod, codes: Mapping[str, Mapping[CountMethod, str]], kind: str, what: str
) -> Code:
    """LOINC's code of the method, or that of none in particular; an own one of what LOINC has no agreed code
    for, as unidentified cells and a site's own labels."""
    known = codes.get(label)
    if known is None:
        return Code(OWN, f"{slug(label)}-{kind}", f"{_cells(label)}{what}")
    if method not in known:
        method = "unspecified"
    return Code(LOINC, known[method], f"{_cells(label)}{what}{_SUFFIX[method]}")


def _cells(label: str) -> str:
    return _COUNTED.get(label, f"{label}s")


def device_state(state: DeviceState) -> Code:
    """How far the service knows the microscope."""
    return Code(OWN, f"device-{state}", _DEVICE_STATES[state])


def probability(label: str) -> Code:
    """The model's calibrated probability of a class, for one cell."""
    return Code(OWN, f"probability-{label.lower()}", f"Probability of {label}")
