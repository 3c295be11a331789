"""Fitting what tells by its features whether a cell is of a device."""

import numpy as np
import pytest

from orchestrator.cell_features import device_statistics
from orchestrator.domain import ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import load_profiles
from training.device_features import (
    DeviceCells,
    fit_features,
    write_features,
    write_projection,
)

MODEL = ModelIdentity("wbc", 7, "ab" * 32)


def painted_cells(shift: float, count: int = 200) -> DeviceCells:
    """Two devices whose cells lie ``shift`` apart along one feature, and classes along others."""
    random = np.random.default_rng(1)
    classes = random.integers(0, 5, 2 * count)
    features = random.normal(size=(2 * count, 200))
    features[np.arange(2 * count), classes] += 4
    devices = np.repeat(["one", "two"], count)
    features[devices == "two", 150] += shift
    return DeviceCells(features, classes, devices, np.array([f"c{i}" for i in range(2 * count)]))


def shares(cells: DeviceCells, of: str, by: str) -> float:
    kept, statistics = fit_features(cells, MODEL)
    own = cells.devices == of
    places = kept.place(cells.features[own].astype(np.float32))
    return float(
        np.mean([statistics[by].include(p, c) for p, c in zip(places, cells.classes[own], strict=True)])
    )


def test_cells_of_a_device_fit_it_and_those_of_another_do_not():
    cells = painted_cells(shift=8)

    assert shares(cells, "one", "one") > 0.85
    assert shares(cells, "two", "two") > 0.85
    assert shares(cells, "one", "two") < 0.1


def test_devices_that_do_not_differ_fit_each_other():
    assert shares(painted_cells(shift=0), "one", "two") > 0.5


def test_one_device_alone_has_nothing_to_differ_from():
    cells = painted_cells(shift=8)
    with pytest.raises(ConfigurationError, match="two devices"):
        fit_features(cells.part(cells.devices == "one"), MODEL)


def test_what_is_written_reads_back_and_replaces_what_was_there(tmp_path):
    kept, statistics = fit_features(painted_cells(shift=8), MODEL)
    path = tmp_path / "mine.toml"
    path.write_text(
        'description = "Mine."\ntta = "none"\n[preprocessing]\nversion = "v6"\ncrop_scale = 1.4\n'
        '[routing]\nmode = "none"\nreview_threshold = 0.6\n[features]\nmodel_version = 1\n'
        "means = []\nlimits = []\n[quality]\nmin_sharpness = 0.4\n"
    )
    write_features(path, statistics["one"], "of 200 cells")
    write_features(path, statistics["two"], "of 200 cells")
    write_projection(tmp_path / "kept.npz", kept)

    profile = load_profiles(tmp_path)["mine"]
    assert profile.features == statistics["two"]
    assert profile.quality.min_sharpness == 0.4
    with np.load(tmp_path / "kept.npz") as read:
        assert (int(read["model_version"]), str(read["model_sha256"])) == (7, "ab" * 32)
        np.testing.assert_array_equal(read["directions"], kept.directions)


def test_one_more_device_is_told_by_directions_that_are_there():
    """Of the cells of a third device that lies elsewhere along a direction in which the others differ."""
    kept, statistics = fit_features(painted_cells(shift=8), MODEL)
    other = painted_cells(shift=8, count=400)
    places = kept.place(other.features.astype(np.float32)) + 5

    of_first = device_statistics(places[:200], other.classes[:200], kept)
    assert of_first is not None
    assert of_first.model_version == 7

    def fitting(cells, by):
        return np.mean([by.include(places[i], other.classes[i]) for i in cells])

    assert 0.85 < fitting(range(200, 400), of_first) < 0.95  # cells that it never saw
    assert fitting(range(400, 800), of_first) < 0.1
    assert fitting(range(200, 400), statistics["one"]) < 0.1


def test_of_fewer_than_fifty_cells_there_are_no_statistics():
    kept, _ = fit_features(painted_cells(shift=8), MODEL)
    assert device_statistics(np.zeros((49, 4)), np.zeros(49, int), kept) is None
