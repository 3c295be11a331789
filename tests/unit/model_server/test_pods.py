"""Whom of several pods a question goes to, who is left alone, and how they are found."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import grpc
import pytest

from orchestrator.common.circuit_breaker import BreakerState, CircuitBreaker, Verdict
from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.errors import ModelServerError, ModelServerUnavailable
from orchestrator.model_server.base import CircuitOpen
from orchestrator.model_server.pods import Pod, Pods, addresses_of, name_of
from orchestrator.model_server.wire import Wire
from tests.waiting import becomes


class Line:
    """A channel that is open, or not, as a test says."""

    def __init__(self) -> None:
        self.state = grpc.ChannelConnectivity.READY
        self.closed = False

    def get_state(self, try_to_connect: bool) -> grpc.ChannelConnectivity:
        assert try_to_connect
        return self.state

    def unary_unary(self, path: str) -> str:
        return path

    async def close(self, grace: float | None = None) -> None:  # noqa: ARG002 (the channel's signature)
        self.closed = True


class Cluster:
    """Pods, their lines, and what the DNS says of them."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: list[str] | OSError = list(addresses)
        self.lines: dict[str, Line] = {}
        self.told: list[tuple[BreakerState, int, int]] = []
        self.failing: set[str] = set()
        self.probed: list[str] = []
        self.pods = Pods(
            "tf-serving:8500",
            open_line=self._open,
            new_breaker=self._new_breaker,
            probe=self._probe,
            probe_every_s=0.01,
            observe=lambda *told: self.told.append(told),
            look_up=self._look_up,
        )

    def _open(self, address: str) -> tuple[grpc.aio.Channel, Wire]:
        line = self.lines[address] = Line()
        return cast(grpc.aio.Channel, line), cast(Wire, line)

    def _new_breaker(self, observe: Callable[[BreakerState], None]) -> CircuitBreaker:
        return CircuitBreaker(lambda: CircuitOpen("open"), min_calls=1, open_s=0.0, observe=observe)

    async def _look_up(self, target: str) -> list[str]:
        assert target == "tf-serving:8500"
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses

    async def _probe(self, pod: Pod) -> None:
        self.probed.append(pod.address)
        assert remaining_s() is None
        with pod.asked(lambda _: Verdict.FAILED):
            if pod.address in self.failing:
                raise ModelServerError("hangs")

    def chosen(self, tried: tuple[Pod, ...] = ()) -> str:
        return self.pods.choose(tried).address

    def fail(self, pod: Pod) -> None:
        self.failing.add(pod.address)
        with pytest.raises(ModelServerError), pod.asked(lambda _: Verdict.FAILED):
            raise ModelServerError("hangs")


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster("a", "b", "c")
    await cluster.pods.look_up()
    yield cluster
    await cluster.pods.close()
    assert all(line.closed for line in cluster.lines.values())


async def test_calls_go_around(cluster: Cluster):
    assert [cluster.chosen() for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


async def test_a_pod_that_is_behind_gets_no_more_calls_than_it_ends(cluster: Cluster):
    slow = cluster.pods.choose()
    with slow.asked(lambda _: Verdict.NOTHING):
        assert slow.address not in [cluster.chosen() for _ in range(8)]
    assert slow.address in [cluster.chosen() for _ in range(3)]


async def test_a_pod_without_a_line_is_asked_where_no_other_is_left(cluster: Cluster):
    cluster.lines["a"].state = grpc.ChannelConnectivity.CONNECTING
    assert "a" not in [cluster.chosen() for _ in range(6)]
    for line in cluster.lines.values():
        line.state = grpc.ChannelConnectivity.TRANSIENT_FAILURE
    assert {cluster.chosen() for _ in range(6)} == {"a", "b", "c"}


async def test_who_failed_a_question_is_not_asked_it_again_while_others_are_there(cluster: Cluster):
    first = cluster.pods.choose()
    second = cluster.pods.choose((first,))
    third = cluster.pods.choose((first, second))
    assert {first.address, second.address, third.address} == {"a", "b", "c"}
    assert cluster.chosen((first, second, third)) in "abc"


async def test_a_pod_that_fails_is_left_alone_and_the_others_are_not(cluster: Cluster):
    failed = cluster.pods.choose()
    cluster.fail(failed)
    assert failed.address not in [cluster.chosen() for _ in range(6)]
    assert cluster.told[-1] == (BreakerState.CLOSED, 2, 1)


async def test_who_is_left_alone_comes_back_when_it_answers_a_probe_and_no_request_is_spent_on_it(
    cluster: Cluster,
):
    failed = cluster.pods.choose()
    with deadline(0.0):  # of the request that fails; a probe has time of its own
        cluster.fail(failed)
    await becomes(lambda: len(cluster.probed) >= 3)
    assert failed not in cluster.pods.trusted()
    cluster.failing.clear()
    await becomes(lambda: failed in cluster.pods.trusted())
    assert set(cluster.probed) == {failed.address}
    assert cluster.told[-1] == (BreakerState.CLOSED, 3, 0)


async def test_where_all_fail_nobody_is_asked(cluster: Cluster):
    for pod in await cluster.pods.look_up():
        cluster.fail(pod)
    with pytest.raises(CircuitOpen):
        cluster.pods.choose()
    assert cluster.told[-1][1:] == (0, 3)


async def test_added_pods_are_asked_and_those_that_are_gone_are_not(cluster: Cluster):
    cluster.addresses = ["b", "d"]
    await cluster.pods.look_up()
    assert {cluster.chosen() for _ in range(4)} == {"b", "d"}
    await becomes(lambda: cluster.lines["a"].closed)


async def test_a_pod_that_stays_keeps_its_line(cluster: Cluster):
    line = cluster.lines["a"]
    await cluster.pods.look_up()
    assert cluster.lines["a"] is line
    assert not line.closed


async def test_while_the_dns_is_silent_the_pods_stay(cluster: Cluster):
    cluster.addresses = OSError("no answer")
    await cluster.pods.look_up()
    assert {cluster.chosen() for _ in range(6)} == {"a", "b", "c"}


async def test_a_name_that_was_never_found_is_told():
    cluster = Cluster()
    cluster.addresses = OSError("unknown name")
    with pytest.raises(ModelServerUnavailable, match="not found"):
        await cluster.pods.look_up()


async def test_a_pod_that_is_gone_is_probed_no_more(cluster: Cluster):
    cluster.fail(cluster.pods.choose())
    cluster.addresses = ["b"]
    await cluster.pods.look_up()
    asked = len(cluster.probed)
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert len(cluster.probed) <= asked + 1


@pytest.mark.parametrize(
    ("target", "addresses", "name"),
    [
        ("127.0.0.1:8500", ["ipv4:127.0.0.1:8500"], "127.0.0.1"),
        ("[::1]:8500", ["ipv6:[::1]:8500"], "::1"),
        ("dns:///127.0.0.1:8500", ["ipv4:127.0.0.1:8500"], "127.0.0.1"),
        ("ipv4:10.0.0.1:8500,10.0.0.2:8500", ["ipv4:10.0.0.1:8500", "ipv4:10.0.0.2:8500"], None),
        ("unix:/run/serving.sock", ["unix:/run/serving.sock"], None),
        ("xds:///tf-serving", ["xds:///tf-serving"], None),
    ],
)
async def test_a_target_is_looked_up_unless_grpc_alone_knows_how(
    target: str, addresses: list[str], name: str | None
):
    assert await addresses_of(target) == addresses
    assert name_of(target) == name
