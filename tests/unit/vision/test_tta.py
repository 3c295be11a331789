"""The eight views and their inverses."""

import numpy as np
import pytest

from orchestrator.domain import CellViews, ViewBatch
from orchestrator.views import VIEWS, rows_of
from orchestrator.vision.tta import CODES, FIRST_CODES, OTHER_CODES, TtaMode, restore

PIXELS = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def stack(mode: TtaMode) -> ViewBatch:
    return rows_of(CellViews(PIXELS, CODES[mode]))


def test_light_tta_has_the_references_views_in_its_order():
    views = stack("light")

    expected = [
        PIXELS,
        PIXELS[:, ::-1],
        PIXELS[::-1],
        np.rot90(PIXELS, 1),
        np.rot90(PIXELS, 2),
        np.rot90(PIXELS, 3),
        PIXELS,
        PIXELS,
    ]
    np.testing.assert_array_equal(views.images, np.stack(expected))
    np.testing.assert_allclose(views.gain, [1, 1, 1, 1, 1, 1, 1.1, 0.9], rtol=1e-6)


def test_without_tta_there_is_one_view():
    views = stack("none")

    np.testing.assert_array_equal(views.images, PIXELS[np.newaxis])
    assert views.gain.tolist() == [1.0]


def test_adaptive_looks_at_the_identity_first_and_its_two_looks_are_light():
    assert FIRST_CODES["adaptive"] == (0,)
    assert FIRST_CODES["adaptive"] + OTHER_CODES == CODES["light"] == FIRST_CODES["light"]


@pytest.mark.parametrize("mode", ["none", "light", "adaptive"])
def test_every_view_is_undone_by_its_inverse(mode):
    scene = np.random.default_rng(1).random((7, 7)).astype(np.float32)

    restored = restore([VIEWS[code].apply(scene) for code in CODES[mode]], mode)

    np.testing.assert_array_equal(restored, np.stack([scene] * len(CODES[mode])))


def test_adaptive_has_one_map_or_all():
    scene = np.random.default_rng(1).random((1, 7, 7)).astype(np.float32)

    np.testing.assert_array_equal(restore(scene, "adaptive"), scene)
    with pytest.raises(ValueError, match="expected 8 maps"):
        restore(np.zeros((2, 7, 7), np.float32), "adaptive")


def test_a_missing_map_is_an_error():
    with pytest.raises(ValueError, match="expected 8 maps"):
        restore(np.zeros((7, 7, 7), np.float32), "light")
