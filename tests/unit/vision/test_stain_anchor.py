"""Stain normalisation anchored at field and nucleus."""

import numpy as np
import pytest

from orchestrator.vision.foreground import CellMasks, cell_masks
from orchestrator.vision.stain_anchor import (
    FIELD_INTENSITY,
    NUCLEUS_DENSITY,
    anchor_stain,
    fade_field,
    field_colour,
)
from tests.synthetic_cells import synthetic_cell


@pytest.fixture(scope="module")
def cell():
    return np.ascontiguousarray(synthetic_cell("Neutrophil")[68:292, 68:292])


@pytest.fixture(scope="module")
def masks(cell):
    return cell_masks(cell)


def mean_difference(one, other):
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_the_field_becomes_white_and_the_nucleus_as_dense_as_the_reference(cell, masks):
    anchored = anchor_stain(cell, masks)

    assert np.abs(field_colour(anchored, masks) - FIELD_INTENSITY).max() <= 3
    density = -np.log(np.maximum(anchored[masks.nucleus], 1) / FIELD_INTENSITY).mean(axis=1)
    assert np.median(density) == pytest.approx(NUCLEUS_DENSITY, rel=0.05)


def test_another_lamp_and_white_balance_give_nearly_the_same_image(cell, masks):
    tinted = np.clip(cell * np.array([0.95, 0.75, 0.6]), 0, 255).astype(np.uint8)
    assert mean_difference(tinted, cell) > 20

    assert mean_difference(anchor_stain(tinted, masks), anchor_stain(cell, masks)) < 3


def test_a_longer_stain_gives_nearly_the_same_image(cell, masks):
    """A stain of twice the time is twice the density: a power of the transmittance."""
    field = field_colour(cell, masks)
    stronger = np.clip(field * (np.minimum(cell / field, 1)) ** 1.6, 0, 255).astype(np.uint8)
    before = mean_difference(stronger, cell)

    assert mean_difference(anchor_stain(stronger, masks), anchor_stain(cell, masks)) < 0.4 * before


def test_without_a_nucleus_only_the_field_is_mapped(cell, masks):
    empty = CellMasks(np.zeros_like(masks.nucleus), np.zeros_like(masks.cell))

    anchored = anchor_stain(cell, empty)

    assert np.abs(field_colour(anchored, empty) - FIELD_INTENSITY).max() <= 3
    nucleus = masks.nucleus
    assert mean_difference(anchored[nucleus], anchor_stain(cell, masks)[nucleus]) > 3


def test_a_mistaken_nucleus_cannot_ruin_the_image(cell, masks):
    """Of a 'nucleus' as bright as the field the density is 0: the factor stays within its limits."""
    upper = np.zeros_like(masks.nucleus)
    upper[:20, :20] = True

    anchored = anchor_stain(cell, CellMasks(upper, masks.cell))

    assert np.ptp(anchored) > 50


def test_what_is_not_the_cell_fades_and_the_cell_stays(cell, masks):
    anchored = anchor_stain(cell, masks)

    faded = fade_field(anchored, masks.cell)

    inside, outside = masks.cell > 0.99, masks.cell < 0.01
    np.testing.assert_allclose(faded[inside], anchored[inside], atol=2)
    assert np.ptp(faded[outside].astype(int)) <= 0.15 * np.ptp(anchored[outside].astype(int)) + 2


def test_without_a_cell_nothing_fades(cell, masks):
    empty = CellMasks(np.zeros_like(masks.nucleus), np.zeros_like(masks.cell))

    np.testing.assert_array_equal(fade_field(cell, empty.cell), cell)
