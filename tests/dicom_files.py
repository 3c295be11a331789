"""DICOM files as microscopes, scanners and converters write them, painted by the tests.

Written by pydicom, which the reader under test does not use.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLMicroscopicImageStorage,
    VLSlideCoordinatesMicroscopicImageStorage,
)

PATIENT = "Yilmaz-Ayse-19570312"
"""Stands in every element that names somebody."""

NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
CLASSES = {
    "microscopic": VLMicroscopicImageStorage,
    "slide coordinates": VLSlideCoordinatesMicroscopicImageStorage,
    "secondary capture": SecondaryCaptureImageStorage,
    "true colour": MultiFrameTrueColorSecondaryCaptureImageStorage,
}


def described(**elements: Any) -> Dataset:
    """A data set without pixels: VL Microscopic, a patient, a study, sequences; ``elements`` beside."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.SOPClassUID = VLMicroscopicImageStorage
    data_set.SOPInstanceUID = "2.25.1001"
    data_set.StudyInstanceUID = "2.25.1002"
    data_set.SeriesInstanceUID = "2.25.1003"
    data_set.PatientName = f"{PATIENT}^Ayşe"
    data_set.PatientID = PATIENT
    data_set.PatientBirthDate = "19570312"
    data_set.PatientSex = "F"
    data_set.PatientComments = PATIENT
    data_set.AccessionNumber = "A-42"
    data_set.ReferringPhysicianName = PATIENT
    data_set.StudyDate = "20260302"
    data_set.StudyTime = "093000"
    data_set.StudyID = "S-1"
    data_set.StudyDescription = PATIENT
    data_set.ContentDate = "20260302"
    data_set.ContentTime = "094112"
    data_set.Modality = "SM"
    data_set.SeriesNumber = 1
    data_set.InstanceNumber = 1
    data_set.Manufacturer = "Painted"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.ContainerIdentifier = "SLIDE-7"
    preparation, specimen = Dataset(), Dataset()
    preparation.SpecimenPreparationStepContentItemSequence = Sequence([Dataset()])
    specimen.SpecimenIdentifier = PATIENT
    specimen.SpecimenUID = "2.25.1004"
    specimen.SpecimenPreparationSequence = Sequence([preparation])
    data_set.SpecimenDescriptionSequence = Sequence([specimen])
    for name, value in elements.items():
        setattr(data_set, name, value)
    return data_set


def pixel_module(pixels: NDArray[Any], photometric: str, **elements: Any) -> dict[str, Any]:
    """The elements that say how ``pixels`` are stored, as rows and columns of one or three samples."""
    bits = 8 * pixels.dtype.itemsize
    samples = 3 if pixels.ndim == 3 else 1
    module: dict[str, Any] = {
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": photometric,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }
    if samples == 3:
        module["PlanarConfiguration"] = 0
    return module | elements


def written(data_set: Dataset, syntax: Any = ExplicitVRLittleEndian) -> bytes:
    """The file, with its preamble."""
    data_set = Dataset(data_set)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    stream = io.BytesIO()
    data_set.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def native_file(
    pixels: NDArray[Any], photometric: str = "RGB", syntax: str = "explicit", **elements: Any
) -> bytes:
    """An uncompressed image; ``PixelData`` among the elements is taken as it is."""
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    module = {"PixelData": data + bytes(len(data) % 2)} | pixel_module(pixels, photometric, **elements)
    data_set = described(**module)
    data_set["PixelData"].VR = "OW" if module["BitsAllocated"] == 16 else "OB"
    return written(data_set, NATIVE[syntax])


def jpeg_file(
    jpeg: bytes,
    photometric: str,
    shape: tuple[int, ...],
    *,
    fragments: int = 1,
    syntax: str = JPEGBaseline8Bit,
    **elements: Any,
) -> bytes:
    """A JPEG in a DICOM file; ``shape`` is what the header says of it."""
    module = pixel_module(np.zeros(shape, np.uint8), photometric, **elements)
    data_set = described(**module)
    data_set.PixelData = encapsulate([jpeg], fragments_per_frame=fragments)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return written(data_set, syntax)


def coded_file(frame: bytes, pixels: NDArray[Any], photometric: str, syntax: str, **elements: Any) -> bytes:
    """A frame that is compressed already; ``pixels`` are what it shows."""
    data_set = described(**pixel_module(pixels, photometric, **elements))
    data_set.PixelData = encapsulate([frame])
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return written(data_set, syntax)


def bare_jpeg(rgb: NDArray[np.uint8], *, colours: str = "ycbcr", **options: Any) -> bytes:
    """A JPEG without a marker that says what its colours are: ``ycbcr`` or ``rgb`` components, numbered."""
    stream = io.BytesIO()
    if colours == "ycbcr":
        Image.fromarray(rgb).save(stream, "JPEG", quality=95, **options)
        data = stream.getvalue()
        assert data[2:4] == b"\xff\xe0"  # JFIF
    else:
        Image.fromarray(rgb).save(stream, "JPEG", quality=95, keep_rgb=True, **options)
        data = stream.getvalue()
        assert data[2:4] == b"\xff\xee"  # Adobe
        frame = data.index(b"\xff\xc0")
        scan = data.index(b"\xff\xda")
        named = bytearray(data)
        for number in range(3):  # the letters R, G, B as names would tell it, too
            named[frame + 10 + 3 * number] = named[scan + 5 + 2 * number] = number + 1
        data = bytes(named)
    length = int.from_bytes(data[4:6], "big")
    return data[:2] + data[4 + length :]


def changed(elements: Mapping[str, Any], pixels: NDArray[Any], **others: Any) -> bytes:
    """An RGB image whose header lies."""
    return native_file(pixels, **(dict(elements) | others))
