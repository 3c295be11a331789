"""From the views' class activation maps to one heatmap in the original frame, and its picture.

Grad-CAM: Selvaraju et al. 2017. The reference system multiplies the map by the foreground mask before it
shows it; here the plain map is measured and shown, because a mask would hide just the shortcut (a model
that looks at the background) that the map is there to reveal. Who compares pictures with those of the
reference can have them shown its way (:func:`as_the_reference_shows`); what is measured stays the same.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np

from orchestrator.domain import Float32Array, Focus, FocusShares, Overlay, UInt8Array
from orchestrator.vision.crop import Window, place
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.png import write_png
from orchestrator.vision.tta import TtaMode, restore

ColourMap = Literal["viridis", "inferno", "cividis", "jet"]
OverlayFormat = Literal["png", "jpeg"]

OverlayStyle = Literal["overlay", "levels", "reference"]
"""Drawn over the image; the heat alone as grey levels, for who colours it themselves; or over the image what
the reference system shows of it."""


def _table(colour_map: int) -> UInt8Array:
    levels = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, colour_map), cv2.COLOR_BGR2RGB), np.uint8)


COLOUR_MAPS: Final[dict[ColourMap, UInt8Array]] = {
    "viridis": _table(cv2.COLORMAP_VIRIDIS),
    "inferno": _table(cv2.COLORMAP_INFERNO),
    "cividis": _table(cv2.COLORMAP_CIVIDIS),
    "jet": _table(cv2.COLORMAP_JET),
}
"""RGB, uint8 ``[256, 1, 3]``, from cold to hot. All but jet, the reference's, are perceptually uniform."""

BLUR_SIGMA_PX: Final = 2.0
MAX_OPACITY: Final = 0.65
JPEG_QUALITY: Final = 90

REFERENCE_FLOOR: Final = 0.05
REFERENCE_GAMMA: Final = 1.6
REFERENCE_PERCENTILE: Final = 82
REFERENCE_THRESHOLDS: Final = (0.45, 0.9)

_OPACITY: Final = np.asarray(MAX_OPACITY * np.sqrt(np.arange(256) / 255), np.float32)
"""Of each of the 256 levels of heat; 0 without heat, so that such pixels stay as they are."""


@dataclass(frozen=True, slots=True)
class FocusMap(Focus):
    """With the heatmap itself, in the frame of the original image: float32 ``[H, W]`` in [0, 1]."""

    heatmap: Float32Array = field(kw_only=True)


def assemble(
    cams: Float32Array, mode: TtaMode, masks: CellMasks, window: Window, shape: tuple[int, ...]
) -> FocusMap:
    """Average the views' maps and measure where their mass lies.

    Args:
        cams: float32 ``[N, h, w]``, non-negative, of the class that was decided on, one per view.
        mode: which test-time augmentation made the views.
        masks: where nucleus and cell lie in the window.
        window: the window of the original frame that the model saw.
        shape: shape of the original image; only height and width count.

    Each view's map is first stretched from its minimum and maximum to 0 and 1, so that every view has the
    same say. A guided map has a floor everywhere (all its weights are positive) that says nothing about
    where the model looks.
    """
    size = masks.cell.shape[0]
    floors = cams.min(axis=(1, 2), keepdims=True)
    spans = cams.max(axis=(1, 2), keepdims=True) - floors
    scaled = np.divide(cams - floors, spans, out=np.zeros_like(cams), where=spans > 0)
    average = restore(scaled, mode).mean(axis=0)
    heat = cv2.resize(average, (size, size), interpolation=cv2.INTER_CUBIC)
    heat = np.maximum(cv2.GaussianBlur(heat, (0, 0), BLUR_SIGMA_PX), 0)
    peak = float(heat.max())
    if peak > 0:
        heat = heat / peak
    ratio = focus_ratio(heat, masks.cell)
    placed = place(heat.astype(np.float32, copy=False), window, shape)
    return FocusMap(ratio, focus_shares(heat, masks), heatmap=np.clip(placed, 0, 1, out=placed))


def as_the_reference_shows(heatmap: Float32Array, cell: Float32Array) -> Float32Array:
    """What the reference system leaves of a heatmap, float32 ``[H, W]`` in [0, 1]: times 0.05 + 0.95 of the
    cell's mask, to the power of 1.6, and 0 below the 82nd percentile on the cell, which is held within 0.45
    and 0.9. Both arguments are float32 ``[H, W]`` in [0, 1]."""
    shown = (heatmap * (REFERENCE_FLOOR + (1 - REFERENCE_FLOOR) * cell)) ** REFERENCE_GAMMA
    on_cell = shown[cell > 0.5]
    least, most = REFERENCE_THRESHOLDS
    threshold = np.clip(np.percentile(on_cell, REFERENCE_PERCENTILE), least, most) if on_cell.size else least
    return np.where(shown >= threshold, shown, 0).astype(np.float32)


def focus_ratio(heat: Float32Array, foreground: Float32Array) -> float:
    """rho = sum(heat * foreground) / sum(heat), in [0, 1]; 0 for a heatmap of zeros."""
    total = float(heat.sum())
    return float((heat * foreground).sum()) / total if total > 0 else 0.0


def focus_shares(heat: Float32Array, masks: CellMasks) -> FocusShares:
    """Shares of the heatmap's mass on nucleus, cytoplasm and background; all 0 for a map of zeros."""
    total = float(heat.sum())
    if total <= 0:
        return FocusShares(0.0, 0.0, 0.0)
    nucleus = float(heat[masks.nucleus].sum()) / total
    cell = max(nucleus, float((heat * np.maximum(masks.cell, masks.nucleus)).sum()) / total)
    return FocusShares(nucleus, cell - nucleus, max(0.0, 1.0 - cell))


def draw_levels(heatmap: Float32Array, colour_map: ColourMap = "viridis") -> Overlay:
    """The heat alone: 8-bit grey PNG, 255 at the hottest pixel; ``heatmap`` as for :func:`draw_overlay`.
    ``colour_map`` is only told: it is what the caller wants to draw it with."""
    return Overlay(write_png(_levels(heatmap)), "image/png", colour_map)


def draw_overlay(
    rgb: UInt8Array, heatmap: Float32Array, colour_map: ColourMap = "viridis", encoding: OverlayFormat = "png"
) -> Overlay:
    """Draw a heatmap over the original image, in the image's own size and proportions.

    ``rgb`` is uint8 ``[H, W, 3]``, ``heatmap`` float32 ``[H, W]`` in [0, 1]. Opacity grows with the heat,
    so that where there is none the image stays as it is.

    Raises ``ValueError`` where the two differ in size.
    """
    if rgb.shape[:2] != heatmap.shape:
        raise ValueError(f"expected a heatmap of shape {rgb.shape[:2]}, received {heatmap.shape}")
    levels, pixels = _levels(heatmap), rgb.copy()
    left, top, width, height = cv2.boundingRect(levels)
    if width:  # What lies around the heat stays as it is, and is often most of the frame.
        warm = np.s_[top : top + height, left : left + width]
        colours = cv2.applyColorMap(levels[warm], COLOUR_MAPS[colour_map])
        # By level: a root for each of the pixels costs milliseconds.
        opacity = cv2.LUT(levels[warm], _OPACITY)
        pixels[warm] = cv2.blendLinear(colours, rgb[warm], opacity, 1 - opacity)
    if encoding == "jpeg":
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return Overlay(data.tobytes(), "image/jpeg", colour_map)
    return Overlay(write_png(pixels), "image/png", colour_map)


def _levels(heatmap: Float32Array) -> UInt8Array:
    """uint8 ``[H, W]``, 255 where the heat is 1."""
    return np.asarray(cv2.convertScaleAbs(heatmap, alpha=255), np.uint8)
