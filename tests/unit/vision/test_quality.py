"""Images that deserve a second look are told from those that do not."""

import csv

import cv2
import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.vision.crop import locate_cell
from orchestrator.vision.decode import decode
from orchestrator.vision.nucleus_stain import NucleusStain
from orchestrator.vision.quality import (
    GENERAL_LIMITS,
    QualityLimits,
    assess,
    background,
    clipped_share,
    is_certain,
    sharpness,
)
from tests.synthetic_cells import synthetic_cell_with_masks

CODES = ("too_small", "no_cell", "uncertain_cell", "several_cells", "blurred", "overexposed", "underexposed")


def painted(class_name="Neutrophil", seed=0, size=360):
    """A painted cell with its true size and centre, as keyword arguments of ``assess``."""
    cell = synthetic_cell_with_masks(class_name, seed, size)
    rows, columns = np.nonzero(cell.cell)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1.0
    where = {"cell_size_px": extent, "cell_centre": (float(rows.mean()), float(columns.mean()))}
    return cell.rgb, where


def codes(rgb, **where):
    return tuple(reason.code for reason in assess(rgb, **where))


def with_light(rgb, factor):
    return np.clip(rgb.astype(np.float32) * factor, 0, 255).astype(np.uint8)


class TestPaintedCells:
    @pytest.mark.parametrize("class_name", CLASS_NAMES)
    @pytest.mark.parametrize("seed", range(3))
    def test_a_good_image_gives_no_reason(self, class_name, seed):
        rgb, where = painted(class_name, seed)
        assert codes(rgb, **where) == ()

    def test_the_cell_is_taken_to_be_in_the_middle_where_nobody_says(self):
        rgb, where = painted()
        assert codes(rgb, cell_size_px=where["cell_size_px"]) == ()

    @pytest.mark.parametrize("class_name", CLASS_NAMES)
    def test_blur_is_seen(self, class_name):
        rgb, where = painted(class_name)
        blurred = cv2.GaussianBlur(rgb, (0, 0), 0.04 * where["cell_size_px"])
        assert codes(blurred, **where) == ("blurred",)

    def test_overexposure_is_seen(self):
        rgb, where = painted()
        assert codes(with_light(rgb, 2.5), **where) == ("overexposed",)

    def test_a_pale_nucleus_in_light_that_is_not_clipped_is_no_overexposure(self):
        rgb, where = painted()
        pale = (150 + rgb.astype(np.float32) * 0.35).astype(
            np.uint8
        )  # darkest 160, as a hazy camera tells it
        assert np.percentile(cv2.cvtColor(pale, cv2.COLOR_RGB2GRAY), 1) > 125
        assert codes(pale, **where) == ()

    def test_clipped_glass_around_a_good_cell_is_no_overexposure(self):
        cell = synthetic_cell_with_masks("Neutrophil")
        _, where = painted()
        around = cv2.dilate(cell.cell.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
        rgb = np.where(around[..., np.newaxis], np.uint8(255), cell.rgb)
        assert "overexposed" not in codes(rgb, **where)

    def test_underexposure_is_seen(self):
        rgb, where = painted()
        assert codes(with_light(rgb, 0.4), **where) == ("underexposed",)

    def test_limits_of_the_device_stand_in_for_the_general_ones(self):
        rgb, where = painted()
        own = background(rgb)
        assert "underexposed" in codes(rgb, **where, limits=QualityLimits(min_background=own + 0.01))
        assert "underexposed" not in codes(rgb, **where, limits=QualityLimits(min_background=own - 0.01))
        dim = with_light(rgb, 0.4)
        assert codes(dim, **where, limits=QualityLimits(min_background=0.9 * background(dim))) == ()
        own = sharpness(rgb, **where)
        assert codes(rgb, **where, limits=QualityLimits(min_sharpness=own + 0.01)) == ("blurred",)
        assert codes(rgb, **where, limits=QualityLimits(min_sharpness=own - 0.01)) == ()

    def test_a_missing_cell_is_told(self):
        rgb, _ = painted()
        assert codes(rgb, cell_size_px=None) == ("no_cell",)

    def test_a_cell_that_is_not_certain_is_told(self):
        rgb, where = painted()
        assert codes(rgb, **where, cell_certain=False) == ("uncertain_cell",)

    def test_a_cell_that_is_not_alone_is_told(self):
        rgb, where = painted()
        assert codes(rgb, **where, cell_alone=False) == ("several_cells",)

    @pytest.mark.parametrize(("level", "code"), [(255, "overexposed"), (0, "underexposed")])
    def test_an_empty_frame_is_told(self, level, code):
        frame = np.full((200, 200, 3), level, np.uint8)
        assert codes(frame, cell_size_px=None) == ("no_cell", code)

    def test_a_small_image_is_told_with_its_size(self):
        rgb, where = painted(size=63)
        reasons = assess(rgb, **where)
        assert reasons[0].code == "too_small"
        assert "63 x 63" in reasons[0].message
        assert "too_small" not in codes(painted(size=64)[0], cell_size_px=None)

    def test_a_small_cell_in_a_large_image_is_told(self):
        rgb, _ = painted()
        assert "too_small" in codes(rgb, cell_size_px=39.0)
        assert "too_small" not in codes(rgb, cell_size_px=40.0)

    def test_every_reason_is_a_sentence_and_none_comes_twice(self):
        rgb = np.full((20, 30, 3), 255, np.uint8)
        found = [*assess(rgb, cell_size_px=10.0), *assess(rgb, cell_size_px=None)]
        found += assess(rgb // 3, cell_size_px=10.0, cell_certain=False, cell_alone=False)
        assert {reason.code for reason in found} == set(CODES)
        for reason in found:
            assert reason.message[0].isupper()
            assert reason.message.endswith(".")
        both = codes(rgb, cell_size_px=10.0)
        assert len(set(both)) == len(both)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7)])
    @pytest.mark.parametrize("centre", [None, (0.0, 0.0), (900.0, -50.0)])
    def test_odd_frames_and_centres_outside_them_are_no_error(self, shape, centre):
        rgb = np.full((*shape, 3), 200, np.uint8)
        for size in (None, 0.5, 3000.0):
            assert "too_small" in codes(rgb, cell_size_px=size, cell_centre=centre)

    def test_the_image_is_left_as_it_is(self):
        rgb, where = painted()
        before = rgb.copy()
        rgb.setflags(write=False)
        assess(rgb, **where)
        np.testing.assert_array_equal(rgb, before)


class TestCertainty:
    @pytest.mark.parametrize(
        ("contrast", "hue_contrast", "certain"),
        [(2.5, 0.4, True), (1.2, 0.4, False), (2.5, 0.05, False), (None, None, False)],
    )
    @pytest.mark.parametrize("density", [0.3, 2.0])
    def test_without_limits_of_the_device_red_cells_decide_and_no_density(
        self, contrast, hue_contrast, certain, density
    ):
        assert is_certain(NucleusStain(density, 0.3, contrast, hue_contrast)) is certain

    @pytest.mark.parametrize(
        ("density", "hue", "certain"), [(0.5, 0.6, True), (0.3, 0.6, False), (0.5, 0.2, False)]
    )
    @pytest.mark.parametrize("contrast", [None, 1.0])
    def test_limits_of_the_device_decide_alone(self, density, hue, certain, contrast):
        limits = QualityLimits(min_nucleus_density=0.4, min_nucleus_hue=0.5)
        assert is_certain(NucleusStain(density, hue, contrast, contrast), limits) is certain

    def test_what_nobody_measured_is_not_certain(self):
        assert not is_certain(None)
        assert not is_certain(None, QualityLimits(min_nucleus_density=0.0, min_nucleus_hue=0.0))


class TestSharpness:
    @pytest.mark.parametrize("class_name", CLASS_NAMES)
    def test_it_falls_with_every_step_of_blur(self, class_name):
        rgb, where = painted(class_name)
        size, centre = where["cell_size_px"], where["cell_centre"]
        steps = [
            sharpness(cv2.GaussianBlur(rgb, (0, 0), s * size), size, centre) for s in (0.01, 0.02, 0.03, 0.05)
        ]
        assert steps == sorted(steps, reverse=True)
        assert sharpness(rgb, size, centre) > steps[0]

    def test_it_hardly_depends_on_magnification(self):
        rgb, where = painted()
        blurred = cv2.GaussianBlur(rgb, (0, 0), 3)
        half = cv2.resize(blurred, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        size = where["cell_size_px"]
        assert sharpness(half, size / 2) == pytest.approx(sharpness(blurred, size), rel=0.15)

    def test_it_does_not_depend_on_contrast(self):
        rgb, where = painted()
        pale = (128 + rgb.astype(np.float32) * 0.4).astype(np.uint8)
        size = where["cell_size_px"]
        assert sharpness(pale, size) == pytest.approx(sharpness(rgb, size), rel=0.15)

    def test_noise_does_not_make_up_for_blur(self):
        rgb, where = painted()
        size, noise = where["cell_size_px"], np.random.default_rng(0).normal(0, 3, rgb.shape[:2])
        blurred = cv2.GaussianBlur(rgb, (0, 0), 0.04 * size)
        noisy = np.clip(blurred + noise[..., np.newaxis], 0, 255).astype(np.uint8)
        assert sharpness(noisy, size, where["cell_centre"]) < GENERAL_LIMITS.min_sharpness

    def test_a_huge_frame_costs_no_more_than_the_field_around_the_cell(self):
        rgb, where = painted()
        wide = np.tile(rgb, (8, 8, 1))
        centre = (where["cell_centre"][0] + 4 * 360, where["cell_centre"][1] + 4 * 360)
        here = sharpness(wide, where["cell_size_px"], centre)
        there = sharpness(
            wide[3 * 360 : 6 * 360, 3 * 360 : 6 * 360],
            where["cell_size_px"],
            (centre[0] - 1080, centre[1] - 1080),
        )
        assert here == there


def test_clipped_share_counts_the_core_of_the_cell():
    rgb = np.full((100, 100, 3), 100, np.uint8)
    rgb[:50, :, :2] = 255  # two channels clipped in the upper half
    assert clipped_share(rgb, 50.0) == pytest.approx(0.5, abs=0.02)
    rgb[..., 1] = 100  # one channel alone
    assert clipped_share(rgb, 50.0) == 0
    assert clipped_share(rgb, 20.0, (80.0, 50.0)) == 0


@pytest.fixture(scope="module")
def cells(wbc_data):
    """Every fifth image of Train with its cell's place, by device."""
    with (wbc_data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("Train/")]
    found = {"raabin": [], "barcelona": []}
    for row in sorted(rows, key=lambda row: row["path"])[::5]:
        rgb = decode((wbc_data / row["path"]).read_bytes()).rgb
        cell = locate_cell(rgb)
        where = {"cell_size_px": None}
        if cell is not None:
            where = {
                "cell_size_px": cell.size,
                "cell_centre": (cell.row, cell.column),
                "cell_certain": is_certain(cell.stain),
            }
        found[row["device"]].append((rgb, where))
    assert min(len(images) for images in found.values()) >= 70
    return found


class TestRealCells:
    """The rates that the limits were chosen for."""

    @staticmethod
    def rate(images, code, change=lambda rgb, _: rgb):
        return np.mean([code in codes(change(rgb, where["cell_size_px"]), **where) for rgb, where in images])

    @pytest.mark.parametrize("device", ["raabin", "barcelona"])
    @pytest.mark.parametrize("code", CODES)
    def test_hardly_any_good_image_is_flagged(self, cells, device, code):
        images = cells[device]
        assert self.rate(images, code) <= max(0.01, 1 / len(images))

    @pytest.mark.parametrize("device", ["raabin", "barcelona"])
    def test_blur_of_3_percent_of_the_cell_is_flagged(self, cells, device):
        def blur(rgb, size):
            return cv2.GaussianBlur(rgb, (0, 0), 0.03 * size)

        assert self.rate(cells[device], "blurred", blur) >= 0.9

    @pytest.mark.parametrize("device", ["raabin", "barcelona"])
    @pytest.mark.parametrize(("factor", "code"), [(2.5, "overexposed"), (0.5, "underexposed")])
    def test_wrong_light_is_flagged(self, cells, device, factor, code):
        assert self.rate(cells[device], code, lambda rgb, _: with_light(rgb, factor)) >= 0.95
