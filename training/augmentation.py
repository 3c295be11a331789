"""Random variations of a training image: what differs between cells, slides, stains and cameras.

Everything up to the colours happens before normalisation and MEF, as differences between microscopes do;
orientation and flips come with the crop.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from orchestrator.domain import UInt8Array
from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import CellLocation, Window, cell_window, extract
from orchestrator.vision.preprocessing import Recipe, enhance

# RGB optical density of haematoxylin-like (azure), eosin-like and residual stain: Ruifrok and Johnston 2001.
_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """Strengths of the variations; probabilities in [0, 1].

    ``crop_scale_jitter``: factor range of the window's side; ``shift_jitter``: its offset in cell sizes;
    ``stain_jitter``: standard deviation of each stain's strength (relative) in optical density;
    ``lab_jitter``: largest shift of L, a, b (the reference's 8, 6, 6); ``gamma``: its range.
    """

    crop_scale_jitter: tuple[float, float] = (0.8, 1.3)
    shift_jitter: float = 0.08
    rotation_prob: float = 0.7
    stain_prob: float = 0.8
    stain_jitter: float = 0.25
    stain_jitter_prob: float = 0.8
    lab_jitter: tuple[float, float, float] = (8.0, 6.0, 6.0)
    gamma: tuple[float, float] = (0.75, 1.35)
    defocus_prob: float = 0.4
    resolution_prob: float = 0.4
    noise_prob: float = 0.25
    jpeg_prob: float = 0.3


def augmented_pixels(
    rgb: UInt8Array,
    cell: CellLocation | None,
    recipe: Recipe,
    config: AugmentationConfig,
    random: Generator,
) -> UInt8Array:
    """One random variation of an image as model input, uint8 ``[224, 224, 3]``."""
    crop = random_crop(rgb, cell, recipe, config, random)
    crop = random_stain(crop, config, random)
    crop = random_camera(crop, config, random)
    return enhance(crop, recipe)


def random_crop(
    rgb: UInt8Array,
    cell: CellLocation | None,
    recipe: Recipe,
    config: AugmentationConfig,
    random: Generator,
) -> UInt8Array:
    """The cell's window with jittered scale and centre, any rotation, mirrored half of the time."""
    window = cell_window(cell, recipe.crop_scale, rgb.shape)
    if cell is not None and recipe.crop_scale is not None:
        side = window.height * random.uniform(*config.crop_scale_jitter)
        row, column = np.array([cell.row, cell.column]) + random.normal(0, config.shift_jitter * cell.size, 2)
        window = Window(row - side / 2, column - side / 2, side, side)
    if random.random() < config.rotation_prob:
        crop = _rotated(rgb, window, random.uniform(0, 360))
    else:
        crop = np.rot90(extract(rgb, window, IMAGE_SIZE), int(random.integers(4)))
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(crop)


def random_stain(rgb: UInt8Array, config: AugmentationConfig, random: Generator) -> UInt8Array:
    """Vary the strength of each stain in optical density (Tellez et al. 2018), then LAB and gamma."""
    pixels = rgb.astype(np.float32)
    if random.random() < config.stain_prob:
        density = -np.log((pixels + 1) / 256)
        strength = random.normal(1, config.stain_jitter, 3).clip(0.4, 1.8)
        base = random.normal(0, 0.03, 3)
        mixing = np.linalg.inv(_HED) @ np.diag(strength) @ _HED
        pixels = 256 * np.exp(-(density @ mixing.astype(np.float32) + (base @ _HED).astype(np.float32))) - 1
        low, high = config.gamma
        gamma = np.exp(random.uniform(np.log(low), np.log(high)))
        pixels = 255 * (np.clip(pixels, 0, 255) / 255) ** np.float32(gamma)
    jittered = np.clip(pixels, 0, 255).astype(np.uint8)
    if random.random() < config.stain_jitter_prob:
        lab = cv2.cvtColor(jittered, cv2.COLOR_RGB2LAB).astype(np.float32)
        shift = random.uniform(-1, 1, 3) * np.array(config.lab_jitter)
        scale = random.uniform(0.85, 1.15, 3)
        lab = (lab - 128) * scale.astype(np.float32) + 128 + shift.astype(np.float32)
        jittered = np.asarray(
            cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8
        )
    return jittered


def random_camera(rgb: UInt8Array, config: AugmentationConfig, random: Generator) -> UInt8Array:
    """Defocus, a coarser sensor, noise and JPEG: what optics and cameras do to the same cell."""
    if random.random() < config.defocus_prob:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), random.uniform(0.5, 2.2)), np.uint8)
    if random.random() < config.resolution_prob:
        side = int(random.uniform(56, 160))
        small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        rgb = np.asarray(cv2.resize(small, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    if random.random() < config.noise_prob:
        noise = random.normal(0, random.uniform(1, 6), rgb.shape)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if random.random() < config.jpeg_prob:
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 95))])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return rgb


def _rotated(rgb: UInt8Array, window: Window, degrees: float) -> UInt8Array:
    """The window turned about its centre: cut wider by the diagonal, turned, cut to size."""
    diagonal = float(np.sqrt(2))
    wide_size = round(IMAGE_SIZE * diagonal)
    wide = extract(
        rgb,
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
