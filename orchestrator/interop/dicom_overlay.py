"""The heatmap over an image as a DICOM Secondary Capture image (PS3.3, A.8.1).

Where the image itself was DICOM the picture belongs to its patient and study, and names it as its source.
Under the picture stands, in the pixels, what it is and what it must not be used for: viewers do not show
comments. A viewer that lays both images over each other still can: the upper rows are those of the source.
"""

from typing import Final

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from orchestrator.domain import DISCLAIMER, Analysis, UInt8Array
from orchestrator.interop.dicom import CellSource, DicomObject, begin_instance, derived_uid, finished, quiet

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
SERIES_NUMBER: Final = 9001

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE: Final = 0.35
_LINE_PX: Final = 13
_MARGIN_PX: Final = 4


def overlay_image(analysis: Analysis, source: CellSource, service_version: str) -> DicomObject:
    """The picture; the same for the same source and result.

    Raises ``ValueError`` where the analysis was made without a heatmap.
    """
    if analysis.overlay is None:
        raise ValueError("expected an analysis with a heatmap, received one without")
    model = f"{analysis.model.name}/{analysis.model.version}"
    rgb = _captioned(_decoded(analysis.overlay.data))
    image = Dataset()
    with quiet():
        begin_instance(image, source.study, service_version)
        image.SOPClassUID = SECONDARY_CAPTURE
        image.SeriesInstanceUID = derived_uid("overlays", source.study.study_uid, model)
        image.SeriesNumber = SERIES_NUMBER
        image.SeriesDescription = "Heatmaps of a model: research use only"
        image.Modality = "OT"
        image.ConversionType = "WSD"
        image.InstanceNumber = source.number
        image.PatientOrientation = image.Laterality = ""  # of a smear there is none; dciodvfy wants it empty
        image.ImageType = ["DERIVED", "SECONDARY"]
        image.DerivationDescription = (
            f"Grad-CAM heatmap of the class {analysis.finding.class_name} by {model}, drawn over the image"
        )
        image.ImageComments = DISCLAIMER
        image.BurnedInAnnotation = "NO"  # which asks for words that identify the patient
        image.RecognizableVisualFeatures = "NO"
        if source.is_lossy:
            image.LossyImageCompression = "01"
        if source.study.source is not None:
            image.SourceImageSequence = Sequence([_reference(*source.study.source)])
        _set_pixels(image, rgb)
        return finished(image, derived_uid("overlay", source.study.study_uid, source.key))


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    purpose, item = Dataset(), Dataset()
    purpose.CodeValue = "121322"
    purpose.CodingSchemeDesignator = "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    return item


def _set_pixels(image: Dataset, rgb: UInt8Array) -> None:
    image.SamplesPerPixel = 3
    image.PhotometricInterpretation = "RGB"
    image.PlanarConfiguration = 0
    image.Rows, image.Columns = rgb.shape[:2]
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelRepresentation = 0
    data = rgb.tobytes()
    image.PixelData = data + bytes(len(data) % 2)
    image["PixelData"].VR = "OB"


def _decoded(overlay: bytes) -> UInt8Array:
    bgr = cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("expected an overlay that can be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _captioned(rgb: UInt8Array) -> UInt8Array:
    """The picture with the words on rows of their own below it."""
    lines = _lines(DISCLAIMER, rgb.shape[1] - 2 * _MARGIN_PX)
    strip = np.zeros((len(lines) * _LINE_PX + _MARGIN_PX, rgb.shape[1], 3), np.uint8)
    for number, line in enumerate(lines, start=1):
        cv2.putText(
            strip,
            line,
            (_MARGIN_PX, number * _LINE_PX - 2),
            _FONT,
            _FONT_SCALE,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
    return np.concatenate([rgb, strip])


def _lines(text: str, width: int) -> list[str]:
    """The words on as many lines as they need; one word a line where even that is too wide."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and cv2.getTextSize(joined, _FONT, _FONT_SCALE, 1)[0][0] <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines
