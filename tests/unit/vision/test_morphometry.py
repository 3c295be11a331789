"""What is measured of a cell: its parts against each other, and the outline of its nucleus."""

import math
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest

from orchestrator.domain import Morphometry
from orchestrator.vision.crop import CellLocation, Window
from orchestrator.vision.found_cell import MASK_SIDE, FoundCell, find_cell
from orchestrator.vision.morphometry import measure

FIELD = np.array((235.0, 228.0, 225.0))
NUCLEUS = np.array((0.7, 1.2, 0.4))
"""Optical densities in R, G, B, as of all below."""
CYTOPLASM = np.array((0.2, 0.5, 0.1))
SIDE, MIDDLE = 320, (160, 160)
CELL_PX, NUCLEUS_PX = 80, 50
"""Radii."""


def cell(cytoplasm=CYTOPLASM, nucleus=NUCLEUS, *, nucleus_px=NUCLEUS_PX, light=1.0, noise=1.0):
    """A round cell in an empty field, with the masks that it was painted by."""
    rgb = np.tile(FIELD * light, (SIDE, SIDE, 1))
    masks = []
    for radius, density in ((CELL_PX, cytoplasm), (nucleus_px, nucleus)):
        mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), MIDDLE, radius, (255,), -1)
        rgb[mask > 0] = FIELD * light * np.exp(-np.asarray(density))
        masks.append(mask)
    rgb += np.random.default_rng(0).normal(0, noise, rgb.shape)
    whole, inner = (cv2.resize(m, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_NEAREST) for m in masks)
    location = CellLocation(160.0, 160.0, 2.0 * CELL_PX)
    found = FoundCell(location, Window(0.0, 0.0, SIDE, SIDE), inner, whole)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8), found


def test_the_measures_are_those_that_were_painted():
    measured = measure(*cell())

    share = (NUCLEUS_PX / CELL_PX) ** 2
    assert measured.nucleus_share == pytest.approx(math.log(share / (1 - share)), abs=0.05)
    assert measured.cytoplasm_density == pytest.approx(math.log(0.5 / 1.2), abs=0.03)
    assert measured.cytoplasm_hue == pytest.approx(0.2 / 0.5 - 0.7 / 1.2, abs=0.03)
    assert measured.size is None  # no red cells


def test_a_cytoplasm_half_as_dense_has_a_lower_density_and_the_same_hue():
    pale, dense = measure(*cell(CYTOPLASM / 2)), measure(*cell(CYTOPLASM))

    assert pale.cytoplasm_density == pytest.approx(dense.cytoplasm_density - math.log(2), abs=0.05)
    assert pale.cytoplasm_hue == pytest.approx(dense.cytoplasm_hue, abs=0.05)
    assert pale.nucleus_share == dense.nucleus_share


def test_a_bluer_cytoplasm_has_a_higher_hue_than_a_redder_one():
    blue, red = measure(*cell((0.4, 0.5, 0.1))), measure(*cell((0.1, 0.5, 0.3)))

    assert blue.cytoplasm_hue > red.cytoplasm_hue + 0.5


def test_a_smaller_nucleus_has_a_smaller_share_of_the_cell():
    assert measure(*cell(nucleus_px=25)).nucleus_share < measure(*cell()).nucleus_share - 1


@pytest.mark.parametrize("strength", [0.6, 1.4])
@pytest.mark.parametrize("light", [0.6, 1.05])
def test_neither_the_lamp_nor_how_long_the_slide_was_stained_counts(strength, light):
    usual = measure(*cell())
    other = measure(*cell(CYTOPLASM * strength, NUCLEUS * strength, light=light))

    assert other.cytoplasm_density == pytest.approx(usual.cytoplasm_density, abs=0.06)
    assert other.cytoplasm_hue == pytest.approx(usual.cytoplasm_hue, abs=0.06)


def test_where_too_little_of_a_part_is_seen_nothing_is_compared():
    assert measure(*cell(nucleus_px=CELL_PX - 3)).nucleus_share is None  # no cytoplasm
    assert measure(*cell(nucleus_px=4)) == Morphometry()


def test_a_nucleus_as_clear_as_the_field_is_none():
    assert measure(*cell(nucleus=(0, 0, 0), noise=0.0)).cytoplasm_density is None


@pytest.mark.parametrize("cytoplasm", [(0, 0, 0), (0.3, -0.02, 0), (-0.05, 0.001, 0), (3, 3, 3)])
def test_what_no_stain_looks_like_is_taken_to_the_limits(cytoplasm):
    measured = measure(*cell(cytoplasm))

    assert math.log(0.02) <= measured.cytoplasm_density <= math.log(2)
    assert -1.5 <= measured.cytoplasm_hue <= 1.5


def test_a_found_cell_is_measured_as_it_was_painted():
    rgb, _ = cell()

    measured = measure(rgb, find_cell(rgb))

    assert measured.cytoplasm_density == pytest.approx(math.log(0.5 / 1.2), abs=0.15)
    assert measured.nucleus_share == pytest.approx(measure(*cell()).nucleus_share, abs=0.3)


def drawn(*shapes):
    """The outline of a nucleus of these shapes."""
    rgb, found = cell()
    nucleus = np.zeros((MASK_SIDE, MASK_SIDE), np.uint8)
    for shape in shapes:
        shape(nucleus)
    return astuple(measure(rgb, replace(found, nucleus=nucleus)))[4:]


def disc(x, y, radius):
    return lambda mask: cv2.circle(mask, (x, y), radius, (255,), -1)


def bar(length, width, degrees=0.0):
    corners = cv2.boxPoints(((MASK_SIDE / 2, MASK_SIDE / 2), (length, width), degrees))
    return lambda mask: cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], (255,))


def test_a_disc_is_convex_circular_thick_and_as_long_as_wide():
    concavity, circularity, thickness, aspect = drawn(disc(80, 80, 30))

    assert concavity < math.log(0.05)
    assert circularity == pytest.approx(0, abs=0.2)
    assert thickness == pytest.approx(0, abs=0.05)
    assert aspect == pytest.approx(1, abs=0.01)


def test_a_bar_is_measured_by_its_sides():
    concavity, circularity, thickness, aspect = drawn(bar(60, 20))

    assert concavity < math.log(0.06)
    assert circularity == pytest.approx(math.log(4 * math.pi * 1200 / 160**2), abs=0.1)
    assert thickness == pytest.approx(math.log(10 / math.sqrt(1200 / math.pi)), abs=0.1)
    assert aspect == pytest.approx(1 / 3, abs=0.03)


def test_lobes_that_lie_apart_are_one_nucleus_with_a_gap_in_its_hull():
    concavity, circularity, thickness, _ = drawn(disc(60, 80, 12), disc(100, 80, 12))

    lobes, hull = 2 * math.pi * 12**2, math.pi * 12**2 + 40 * 24
    assert concavity == pytest.approx(math.log(1 - lobes / hull + 0.02), abs=0.12)
    assert circularity == pytest.approx(math.log(1 / 2), abs=0.2)
    assert thickness == pytest.approx(math.log(1 / math.sqrt(2)), abs=0.06)


@pytest.mark.parametrize("degrees", [30, 90, 135])
def test_a_turned_nucleus_measures_the_same(degrees):
    np.testing.assert_allclose(drawn(bar(60, 20, degrees))[1:], drawn(bar(60, 20))[1:], atol=0.16)


def test_a_speck_is_no_nucleus():
    assert drawn(disc(80, 80, 2)) == (None,) * 4
    assert drawn() == (None,) * 4
