"""What a nucleus' size in red cells speaks for."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES
from training.datasets import Sample
from training.size_evidence import fit_size_evidence

MEANS = (0.6, 0.2, 0.35, 0.55, 0.2)
DEVIATION = 0.1


def cells(devices=("a", "b"), count=400, shift=0.0):
    random = np.random.default_rng(0)
    samples, sizes = [], []
    for number, device in enumerate(devices):
        for index, mean in enumerate(MEANS):
            samples += [Sample(Path(f"{device}{index}{i}.png"), index, device) for i in range(count)]
            sizes += list(random.normal(mean + number * shift, DEVIATION, count))
    return samples, np.array(sizes)


def evidence_for(size, table):
    return np.array([1, size, size**2]) @ table


def test_the_evidence_is_the_log_density_of_the_size_in_each_class():
    table = fit_size_evidence(*cells())

    for size in (0.1, 0.4, 0.7):
        log_density = -((size - np.array(MEANS)) ** 2) / (2 * DEVIATION**2)
        got = evidence_for(size, table)
        np.testing.assert_allclose(got - got.mean(), log_density - log_density.mean(), atol=0.6)
        assert CLASS_NAMES[int(got.argmax())][0] in {0.1: "EN", 0.4: "L", 0.7: "B"}[size]


def test_on_average_the_true_class_is_neither_raised_nor_lowered():
    samples, sizes = cells()
    table = fit_size_evidence(samples, sizes)

    of_truth = [
        evidence_for(size, table)[sample.class_index] for sample, size in zip(samples, sizes, strict=True)
    ]

    assert np.mean(of_truth) == pytest.approx(0, abs=1e-3)


def test_devices_that_disagree_make_it_less_sure():
    agreeing, apart = (fit_size_evidence(*cells(shift=shift)) for shift in (0.0, 0.3))

    assert (np.abs(apart[2]) < 0.5 * np.abs(agreeing[2])).all()


def test_unknown_sizes_and_further_images_of_a_cell_count_for_nothing():
    samples, sizes = cells()
    one_cell = [Sample(Path(f"x{i}.png"), 0, "a", cell="x") for i in range(1000)]

    with_more = fit_size_evidence([*samples, *one_cell], np.concatenate([sizes, np.full(1000, np.nan)]))

    np.testing.assert_allclose(with_more, fit_size_evidence(samples, sizes), rtol=1e-5)
    thousand_images = fit_size_evidence([*samples, *one_cell], np.concatenate([sizes, np.full(1000, 0.9)]))
    np.testing.assert_allclose(thousand_images[2], with_more[2], rtol=0.1)


def test_without_enough_known_sizes_of_every_class_there_is_no_evidence():
    assert fit_size_evidence(*cells(count=9)) is None
    assert fit_size_evidence(*cells(count=10)) is not None
