"""MEF, Reinhard and the way from an image to the model's pixels."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import locate_cell
from orchestrator.vision.foreground import cell_masks
from orchestrator.vision.found_cell import find_cell, masks_in
from orchestrator.vision.preprocessing import (
    MEF_STEPS,
    Recipe,
    enhance,
    percentile_normalise,
    preprocess,
    sharpen_edges,
)
from orchestrator.vision.stain import reinhard
from tests.golden.write import REINHARD_REFERENCE
from tests.synthetic_cells import synthetic_cell, synthetic_cell_with_masks

GOLDEN = Path(__file__).parents[2] / "golden"


def read_png(name):
    return cv2.cvtColor(cv2.imread(str(GOLDEN / name), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


VERSIONS = ("v1", "v2", "v3", "v4", "v5", "v6")


def filtered(rgb, version):
    """All of an image of the model's size, as the model would see it."""
    return preprocess(rgb, Recipe(crop_scale=None, mef_version=version)).pixels


@pytest.mark.parametrize("version", VERSIONS)
def test_mef_gives_exactly_the_golden_image(version):
    enhanced = filtered(read_png("cell.png"), version)

    np.testing.assert_array_equal(enhanced, read_png(f"cell_mef_{version}.png"))


def test_reinhard_gives_exactly_the_golden_image():
    normalised = reinhard(read_png("cell.png"), REINHARD_REFERENCE)

    np.testing.assert_array_equal(normalised, read_png("cell_reinhard.png"))


def test_mef_v1_has_the_five_steps_of_the_reference_in_their_order():
    assert [step.__name__ for step in MEF_STEPS["v1"]] == [
        "percentile_normalise",
        "dual_scale_clahe",
        "smooth_keeping_edges",
        "enhance_nucleus",
        "sharpen_edges",
    ]


def test_the_variants_differ_from_each_other():
    cell = read_png("cell.png")
    results = [filtered(cell, version) for version in VERSIONS]

    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert not np.array_equal(one, other)


def test_percentile_step_agrees_with_numpys_percentiles():
    random = np.random.default_rng(3)
    rgb = random.normal(120, 25, (50, 60, 3)).clip(0, 255).astype(np.uint8)

    stretched = percentile_normalise(rgb)

    low, high = np.percentile(rgb, [2, 98], axis=(0, 1))
    expected = np.clip(np.rint((rgb - low) * 255 / (high - low)), 0, 255)
    assert np.abs(stretched.astype(int) - expected).max() <= 1


def test_sharpening_leaves_flat_regions_untouched():
    rgb = np.full((64, 64, 3), 100, np.uint8)
    rgb[:, 40:] = 200

    sharpened = sharpen_edges(rgb)

    np.testing.assert_array_equal(sharpened[:, :32], rgb[:, :32])
    assert not np.array_equal(sharpened, rgb)


@pytest.mark.parametrize("level", [0, 127, 255])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_flat_image_passes_every_variant(level, version):
    flat = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), level, np.uint8)

    enhanced = filtered(flat, version)

    assert enhanced.shape == flat.shape
    assert enhanced.dtype == np.uint8


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (120, 121), (900, 700)])
def test_any_size_becomes_the_models_size(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    cell = preprocess(rgb, Recipe())

    assert cell.pixels.shape == cell.crop.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert cell.pixels.dtype == np.uint8


@pytest.mark.parametrize("version", ["v1", "v5"])
def test_the_masks_are_made_once_and_are_those_of_the_crop(version):
    recipe = Recipe(mef_version=version)

    cell = preprocess(synthetic_cell("Monocyte"), recipe)

    made_anew = cell_masks(cell.crop)
    np.testing.assert_array_equal(cell.masks.cell, made_anew.cell)
    np.testing.assert_array_equal(cell.masks.nucleus, made_anew.nucleus)
    np.testing.assert_array_equal(cell.pixels, enhance(cell.crop, recipe))


def test_v6_shows_the_masks_by_which_the_cell_was_found():
    rgb = synthetic_cell("Monocyte")
    recipe = Recipe(mef_version="v6")

    cell = preprocess(rgb, recipe)

    found = find_cell(rgb)
    expected = masks_in(found, cell.window, IMAGE_SIZE)
    assert cell.cell == found.location == locate_cell(rgb)
    np.testing.assert_array_equal(cell.masks.cell, expected.cell)
    np.testing.assert_array_equal(cell.masks.nucleus, expected.nucleus)
    np.testing.assert_array_equal(cell.pixels, enhance(cell.crop, recipe, expected))


def alone(class_name, seed, share, *, red_cells):
    """A painted cell that fills this share of a frame: the frame, and where in it the cell is."""
    painted = synthetic_cell_with_masks(class_name, seed)
    left, top, width, height = cv2.boundingRect(painted.cell.astype(np.uint8))
    size = max(width, height)
    side = max(round((painted.cell.sum() / share) ** 0.5), size + 8)
    frame = np.full((side, side, 3), (238, 232, 236), np.uint8)
    radius = round(0.3 * size)
    for y in range(0, side, 3 * radius) if red_cells else ():
        for x in range(0, side, 3 * radius):
            if np.hypot(y - side / 2, x - side / 2) > size / 2 + radius + 2:
                cv2.circle(frame, (x, y), radius, (196, 140, 128), cv2.FILLED, cv2.LINE_AA)
    target = np.s_[(side - height) // 2 :, (side - width) // 2 :]
    source = np.s_[top : top + height, left : left + width]
    cell = np.zeros((side, side), np.uint8)
    cell[target][:height, :width] = painted.cell[source]
    frame[cell > 0] = painted.rgb[source][painted.cell[source]]
    return frame, cell


@pytest.mark.parametrize(("class_name", "seed"), [("Lymphocyte", 1), ("Monocyte", 2)])
def test_v4_makes_of_one_cell_the_same_whatever_share_of_the_frame_it_has_and_whatever_lies_around_it(
    class_name, seed
):
    """Levels of the whole cell by channel, of 255; of 20 pixels across, some blur with what lies around."""

    def shown(share, *, red_cells):
        frame, cell = alone(class_name, seed, share, red_cells=red_cells)
        inside = cv2.resize(cell, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA) == 1
        return filtered(frame, "v4")[inside].mean(axis=0)

    large = shown(0.64, red_cells=False)
    for share, tolerance in ((0.076, 8), (0.019, 20), (0.008, 30)):
        on_glass, in_blood = (shown(share, red_cells=red_cells) for red_cells in (False, True))
        np.testing.assert_allclose(on_glass, large, atol=tolerance)
        np.testing.assert_allclose(in_blood, on_glass, atol=12)


def test_v6_without_masks_is_refused():
    with pytest.raises(ValueError, match="masks"):
        enhance(read_png("cell.png"), Recipe(mef_version="v6"))


def test_steps_never_change_their_input():
    cell = read_png("cell.png")
    before = cell.copy()

    for version in VERSIONS:
        preprocess(cell, Recipe(crop_scale=None, mef_version=version, reinhard=REINHARD_REFERENCE))

    np.testing.assert_array_equal(cell, before)
