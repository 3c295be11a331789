"""What the measures of a cell speak for."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES, UNKNOWN
from training.datasets import Sample
from training.morphometric_evidence import (
    LIMITS,
    MorphometricEvidence,
    fit_evidence,
    morphometry_of,
    terms,
)

MEANS = np.array(
    [
        [0.6, 1.0, -0.6, 0.1, -2.1, -0.8, -0.4, 0.8],
        [0.2, -0.4, -1.0, -0.4, -1.6, -0.9, -0.6, 0.6],
        [0.35, 1.4, -0.7, 0.4, -3.2, -0.2, -0.1, 0.9],
        [0.55, 0.2, -0.9, 0.3, -2.2, -0.6, -0.3, 0.7],
        [0.2, -0.2, -1.4, -0.1, -1.5, -1.1, -0.7, 0.7],
    ]
)
"""Of each measure, in the order of the contract, in each class."""
SIZE_DEVIATION = 0.1
COVARIANCE = np.diag([0.3, 0.2, 0.1, 0.3, 0.1, 0.05, 0.03])
COVARIANCE[:3, :3] += [[0, -0.05, 0.02], [-0.05, 0, 0.04], [0.02, 0.04, 0]]
APPEARANCE, OUTLINE = slice(0, 3), slice(3, 7)
"""Of all measures but the size."""


def cells(devices=("a", "b"), count=400, shift=0.0):
    random = np.random.default_rng(0)
    samples, measured = [], []
    for number, device in enumerate(devices):
        for index, mean in enumerate(MEANS):
            samples += [Sample(Path(f"{device}{index}{i}.png"), index, device) for i in range(count)]
            size = random.normal(mean[0], SIZE_DEVIATION, (count, 1))
            rest = random.multivariate_normal(mean[1:], COVARIANCE, count)
            measured.append(np.concatenate([size, rest], axis=1) + number * shift)
    return samples, np.concatenate(measured)


def centred(values):
    return values - values.mean(axis=-1, keepdims=True)


def test_terms_are_the_products_in_the_order_of_the_contract():
    np.testing.assert_array_equal(terms(np.array([[2.0]])), [[1, 2, 4]])
    np.testing.assert_array_equal(terms(np.array([[2.0, 3.0, 5.0]])), [[1, 2, 3, 5, 4, 6, 10, 9, 15, 25]])


def test_the_evidence_of_the_size_is_its_log_density_in_each_class():
    table = fit_evidence(*cells(count=2000)).size

    for size in (0.1, 0.4, 0.7):
        log_density = -((size - MEANS[:, 0]) ** 2) / (2 * SIZE_DEVIATION**2)
        got = np.array([1, size, size**2]) @ table
        np.testing.assert_allclose(centred(got), centred(log_density), atol=0.6)
        assert CLASS_NAMES[int(got.argmax())][0] in {0.1: "EN", 0.4: "L", 0.7: "B"}[size]


@pytest.mark.parametrize(
    ("name", "of", "weight"), [("appearance", APPEARANCE, 0.5), ("outline", OUTLINE, 0.25)]
)
def test_the_evidence_of_a_part_is_its_log_density_in_each_class_by_its_weight(name, of, weight):
    evidence = fit_evidence(*cells(count=4000))
    means = MEANS[:, 1:][:, of]
    places = np.random.default_rng(1).uniform(means.min(axis=0), means.max(axis=0), (50, means.shape[1]))

    got = terms(places) @ getattr(evidence, name)

    away = places[:, None] - means
    log_density = -0.5 * np.einsum("nki,ij,nkj->nk", away, np.linalg.inv(COVARIANCE[of, of]), away)
    np.testing.assert_allclose(centred(got), weight * centred(log_density), atol=0.4)
    assert np.ptp(log_density, axis=1).mean() > 10 * 0.4


@pytest.mark.parametrize(
    ("part", "places"), [(1, slice(1, 4)), (2, slice(4, 8))], ids=["appearance", "outline"]
)
def test_a_part_lets_no_class_fall_further_behind_than_the_limit(part, places):
    evidence = fit_evidence(*cells())
    strange = np.array([[0.5, 3.0, -3.0, 1.5, 0.0, -3.0, -2.0, 0.0], MEANS[0]])

    got = evidence.added(strange)[part]

    free = terms(strange[:, places]) @ evidence[part]
    assert np.ptp(free[0]) > 2 * LIMITS[part]
    np.testing.assert_allclose(
        got, np.maximum(free, free.max(axis=1, keepdims=True) - LIMITS[part]), atol=1e-4
    )
    assert np.ptp(got[0]) == pytest.approx(LIMITS[part], abs=1e-4)


def test_a_class_that_varies_otherwise_is_taken_a_third_of_the_way_to_the_mean_of_all():
    samples, measured = cells(count=20000, devices=("a",))
    lymphocytes = np.array([sample.class_index == 2 for sample in samples])
    spread = np.array([1, 2, 1, 1, 1, 1, 1, 1])  # of the nucleus' share
    measured[lymphocytes] = MEANS[2] + spread * (measured[lymphocytes] - MEANS[2])

    table = fit_evidence(samples, measured).appearance

    scale, covariance = np.diag(spread[1:4]), COVARIANCE[APPEARANCE, APPEARANCE]
    own = scale @ covariance @ scale
    pooled = (4 * covariance + own) / 5
    precision = np.linalg.inv(0.7 * own + 0.3 * pooled)
    np.testing.assert_allclose(
        table[4:, 2], -precision[np.triu_indices(3)] * [0.25, 0.5, 0.5, 0.25, 0.5, 0.25], rtol=0.1
    )


def test_on_average_the_true_class_is_neither_raised_nor_lowered():
    samples, measured = cells()
    evidence = fit_evidence(samples, measured)
    truth = [sample.class_index for sample in samples]

    parts = measured[:, :1], measured[:, 1:4], measured[:, 4:]
    for part, table in zip(parts, evidence, strict=True):
        of_truth = (terms(part) @ table)[np.arange(len(truth)), truth]
        assert np.abs(of_truth).max() > 0.5
        assert np.mean(of_truth) == pytest.approx(0, abs=1e-3)


def test_devices_that_disagree_make_it_less_sure():
    agreeing, apart = (fit_evidence(*cells(shift=shift)) for shift in (0.0, 0.6))

    assert (np.abs(apart.size[2]) < 0.5 * np.abs(agreeing.size[2])).all()
    for name, of_squares in (("appearance", [4, 7, 9]), ("outline", [5, 9, 12, 14])):
        table, agreed = getattr(apart, name), getattr(agreeing, name)
        assert (np.abs(table[of_squares]) < np.abs(agreed[of_squares])).all()


def test_unknown_measures_and_further_images_of_a_cell_count_for_nothing():
    samples, measured = cells()
    one_cell = [Sample(Path(f"x{i}.png"), 0, "a", cell="x") for i in range(1000)]

    def with_one_cell(*measures):
        return fit_evidence([*samples, *one_cell], np.concatenate([measured, np.tile(measures, (1000, 1))]))

    nothing_known, size_alone = with_one_cell(*[UNKNOWN] * 8), with_one_cell(0.9, 1, np.nan, 1, *[np.nan] * 4)
    thousand_images = with_one_cell(0.9, 2.0, -2.0, 0.9, -1.0, -1.5, -0.9, 0.3)

    for got, expected in zip(nothing_known, fit_evidence(samples, measured), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    for got, expected in zip(size_alone[1:], nothing_known[1:], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(thousand_images.size[2], nothing_known.size[2], rtol=0.1)
    np.testing.assert_allclose(
        thousand_images.appearance[4:], nothing_known.appearance[4:], rtol=0.15, atol=0.1
    )


def test_without_enough_known_measures_of_every_class_there_is_no_evidence():
    def speaks(evidence):
        return [bool(table.any()) for table in evidence]

    samples, measured = cells(count=10)
    assert speaks(fit_evidence(*cells(count=9))) == [False] * 3
    assert speaks(fit_evidence(samples, measured)) == [True] * 3
    measured[[sample.class_index == 3 for sample in samples], 2] = UNKNOWN
    assert speaks(fit_evidence(samples, measured)) == [True, False, True]


def test_evidence_adds_nothing_where_a_measure_is_unknown():
    evidence = MorphometricEvidence(*(np.ones((rows, 5), np.float32) for rows in (3, 10, 15)))
    first = np.array([[UNKNOWN, 0, 0, 0], [0, 0, np.nan, 0], [UNKNOWN, 0, 0, -60], [0, 0, 0, 0]])

    added = evidence.added(np.concatenate([first, [[0, 0, 0, 0], [0, 0, 0, np.nan]] * 2], axis=1))

    np.testing.assert_array_equal(added[..., 0], [[0, 1, 0, 1], [1, 0, 0, 1], [1, 0, 1, 0]])


def test_samples_are_measured_as_they_are_served(tmp_path, synthetic_cell):
    import cv2

    from orchestrator.profiles import load_profiles
    from orchestrator.vision.preprocessing import preprocess

    rgb = synthetic_cell("Neutrophil", seed=1)
    for name, image in (("cell", rgb), ("nothing", np.full_like(rgb, 230))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[:, :, ::-1])

    measured = morphometry_of([Sample(tmp_path / f"{name}.png", 4) for name in ("cell", "nothing")])

    served = preprocess(rgb, load_profiles()["default"].recipe).morphometry.places()
    np.testing.assert_array_equal(measured, np.float32([served, [UNKNOWN] * 8]))
    assert (served > UNKNOWN).all()
