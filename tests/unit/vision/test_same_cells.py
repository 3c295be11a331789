"""A cell is known again by what lies around it, in another light, shifted; no other is taken for it."""

import cv2
import numpy as np
import pytest

from orchestrator.domain import Box, UInt8Array
from orchestrator.painting.fields import PaintedField, paint_field
from orchestrator.painting.looks import camera
from orchestrator.vision.same_cells import CHUNK, MARK_SIDE, mark_of, no_same_cells, same_cells


@pytest.fixture(scope="module")
def field() -> PaintedField:
    random = np.random.default_rng(3)
    return paint_field(camera(random), random, ["Neutrophil", "Lymphocyte", "Lymphocyte"], crowding=0.3)


def boxes(field: PaintedField) -> list[Box]:
    return [Box(top, left, bottom, right) for left, top, right, bottom in (cell.box for cell in field.cells)]


def marks(rgb: UInt8Array, at: list[Box], field: PaintedField) -> list[bytes]:
    return [mark_of(rgb, box, field.red_cell_px) for box in at]


def photographed_anew(field: PaintedField) -> UInt8Array:
    again = cv2.GaussianBlur(field.rgb, (0, 0), 1.0).astype(np.float32) * 0.9 + 12
    again += np.random.default_rng(5).normal(0, 3, again.shape)
    return np.clip(again, 0, 255).astype(np.uint8)


def test_each_cell_is_known_again_where_its_outline_is_a_little_elsewhere(field: PaintedField) -> None:
    shift = 0.2 * field.red_cell_px
    moved = [Box(b.top + shift, b.left - shift, b.bottom + shift, b.right) for b in boxes(field)]

    known = marks(field.rgb, boxes(field), field)
    assert same_cells(marks(photographed_anew(field), moved[::-1], field), known) == [2, 1, 0]


def test_cells_of_another_field_are_new_ones(field: PaintedField) -> None:
    random = np.random.default_rng(8)
    other = paint_field(camera(random), random, ["Neutrophil", "Lymphocyte", "Monocyte"], crowding=0.3)

    found = same_cells(marks(other.rgb, boxes(other), other), marks(field.rgb, boxes(field), field))
    assert found == [None] * len(other.cells)


def test_two_finds_are_never_the_same_one(field: PaintedField) -> None:
    (first, *_) = boxes(field)
    known = marks(field.rgb, [first], field)

    assert sorted(same_cells(known * 2, known), key=str) == [0, None]


def test_a_cell_is_known_again_among_more_than_are_compared_at_a_time(field: PaintedField) -> None:
    known = marks(field.rgb, boxes(field), field)
    random = np.random.default_rng(2)
    others = [random.integers(1, 256, MARK_SIDE**2, np.uint8).tobytes() for _ in range(CHUNK)]

    again = marks(photographed_anew(field), boxes(field)[:1], field)
    assert same_cells(again, [*others, *known]) == [CHUNK]


def test_what_lies_beyond_the_frame_is_not_seen(field: PaintedField) -> None:
    whole = min(boxes(field), key=lambda box: box.left)
    left = round(whole.left)
    cut = Box(whole.top, 0, whole.bottom, whole.right - left)

    mark = mark_of(np.ascontiguousarray(field.rgb[:, left:]), cut, field.red_cell_px)
    seen = np.frombuffer(mark, np.uint8).reshape(MARK_SIDE, MARK_SIDE) > 0
    assert not seen[:, 0].any()
    assert seen[:, -1].any()
    assert same_cells([mark], marks(field.rgb, [whole], field)) == [0]


def test_a_flat_image_is_like_nothing() -> None:
    flat = np.full((200, 200, 3), 220, np.uint8)
    mark = mark_of(flat, Box(80, 80, 120, 120), 40)

    assert same_cells([mark], [mark]) == [None]


def test_where_every_find_counts_none_is_another(field: PaintedField) -> None:
    known = marks(field.rgb, boxes(field), field)

    assert no_same_cells(known, known) == [None] * len(known)
