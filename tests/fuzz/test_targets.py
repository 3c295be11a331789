"""A short fuzzing run in every suite: all that reads bytes of others, with seeds and changed seeds."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.guided import GUIDES
from tests.fuzz.mutation import mutations
from tests.fuzz.targets import TARGETS

MAX_CPU_S = 5.0


def test_every_target_has_a_guide():
    assert set(GUIDES) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read_or_refused(name):
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_seeds_are_read_or_refused(name):
    target = TARGETS[name]

    @settings(max_examples=120, suppress_health_check=list(HealthCheck), database=None)
    @given(mutations(target.seeds()))
    def run(data: bytes) -> None:
        begun_s = time.process_time()
        target.run(data)
        assert time.process_time() - begun_s < MAX_CPU_S

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes_are_read_or_refused(name):
    @settings(max_examples=60, database=None)
    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        TARGETS[name].run(data)

    run()
