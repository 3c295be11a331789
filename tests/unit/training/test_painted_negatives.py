import numpy as np
import pytest

from orchestrator.painting.looks import LOOKS
from orchestrator.vision.crop import locate_cell
from orchestrator.vision.quality import is_certain
from training.painted_negatives import NEGATIVES, paint_negative


@pytest.mark.parametrize("kind", NEGATIVES)
def test_a_negative_has_the_size_of_its_look_and_no_white_cell(kind):
    random = np.random.default_rng(1)
    look = LOOKS["camera"](random)

    image = paint_negative(kind, look, random)

    assert image.shape == (look.frame_px, look.frame_px, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("kind", ["red cells", "empty field"])
def test_where_there_is_no_nucleus_hardly_any_is_certain(kind):
    found = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        cell = locate_cell(paint_negative(kind, LOOKS["scanner"](random), random))
        found += cell is not None and is_certain(cell.stain)

    assert found <= 3


def test_a_kind_that_nobody_paints_is_an_error():
    random = np.random.default_rng(0)

    with pytest.raises(KeyError):
        paint_negative("cats", LOOKS["scanner"](random), random)
