"""Random variations of training images."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import CellLocation, locate_cell
from orchestrator.vision.foreground import cell_masks
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.stain_anchor import NUCLEUS_DENSITY, find_anchor
from tests.fakes.tiny_training import shipped_augmentation
from training.augmentation import (
    AugmentationConfig,
    augmented_cell,
    foreground_window,
    random_background,
    random_camera,
    random_cut,
    random_stain,
)

CONFIG = shipped_augmentation()


@pytest.fixture(scope="module")
def cell_image(synthetic_cell):
    return synthetic_cell("Eosinophil", seed=2)


def test_the_same_seed_gives_the_same_pixels_and_another_one_others(cell_image):
    cell = locate_cell(cell_image)

    def pixels(seed):
        return augmented_cell(cell_image, cell, Recipe(), CONFIG, np.random.default_rng(seed))[0]

    assert pixels(1).shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert pixels(1).dtype == np.uint8
    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert np.abs(pixels(1).astype(int) - pixels(2)).mean() > 5


def test_crops_keep_the_cell_and_vary_its_scale(cell_image):
    truth = locate_cell(cell_image)
    sizes, offsets = [], []
    for seed in range(25):
        crop = random_cut(
            cell_image.shape, truth, Recipe(crop_scale=1.6), CONFIG, np.random.default_rng(seed)
        ).apply(cell_image)
        found = locate_cell(crop)
        assert found is not None
        sizes.append(found.size / IMAGE_SIZE)
        offsets.append(np.hypot(found.row - IMAGE_SIZE / 2, found.column - IMAGE_SIZE / 2))

    assert np.max(sizes) / np.min(sizes) > 1.25
    assert np.median(offsets) < 0.25 * IMAGE_SIZE


@pytest.mark.parametrize("cell", [None, CellLocation(90, 200, 60)])
def test_a_whole_frame_is_zoomed_about_its_centre(cell):
    """The reference's RandomZoom of 0.1; a frame that is not square keeps its shape."""
    config = replace(AugmentationConfig(), crop_prob=0.0)

    windows = [
        random_cut((200, 300), cell, Recipe(crop_scale=None), config, np.random.default_rng(seed)).window
        for seed in range(60)
    ]

    zooms = np.array([window.height / 200 for window in windows])
    assert 0.9 <= zooms.min() < 0.92
    assert 1.08 < zooms.max() <= 1.1
    for window, zoom in zip(windows, zooms, strict=True):
        assert window.width / 300 == pytest.approx(zoom)
        assert window.top + window.height / 2 == pytest.approx(100)
        assert window.left + window.width / 2 == pytest.approx(150)


def test_by_default_an_anchored_image_is_varied_in_nothing_but_what_the_reference_varies(synthetic_cell):
    """Window, turn and mirror; LAB jitter, foreground crop and background are switched off here."""
    rgb = synthetic_cell("Neutrophil", seed=0, size=IMAGE_SIZE)
    recipe = Recipe(crop_scale=None, mef_version="v5")
    still = replace(
        AugmentationConfig(),
        crop_scale_jitter=(1.0, 1.0),
        rotation_prob=0.0,
        stain_jitter_prob=0.0,
        crop_prob=0.0,
        bg_randomization_prob=0.0,
    )
    clean = preprocess(rgb, recipe)
    anchor = find_anchor(clean.crop, clean.masks)
    mask = np.asarray(np.rint(clean.masks.cell * 255), np.uint8)

    seen = {
        augmented_cell(rgb, None, recipe, still, np.random.default_rng(seed), mask=mask, anchor=anchor)[
            0
        ].tobytes()
        for seed in range(60)
    }

    assert len(seen) == 8, "the turns and mirrors"


def test_without_a_cell_the_whole_frame_is_used(cell_image):
    crop = random_cut(cell_image.shape, None, Recipe(), CONFIG, np.random.default_rng(0)).apply(cell_image)

    assert crop.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)


def test_stain_and_camera_can_be_switched_off(cell_image):
    off = replace(
        CONFIG,
        stain_prob=0,
        stain_jitter_prob=0,
        sharpen_prob=0,
        defocus_prob=0,
        resolution_prob=0,
        noise_prob=0,
        jpeg_prob=0,
    )
    random = np.random.default_rng(0)

    np.testing.assert_array_equal(
        random_camera(random_stain(cell_image, off, random), off, random), cell_image
    )


def test_stain_variation_changes_colour_but_not_structure(cell_image):
    varied = [random_stain(cell_image, CONFIG, np.random.default_rng(seed)) for seed in range(8)]

    means = np.array([image.mean(axis=(0, 1)) for image in varied])
    assert means.std(axis=0).max() > 5
    for image in varied:
        correlation = np.corrcoef(image[..., 1].ravel(), cell_image[..., 1].ravel())[0, 1]
        assert correlation > 0.9


def test_camera_variation_loses_detail(cell_image):
    blurred = replace(CONFIG, sharpen_prob=0, defocus_prob=1, resolution_prob=1, noise_prob=0, jpeg_prob=0)

    result = random_camera(cell_image, blurred, np.random.default_rng(1))

    assert (
        np.abs(np.diff(result.astype(int), axis=0)).mean()
        < np.abs(np.diff(cell_image.astype(int), axis=0)).mean()
    )


def test_the_cell_may_lie_at_the_edge(cell_image):
    at_edge = CellLocation(row=5, column=5, size=100)

    pixels, _ = augmented_cell(cell_image, at_edge, Recipe(), CONFIG, np.random.default_rng(0))

    assert pixels.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)


@pytest.fixture(scope="module")
def disc_mask():
    """255 on a disc of radius 50 around row 100, column 130, in a frame of 224; soft at its edge."""
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    distance = np.hypot(rows - 100, columns - 130)
    return np.rint(255 * np.clip((55 - distance) / 5, 0, 1)).astype(np.uint8)


def test_a_new_background_leaves_the_cell_as_it_is_and_changes_the_rest(synthetic_cell, disc_mask):
    rgb = synthetic_cell("Monocyte", seed=1, size=IMAGE_SIZE)

    changed = random_background(rgb, disc_mask, CONFIG, np.random.default_rng(0))

    np.testing.assert_array_equal(changed[disc_mask == 255], rgb[disc_mask == 255])
    outside = disc_mask == 0
    difference = np.abs(changed[outside].astype(int) - rgb[outside])
    assert (difference.max(axis=1) > 0).mean() > 0.8
    assert 1 < difference.mean() < 30


def test_the_strength_says_how_much_of_the_new_background_is_mixed_in(cell_image):
    nowhere = np.zeros(cell_image.shape[:2], np.uint8)

    def change(strength):
        config = replace(CONFIG, bg_randomization_strength=strength)
        changed = random_background(cell_image, nowhere, config, np.random.default_rng(3))
        return np.abs(changed.astype(float) - cell_image).mean()

    assert change(0.0) == 0
    assert change(0.7) == pytest.approx(2 * change(0.35), rel=0.1)


def test_a_new_background_is_blurred_tinted_grey_and_noisy():
    """At full strength on a field of stripes, what is left are the noise and a paler mean."""
    stripes = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    stripes[::2] = 100
    config = replace(CONFIG, bg_randomization_strength=1.0)

    for seed in range(5):
        changed = random_background(
            stripes, np.zeros(stripes.shape[:2], np.uint8), config, np.random.default_rng(seed)
        ).astype(float)
        # A tint of 8 to 22 % with a grey of 175 to 235 moves the mean from 50 to 60 .. 90.7.
        assert 58 < changed.mean() < 92
        assert changed.std() == pytest.approx(7, abs=1), "the stripes are gone, the noise is there"


def test_a_foreground_crop_is_the_masks_box_with_its_margin(disc_mask):
    windows = [foreground_window(disc_mask, np.random.default_rng(seed)) for seed in range(50)]

    box = 105  # of what is at least half cell
    sides = np.array([window.height for window in windows])
    centres = np.array([(w.top + w.height / 2, w.left + w.width / 2) for w in windows])
    assert all(window.height == window.width for window in windows)
    assert np.abs(sides / box - 1.44).max() < 0.05
    assert np.ptp(sides) > 0.03 * box
    assert np.abs(centres - (100.5, 130.5)).max() < 0.03 * box + 1.5
    assert np.ptp(centres, axis=0).min() > 0.03 * box
    assert foreground_window(np.zeros_like(disc_mask), np.random.default_rng(0)) is None


def test_pixels_and_mask_are_cut_alike(disc_mask):
    """The mask as an image must give the cut of the image, whatever the turn and the mirror."""
    as_image = np.repeat(disc_mask[:, :, np.newaxis], 3, axis=2)
    cell = CellLocation(100, 130, 110)

    for seed in range(12):
        cut = random_cut(disc_mask.shape, cell, Recipe(), CONFIG, np.random.default_rng(seed), mask=disc_mask)
        np.testing.assert_array_equal(cut.apply(disc_mask), cut.apply(as_image)[:, :, 0])
        assert cut.apply(disc_mask).max() == 255


def test_a_crop_by_the_mask_is_as_frequent_as_its_probability(disc_mask):
    """Within four standard errors of the expected frequency (0.1 at 400 tries); the cell lies elsewhere."""
    config, elsewhere = replace(CONFIG, crop_prob=0.5), CellLocation(20, 20, 30)

    heights = [
        random_cut(disc_mask.shape, elsewhere, Recipe(), config, np.random.default_rng(seed), mask=disc_mask)
        for seed in range(400)
    ]

    assert np.mean([cut.window.height > 100 for cut in heights]) == pytest.approx(0.5, abs=0.1)


STILL = replace(
    CONFIG,
    fade_prob=0.0,
    crop_scale_jitter=(1.0, 1.0),
    shift_jitter=0.0,
    rotation_prob=0.0,
    stain_prob=0.0,
    stain_jitter_prob=0.0,
    sharpen_prob=0.0,
    defocus_prob=0.0,
    resolution_prob=0.0,
    noise_prob=0.0,
    jpeg_prob=0.0,
    crop_prob=0.0,
    bg_randomization_prob=0.0,
)


def test_backgrounds_change_as_often_as_is_asked_for(synthetic_cell, disc_mask):
    """All else is off, so that only the eight turns and mirrors, or a new background, give other pixels."""
    rgb = synthetic_cell("Neutrophil", seed=0, size=IMAGE_SIZE)

    def pixels(config):
        return [
            augmented_cell(rgb, None, Recipe(), config, np.random.default_rng(seed), mask=disc_mask)[
                0
            ].tobytes()
            for seed in range(60)
        ]

    unchanged = set(pixels(STILL))
    assert len(unchanged) == 8
    for share in (1.0, 0.4):
        changed = [one not in unchanged for one in pixels(replace(STILL, bg_randomization_prob=share))]
        assert np.mean(changed) == pytest.approx(share, abs=0.25)
        assert np.mean(changed) == 1.0 or share < 1


def test_an_anchored_image_is_anchored_as_it_came_and_varied_afterwards(synthetic_cell, disc_mask):
    """Without any variation it is what the filter makes of it; a stain that is varied stays so."""
    rgb = synthetic_cell("Neutrophil", seed=0, size=IMAGE_SIZE)
    recipe = Recipe(crop_scale=1.4, mef_version="v5")
    cell = locate_cell(rgb)
    clean = preprocess(rgb, recipe)
    anchor = find_anchor(clean.crop, clean.masks)
    exact = replace(STILL, anchor_prob=1.0, anchor_jitter=0.0, fade_prob=0.0)

    def varied(config):
        random = np.random.default_rng(3)
        return augmented_cell(rgb, cell, recipe, config, random, mask=disc_mask, anchor=anchor)[0]

    def nucleus_density(pixels):
        return find_anchor(pixels, cell_masks(pixels)).nucleus_density

    assert nucleus_density(varied(exact)) == pytest.approx(NUCLEUS_DENSITY, abs=0.05)
    assert nucleus_density(varied(replace(exact, anchor_jitter=0.5))) != pytest.approx(
        NUCLEUS_DENSITY, abs=0.05
    )
    darker = replace(exact, stain_prob=1.0, gamma=(2.0, 2.0))
    assert nucleus_density(varied(darker)) > 1.3 * NUCLEUS_DENSITY


def test_the_field_fades_around_the_mask_that_was_cut_alike(synthetic_cell, disc_mask):
    rgb = synthetic_cell("Neutrophil", seed=0, size=IMAGE_SIZE)
    mask = np.ascontiguousarray(disc_mask[:, :IMAGE_SIZE] if disc_mask.shape[1] >= IMAGE_SIZE else disc_mask)
    mask = np.asarray(cv2.resize(mask, (IMAGE_SIZE, IMAGE_SIZE)), np.uint8)
    fading = replace(STILL, fade_prob=1.0)
    recipe = Recipe(mef_version="v5")

    for seed in range(8):
        pixels, cut = augmented_cell(rgb, None, recipe, fading, np.random.default_rng(seed), mask=mask)
        still, _ = augmented_cell(
            rgb, None, recipe, replace(STILL, fade_prob=0.0), np.random.default_rng(seed)
        )
        assert (
            np.abs(pixels[cut == 0].astype(int) - 240).mean()
            < np.abs(still[cut == 0].astype(int) - 240).mean()
        )


def test_without_a_mask_nothing_is_known_of_the_background(cell_image):
    cell = locate_cell(cell_image)
    always = replace(CONFIG, crop_prob=1.0, bg_randomization_prob=1.0)
    never = replace(CONFIG, crop_prob=0.0, bg_randomization_prob=0.0)

    pixels = [
        augmented_cell(cell_image, cell, Recipe(), config, np.random.default_rng(5))[0]
        for config in (always, never)
    ]

    np.testing.assert_array_equal(*pixels)
