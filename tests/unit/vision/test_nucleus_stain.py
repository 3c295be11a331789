"""A nucleus is compared with the red cells of its own frame."""

import cv2
import numpy as np
import pytest

from orchestrator.vision.nucleus_stain import nucleus_stain

SIDE = 200
NUCLEUS, RED_CELLS = (0.2, 0.9, 0.3), (0.1, 0.3, 0.27)
"""Optical densities in red, green and blue."""


def frame(nucleus=NUCLEUS, red_cells=RED_CELLS, light=(230, 228, 232)):
    density = np.zeros((SIDE, SIDE, 3))
    for centre in ((30, 30), (170, 40), (40, 165)):
        density[disc(centre, 20)] = red_cells
    density[disc((100, 100), 25)] = nucleus
    return np.rint(np.array(light) * np.exp(-density)).astype(np.uint8)


def disc(centre, radius):
    return cv2.circle(np.zeros((SIDE, SIDE), np.uint8), centre, radius, (1,), cv2.FILLED) > 0


def stain(rgb, cell_radius=45):
    return nucleus_stain(rgb, disc((100, 100), 25), disc((100, 100), cell_radius))


def test_density_and_hue_are_those_of_the_nucleus():
    found = stain(frame())
    assert found.density == pytest.approx(0.9, abs=0.01)
    assert found.hue == pytest.approx(1 - 0.3 / 0.9, abs=0.02)


@pytest.mark.parametrize("light", [(230, 228, 232), (120, 118, 122), (200, 150, 110)])
@pytest.mark.parametrize("paleness", [1, 0.4])
def test_the_contrast_to_red_cells_is_the_same_in_any_light_and_however_pale_the_stain(light, paleness):
    found = stain(frame(np.multiply(NUCLEUS, paleness), np.multiply(RED_CELLS, paleness), light))
    assert found.contrast == pytest.approx(3, rel=0.08)
    assert found.hue_contrast == pytest.approx(1 - 0.3 / 0.9 - (1 - 0.27 / 0.3), abs=0.05)


def test_a_red_cell_has_no_contrast_to_its_neighbours():
    found = stain(frame(nucleus=RED_CELLS))
    assert found.contrast == pytest.approx(1, abs=0.05)
    assert found.hue_contrast == pytest.approx(0, abs=0.05)


def test_on_empty_glass_there_is_nothing_to_compare_with():
    found = stain(frame(red_cells=(0, 0, 0)))
    assert (found.contrast, found.hue_contrast) == (None, None)
    barely = stain(frame(red_cells=(0.02, 0.05, 0.03)))
    assert barely.contrast is None


def test_where_the_cell_fills_the_frame_there_is_nothing_to_compare_with():
    assert stain(frame(), cell_radius=200).contrast is None


def test_a_black_frame_is_no_error():
    found = stain(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert (found.density, found.hue) == (0, 0)
