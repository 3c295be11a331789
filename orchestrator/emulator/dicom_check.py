"""What the emulated archive asks of an object, and what it reads in it. Needs the extra ``dicom``."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import pydicom
from highdicom.sr import srread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ComprehensiveSRStorage

from orchestrator.interop.dicom import quiet

_NEEDED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_UIDS: Final = _NEEDED[:4]
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a structured report: ``depth`` from 0, its name and its value, which may be empty."""

    depth: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class CheckedObject:
    """A received object: its identifiers, empty where it has none; what is wrong with it; and, of a report,
    what it says."""

    data: bytes = field(repr=False)
    problems: tuple[str, ...]
    sop_class: str = ""
    instance: str = ""
    study: str = ""
    series: str = ""
    modality: str = ""
    lines: tuple[Line, ...] = ()

    def with_problem(self, problem: str) -> "CheckedObject":
        return replace(self, problems=(*self.problems, problem))


def checked_object(data: bytes) -> CheckedObject:
    """Read a file of PS3.10 and look for what an archive or a viewer would stumble over."""
    with quiet():
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            values = {keyword: str(dataset.get(keyword) or "") for keyword in _NEEDED}
        except Exception as error:  # pydicom raises a dozen types for damaged files
            return CheckedObject(data, (f"It is no DICOM file ({type(error).__name__}).",))
        problems = [f"{keyword} is missing." for keyword in _NEEDED if not values[keyword]]
        problems += [f"{key} is no UID." for key in _UIDS if values[key] and not UID(values[key]).is_valid]
        if dataset.file_meta.get("MediaStorageSOPInstanceUID") != values["SOPInstanceUID"]:
            problems.append("The header of the file names another instance.")
        lines: tuple[Line, ...] = ()
        try:
            if values["SOPClassUID"] == ComprehensiveSRStorage:
                srread(io.BytesIO(data))
                lines = tuple(_lines(dataset, 0))
            elif "PixelData" in dataset and dataset.pixel_array.shape[:2] != (dataset.Rows, dataset.Columns):
                problems.append("The pixels are not as many as the header says.")
        except Exception as error:  # highdicom says in words what of the standard is not kept
            problems.append(f"It cannot be read: {str(error) or type(error).__name__}")
    return CheckedObject(
        data,
        tuple(problems),
        values["SOPClassUID"],
        values["SOPInstanceUID"],
        values["StudyInstanceUID"],
        values["SeriesInstanceUID"],
        values["Modality"],
        lines,
    )


def _lines(item: Dataset, depth: int) -> Iterator[Line]:
    if depth > _DEEPEST:
        return
    names = item.get("ConceptNameCodeSequence")
    yield Line(depth, str(names[0].get("CodeMeaning", "")) if names else "", _value(item))
    for child in item.get("ContentSequence") or ():
        yield from _lines(child, depth + 1)


def _value(item: Dataset) -> str:
    match item.get("ValueType"):
        case "NUM" if item.get("MeasuredValueSequence"):
            measured = item.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            return f"{float(measured.NumericValue):g} {unit}"
        case "CODE":
            return str(item.ConceptCodeSequence[0].CodeMeaning)
        case "TEXT":
            return str(item.TextValue)
        case "PNAME":
            return str(item.PersonName)
        case "UIDREF":
            return str(item.UID)
        case "IMAGE":
            return str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        case "DATETIME":
            return str(item.DateTime)
    return ""
