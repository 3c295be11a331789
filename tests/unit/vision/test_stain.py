"""Reinhard and Macenko."""

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.vision.decode import decode
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.stain import (
    CALIBRATED_MACENKO,
    UNCALIBRATED_MACENKO,
    LabStatistics,
    fit_macenko_reference,
    fit_reinhard_reference,
    lab_statistics,
    macenko,
    macenko_stains,
    reinhard,
)
from tests.synthetic_cells import synthetic_cell


@pytest.fixture(scope="module")
def cells():
    return [synthetic_cell(name, seed) for seed in range(2) for name in ("Neutrophil", "Eosinophil")]


def test_reinhard_gives_an_image_the_statistics_of_the_reference(cells):
    reference = LabStatistics(mean=(170.0, 140.0, 118.0), std=(25.0, 8.0, 9.0))

    normalised = lab_statistics(reinhard(cells[0], reference))

    np.testing.assert_allclose(normalised.mean, reference.mean, atol=1.5)
    np.testing.assert_allclose(normalised.std, reference.std, atol=1.5)


def test_reinhard_of_an_image_to_its_own_statistics_changes_almost_nothing(cells):
    unchanged = reinhard(cells[0], lab_statistics(cells[0]))

    assert np.abs(unchanged.astype(int) - cells[0]).mean() < 1.5


def test_the_reinhard_reference_is_the_mean_over_images(cells):
    reference = fit_reinhard_reference(cells)

    np.testing.assert_allclose(reference.mean, np.mean([lab_statistics(c).mean for c in cells], axis=0))
    np.testing.assert_allclose(reference.std, np.mean([lab_statistics(c).std for c in cells], axis=0))


def test_a_flat_image_survives_reinhard():
    flat = np.full((20, 20, 3), 90, np.uint8)

    assert reinhard(flat, LabStatistics((200.0, 128.0, 128.0), (10.0, 5.0, 5.0))).std() == 0


def test_a_reference_of_no_images_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        fit_reinhard_reference([])
    with pytest.raises(ValueError, match="two stains"):
        fit_macenko_reference([(np.full((30, 30, 3), 240, np.uint8), np.ones((30, 30), np.bool_))])


@pytest.fixture(scope="module")
def two_stains():
    """An image made of known amounts of two known stains: (image, first stain, second stain)."""
    blue, pink = np.array([0.65, 0.70, 0.29]), np.array([0.10, 0.95, 0.30])
    blue, pink = blue / np.linalg.norm(blue), pink / np.linalg.norm(pink)
    amounts = np.random.default_rng(1).uniform(0.3, 1.6, (10_000, 2))
    pure = np.random.default_rng(2).random(10_000)
    amounts[pure < 0.1, 1] = 0.02
    amounts[pure > 0.9, 0] = 0.02
    rgb = 240 * np.exp(-(amounts @ np.stack([blue, pink])))
    return rgb.clip(0, 255).astype(np.uint8).reshape(100, 100, 3), blue, pink


def test_macenko_finds_the_two_stains_that_an_image_was_made_of(two_stains):
    rgb, blue, pink = two_stains

    found = macenko_stains(rgb)

    assert found is not None
    assert np.dot(found.first_stain, blue) > 0.98
    assert np.dot(found.second_stain, pink) > 0.98


def test_macenko_to_an_images_own_stains_returns_the_image(two_stains):
    rgb = two_stains[0]
    own = macenko_stains(rgb)
    assert own is not None

    assert np.abs(macenko(rgb, own).astype(int) - rgb).mean() < 2


@pytest.mark.parametrize("side", [125, 363, 725, 1118])
def test_one_cell_gives_one_result_however_much_of_the_frame_is_empty(two_stains, side):
    """The 100 x 100 stained pixels fill 64, 7.6, 1.9 and 0.8 % of the frame."""
    cell = two_stains[0]
    frame = np.full((side, side, 3), 235, np.uint8)
    frame[10:110, 20:120] = cell

    np.testing.assert_array_equal(
        macenko(frame, CALIBRATED_MACENKO)[10:110, 20:120], macenko(cell, CALIBRATED_MACENKO)
    )


def test_what_is_stained_beside_the_cell_changes_nothing_of_it(two_stains):
    cell = two_stains[0]
    frame = np.full((300, 300, 3), (196, 140, 128), np.uint8)  # red cells, from edge to edge
    frame[10:110, 20:120] = cell
    where = np.zeros((300, 300), np.bool_)
    where[10:110, 20:120] = True

    np.testing.assert_array_equal(
        macenko(frame, CALIBRATED_MACENKO, where)[10:110, 20:120], macenko(cell, CALIBRATED_MACENKO)
    )


def test_a_stain_of_which_a_pixel_has_less_than_nothing_overflows_nowhere(two_stains):
    strong = replace(CALIBRATED_MACENKO, max_concentrations=(1.0, 1e6))

    with np.errstate(over="raise", invalid="raise"):
        mapped = macenko(two_stains[0], strong)

    assert mapped.max() == 255


def test_an_image_without_two_stains_is_left_as_it_is():
    blank = np.full((40, 40, 3), 235, np.uint8)

    assert macenko(blank, CALIBRATED_MACENKO) is blank


def test_the_calibrated_reference_keeps_the_colour_contrast_that_the_uncalibrated_one_takes(wbc_data):
    paths = sorted((wbc_data / "Train").glob("*/*.jpg"))[::40]
    crops = [preprocess(decode(path.read_bytes()).rgb, Recipe()).crop for path in paths]

    def contrast(images):
        """Spread on LAB's green-to-red axis, which tells granules and nuclei apart."""
        return fit_reinhard_reference(images).std[1]

    before = contrast(crops)
    assert contrast([macenko(crop, CALIBRATED_MACENKO) for crop in crops]) > 0.9 * before
    assert contrast([macenko(crop, UNCALIBRATED_MACENKO) for crop in crops]) < 0.7 * before
