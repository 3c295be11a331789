"""The outline of a nucleus, of shapes whose measures are known."""

import math

import cv2
import numpy as np
import pytest

from orchestrator.vision.found_cell import MASK_SIDE
from training.nucleus_outline import nucleus_outline

MIDDLE = MASK_SIDE / 2


def drawn(*shapes):
    nucleus = np.zeros((MASK_SIDE, MASK_SIDE), np.uint8)
    for shape in shapes:
        shape(nucleus)
    return nucleus_outline(nucleus)


def disc(x, y, radius):
    return lambda mask: cv2.circle(mask, (x, y), radius, (255,), -1)


def bar(length, width, degrees=0.0):
    corners = cv2.boxPoints(((MIDDLE, MIDDLE), (length, width), degrees))
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
    assert drawn(disc(80, 80, 2)) is None
    assert drawn() is None
