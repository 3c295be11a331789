import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.edge.access.rate_limits import RateLimits, peer_name
from orchestrator.edge.access.security import RateLimited


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def limits(requests: int = 3, window_s: float = 30, max_callers: int = 100) -> tuple[RateLimits, Clock]:
    clock = Clock()
    return RateLimits(requests, window_s, max_callers=max_callers, clock=clock), clock


def test_as_many_as_the_quota_are_let_in_at_once_and_the_next_is_told_when():
    limit, clock = limits()
    assert [limit.take("a").remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(RateLimited) as refused:
        limit.take("a")
    assert refused.value.headers["Retry-After"] == "10"
    assert limit.take("b").remaining == 2  # another caller has their own
    clock.now_s += 10
    assert limit.take("a").remaining == 0
    with pytest.raises(RateLimited):
        limit.take("a")


def test_a_quiet_caller_gets_his_whole_quota_back_and_not_more():
    limit, clock = limits()
    for _ in range(3):
        limit.take("a")
    clock.now_s += 3600
    assert [limit.take("a").remaining for _ in range(3)] == [2, 1, 0]


def test_the_fields_have_the_drafts_syntax():
    limit, _ = limits(100, 60)
    fields = limit.fields(limit.take("a"))
    assert fields == {"RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=99;t=1'}
    limit, _ = limits(1, 60)
    limit.take("a")
    with pytest.raises(RateLimited) as refused:
        limit.take("a")
    assert refused.value.headers["RateLimit"] == '"default";r=0;t=60'
    assert re.fullmatch(r"[1-9][0-9]*", refused.value.headers["Retry-After"])


@given(st.integers(1, 20), st.lists(st.floats(0, 20), min_size=1, max_size=80))
def test_in_any_window_there_are_at_most_twice_the_quota_and_who_waits_as_told_is_let_in(requests, pauses):
    """A bucket gives its content and what flows in meanwhile; never more."""
    limit, clock = limits(requests, 10)
    admitted = []
    for pause in pauses:
        clock.now_s += pause
        try:
            limit.take("a")
        except RateLimited as refused:
            clock.now_s += int(refused.headers["Retry-After"])
            limit.take("a")
        admitted.append(clock.now_s)
    for begin in admitted:
        within = sum(begin <= at_s < begin + 10 for at_s in admitted)
        assert within <= 2 * requests


def test_callers_without_number_take_bounded_memory():
    limit, _ = limits(max_callers=500)
    for number in range(600):
        limit.take(f"warm-{number}")
    tracemalloc.start()
    for number in range(20_000):
        limit.take(f"peer:{number}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 200_000


def test_the_addresses_of_one_subscriber_are_one_caller():
    assert peer_name("2001:db8:1:2::1") == peer_name("2001:db8:1:2:ffff::9")
    assert peer_name("2001:db8:1:2::1") != peer_name("2001:db8:1:3::1")
    assert peer_name("::ffff:192.0.2.7") == peer_name("192.0.2.7")
    assert peer_name("192.0.2.7") != peer_name("192.0.2.8")
    assert peer_name("fe80::1%eth0") == peer_name("fe80::2")
    assert peer_name(None) == peer_name("nonsense") == "peer:unknown"


@pytest.mark.parametrize("wrong", [(0, 60), (1, 0)])
def test_a_limit_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="positive"):
        RateLimits(*wrong)
