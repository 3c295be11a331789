"""The pods behind one target: each has a line and a circuit breaker of its own.

A pod whose GPU hangs goes on telling that it is well. One breaker for all of them would leave the healthy
ones alone with it; so each is judged by its own answers. Who is left alone is asked one row now and then, by
nobody's request, and comes back when it answers that.
"""

import asyncio
import contextvars
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc

from orchestrator.common.circuit_breaker import BreakerState, CircuitBreaker, Verdict
from orchestrator.errors import ModelServerUnavailable, WbcError
from orchestrator.model_server.base import CircuitOpen
from orchestrator.model_server.wire import Wire

_LOGGER = logging.getLogger(__name__)

LOOK_UP_EVERY_S: Final = 5.0
"""How soon a pod that was added is asked, and one that is gone is not."""


@dataclass(eq=False)
class Pod:
    """One address, and what is known of who answers there."""

    address: str
    channel: grpc.aio.Channel
    wire: Wire
    breaker: CircuitBreaker
    features: int | None = None
    """Of the model that it serves; None until it is asked, and after an answer that broke the contract."""
    under_way: int = 0
    turn: int = 0
    """The number of its latest call among those of all pods."""

    @property
    def connected(self) -> bool:
        """Whether its line is open; where it is not, it is opened."""
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    @contextmanager
    def asked(self, judge: Callable[[BaseException], Verdict]) -> Iterator[None]:
        """Frame one call; see :meth:`CircuitBreaker.guarding`."""
        self.under_way += 1
        try:
            with self.breaker.guarding(judge):
                yield
        finally:
            self.under_way -= 1


class Pods:
    """All addresses of ``target``, looked up again every few seconds.

    Args:
        target: ``host:port``, ``ipv4:`` or ``ipv6:`` with addresses, or another scheme of gRPC: one pod.
        open_line: opens the channel to one address, and says what is spoken on it.
        new_breaker: makes the breaker of one pod, which tells its states to the argument.
        probe: asks a pod one row; whoever is left alone is asked so, every ``probe_every_s``.
        observe: told the best state of all pods, how many are asked and how many are left alone.
        look_up: the addresses of a target.
    """

    def __init__(
        self,
        target: str,
        *,
        open_line: Callable[[str], tuple[grpc.aio.Channel, Wire]],
        new_breaker: Callable[[Callable[[BreakerState], None]], CircuitBreaker],
        probe: Callable[[Pod], Awaitable[None]],
        probe_every_s: float,
        observe: Callable[[BreakerState, int, int], None],
        look_up: "Callable[[str], Awaitable[list[str]]] | None" = None,
    ) -> None:
        self._target = target
        self._open_line = open_line
        self._new_breaker = new_breaker
        self._probe = probe
        self._probe_every_s = probe_every_s
        self._observe = observe
        self._look_up = look_up or addresses_of
        self._pods: dict[str, Pod] = {}
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: tuple[BreakerState, int, int] | None = None

    def __len__(self) -> int:
        return len(self._pods)

    async def look_up(self) -> list[Pod]:
        """Return the pods as the DNS has them now, or as it had them where it does not answer.

        Raises:
            ModelServerUnavailable: the name has never been found.
        """
        try:
            found = await self._look_up(self._target)
        except OSError as error:
            if not self._pods:
                raise ModelServerUnavailable(
                    f"The name of the model server is not found: {error}."
                ) from error
            _LOGGER.info("the pods of the model server stay as they are: %s", error)
            found = list(self._pods)
        for address in found:
            if address not in self._pods:
                self._add(address)
        for address in self._pods.keys() - set(found):
            self._begin(self._pods.pop(address).channel.close(grace=60))
        self._tell()
        return list(self._pods.values())

    def follow(self) -> None:
        """Look the addresses up again, until :meth:`close`."""

        async def following() -> None:
            while True:
                await asyncio.sleep(LOOK_UP_EVERY_S)
                await self.look_up()

        self._begin(following())

    def trusted(self) -> list[Pod]:
        """The pods that are not left alone."""
        return [pod for pod in self._pods.values() if pod.breaker.state is BreakerState.CLOSED]

    def choose(self, tried: Collection[Pod] = ()) -> Pod:
        """Return whom to ask: of those with an open line the one with the fewest calls, in turn among equals.

        So a slow pod gets fewer calls, and one that hangs soon none. Those in ``tried`` come last.

        Raises:
            CircuitOpen: all are left alone.
        """
        trusted = self.trusted()
        if not trusted:
            raise CircuitOpen("The model server failed repeatedly and is left alone for a moment.")
        pod = min(trusted, key=lambda pod: (pod in tried, not pod.connected, pod.under_way, pod.turn))
        self._turn += 1
        pod.turn = self._turn
        return pod

    async def close(self) -> None:
        """Close all lines; what is under way fails."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pod in self._pods.values():
            await pod.channel.close()
        self._pods.clear()

    def _add(self, address: str) -> None:
        def changed(state: BreakerState) -> None:
            if address in self._pods:  # not while the breaker is made
                self._tell()
                if state is BreakerState.OPEN and not probing.locked():
                    self._begin(self._probe_until_it_answers(pod, probing))

        probing = asyncio.Lock()
        pod = Pod(address, *self._open_line(address), self._new_breaker(changed))
        self._pods[address] = pod
        _LOGGER.info("the model server has a pod at %s", address)

    async def _probe_until_it_answers(self, pod: Pod, probing: asyncio.Lock) -> None:
        async with probing:
            _LOGGER.warning("the model server at %s failed repeatedly and is left alone", pod.address)
            while self._pods.get(pod.address) is pod and pod.breaker.state is not BreakerState.CLOSED:
                await asyncio.sleep(self._probe_every_s)
                try:
                    await self._probe(pod)
                except WbcError as error:
                    _LOGGER.info("the model server at %s does not answer a probe: %s", pod.address, error)
                else:
                    _LOGGER.warning("the model server at %s answers again", pod.address)

    def _tell(self) -> None:
        states = [pod.breaker.state for pod in self._pods.values()]
        asked = states.count(BreakerState.CLOSED)
        told = (min(states, default=BreakerState.CLOSED), asked, len(states) - asked)
        if told != self._told:
            self._told = told
            self._observe(*told)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        # Not in the context of the request that was there first: its deadline is not that of a probe.
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def addresses_of(target: str) -> list[str]:
    """Return the addresses of ``target`` in the form of gRPC, sorted.

    Raises:
        OSError: the name is not found.
    """
    scheme, _, rest = target.partition(":")
    if scheme in ("ipv4", "ipv6"):
        return [f"{scheme}:{address}" for address in rest.split(",")]
    name = target.removeprefix("dns:///")
    if "://" in name or scheme == "unix":
        return [target]
    host, _, port = name.rpartition(":")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    return sorted(
        {
            f"ipv4:{place[0]!s}:{port}" if family is socket.AF_INET else f"ipv6:[{place[0]!s}]:{port}"
            for family, *_, place in found
        }
    )


def name_of(target: str) -> str | None:
    """The host's name in ``host:port``, by which its certificate is checked; None in other forms."""
    name = target.removeprefix("dns:///")
    if "://" in name or name.startswith(("ipv4:", "ipv6:", "unix:")):
        return None
    return name.rpartition(":")[0].strip("[]")
