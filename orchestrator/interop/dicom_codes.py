"""Codes and units as DICOM writes them: LOINC as ``LN``, UCUM, and own ones as ``99WBC``."""

from typing import Final

from highdicom.sr import CodedConcept

from orchestrator.interop.coding import LOINC, OWN, Code, Unit
from orchestrator.interop.site import Site
from orchestrator.labels import slug

_SNOMED: Final = "http://snomed.info/sct"
_SCHEMES: Final = {LOINC: "LN", OWN: "99WBC", _SNOMED: "SCT"}

CLASS: Final = Code(OWN, "cell-class", "Class of one cell")
FOCUS_RATIO: Final = Code(OWN, "focus-ratio", "Share of the heatmap that lies on the cell")
MARGIN: Final = Code(OWN, "margin", "First probability minus the second")
ENERGY: Final = Code(OWN, "energy", "Energy score; the higher, the less like the images of training")
NEEDS_REVIEW: Final = Code(OWN, "needs-review", "A person should look at it")
REVIEW_REASON: Final = Code(OWN, "review-reason", "Why a person should look at it")
YES: Final = Code(OWN, "yes", "Yes")
NO: Final = Code(OWN, "no", "No")
HEATMAP: Final = Code(OWN, "heatmap", "Heatmap drawn over the image")
CELL_ANALYSIS: Final = Code(OWN, "cell-analysis", "Classification of the image of one white blood cell")
FIELD_ANALYSIS: Final = Code(OWN, "field-analysis", "Classification of the white blood cells of a field")
FINDS_UNIDENTIFIED: Final = Code(OWN, "finds-unidentified", "Finds that may be no white cell, not counted")
INTERVAL_LOW: Final = Code(OWN, "interval-low", "Lower limit of the exact 95 % interval")
INTERVAL_HIGH: Final = Code(OWN, "interval-high", "Upper limit of the exact 95 % interval")
RANGE_LOW: Final = Code(OWN, "range-low", "Lower limit of the site's reference range")
RANGE_HIGH: Final = Code(OWN, "range-high", "Upper limit of the site's reference range")
FLAG: Final = Code(OWN, "range-flag", "Compared with the site's reference range")
FLAGS: Final = {
    "low": Code(OWN, "below-range", "Below the reference range"),
    "high": Code(OWN, "above-range", "Above the reference range"),
}


def class_code(label: str, site: Site) -> Code:
    """A class of cells: in SNOMED CT where the site configured it, else an own code."""
    if label in site.snomed:
        return Code(_SNOMED, site.snomed[label], label)
    return Code(OWN, f"class-{slug(label)}", label)


def concept(code: Code) -> CodedConcept:
    """A code sequence's item; its meaning is cut to the 64 characters that it may have."""
    return CodedConcept(code.code, _SCHEMES[code.system], code.display[:64])


def unit(of: Unit) -> CodedConcept:
    """A unit of UCUM."""
    return CodedConcept(of.code, "UCUM", of.display)
