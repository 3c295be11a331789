"""Outlines in the original frame."""

import numpy as np

from orchestrator.domain import Box
from orchestrator.vision.crop import Window
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.outlines import bounding_box, mask_outlines


def masks_of(cell, nucleus):
    return CellMasks(nucleus=nucleus, cell=cell.astype(np.float32))


def test_a_square_of_the_crop_is_outlined_where_it_lies_in_the_frame():
    cell = np.zeros((224, 224), bool)
    cell[50:151, 20:81] = True

    outlines = mask_outlines(masks_of(cell, np.zeros_like(cell)), Window(100.0, -10.0, 112.0, 448.0))

    (polygon,) = outlines.cell
    rows, columns = np.array(polygon).T
    np.testing.assert_allclose((rows.min(), rows.max()), (125.25, 175.25), atol=0.06)
    np.testing.assert_allclose((columns.min(), columns.max()), (31.0, 151.0), atol=0.06)
    assert outlines.nucleus == ()


def test_each_lobe_of_a_nucleus_has_an_outline_and_a_speck_has_none():
    nucleus = np.zeros((224, 224), bool)
    nucleus[40:60, 40:60] = nucleus[100:120, 100:120] = True
    nucleus[200, 200] = True

    outlines = mask_outlines(masks_of(np.zeros_like(nucleus), nucleus), Window(0.0, 0.0, 224.0, 224.0))

    assert len(outlines.nucleus) == 2
    assert outlines.cell == ()


def test_the_box_holds_all_parts_of_a_cell_and_ends_with_the_frame():
    parts = (((-5.0, 20.0), (40.5, 60.0), (10.0, 90.0)), ((50.0, 30.0), (130.0, 40.0), (60.0, 12.5)))

    assert bounding_box(parts, (120, 200, 3)) == Box(0.0, 12.5, 120.0, 90.0)
    assert bounding_box((), (120, 200, 3)) is None
