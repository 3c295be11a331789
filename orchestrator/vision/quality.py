"""Tells from the pixels whether an image is good enough to be trusted without a second look.

Each check gives a reason for review and a sentence that says what to do. No check refuses an image: the
model answers in any case, and a person decides. An unusual stain is no fault of quality.

How bright, dense and sharp a good image is differs between devices. So what can be is measured within the
frame: the nucleus against the red cells beside it, finest detail against detail twice as coarse, the darkest
against the brightest and both against what the sensor can tell. A profile may add what is usual on its device
(:class:`QualityLimits`). docs/accuracy.md has how often each reason is given on which device.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, ReviewReason, UInt8Array
from orchestrator.vision.crop import CellLocation
from orchestrator.vision.histogram import percentiles
from orchestrator.vision.nucleus_stain import NucleusStain

MIN_SIDE_PX: Final = 64
"""Below this the model's input of 224 pixels is mostly invention; Train has 360 and 575, TestB about 120."""

MIN_CELL_PX: Final = 40
"""A lobe of a nucleus is about a fifth of a cell wide: 8 pixels, hardly a shape. Train's smallest cell has
85 pixels."""

NORMALISED_CELL_PX: Final = 100
"""Sharpness is measured after scaling the cell to this size, so that it does not depend on magnification."""

MAX_FIELD_CELLS: Final = 4
"""Cell sizes across the part of the frame that sharpness is measured on; it bounds the work, too."""

FINE_BAND_PX: Final = (1.0, 1.4)
COARSE_BAND_PX: Final = (2.0, 2.8)
"""Standard deviations of the two differences of Gaussians, in normalised pixels (hundredths of a cell)."""

EDGE_PERCENTILE: Final = 99
"""Of the absolute values of a band: what its strongest edges have, in which noise has the least part. Noise
of 3 levels does not hide a blur; on a device of a third of the contrast it does."""

CLIPPED_LEVEL: Final = 250
MAX_CLIPPED_SHARE: Final = 0.05
"""Share of the cell whose pixels are clipped, that is, have two or three channels at this level: colour and
texture are gone. Empty glass around the cell may be clipped. Train: at most 0.0004. With twice the light the
two checks for overexposure flag 93 % of Barcelona and 97 % of Raabin, with 2.5 times 99 and 100 %."""

CELL_CORE: Final = 0.8
"""Diameter, in cell sizes, of the disc that counts as the cell: none of it is glass where a cell is round."""

MAX_DARKEST: Final = 0.49
"""Luma of the darkest hundredth of the pixels, the nucleus, over that of the brightest twentieth, the glass,
where the latter is clipped. Where it is not, a pale nucleus is no fault of the light."""

MIN_CONTRAST: Final = 1.7
MIN_HUE_CONTRAST: Final = 0.15
"""Least ``contrast`` and ``hue_contrast`` of a nucleus that is certain (:class:`NucleusStain`).

Chosen by the cells of Raabin, Barcelona, Chula and BCCD and by real and painted images without one. By the
density of Raabin's and Barcelona's nuclei nearly all cells of the other two were not certain.
"""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Below which an image is marked for review.

    ``min_sharpness`` is of :func:`sharpness`. The general limit lies between the images of four devices (99 %
    have at least 0.43) and the same blurred by 3 % of the cell's size (95 % have at most 0.40).
    ``min_background`` is the luma of the brightest twentieth, the empty glass, over what the sensor can tell.
    ``min_nucleus_density`` and ``min_nucleus_hue`` are the device's own; without them a nucleus is compared
    with the red cells beside it.
    """

    min_sharpness: float = 0.415
    min_background: float = 0.47
    min_nucleus_density: float | None = None
    min_nucleus_hue: float | None = None


GENERAL_LIMITS: Final = QualityLimits()


def is_certain(stain: NucleusStain | None, limits: QualityLimits = GENERAL_LIMITS) -> bool:
    """Whether what was found is stained as a nucleus: as the device's own where their limits are known, else
    compared with the red cells of the frame. Where there is neither, it is not certain."""
    if stain is None:
        return False
    density, hue = limits.min_nucleus_density, limits.min_nucleus_hue
    if density is not None and hue is not None:
        return stain.density >= density and stain.hue >= hue
    if stain.contrast is None or stain.hue_contrast is None:
        return False
    return stain.contrast >= MIN_CONTRAST and stain.hue_contrast >= MIN_HUE_CONTRAST


def assess_located(
    rgb: UInt8Array, cell: CellLocation | None, limits: QualityLimits = GENERAL_LIMITS
) -> tuple[ReviewReason, ...]:
    """As :func:`assess`, of a frame in which ``cell`` was located, or nothing."""
    if cell is None:
        return assess(rgb, cell_size_px=None, limits=limits)
    centre, certain = (cell.row, cell.column), is_certain(cell.stain, limits)
    return assess(
        rgb,
        cell_size_px=cell.size,
        cell_centre=centre,
        cell_certain=certain,
        cell_alone=cell.is_alone,
        limits=limits,
    )


def assess(
    rgb: UInt8Array,
    *,
    cell_size_px: float | None,
    cell_centre: tuple[float, float] | None = None,
    cell_certain: bool = True,
    cell_alone: bool = True,
    limits: QualityLimits = GENERAL_LIMITS,
) -> tuple[ReviewReason, ...]:
    """Reasons why a person should look at the result for this image; empty where there is none.

    Args:
        rgb: uint8 ``[H, W, 3]``, the original image, before any normalisation.
        cell_size_px: side of the cell's box in pixels of ``rgb``; None where no cell was found.
        cell_centre: (row, column) of the cell in pixels; the middle of the frame where not given.
        cell_certain: whether it is stained as a nucleus (:func:`is_certain`).
        cell_alone: whether no other white cell was seen.
        limits: those of the device's profile.

    Returns:
        Reasons with the codes ``too_small``, ``no_cell``, ``uncertain_cell``, ``several_cells``,
        ``blurred``, ``overexposed`` and ``underexposed``, in this order, each at most once.
    """
    reasons: list[ReviewReason] = []
    luma = _luma(rgb)
    height, width = rgb.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        reasons.append(
            ReviewReason(
                "too_small",
                f"The image is only {width} x {height} pixels: send one of at least "
                f"{MIN_SIDE_PX} x {MIN_SIDE_PX}, better 200 x 200.",
            )
        )
    elif cell_size_px is not None and cell_size_px < MIN_CELL_PX:
        reasons.append(
            ReviewReason(
                "too_small",
                f"The cell spans only {cell_size_px:.0f} pixels: photograph it at a higher magnification "
                f"(at least {MIN_CELL_PX} pixels).",
            )
        )
    if cell_size_px is None:
        reasons.append(
            ReviewReason(
                "no_cell", "No white cell was found: centre one cell in the image and send it again."
            )
        )
    elif not cell_certain:
        reasons.append(
            ReviewReason(
                "uncertain_cell",
                "What was looked at does not stand out as a white cell does: look whether it is one.",
            )
        )
    if cell_size_px is not None and not cell_alone:
        reasons.append(
            ReviewReason(
                "several_cells",
                "The image shows more than one white cell: the answer is for one of them, the image counts "
                "as one cell. Send the whole image to /v1/fields, or each cell in an image of its own.",
            )
        )
    if cell_size_px is not None and _sharpness(luma, cell_size_px, cell_centre) < limits.min_sharpness:
        reasons.append(
            ReviewReason(
                "blurred", "The image is blurred: focus the microscope and photograph the cell again."
            )
        )
    clipped = 0.0 if cell_size_px is None else clipped_share(rgb, cell_size_px, cell_centre)
    darkest, glass = percentiles(luma, 1, 95)[0]
    if clipped > MAX_CLIPPED_SHARE or (darkest > MAX_DARKEST * glass and _has_clipped_glass(rgb)):
        reasons.append(
            ReviewReason(
                "overexposed",
                "The image is overexposed: lower the light or the exposure time and try again.",
            )
        )
    if glass < 255 * limits.min_background:
        reasons.append(
            ReviewReason(
                "underexposed",
                "The image is underexposed: raise the light or the exposure time and try again.",
            )
        )
    return tuple(reasons)


def background(rgb: UInt8Array) -> float:
    """Luma of the brightest twentieth of the pixels, 0 to 1."""
    return float(percentiles(_luma(rgb), 95)[0, 0]) / 255


def _has_clipped_glass(rgb: UInt8Array) -> bool:
    return _share(_second(rgb) >= CLIPPED_LEVEL) >= 0.05


def clipped_share(
    rgb: UInt8Array, cell_size_px: float, cell_centre: tuple[float, float] | None = None
) -> float:
    """Share, 0 to 1, of the cell's core in which at least two channels are clipped."""
    rows, columns, (row, column) = _field(rgb, cell_size_px * CELL_CORE / 2, cell_centre)
    second = _second(rgb[rows, columns])
    if cv2.minMaxLoc(second)[1] < CLIPPED_LEVEL:  # The usual case, told without measuring any distance.
        return 0.0
    distance = np.hypot(
        np.arange(rows.start, rows.stop)[:, np.newaxis] + 0.5 - row,
        np.arange(columns.start, columns.stop) + 0.5 - column,
    )
    core = second[distance <= max(0.5 * CELL_CORE * cell_size_px, 1)]
    return float(np.mean(core >= CLIPPED_LEVEL)) if core.size else 0.0


def sharpness(rgb: UInt8Array, cell_size_px: float, cell_centre: tuple[float, float] | None = None) -> float:
    """How much finest detail the strongest edges have for each unit of coarser detail.

    0 to about 1, and up to 2 in noise.

    The ratio of the 99th percentiles of a fine and a coarser band of the luma (differences of Gaussians), at
    a scale at which every cell is equally large. Contrast, stain and the number of red cells raise and lower
    both bands alike, so they cancel; a blur takes away the fine band alone.
    """
    return _sharpness(_luma(rgb), cell_size_px, cell_centre)


def _sharpness(luma: UInt8Array, cell_size_px: float, cell_centre: tuple[float, float] | None) -> float:
    field = _normalised_field(luma, cell_size_px, cell_centre)
    fine, coarse = (
        float(np.percentile(np.abs(_band(field, *widths)), EDGE_PERCENTILE))
        for widths in (FINE_BAND_PX, COARSE_BAND_PX)
    )
    return fine / max(coarse, 0.1)  # a field without any detail is not sharp


def _second(rgb: UInt8Array) -> UInt8Array:
    """The middle one of the three channels."""
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.max(cv2.min(red, green), cv2.min(cv2.max(red, green), blue)), np.uint8)


def _luma(rgb: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _normalised_field(
    luma: UInt8Array, cell_size_px: float, cell_centre: tuple[float, float] | None
) -> Float32Array:
    """Luma around the cell, float32, scaled to ``NORMALISED_CELL_PX`` pixels per cell."""
    rows, columns, _ = _field(luma, MAX_FIELD_CELLS / 2 * cell_size_px, cell_centre)
    luma = luma[rows, columns]
    scale = NORMALISED_CELL_PX / cell_size_px
    size = (max(8, round(luma.shape[1] * scale)), max(8, round(luma.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=interpolation), np.float32)


def _band(luma: Float32Array, narrow: float, wide: float) -> Float32Array:
    return np.asarray(
        cv2.GaussianBlur(luma, (0, 0), narrow) - cv2.GaussianBlur(luma, (0, 0), wide), np.float32
    )


def _share(mask: NDArray[np.bool_]) -> float:
    """Share of the pixels, in single precision: the limits were chosen on shares that had that."""
    return float(np.float32(np.count_nonzero(mask) / mask.size))


def _field(
    image: UInt8Array, reach: float, centre: tuple[float, float] | None
) -> tuple[slice, slice, tuple[float, float]]:
    """Rows and columns within ``reach`` of the centre, at least one of each in the frame; and the centre."""
    height, width = image.shape[:2]
    row, column = (height / 2, width / 2) if centre is None else centre
    return _range(row, reach, height), _range(column, reach, width), (row, column)


def _range(middle: float, reach: float, length: int) -> slice:
    first = min(max(0, math.floor(middle - reach)), length - 1)
    return slice(first, min(max(first + 1, math.ceil(middle + reach)), length))
