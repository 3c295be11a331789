"""Red cells as a ruler."""

import cv2
import numpy as np
import pytest

from orchestrator.vision.found_cell import find_cell
from orchestrator.vision.red_cells import nucleus_diameter, red_cell_diameter, relative_size

FIELD, RED, RIM = (235, 228, 225), (205, 150, 155), (150, 110, 115)
PLACES = ((60, 60), (180, 50), (310, 70), (50, 190), (320, 200), (70, 310), (190, 330), (300, 310))


def smear(draw_red_cell, nucleus_px=60, places=PLACES):
    """A white cell in the middle of 380 x 380 pixels and red ones around it."""
    rgb = np.full((380, 380, 3), FIELD, np.uint8)
    for place in places:
        draw_red_cell(rgb, place)
    cv2.circle(rgb, (190, 190), round(nucleus_px * 0.65), (200, 180, 210), -1)
    cv2.circle(rgb, (190, 190), nucleus_px // 2, (95, 45, 135), -1)
    noise = np.random.default_rng(0).normal(0, 2, rgb.shape)
    return np.clip(cv2.GaussianBlur(rgb, (0, 0), 1.2) + noise, 0, 255).astype(np.uint8)


def disc(rgb, place):
    cv2.circle(rgb, place, 24, RED, -1)


def with_pallor(rgb, place):
    cv2.circle(rgb, place, 24, RED, -1)
    cv2.circle(rgb, place, 9, FIELD, -1)


def outline_only(rgb, place):
    cv2.circle(rgb, place, 23, RIM, 3)


def measured(rgb):
    return red_cell_diameter(rgb, find_cell(rgb))


@pytest.mark.parametrize("look", [disc, with_pallor, outline_only])
def test_the_diameter_is_that_of_the_red_cells_however_they_are_seen(look):
    assert measured(smear(look)) == pytest.approx(48, rel=0.12)


@pytest.mark.parametrize("nucleus_px", [44, 60, 84])
def test_a_larger_white_cell_does_not_make_the_red_ones_larger(nucleus_px):
    assert measured(smear(disc, nucleus_px)) == pytest.approx(48, rel=0.12)


def test_the_relative_size_does_not_depend_on_the_magnification():
    small = smear(disc)
    large = cv2.resize(small, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)

    assert measured(large) == pytest.approx(2.5 * measured(small), rel=0.08)
    sizes = [relative_size(rgb, find_cell(rgb)) for rgb in (small, large)]
    assert sizes == pytest.approx([np.log2(60 / 48)] * 2, abs=0.2)


@pytest.mark.parametrize("light", [0.45, 0.7])
def test_it_does_not_depend_on_the_light(light):
    rgb = smear(disc)
    dim = (rgb * light).astype(np.uint8)

    assert measured(dim) == pytest.approx(measured(rgb), rel=0.08)


def test_red_cells_that_touch_are_measured_one_by_one():
    touching = tuple((x, y) for x in (60, 107, 320) for y in (50, 98, 270, 318))

    assert measured(smear(disc, places=touching)) == pytest.approx(48, rel=0.12)


@pytest.mark.parametrize("places", [(), ((60, 60),), ((0, 60), (190, 0), (380, 200), (200, 380))])
def test_without_two_red_cells_that_show_there_is_no_diameter(places):
    """None, one, or four of which the frame's edges leave half."""
    rgb = smear(disc, places=places)

    assert measured(rgb) is None
    assert relative_size(rgb, find_cell(rgb)) is None


def test_the_nucleus_is_measured_as_a_disc_of_its_area():
    assert nucleus_diameter(find_cell(smear(disc, nucleus_px=60))) == pytest.approx(60, rel=0.06)
