"""Assembling the heatmap in the original frame, the focus ratio, and the overlay."""

import cv2
import numpy as np
import pytest

from orchestrator.views import VIEWS
from orchestrator.vision.crop import Window
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.heatmap import (
    as_the_reference_shows,
    assemble,
    draw_overlay,
    focus_ratio,
    focus_shares,
)


def disc_masks(size=224, cell_radius=80, nucleus_radius=40):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(rows, columns)
    return CellMasks(distance < nucleus_radius, (distance < cell_radius).astype(np.float32))


def spot(row, column):
    cam = np.zeros((7, 7), np.float32)
    cam[row, column] = 2.0
    return cam


def test_views_that_saw_the_same_spot_agree_in_the_original_frame():
    seen = np.stack([view.apply(spot(1, 5)) for view in VIEWS])
    window = Window(top=100, left=300, height=140, width=140)

    focus = assemble(seen, "light", disc_masks(), window, (400, 600, 3))

    assert focus.heatmap.shape == (400, 600)
    row, column = np.unravel_index(focus.heatmap.argmax(), focus.heatmap.shape)
    assert abs(row - (100 + 1.5 * 20)) < 5
    assert abs(column - (300 + 5.5 * 20)) < 5
    assert focus.heatmap.max() == pytest.approx(1, abs=0.02)
    assert focus.heatmap[:90].max() == 0


def test_each_view_has_the_same_say_whatever_its_scale():
    cams = np.stack([spot(3, 3), spot(3, 3) * 1000])
    alone = assemble(cams[:1], "none", disc_masks(), Window(0, 0, 224, 224), (224, 224, 3))
    eight = np.stack([view.apply(spot(3, 3)) * 10**i for i, view in enumerate(VIEWS)])
    together = assemble(eight, "light", disc_masks(), Window(0, 0, 224, 224), (224, 224, 3))

    np.testing.assert_allclose(alone.heatmap, together.heatmap, atol=1e-5)


def test_a_floor_under_a_map_says_nothing_of_where_the_model_looks():
    window = Window(0, 0, 224, 224)

    plain = assemble(spot(0, 0)[np.newaxis], "none", disc_masks(), window, (224, 224, 3))
    on_a_floor = assemble(spot(0, 0)[np.newaxis] + 5, "none", disc_masks(), window, (224, 224, 3))

    np.testing.assert_allclose(on_a_floor.heatmap, plain.heatmap, atol=1e-5)
    assert on_a_floor.focus_ratio == pytest.approx(plain.focus_ratio, abs=1e-5)


def test_heat_on_the_cell_has_a_focus_ratio_near_1_and_in_the_corner_near_0():
    window = Window(0, 0, 224, 224)

    centre = assemble(spot(3, 3)[np.newaxis], "none", disc_masks(), window, (224, 224, 3))
    corner = assemble(spot(0, 0)[np.newaxis], "none", disc_masks(), window, (224, 224, 3))

    assert centre.focus_ratio > 0.95
    assert corner.focus_ratio < 0.05
    assert centre.shares.nucleus > corner.shares.nucleus
    assert corner.shares.background > 0.95


def test_shares_sum_to_1_and_split_by_region():
    masks = disc_masks()
    even = np.ones((224, 224), np.float32)

    shares = focus_shares(even, masks)

    assert shares.nucleus == pytest.approx(masks.nucleus.mean(), abs=1e-4)
    assert shares.cytoplasm == pytest.approx(masks.cell.mean() - masks.nucleus.mean(), abs=1e-4)
    assert shares.nucleus + shares.cytoplasm + shares.background == pytest.approx(1)
    assert focus_ratio(even, masks.cell) == pytest.approx(masks.cell.mean(), abs=1e-4)


def test_a_map_of_zeros_gives_zeros_and_no_division_error():
    focus = assemble(
        np.zeros((8, 7, 7), np.float32), "light", disc_masks(), Window(0, 0, 50, 60), (50, 60, 3)
    )

    assert focus.heatmap.max() == 0
    assert focus.focus_ratio == 0


@pytest.mark.parametrize(("encoding", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8")])
def test_the_overlay_has_the_originals_size_and_the_asked_for_encoding(encoding, magic):
    rgb = np.full((60, 90, 3), (200, 180, 220), np.uint8)
    heat = np.zeros((60, 90), np.float32)
    heat[30, 45] = 1

    overlay = draw_overlay(rgb, heat, "viridis", encoding)

    assert overlay.data.startswith(magic)
    assert overlay.media_type == f"image/{encoding}"
    assert cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR).shape == (60, 90, 3)


def test_where_there_is_no_heat_the_image_is_as_it_was():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    heat = np.zeros((40, 50), np.float32)
    heat[:, 25:] = 0.8

    overlay = draw_overlay(rgb, heat, "jet", "png")
    drawn = cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]

    np.testing.assert_array_equal(drawn[:, :25], rgb[:, :25])
    assert np.abs(drawn[:, 25:].astype(int) - rgb[:, 25:]).mean() > 20


def test_a_heatmap_of_zeros_leaves_the_whole_image_as_it_was():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    overlay = draw_overlay(rgb, np.zeros((40, 50), np.float32))

    drawn = cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(drawn, rgb)


def test_colour_maps_differ():
    rgb = np.full((20, 20, 3), 128, np.uint8)
    heat = np.full((20, 20), 0.7, np.float32)

    assert draw_overlay(rgb, heat, "jet").data != draw_overlay(rgb, heat, "viridis").data


def test_a_heatmap_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected a heatmap of shape"):
        draw_overlay(np.zeros((10, 10, 3), np.uint8), np.zeros((9, 10), np.float32))


def test_the_reference_shows_of_the_cell_what_is_hottest_and_nothing_beside_it():
    heat, cell = np.full((10, 10), 0.7, np.float32), np.zeros((10, 10), np.float32)
    cell[:5] = 1
    heat[:2] = 0.9  # of the cell, more than the hottest fifth; and hotter beside it
    heat[9] = 1.0
    shown = as_the_reference_shows(heat, cell)
    assert shown[:2].ravel() == pytest.approx(np.full(20, 0.9**1.6), rel=1e-5)
    assert not shown[2:].any()


def test_the_reference_shows_nothing_of_a_cold_map_and_of_no_cell():
    cold, nothing = np.full((8, 8), 0.5, np.float32), np.zeros((8, 8), np.float32)
    assert not as_the_reference_shows(cold, np.ones((8, 8), np.float32)).any()
    assert not as_the_reference_shows(cold, nothing).any()
