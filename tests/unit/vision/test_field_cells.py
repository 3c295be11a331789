"""Painted fields with known cells: which of them the finder tells, and that it needs no scale and no top."""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident
from typing import Any

import cv2
import numpy as np
import pytest

from orchestrator.domain import Box, UInt8Array
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.fields import PaintedField, paint_field
from orchestrator.painting.looks import LOOKS
from orchestrator.vision.field_cells import field_scale, nuclei_in, search_field
from orchestrator.vision.field_crops import PreparedFieldCell, as_drawn, prepare_cell, without_doubles
from orchestrator.vision.outlines import bounding_box
from orchestrator.vision.preprocessing import Recipe

DEVICES = ("scanner", "phone", "camera")


def painted(device: str, names: tuple[str, ...], seed: int = 5, **how: object) -> PaintedField:
    random = np.random.default_rng((seed, len(device)))
    return paint_field(LOOKS[device](random), random, names, **how)  # type: ignore[arg-type]


def found(rgb: UInt8Array, red_cell_px: float | None = None) -> list[PreparedFieldCell]:
    cells = [prepare_cell(rgb, one, Recipe()) for one in search_field(rgb, red_cell_px).cells]
    return without_doubles([cell for cell in cells if cell is not None])


def boxes(field: PaintedField) -> list[Box]:
    return [Box(y0, x0, y1, x1) for x0, y0, x1, y1 in (map(float, cell.box) for cell in field.cells)]


def assert_each_found_once(field: PaintedField) -> None:
    cells = found(field.rgb)
    assert len(cells) == len(field.cells)
    for box in boxes(field):
        assert sum(cell.box.overlap(box) > 0.5 for cell in cells) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_each_white_cell_of_a_field_is_found_once(device: str) -> None:
    assert_each_found_once(painted(device, CLASS_NAMES))


@pytest.mark.parametrize("device", DEVICES)
def test_the_lobes_of_a_neutrophil_are_one_cell(device: str) -> None:
    for seed in range(3):
        assert_each_found_once(painted(device, ("Neutrophil",), seed))


@pytest.mark.parametrize("device", DEVICES)
def test_two_cells_that_touch_are_two(device: str) -> None:
    assert_each_found_once(painted(device, ("Lymphocyte", "Lymphocyte"), touching=True))


@pytest.mark.parametrize("device", DEVICES)
def test_a_field_without_white_cells_has_none(device: str) -> None:
    for seed in range(3):
        assert found(painted(device, (), seed).rgb) == []


@pytest.mark.parametrize("device", DEVICES)
def test_a_cell_that_the_frame_cuts_is_marked_and_one_in_the_middle_is_not(device: str) -> None:
    field = painted(device, ("Lymphocyte",), seed=1, cut=True)
    (cut,) = found(field.rgb)
    (alone,) = found(painted(device, ("Lymphocyte",), seed=2).rgb)

    assert field.cells[0].is_cut
    assert cut.is_cut
    assert "cut_by_frame" in {reason.code for reason in cut.quality}
    assert not alone.is_cut
    assert "cut_by_frame" not in {reason.code for reason in alone.quality}


def test_a_turned_field_has_the_same_cells() -> None:
    field = painted("scanner", CLASS_NAMES)
    side = float(field.rgb.shape[0])
    upright = [cell.box for cell in found(field.rgb)]

    half = [cell.box for cell in found(np.ascontiguousarray(np.rot90(field.rgb, 2)))]
    quarter = [cell.box for cell in found(np.ascontiguousarray(np.rot90(field.rgb)))]

    assert len(upright) == len(half) == len(quarter) == len(CLASS_NAMES)
    for box in upright:
        turned = Box(side - box.bottom, side - box.right, side - box.top, side - box.left)
        assert max(turned.overlap(other) for other in half) > 0.8
        turned = Box(side - box.right, box.top, side - box.left, box.bottom)
        assert max(turned.overlap(other) for other in quarter) > 0.8


@pytest.mark.parametrize("device", DEVICES)
def test_the_scale_is_that_of_the_red_cells(device: str) -> None:
    for names in ((), ("Neutrophil", "Monocyte")):
        field = painted(device, names, crowding=0.4)

        assert field_scale(field.rgb) == pytest.approx(field.red_cell_px, rel=0.2)


def test_parts_of_a_field_that_are_searched_side_by_side_hold_the_same_cells() -> None:
    small = cv2.resize(painted("scanner", ("Monocyte",), crowding=0.4).rgb, (265, 265))
    rgb = np.tile(np.asarray(small, np.uint8), (6, 6, 1))
    threads = set()

    with ThreadPoolExecutor(4) as pool:
        together = Barrier(2, timeout=60)

        def beside(function: Callable[[Any], Any], parts: Iterable[Any], /) -> Iterator[Any]:
            parts = list(parts)

            def one(index: int) -> Any:
                if index < 2 <= len(parts):
                    together.wait()  # which one after the other would never pass
                    threads.add(get_ident())
                return function(parts[index])

            return pool.map(one, range(len(parts)))

        searched = search_field(rgb, 24.0, mapped=beside)
    alone = search_field(rgb, 24.0)

    assert len(threads) > 1
    assert searched.red_cell_px == alone.red_cell_px
    assert len(searched.cells) == len(alone.cells) > 9
    for one, other in zip(searched.cells, alone.cells, strict=True):
        assert (one.rows, one.columns, one.stain) == (other.rows, other.columns, other.stain)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_a_blank_field_has_no_scale_and_no_cells() -> None:
    searched = search_field(np.full((300, 400, 3), 230, np.uint8))

    assert searched.red_cell_px is None
    assert searched.cells == ()


def test_memory_does_not_grow_with_the_field_but_by_a_tile() -> None:
    small = painted("camera", (), crowding=0.2).rgb

    def peak(times: int) -> int:
        rgb = np.tile(small, (times, times, 1))
        tracemalloc.start()
        search_field(rgb, 12.0)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(8) < 2 * peak(4)  # of four times the pixels


@pytest.mark.parametrize("fade", [1.0, 0.3], ids=["as it is", "pale"])
def test_the_cell_in_a_drawn_box_is_outlined_where_the_finder_would_miss_it(fade: float) -> None:
    random = np.random.default_rng(4)
    field = paint_field(LOOKS["scanner"](random), random, CLASS_NAMES, crowding=0.3)
    light = np.median(field.rgb.reshape(-1, 3), axis=0)
    for cell in field.cells:
        left, top, right, bottom = cell.box
        rgb = field.rgb.astype(np.float32)
        part = (slice(max(0, top - 4), bottom + 4), slice(max(0, left - 4), right + 4))
        rgb[part] = light + fade * (rgb[part] - light)
        box = Box(top - 2.0, left - 2.0, bottom + 2.0, right + 2.0)

        drawn = as_drawn(rgb.round().astype(np.uint8), box, Recipe())

        assert drawn is not None
        assert drawn.box == box
        assert drawn.image is not None
        outlined = bounding_box(drawn.outlines.cell, rgb.shape)
        assert outlined is not None
        assert outlined.overlap(Box(top, left, bottom, right)) > 0.6, cell.class_name


def test_of_a_box_in_which_nothing_stands_out_its_middle_is_the_cell() -> None:
    blank = np.full((200, 300, 3), 220, np.uint8)

    nuclei = nuclei_in(blank, Box(50.0, 100.0, 90.0, 140.0))

    assert nuclei.mask.any()
    rows, columns = np.nonzero(nuclei.mask)
    height, width = nuclei.mask.shape
    assert nuclei.rows.start + rows.mean() / height * (nuclei.rows.stop - nuclei.rows.start) == pytest.approx(
        70, abs=2
    )
    assert nuclei.columns.start + columns.mean() / width * (
        nuclei.columns.stop - nuclei.columns.start
    ) == pytest.approx(120, abs=2)
