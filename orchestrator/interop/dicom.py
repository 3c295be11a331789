"""What all DICOM objects of this project have in common: whom and what they belong to, and how they become
files.

Identifiers are derived (``2.25.`` and a UUID of version 5, PS3.5 B.2), so that the same result gives the same
object, and a second delivery replaces and does not double. Needs the extra ``dicom``.
"""

import hashlib
import io
import re
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import pydicom
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from orchestrator.errors import MalformedMessage
from orchestrator.interop import dicom_values
from orchestrator.interop.site import NO_CONTEXT, OrderContext

MANUFACTURER: Final = "WBC Analyzer (research use only)"
MODEL_NAME: Final = "WBC Analyzer"

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:wbc-analyzer:dicom")

_VALID_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+")
_INHERITED: Final[Mapping[str, Callable[[str], str]]] = {
    "PatientName": dicom_values.name,
    "PatientID": dicom_values.long_identifier,
    "IssuerOfPatientID": dicom_values.long_identifier,
    "PatientBirthDate": dicom_values.date,
    "PatientSex": dicom_values.sex,
    "PatientAge": dicom_values.age,
    "ReferringPhysicianName": dicom_values.name,
    "AccessionNumber": dicom_values.short_identifier,
    "StudyID": dicom_values.short_identifier,
    "StudyDescription": dicom_values.description,
    "StudyDate": dicom_values.date,
    "StudyTime": dicom_values.time,
    "TimezoneOffsetFromUTC": dicom_values.offset,
}
"""What the objects of a study have in common, and what of a source's value each can hold."""

_MAX_HEADER_BYTES: Final = 16 * 2**20
"""Of a data set that is stored compressed; what a file inflates to is nobody's to choose."""


@dataclass(frozen=True, slots=True)
class DicomObject:
    """A finished object: its class, its identifier, and the file, of which no value is told by ``repr``."""

    sop_class_uid: str
    sop_instance_uid: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StudyContext:
    """Whom and what an object belongs to.

    ``study`` is a data set with the elements of patient and study; ``source`` is the image's class and
    instance where it was DICOM, else None, and ``was_lossy`` whether it says that it once was compressed with
    losses, be it no longer; ``specimen`` is the identifier of the specimen or None, ``specimen_uid`` its
    unique one.
    """

    study: Dataset = field(repr=False)
    source: tuple[str, str] | None = None
    specimen: str | None = field(default=None, repr=False)
    specimen_uid: str | None = None
    was_lossy: bool = False

    @property
    def study_uid(self) -> str:
        return str(self.study.StudyInstanceUID)


@dataclass(frozen=True, slots=True)
class CellSource:
    """One image and where it stands: ``key`` names the image and all that decided its result (a hash, no file
    name); ``number`` counts from 1; ``is_lossy`` where the image was compressed with losses."""

    key: str
    number: int
    study: StudyContext
    is_lossy: bool = False


def derived_uid(*parts: str) -> str:
    """An identifier that is the same for the same parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0x1F).join(parts)).int}"


def study_of(payload: bytes) -> StudyContext:
    """Patient, study and specimen of a DICOM image, whose pixels are not read.

    Raises :class:`~orchestrator.errors.MalformedMessage` where it cannot be read or names no study.
    """
    with quiet():
        source = _header_of(payload)
        try:
            return _study_of(source)
        except MalformedMessage:
            raise
        except Exception as error:
            # pydicom reads a value when it is asked for, and then raises as it pleases.
            raise MalformedMessage("An element of the DICOM source cannot be read.") from error


def _study_of(source: Dataset) -> StudyContext:
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
        value = _uid(source, keyword)
        if value is None:
            raise MalformedMessage(f"The DICOM source has no valid {keyword}.")
        setattr(study, keyword, value)
    _begin_empty(study)
    for keyword, held in _INHERITED.items():
        if value := held(_said(source, keyword)):
            setattr(study, keyword, value)
    specimens = source.get("SpecimenDescriptionSequence")
    specimen = specimens[0] if specimens else Dataset()
    return StudyContext(
        study,
        (study.SOPClassUID, study.SOPInstanceUID),
        dicom_values.unlimited(_said(specimen, "SpecimenIdentifier")) or None,
        _uid(specimen, "SpecimenUID"),
        was_lossy=source.get("LossyImageCompression") == "01",
    )


def study_of_image(
    image_sha256: str, dicom_file: bytes | None, *, specimen: str | None = None
) -> StudyContext:
    """That of the image's DICOM file; of a mere picture (None) one of its own, without a patient, which those
    of the same ``specimen`` share. Raises as :func:`study_of`."""
    if dicom_file is not None:
        return study_of(dicom_file)
    return new_study(derived_uid("study of images", specimen or image_sha256), NO_CONTEXT, specimen=specimen)


def new_study(
    study_uid: str, context: OrderContext, *, specimen: str | None = None, begun_at: datetime | None = None
) -> StudyContext:
    """A study of its own, of the patient and the order of ``context`` as far as it knows them."""
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    study.StudyInstanceUID = study_uid
    _begin_empty(study)
    study.TimezoneOffsetFromUTC = "+0000"
    if begun_at is not None:
        set_moment(study, begun_at, "Study")
    if context.patient is not None:
        study.PatientID = dicom_values.long_identifier(context.patient.identifier)
        names = [dicom_values.name_part(n) for n in (context.patient.family, context.patient.given)]
        study.PatientName = "^".join(names) if any(names) else ""
    if context.placer_order is not None:
        study.AccessionNumber = dicom_values.short_identifier(context.placer_order)
    return StudyContext(study, specimen=None if specimen is None else dicom_values.unlimited(specimen))


def person_name(name: str) -> str:
    """A person of whom only one name is known, as DICOM writes it."""
    return f"{dicom_values.name_part(name, at_most=63) or '?'}^"


def set_moment(dataset: Dataset, moment: datetime, *names: str) -> None:
    """Set the dates and times of these names, such as ``Content``, in the zone that the data set tells.

    Without one they are the local time of this machine, as the times of the source are that of its own.
    """
    offset = dataset.get("TimezoneOffsetFromUTC")
    local = moment.astimezone(None if offset is None else datetime.strptime(str(offset), "%z").tzinfo)
    for name in names:
        setattr(dataset, f"{name}Date", local.strftime("%Y%m%d"))
        setattr(dataset, f"{name}Time", local.strftime("%H%M%S.%f"))


def begin_instance(dataset: Dataset, study: StudyContext, service_version: str) -> None:
    """Set what every object has: patient, study, and who made it."""
    for element in study.study:
        if element.keyword not in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"):
            dataset[element.tag] = deepcopy(element)
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MODEL_NAME
    dataset.SoftwareVersions = service_version


def finished(dataset: Dataset, sop_instance_uid: str | None = None) -> DicomObject:
    """The object as a file (PS3.10, explicit little endian).

    Without an identifier it gets one that is derived from all that it holds: another content is another
    object.
    """
    with quiet():
        for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
            if keyword in dataset:  # of the writing, and not of what is written
                delattr(dataset, keyword)
        dataset.SOPInstanceUID = UID(sop_instance_uid or "2.25.0")
        data = _written(dataset)
        if sop_instance_uid is None:
            sop_instance_uid = derived_uid("content", hashlib.sha256(data).hexdigest())
            dataset.SOPInstanceUID = UID(sop_instance_uid)
            # What is written takes longest, and is the same but for this.
            body = data[_body_of(data) :].replace(_identifier("2.25.0"), _identifier(sop_instance_uid), 1)
            data = _with_meta(dataset, body)
        return DicomObject(str(dataset.SOPClassUID), sop_instance_uid, data)


def object_of(data: bytes) -> DicomObject:
    """The object in a file that :func:`finished` wrote.

    Raises :class:`~orchestrator.errors.MalformedMessage` where it is none.
    """
    with quiet():
        header = _header_of(data)
        return DicomObject(str(header.get("SOPClassUID")), str(header.get("SOPInstanceUID")), data)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the checks of pydicom, whose warnings quote the values that they doubt."""
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _written(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = UID(derived_uid("implementation"))
    meta.ImplementationVersionName = "WBC_ANALYZER"
    dataset.file_meta = meta
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _body_of(data: bytes) -> int:
    """Where the data set begins in a file: behind 128 bytes, ``DICM``, and the group of the file's own."""
    return 144 + int.from_bytes(data[140:144], "little")


def _identifier(uid: str) -> bytes:
    """The element of an object's identifier, of explicit little endian."""
    padded = uid.encode("ascii") + b"\0" * (len(uid) % 2)
    return b"\x08\x00\x18\x00UI" + len(padded).to_bytes(2, "little") + padded


def _with_meta(dataset: Dataset, body: bytes) -> bytes:
    """The file of a data set that is written already."""
    known = Dataset()
    known.SOPClassUID, known.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    head = _written(known)
    return head[: _body_of(head)] + body


def _header_of(payload: bytes) -> Dataset:
    """The data set up to its pixels."""
    try:
        stream = io.BytesIO(payload)
        meta = pydicom.filereader.read_partial(stream, lambda tag, *_: tag.group > 2).file_meta
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # pydicom would inflate all of it, however much that is.
            start = 144 + int(meta.FileMetaInformationGroupLength)
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload[start:], _MAX_HEADER_BYTES)
            header = pydicom.filereader.read_dataset(io.BytesIO(inflated), False, True, stop_when=_is_pixels)
            header.file_meta = meta
            return header
        return pydicom.dcmread(io.BytesIO(payload), stop_before_pixels=True)
    except Exception as error:  # pydicom raises a dozen types for damaged files, RecursionError among them
        raise MalformedMessage("The header of the DICOM source cannot be read.") from error


def _is_pixels(tag: int, *_: object) -> bool:
    return tag >= 0x7FE00008


def _said(dataset: Dataset, keyword: str) -> str:
    """The text of an element as it stands in the file; empty where it is none, whatever else it is."""
    value = dataset.get(keyword)
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(one) for one in values if isinstance(one, str | PersonName))


def _uid(dataset: Dataset, keyword: str) -> str | None:
    value = str(dataset.get(keyword, ""))
    return value if _VALID_UID.fullmatch(value) and len(value) <= 64 else None


def _begin_empty(study: Dataset) -> None:
    """What must be there, be it empty."""
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
        "StudyDate", "StudyTime", "ReferringPhysicianName",
    ):  # fmt: skip
        setattr(study, keyword, "")
