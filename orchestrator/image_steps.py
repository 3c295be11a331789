"""The steps on pixels, before the network and after it; each is one hop to a worker, see
:mod:`orchestrator.image_workers`.

What they take and give may cross to another process and back, so it holds no more than is needed.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from orchestrator.domain import (
    Box,
    CellOutlines,
    Float32Array,
    Focus,
    Morphometry,
    Overlay,
    ReviewReason,
    UInt8Array,
)
from orchestrator.observability.stages import stage
from orchestrator.vision import heatmap, quality
from orchestrator.vision.crop import Window, place
from orchestrator.vision.decode import DecodeLimits, decode
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.outlines import bounding_box, mask_outlines
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.tta import TtaMode


@dataclass(frozen=True, slots=True)
class PreparedCell:
    """``rgb`` is the decoded image, uint8 ``[H, W, 3]``; ``masks`` are those of the ``window`` that the model
    sees, ``pixels``, uint8 ``[224, 224, 3]``; ``outlines`` are those of the masks; ``box`` holds the
    cell, None where there is none; both in pixels of ``rgb``. ``image_sha256`` is that of the payload, hex.
    """

    rgb: UInt8Array
    masks: CellMasks
    window: Window
    outlines: CellOutlines
    box: Box | None
    pixels: UInt8Array
    morphometry: Morphometry
    image_sha256: str
    quality: tuple[ReviewReason, ...]


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What is drawn for a person."""

    colour_map: ColourMap = "viridis"
    format: OverlayFormat = "png"
    style: OverlayStyle = "overlay"


class Explanation(NamedTuple):
    """Where the heatmap lies, and its picture; None where none was asked for."""

    focus: Focus | None = None
    overlay: Overlay | None = None


def prepare(
    payload: bytes,
    recipe: Recipe,
    limits: DecodeLimits,
    usual: quality.QualityLimits = quality.GENERAL_LIMITS,
) -> PreparedCell:
    """Before the network: bytes to what the model sees; ``usual`` is what the profile says of its device.

    Raises :class:`~orchestrator.errors.InvalidImage` where the payload cannot be analysed.
    """
    with stage("decode"):
        rgb = decode(payload, limits).rgb
    with stage("preprocess"):
        cell = preprocess(rgb, recipe)
        outlines = mask_outlines(cell.masks, cell.window)
    with stage("quality"):
        reasons = quality.assess_located(rgb, cell.cell, usual)
    return PreparedCell(
        rgb,
        cell.masks,
        cell.window,
        outlines,
        bounding_box(outlines.cell, rgb.shape),
        cell.pixels,
        cell.morphometry,
        sha256(payload).hexdigest(),
        reasons,
    )


def explain(prepared: PreparedCell, cams: Float32Array, mode: TtaMode, drawing: RenderOptions) -> Explanation:
    """After the network: class activation maps of the views, float32 ``[N, h, w]``, to a heatmap in the
    original frame and its picture."""
    with stage("explain"):
        focus = heatmap.assemble(cams, mode, prepared.masks, prepared.window, prepared.rgb.shape)
        if drawing.style == "levels":
            overlay = heatmap.draw_levels(focus.heatmap, drawing.colour_map)
        else:
            heat = focus.heatmap
            if drawing.style == "reference":
                cell = place(prepared.masks.cell, prepared.window, prepared.rgb.shape)
                heat = heatmap.as_the_reference_shows(heat, cell)
            overlay = heatmap.draw_overlay(prepared.rgb, heat, drawing.colour_map, drawing.format)
    return Explanation(Focus(focus.focus_ratio, focus.shares), overlay)
