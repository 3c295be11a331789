"""The steps on the pixels of a whole field; each is one hop to a worker, as those of
:mod:`orchestrator.image_steps` are."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import cv2
import numpy as np

from orchestrator.common.cores import available_cores
from orchestrator.domain import DISCLAIMER, Box, FieldAnalysis, Float32Array, Focus, Overlay
from orchestrator.errors import FieldTooSmall
from orchestrator.image_steps import RenderOptions
from orchestrator.observability.stages import stage
from orchestrator.vision import heatmap, quality
from orchestrator.vision.crop import Window
from orchestrator.vision.decode import DecodeLimits, decode
from orchestrator.vision.field_cells import MIN_RED_CELL_PX, NucleiOfCell, search_field
from orchestrator.vision.field_crops import (
    PreparedFieldCell,
    as_drawn,
    prepare_cell,
    with_image,
    without_doubles,
)
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.tta import TtaMode

FIELD_RED_CELLS: Final = 9.0
"""In their diameters, the shorter side of what is a field whatever is found in it."""


@dataclass(frozen=True, slots=True)
class PreparedField:
    """``image_size`` is (height, width); ``red_cell_px`` the diameter of its red cells, None where nothing
    tells; ``image_sha256`` is that of the payload, hex."""

    image_size: tuple[int, int]
    red_cell_px: float | None
    image_sha256: str
    cells: tuple[PreparedFieldCell, ...]


def prepare_field(
    payload: bytes,
    recipe: Recipe,
    limits: DecodeLimits,
    usual: quality.QualityLimits = quality.GENERAL_LIMITS,
    red_cell_px: float | None = None,
    keep_crops: bool = False,
    keep_images: bool = False,
    drawn: Box | None = None,
) -> PreparedField:
    """Before the network: bytes to all that may be a white cell, each as the model sees it, with its image
    where that is to be kept; where a person has ``drawn`` a box, to the cell in that alone.

    Raises :class:`~orchestrator.errors.InvalidImage` where the payload cannot be analysed, and where its red
    cells are too small for a white one to be told.
    """
    with stage("decode"):
        rgb = decode(payload, limits).rgb
    height, width = rgb.shape[:2]
    image_sha256 = sha256(payload).hexdigest()
    if drawn is not None:
        with stage("preprocess"):
            cell = as_drawn(rgb, drawn, recipe, usual, keep_crops=keep_crops)
        return PreparedField((height, width), red_cell_px, image_sha256, () if cell is None else (cell,))
    with stage("search"), ThreadPoolExecutor(available_cores()) as pool:
        searched = search_field(rgb, red_cell_px, pool.map)
    if searched.red_cell_px is not None and searched.red_cell_px < MIN_RED_CELL_PX:
        raise FieldTooSmall(
            f"The red cells of this field are about {searched.red_cell_px:.0f} pixels wide; at least "
            f"{MIN_RED_CELL_PX:.0f} are needed to tell white cells apart. Use a higher magnification."
        )

    def prepared(one: NucleiOfCell) -> PreparedFieldCell | None:
        cell = prepare_cell(rgb, one, recipe, usual, keep_crops=keep_crops)
        if cell is not None and keep_images and searched.red_cell_px is not None:
            cell = with_image(cell, rgb, one, searched.red_cell_px)
        return cell

    with stage("preprocess"), ThreadPoolExecutor(available_cores()) as pool:
        cells = list(pool.map(prepared, searched.cells))
    return PreparedField(
        (height, width),
        searched.red_cell_px,
        image_sha256,
        tuple(without_doubles([cell for cell in cells if cell is not None])),
    )


def is_field(payload: bytes, limits: DecodeLimits) -> bool:
    """Whether an image shows a whole field and not one cell: several white cells lie whole in it, or it is
    wider than the frame of a cell ever is.

    Raises :class:`~orchestrator.errors.InvalidImage` where it cannot be decoded.
    """
    rgb = decode(payload, limits).rgb
    searched = search_field(rgb)
    if searched.red_cell_px is not None and min(rgb.shape[:2]) > FIELD_RED_CELLS * searched.red_cell_px:
        return True
    return sum(not cell.is_cut for cell in searched.cells) > 1


def explain_cell(
    cell: PreparedFieldCell, cams: Float32Array, mode: TtaMode, drawing: RenderOptions
) -> tuple[Focus, Overlay]:
    """After the network: class activation maps of the views, float32 ``[N, h, w]``, to where the heat lies
    and its picture over the cell's crop."""
    if cell.masks is None or cell.crop is None:
        raise ValueError("expected a cell that was prepared with its crop, received one without")
    side = cell.crop.shape[0]
    whole = Window(0.0, 0.0, float(side), float(side))
    with stage("explain"):
        focus = heatmap.assemble(cams, mode, cell.masks, whole, cell.crop.shape)
        overlay = heatmap.draw_overlay(cell.crop, focus.heatmap, drawing.colour_map, drawing.format)
    return Focus(focus.focus_ratio, focus.shares), overlay


def labels_of(field: FieldAnalysis) -> tuple[tuple[Box, str, bool], ...]:
    """Box and label of all that was found, and whether it is doubtful, as :func:`annotate` draws them."""
    return tuple(
        (
            cell.box,
            f"{cell.finding.class_name} {cell.finding.confidence:.0%}" if cell.is_identified else "?",
            not cell.is_identified or cell.finding.needs_review,
        )
        for cell in field.found
    )


def annotate(
    payload: bytes, limits: DecodeLimits, boxes: tuple[tuple[Box, str, bool], ...], image_format: str
) -> bytes:
    """The field with boxes and their labels drawn on it, as PNG or JPEG; doubtful ones in another colour."""
    rgb = decode(payload, limits).rgb.copy()
    height, width = rgb.shape[:2]
    thick = max(1, round(max(height, width) / 600))
    for box, label, is_doubtful in boxes:
        colour = _DOUBTFUL if is_doubtful else _SURE
        corners = (round(box.left), round(box.top)), (round(box.right), round(box.bottom))
        cv2.rectangle(rgb, *corners, colour, thick)
        scale = 0.35 * thick + 0.15
        (_, text_height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        above = corners[0][1] - 2 * thick
        place = (corners[0][0], above if above > text_height else corners[1][1] + text_height + 2 * thick)
        cv2.putText(rgb, label, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)
    cv2.putText(
        rgb, DISCLAIMER, (4 * thick, height - 4 * thick), cv2.FONT_HERSHEY_SIMPLEX, 0.3 * thick + 0.1,
        _SURE, thick, cv2.LINE_AA,
    )  # fmt: skip
    suffix = ".png" if image_format == "png" else ".jpg"
    _, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return np.asarray(data, np.uint8).tobytes()


_SURE: Final = (0, 110, 0)
_DOUBTFUL: Final = (170, 60, 0)
