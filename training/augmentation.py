"""Random variations of a training image: what differs between cells, slides, stains and cameras.

For MEF v1 to v4 everything up to the colours happens before the filter, as differences between microscopes
do. The stain anchor of v5 and v6 would take most of that away again, and anchor wrongly where a varied crop
has lost its nucleus: there an image is anchored as it came, by its clean masks, and varied afterwards, its
anchor included. Orientation and flips come with the crop. Foreground crop, background randomisation and LAB
jitter are the reference system's; the others are what another device asks for. No variation knows the label:
what differs between classes is a cue.
"""

from dataclasses import dataclass
from typing import Annotated, Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array
from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import CellLocation, Window, cell_window, extract
from orchestrator.vision.preprocessing import Recipe, enhance
from orchestrator.vision.stain_anchor import FADE, StainAnchor, fade_field
from training.options import share

# RGB optical density of haematoxylin-like (azure), eosin-like and residual stain: Ruifrok and Johnston 2001.
_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])

_HED_INVERSE: Final = np.linalg.inv(_HED)

_GREY_AXIS: Final = np.full(3, 1 / np.sqrt(3))

_DENSITY_OF_LEVEL: Final = -np.log((np.arange(256) + 1) / 256).astype(np.float32)

FOREGROUND_MARGIN: Final = 0.22
"""Added on every side of the cell's box by a foreground crop, as a share of the box."""

FOREGROUND_JITTER: Final = 0.03
"""Largest shift of a foreground crop's centre, and change of its side, as a share of the box."""

BACKGROUND_BLUR_SIGMA_PX: Final = (2.5, 6.5)
BACKGROUND_TINT: Final = (0.08, 0.22)
BACKGROUND_GREY: Final = (175.0, 235.0)
BACKGROUND_NOISE_SIGMA: Final = 7.0

MASK_ERROR_PX: Final = (3, 13)
"""Diameter range of the disc by which a mask is grown or shrunk before the field fades, at the side 224."""

COLOURS: Final = "Colours and augmentation"
"""The panel of the help that the options stand in."""


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """Strengths of the variations; probabilities in [0, 1]. The defaults are the reference's, and what it
    does not vary is off. It turns by up to 72 degrees and varies the contrast by 0.1: here it is any angle,
    and the LAB jitter stretches the lightness by up to 0.15.

    ``crop_scale_jitter``: factor range of the window's side (the reference's zoom of 0.1), also of the whole
    frame; ``shift_jitter``: its offset in cell sizes;
    ``stain_jitter``: standard deviation of the logarithm of each stain's strength in optical density, and
    ``density_jitter`` of that of them all; ``chroma_rotation`` (radians) and ``saturation_jitter`` (of the
    logarithm) turn and stretch what is not grey in it; ``gain_jitter``: of each channel's light;
    ``lab_jitter``: largest shift of L, a, b; ``gamma``: its range.

    ``crop_prob``: a crop by the cell's mask takes the place of the cell's window;
    ``bg_randomization_prob``: what is not cell is blurred, tinted and made noisy, and mixed in at
    ``bg_randomization_strength``.

    Of images with an anchor ``anchor_prob`` are anchored, the nucleus' density off by ``anchor_jitter`` (of
    the logarithm), and ``fade_prob`` faded around the mask: of these masks ``grown_prob`` are too wide,
    ``shrunk_prob`` too close (``MASK_ERROR_PX``), and ``faint_prob`` fade by another strength.
    """

    crop_scale_jitter: tuple[float, float] = (0.9, 1.1)
    shift_jitter: float = 0.0
    rotation_prob: float = 1.0
    stain_prob: float = 0.0
    stain_jitter: float = 0.25
    density_jitter: float = 0.18
    chroma_rotation: float = 0.22
    saturation_jitter: float = 0.25
    gain_jitter: float = 0.05
    anchor_prob: float = 1.0
    anchor_jitter: float = 0.0
    fade_prob: float = 1.0
    grown_prob: float = 0.0
    shrunk_prob: float = 0.0
    faint_prob: float = 0.0
    lab_jitter: tuple[float, float, float] = (8.0, 6.0, 6.0)
    gamma: tuple[float, float] = (0.75, 1.35)
    sharpen_prob: float = 0.0
    defocus_prob: float = 0.0
    resolution_prob: float = 0.0
    noise_prob: float = 0.0
    jpeg_prob: float = 0.0
    crop_prob: Annotated[float, share("Probability of a foreground crop.", COLOURS)] = 0.2
    bg_randomization_prob: Annotated[
        float, share("Probability of a changed background (blur, tint, noise).", COLOURS)
    ] = 0.15
    bg_randomization_strength: Annotated[
        float, share("How much of the changed background is mixed in.", COLOURS)
    ] = 0.35
    stain_jitter_prob: Annotated[float, share("Probability of a shift of the LAB colours.", COLOURS)] = 0.3


@dataclass(frozen=True, slots=True)
class Cut:
    """A window of the frame and how it is turned: one geometry for pixels and masks.

    ``degrees`` turns by any angle; where it is None, ``quarter_turns`` turns without resampling.
    """

    window: Window
    degrees: float | None
    quarter_turns: int
    mirrored: bool

    def apply(self, frame: UInt8Array) -> UInt8Array:
        """Cut uint8 ``[H, W, 3]`` or ``[H, W]`` to the side 224."""
        if self.degrees is not None:
            crop = _rotated(frame, self.window, self.degrees)
        else:
            crop = np.rot90(extract(frame, self.window, IMAGE_SIZE), self.quarter_turns)
        return np.ascontiguousarray(crop[:, ::-1] if self.mirrored else crop)


def augmented_cell(
    rgb: UInt8Array,
    cell: CellLocation | None,
    recipe: Recipe,
    config: AugmentationConfig,
    random: Generator,
    *,
    mask: UInt8Array | None = None,
    anchor: StainAnchor | None = None,
) -> tuple[UInt8Array, UInt8Array | None]:
    """One random variation of an image as model input, uint8 ``[224, 224, 3]``, and the mask cut alike.

    ``mask`` is the soft mask of the whole cell in the frame, uint8 ``[H, W]``, 255 on the cell. Without
    one, there is neither foreground crop nor background randomisation nor fading. ``anchor`` is that of the
    clean crop, for v5 and v6.
    """
    cut = random_cut(rgb.shape, cell, recipe, config, random, mask=mask)
    crop = cut.apply(rgb)
    cell_mask = None if mask is None else cut.apply(mask)
    is_anchored = recipe.mef_version in ("v5", "v6")
    if is_anchored:
        crop = random_anchoring(crop, anchor, cell_mask, config, random)
    if cell_mask is not None and random.random() < config.bg_randomization_prob:
        crop = random_background(crop, cell_mask, config, random)
    crop = random_stain(crop, config, random)
    crop = random_camera(crop, config, random)
    return crop if is_anchored else enhance(crop, recipe), cell_mask


def random_anchoring(
    rgb: UInt8Array,
    anchor: StainAnchor | None,
    cell: UInt8Array | None,
    config: AugmentationConfig,
    random: Generator,
) -> UInt8Array:
    """MEF v5 and v6 of a crop, uint8 ``[H, W, 3]``, off by as much as on a device that nobody trained on.

    ``cell`` is the cell's mask in the crop, uint8 ``[H, W]``.
    """
    if anchor is not None and random.random() < config.anchor_prob:
        strength = float(np.exp(random.normal(0, config.anchor_jitter)))
        rgb = np.asarray(cv2.LUT(rgb, anchor.table(strength)), np.uint8)
    if cell is None or random.random() >= config.fade_prob:
        return rgb
    error, diameter = random.random(), int(random.integers(*MASK_ERROR_PX)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    if error < config.grown_prob:
        cell = np.asarray(cv2.dilate(cell, disc), np.uint8)
    elif error < config.grown_prob + config.shrunk_prob:
        cell = np.asarray(cv2.erode(cell, disc), np.uint8)
    fade = FADE if random.random() < 1 - config.faint_prob else random.uniform(0.3, 1.0)
    return fade_field(rgb, cell.astype(np.float32) / np.float32(255), fade)


def random_cut(
    shape: tuple[int, ...],
    cell: CellLocation | None,
    recipe: Recipe,
    config: AugmentationConfig,
    random: Generator,
    *,
    mask: UInt8Array | None = None,
) -> Cut:
    """The cell's window, or the whole frame, with jittered scale and centre, any rotation, mirrored half of
    the time; with a mask, a foreground crop at its probability."""
    window = None
    if mask is not None and random.random() < config.crop_prob:
        window = foreground_window(mask, random)
    if window is None:
        window = cell_window(cell, recipe.crop_scale, shape)
        zoom = random.uniform(*config.crop_scale_jitter)
        down, right = random.normal(0, config.shift_jitter * (cell.size if cell else 0), 2)
        height, width = window.height * zoom, window.width * zoom
        window = Window(
            window.top + (window.height - height) / 2 + down,
            window.left + (window.width - width) / 2 + right,
            height,
            width,
        )
    degrees, quarter_turns = None, 0
    if random.random() < config.rotation_prob:
        degrees = random.uniform(0, 360)
    else:
        quarter_turns = int(random.integers(4))
    return Cut(window, degrees, quarter_turns, mirrored=bool(random.random() < 0.5))


def foreground_window(mask: UInt8Array, random: Generator) -> Window | None:
    """The square around the mask's box with its margin, jittered; None where the mask is empty.

    ``mask`` is uint8 ``[H, W]``; 128 and above is cell. A square, and not the box itself: a cell that is
    squashed to the model's input has lost its shape.
    """
    left, top, width, height = cv2.boundingRect((mask >= 128).astype(np.uint8))
    if width == 0 or height == 0:
        return None
    box = max(width, height)
    shift_row, shift_column, growth = random.uniform(-FOREGROUND_JITTER, FOREGROUND_JITTER, 3) * box
    side = box * (1 + 2 * FOREGROUND_MARGIN) + growth
    return Window(
        top + height / 2 + shift_row - side / 2, left + width / 2 + shift_column - side / 2, side, side
    )


def random_background(
    rgb: UInt8Array, mask: UInt8Array, config: AugmentationConfig, random: Generator
) -> UInt8Array:
    """Blur, tint and noise where there is no cell, so that the background tells nothing about the class.

    ``rgb`` is uint8 ``[H, W, 3]``, ``mask`` uint8 ``[H, W]``; pixels with a mask of 255 stay as they are.
    """
    changed = cv2.GaussianBlur(rgb, (0, 0), random.uniform(*BACKGROUND_BLUR_SIGMA_PX)).astype(np.float32)
    tint, grey = np.float32(random.uniform(*BACKGROUND_TINT)), np.float32(random.uniform(*BACKGROUND_GREY))
    noise = random.standard_normal(rgb.shape, dtype=np.float32) * np.float32(BACKGROUND_NOISE_SIGMA)
    changed = changed * (1 - tint) + grey * tint + noise
    weight = np.float32(config.bg_randomization_strength) * (1 - mask.astype(np.float32) / 255)
    mixed = rgb + weight[:, :, np.newaxis] * (changed - rgb)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def random_stain(rgb: UInt8Array, config: AugmentationConfig, random: Generator) -> UInt8Array:
    """Vary the strength and the hue of the stains in optical density (Tellez et al. 2018), gamma, light, then
    LAB.

    By OpenCV's table look-ups and 3x3 transforms: a matrix product of NumPy would start the threads of
    its linear algebra library in every worker of the loader.
    """
    if random.random() < config.stain_prob:
        strength = np.exp(random.normal(0, config.stain_jitter, 3)).clip(0.5, 2.0)
        base = random.normal(0, 0.03, 3)
        overall = np.exp(random.normal(0, config.density_jitter))
        mixing = (_HED_INVERSE @ np.diag(strength) @ _HED @ _random_chroma(config, random)) * overall
        low, high = config.gamma
        gamma = np.exp(random.uniform(np.log(low), np.log(high)))
        density = cv2.LUT(rgb, _DENSITY_OF_LEVEL)
        negative = cv2.transform(density, -np.hstack([mixing.T, (base @ _HED)[:, np.newaxis]]))
        transmitted = np.clip(cv2.exp(negative) * np.float32(256 / 255) - np.float32(1 / 255), 0, 1)
        light = np.exp(random.normal(0, config.gain_jitter, 3)).astype(np.float32) * np.float32(255)
        rgb = np.clip(cv2.pow(transmitted, float(gamma)) * light, 0, 255).astype(np.uint8)
    if random.random() < config.stain_jitter_prob:
        shift = random.uniform(-1, 1, 3) * np.array(config.lab_jitter)
        scale = random.uniform(0.85, 1.15, 3)
        table = (np.arange(256)[:, np.newaxis] - 128) * scale + 128 + shift
        table_u8 = np.clip(table, 0, 255).astype(np.uint8).reshape(256, 1, 3)
        lab = cv2.LUT(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), table_u8)
        rgb = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
    return rgb


def _random_chroma(config: AugmentationConfig, random: Generator) -> NDArray[np.float64]:
    """Turns densities, float64 ``[..., 3]`` times this, about the axis of grey and stretches what is off
    it."""
    x, y, z = _GREY_AXIS
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = random.normal(0, config.chroma_rotation)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    saturation = np.exp(random.normal(0, config.saturation_jitter))
    stretch = saturation * np.eye(3) + (1 - saturation) * np.outer(_GREY_AXIS, _GREY_AXIS)
    return np.asarray((stretch @ turn).T)


def random_camera(rgb: UInt8Array, config: AugmentationConfig, random: Generator) -> UInt8Array:
    """Sharpening, defocus, a coarser sensor, noise and JPEG: what optics and cameras do to the same cell."""
    if random.random() < config.sharpen_prob:
        soft = cv2.GaussianBlur(rgb, (0, 0), random.uniform(0.8, 2.5))
        amount = random.uniform(0.5, 2.5)
        rgb = np.asarray(cv2.addWeighted(rgb, 1 + amount, soft, -amount, 0), np.uint8)
    if random.random() < config.defocus_prob:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), random.uniform(0.5, 2.2)), np.uint8)
    if random.random() < config.resolution_prob:
        side = int(random.uniform(56, 160))
        small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        rgb = np.asarray(cv2.resize(small, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    if random.random() < config.noise_prob:
        sigma = np.float32(random.uniform(1, 6))
        noise = random.standard_normal(rgb.shape, dtype=np.float32) * sigma
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if random.random() < config.jpeg_prob:
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 95))])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return rgb


def _rotated(frame: UInt8Array, window: Window, degrees: float) -> UInt8Array:
    """The window turned about its centre: cut wider by the diagonal, turned, cut to size."""
    diagonal = float(np.sqrt(2))
    wide_size = round(IMAGE_SIZE * diagonal)
    wide = extract(
        frame,
        Window(
            window.top - window.height * (diagonal - 1) / 2,
            window.left - window.width * (diagonal - 1) / 2,
            window.height * diagonal,
            window.width * diagonal,
        ),
        wide_size,
    )
    turn = cv2.getRotationMatrix2D((wide_size / 2 - 0.5, wide_size / 2 - 0.5), degrees, 1.0)
    turn = turn - np.array([[0, 0, 1], [0, 0, 1]]) * (wide_size - IMAGE_SIZE) / 2
    return np.asarray(cv2.warpAffine(wide, turn, (IMAGE_SIZE, IMAGE_SIZE)), np.uint8)
