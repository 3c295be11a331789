"""A network that never sees one device: what it is trained on, what is kept, and how it is scored."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.model_contract import PARTS
from training import left_out
from training.adaptation_table import Seen
from training.datasets import read_split
from training.synthesize import SynthesisPlan, synthesize

STEPS = ("--seeds", "5", "--steps", "2", "--variations", "1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = SynthesisPlan(train_per_class=1, test_per_class=0, negatives_per_kind=0)
    return synthesize(tmp_path_factory.mktemp("painted") / "cells", plan)


@pytest.fixture(scope="module")
def archives(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("left-out")
    left_out.main(["--data-root", str(root), "--output", str(output), *STEPS])
    return output


def test_each_device_is_seen_by_a_network_that_was_trained_without_it(root, archives):
    samples = read_split(root, "Train")
    devices = sorted({sample.device for sample in samples})

    assert sorted(path.stem for path in archives.glob("*.npz")) == [f"{device}-5" for device in devices]
    for device in devices:
        seen = Seen.read(archives / f"{device}-5.npz").examples
        of = [sample for sample in samples if sample.device == device]
        assert list(seen.ids) == [sample.path.name for sample in of]
        assert seen.labels.tolist() == [sample.class_index for sample in of]
        assert seen.features.shape == (len(of), 8, 1280)
        assert np.isfinite(seen.logits).all()
        archive = np.load(archives / f"{device}-5.npz")
        assert archive["evidence"].shape == (len(PARTS), len(of), 5)
        told = archive["network"] + archive["evidence"].sum(axis=0)[:, np.newaxis]
        np.testing.assert_array_equal(archive["logits"], told)
        assert np.ptp(seen.logits[:, :6], axis=1).max() > 1e-3  # the views are views


def test_what_is_there_is_not_trained_again(root, archives, capsys, monkeypatch):
    monkeypatch.setattr(left_out, "train_without", lambda *_args, **_named: pytest.fail("trained again"))

    left_out.main(["--data-root", str(root), "--output", str(archives), *STEPS])

    printed = capsys.readouterr().out
    assert "| network alone | and the size | and the appearance | and the outline |" in printed
    assert "For research use only" in printed


class Late:
    """Late blocks that keep in mind which maps they were shown; tuning adds 1 to their one weight."""

    def __init__(self) -> None:
        self.places: set[int] = set()
        self.weight = np.zeros(1)
        self.head: list[np.ndarray] = []

    def predict_on_batch(self, maps):
        self.places |= set(maps.ravel().astype(int))
        return {"features": np.zeros((len(maps), 4), np.float32)}

    def compile(self, *_args, **_named):
        pass

    def fit(self, batches, **_named):
        for index in range(len(batches)):
            self.places |= set(batches[index][0].ravel().astype(int))
        self.weight = self.weight + 1

    def get_layer(self, _name):
        return self

    def get_weights(self):
        return [self.weight]

    def set_weights(self, weights):
        if len(weights) == 2:
            self.head = weights
        else:
            [self.weight] = weights


def test_no_batch_holds_an_image_of_a_device_that_is_left_out_or_aside(root):
    samples = read_split(root, "Train")
    devices = sorted({sample.device for sample in samples})
    maps = np.arange(len(samples), dtype=np.float16).reshape(-1, 1, 1)
    for unseen in ({devices[0]}, set(devices[:-1])):
        late = Late()
        left_out.train_without(late, maps, samples, unseen, steps=30, seed=1)
        assert late.places == {i for i, sample in enumerate(samples) if sample.device not in unseen}


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_weights_stay_as_far_from_the_trained_head_alone_as_is_asked_for(root, share):
    samples, late = read_split(root, "Train"), Late()
    maps = np.arange(len(samples), dtype=np.float16).reshape(-1, 1, 1)

    left_out.train_without(late, maps, samples, {samples[0].device}, steps=2, seed=1, tuned_share=share)

    assert [weights.shape for weights in late.head] == [(4, 5), (5,)]
    assert late.weight == share


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--aside", "nowhere"), "--aside names nowhere"), (("--tuned-share", "2"), "tuned-share of 0 to 1")],
)
def test_what_cannot_be_meant_is_refused(root, tmp_path, words, told, capsys):
    with pytest.raises(SystemExit):
        left_out.main(["--data-root", str(root), "--output", str(tmp_path), *words])
    assert told in capsys.readouterr().err


def test_variations_of_other_images_are_refused(tmp_path):
    np.save(tmp_path / "maps.npy", np.zeros((3, 1, 2, 2, 2), np.float16))

    with pytest.raises(SystemExit, match="variations of other images"):
        left_out.varied_maps(None, [None] * 4, 1, tmp_path / "maps.npy")


def test_every_cell_counts_once_and_a_class_of_few_cells_not_at_all():
    labels = np.array([0] * 10 + [1] * 20 + [2] * 3)
    cells = np.array([f"a{i}" for i in range(10)] + ["b0"] * 11 + [f"b{i}" for i in range(1, 10)] + ["c"] * 3)
    logits = np.eye(5)[labels]
    logits[10:21] = np.eye(5)[0]  # one cell of the second class, in eleven images

    score = left_out.scores([logits], labels, cells)

    assert score.value == pytest.approx((1 + 0.9) / 2)
    assert score.low < score.value < score.high <= 1


def test_the_variations_are_those_of_the_shipped_settings():
    augmentation = left_out.shipped_augmentation()

    assert (augmentation.crop_scale_jitter, augmentation.anchor_prob) == ((0.8, 1.3), 0.8)
    assert augmentation.stain_jitter_prob == 0.4
