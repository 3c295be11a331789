"""Choosing what a person should look at, on cells whose errors are known."""

import numpy as np
import pytest

from training.review import accuracy_of_the_rest, area_under_risk, fit_review_ranking

RANDOM = np.random.default_rng(3)
CONFIDENCES = RANDOM.uniform(0.3, 1, 400)
ENERGIES = RANDOM.normal(-8, 2, 400)


def test_where_the_errors_have_high_energy_the_energy_gets_the_say():
    ranking = fit_review_ranking(CONFIDENCES, ENERGIES, np.quantile(ENERGIES, 0.9) > ENERGIES)

    assert ranking.energy_weight == 1.0
    doubt = ranking.doubt(CONFIDENCES, ENERGIES)
    assert (np.argsort(doubt) == np.argsort(ENERGIES)).all()


def test_where_the_errors_are_unsure_the_confidence_gets_the_say():
    ranking = fit_review_ranking(CONFIDENCES, ENERGIES, np.quantile(CONFIDENCES, 0.1) < CONFIDENCES)

    assert ranking.energy_weight == 0.0


def test_errors_of_both_kinds_are_found_best_by_both():
    wrong = (np.quantile(CONFIDENCES, 0.1) > CONFIDENCES) | (np.quantile(ENERGIES, 0.9) < ENERGIES)

    ranking = fit_review_ranking(CONFIDENCES, ENERGIES, ~wrong)

    assert 0 < ranking.energy_weight < 1
    both = ranking.doubt(CONFIDENCES, ENERGIES)
    for alone in (-CONFIDENCES, ENERGIES):
        assert area_under_risk(both, ~wrong) < area_under_risk(alone, ~wrong)


def test_doubt_about_other_images_is_their_rank_among_the_reference():
    ranking = fit_review_ranking([0.5, 0.9], [-9.0, -3.0], [False, True], weights=(0.25,))

    assert ranking.doubt([1.0, 0.5, 0.0], [-10.0, -3.0, 0.0]) == pytest.approx(
        [0, 0.75 * 0.75 + 0.25 * 0.75, 1]
    )


def test_the_rest_is_what_remains_without_the_most_doubtful():
    right = [True] * 8 + [False, False]
    doubt = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.4, 0.9]

    assert accuracy_of_the_rest(doubt, right, 0.0) == pytest.approx(0.8)
    assert accuracy_of_the_rest(doubt, right, 0.1) == pytest.approx(8 / 9)
    assert accuracy_of_the_rest(doubt, right, 0.3) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="to remain"):
        accuracy_of_the_rest(doubt, right, 1.0)


def test_the_area_is_the_mean_error_of_the_least_doubtful():
    assert area_under_risk([0.0, 0.1, 0.2], [True, False, True]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_a_ranking_needs_images():
    with pytest.raises(ValueError, match="at least one image"):
        fit_review_ranking([], [], [])
