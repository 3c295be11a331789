"""Exact intervals, against published figures, an independent implementation and their definition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc, betaincinv

from orchestrator.common.binomial_interval import (
    beta_quantile,
    clopper_pearson,
    incomplete_beta,
    lower_bound,
    upper_bound,
)

# CLSI H20-A2's practice of 100 and 200 cells; percent.
PUBLISHED = [
    (1, 100, 0.0, 5.4),
    (2, 200, 0.1, 3.6),
    (5, 100, 1.6, 11.3),
    (10, 200, 2.4, 9.0),
    (60, 100, 49.7, 69.7),
    (120, 200, 52.9, 66.8),
]


@pytest.mark.parametrize(("count", "total", "low", "high"), PUBLISHED)
def test_the_published_limits_are_met(count, total, low, high):
    assert [round(100 * limit, 1) for limit in clopper_pearson(count, total)] == [low, high]


@pytest.mark.parametrize("total", [1, 2, 7, 100, 213, 400, 1000, 20_000])
def test_every_interval_agrees_with_scipy(total):
    for count in {*range(min(total, 40) + 1), total // 3, total // 2, total - 1, total}:
        low, high = clopper_pearson(count, total)
        expected_low = 0.0 if count == 0 else betaincinv(count, total - count + 1, 0.025)
        expected_high = 1.0 if count == total else betaincinv(count + 1, total - count, 0.975)
        assert low == pytest.approx(expected_low, rel=1e-9, abs=1e-15)
        assert high == pytest.approx(expected_high, rel=1e-9)


def binomial_cdf(count: int, total: int, share: float) -> float:
    """P(X <= count), summed term by term: the definition that the limits are made of."""
    return math.fsum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count + 1))


@pytest.mark.parametrize("count", [1, 7, 30, 59])
def test_the_limits_leave_a_fortieth_on_either_side(count):
    low, high = clopper_pearson(count, 60)
    assert 1 - binomial_cdf(count - 1, 60, low) == pytest.approx(0.025, abs=1e-10)
    assert binomial_cdf(count, 60, high) == pytest.approx(0.025, abs=1e-10)


@given(total=st.integers(1, 5000), data=st.data())
def test_intervals_hold_the_share_and_mirror_each_other(total, data):
    count = data.draw(st.integers(0, total))
    low, high = clopper_pearson(count, total)
    assert 0 <= low <= count / total <= high <= 1
    mirrored_low, mirrored_high = clopper_pearson(total - count, total)
    assert (1 - high, 1 - low) == pytest.approx((mirrored_low, mirrored_high), abs=1e-9)


def test_nothing_and_everything_have_one_sided_limits():
    assert clopper_pearson(0, 100)[0] == 0.0
    assert clopper_pearson(100, 100)[1] == 1.0
    # For no event the upper limit is known in closed form: 1 - 0.025^(1/n).
    assert clopper_pearson(0, 100)[1] == pytest.approx(1 - 0.025**0.01, rel=1e-12)


def test_a_higher_confidence_widens():
    low, high = clopper_pearson(5, 100)
    lower, higher = clopper_pearson(5, 100, 0.99)
    assert lower < low < high < higher


@pytest.mark.parametrize(("count", "total"), [(1, 7), (96, 98), (98, 99), (299, 300)])
def test_one_sided_limits_agree_with_scipy(count, total):
    assert lower_bound(count, total) == pytest.approx(betaincinv(count, total - count + 1, 0.05), rel=1e-9)
    assert upper_bound(count, total) == pytest.approx(betaincinv(count + 1, total - count, 0.95), rel=1e-9)


def test_one_sided_limits_of_nothing_and_everything_are_closed_forms():
    assert lower_bound(99, 99) == pytest.approx(0.05 ** (1 / 99), rel=1e-12)
    assert upper_bound(0, 99) == pytest.approx(1 - 0.05 ** (1 / 99), rel=1e-12)
    assert (lower_bound(0, 99), upper_bound(99, 99)) == (0.0, 1.0)


@given(x=st.floats(0, 1), a=st.floats(0.5, 3000), b=st.floats(0.5, 3000))
def test_the_incomplete_beta_function_agrees_with_scipy(x, a, b):
    assert incomplete_beta(x, a, b) == pytest.approx(float(betainc(a, b, x)), abs=1e-10)


def test_the_quantile_undoes_the_distribution():
    for probability in (1e-6, 0.025, 0.5, 0.975, 1 - 1e-6):
        x = beta_quantile(probability, 3, 400)
        assert incomplete_beta(x, 3, 400) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(("count", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(count, total):
    with pytest.raises(ValueError, match="expected 0 <= count"):
        clopper_pearson(count, total)
