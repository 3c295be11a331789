"""Questions as rows; the views themselves are tested with the test-time augmentation that asks for them."""

import numpy as np

from orchestrator.domain import CellViews, Morphometry, ViewBatch
from orchestrator.model_contract import UNKNOWN
from orchestrator.views import VIEWS, rows_of, stacked
from tests.random_images import varied_images

IMAGE = varied_images(1, 224)[0]
MEASURED = Morphometry(size=0.5, cytoplasm_density=-1.25, cytoplasm_hue=0.125)
HEAD = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def test_codes_name_the_views_in_their_order():
    rows = rows_of(CellViews(IMAGE, (6, 3)))

    np.testing.assert_array_equal(rows.images, np.stack([IMAGE, np.rot90(IMAGE)]))
    np.testing.assert_array_equal(rows.gain, np.float32([1.1, 1.0]))
    np.testing.assert_array_equal(rows.morphometry, np.full((2, 8), UNKNOWN, np.float32))
    assert rows.head is None


def test_every_row_has_the_measures_and_the_head_of_its_cell():
    rows = rows_of(CellViews(IMAGE, (0, 1, 2), MEASURED, head=HEAD))

    np.testing.assert_array_equal(
        rows.morphometry, np.float32([[0.5, UNKNOWN, -1.25, 0.125, *[UNKNOWN] * 4]] * 3)
    )
    np.testing.assert_array_equal(rows.head, np.stack([HEAD] * 3))


def test_rows_are_as_they_are():
    rows = ViewBatch(IMAGE[np.newaxis], np.ones(1, np.float32))

    assert rows_of(rows) is rows
    assert stacked([rows]) is rows


def test_rows_of_several_questions_lie_one_after_the_other_with_nothing_for_those_that_have_none():
    plain = ViewBatch(IMAGE[np.newaxis], np.ones(1, np.float32))
    rows = stacked([plain, CellViews(IMAGE, (1, 7), MEASURED, head=HEAD)])

    np.testing.assert_array_equal(rows.images, np.stack([IMAGE, IMAGE[:, ::-1], IMAGE]))
    np.testing.assert_array_equal(rows.gain, np.float32([1.0, 1.0, 0.9]))
    np.testing.assert_array_equal(
        rows.morphometry, np.float32([[UNKNOWN] * 8, *[[0.5, UNKNOWN, -1.25, 0.125, *[UNKNOWN] * 4]] * 2])
    )
    np.testing.assert_array_equal(rows.head, np.stack([np.zeros_like(HEAD), HEAD, HEAD]))


def test_a_part_of_a_question_is_about_some_of_its_rows():
    cell = CellViews(IMAGE, (0, 1, 2, 3), MEASURED, head=HEAD)

    for part in (cell.part(1, 3), rows_of(cell).part(1, 3)):
        rows, expected = rows_of(part), rows_of(CellViews(IMAGE, (1, 2), MEASURED, head=HEAD))
        np.testing.assert_array_equal(rows.images, expected.images)
        np.testing.assert_array_equal(rows.morphometry, expected.morphometry)
        np.testing.assert_array_equal(rows.head, expected.head)


def test_no_two_views_are_alike():
    images = {(view.apply(IMAGE).tobytes(), view.gain) for view in VIEWS}

    assert len(images) == 8
