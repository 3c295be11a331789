"""A client of servers that run the model elsewhere, over gRPC, whatever protocol they speak.

A question goes through four frames, from the outside in: its deadline, retries, hedging (``classify`` alone,
where it is set), and the circuit breaker of the pod that is asked. Innermost is one call on the wire, by
:class:`~.wire.Wire`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np

from orchestrator.common.circuit_breaker import BreakerState, CircuitBreaker, Verdict
from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import ModelIdentity, Prediction, Question, ViewBatch
from orchestrator.errors import (
    ContractViolation,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
    WbcError,
)
from orchestrator.model_contract import IMAGE_SIZE, MODEL_NAME
from orchestrator.model_server.base import CircuitOpen, check_question
from orchestrator.model_server.call_observer import CallObserver, Method, Unobserved, outcome_of
from orchestrator.model_server.grpc_channel import TlsFiles, open_channel
from orchestrator.model_server.grpc_errors import may_be_retried
from orchestrator.model_server.hedging import hedged
from orchestrator.model_server.pods import Pod, Pods, name_of
from orchestrator.model_server.retry import RetryBudget, Retrying
from orchestrator.model_server.unary_call import require_time
from orchestrator.model_server.wire import WhatAnswers, Wire

_LOGGER = logging.getLogger(__name__)

_READY_TIMEOUT_S: Final = 1.0
_START_PAUSE_S: Final = 0.2
_LOOK_TIMEOUT_S: Final = 5.0
_FAIR_SHARE: Final = 0.5
"""Of the time for a question: with less, a timeout is no sign of a failing server."""

ONE_ROW: Final = ViewBatch(np.full((1, IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8), np.ones(1, np.float32))
"""What a server is asked, to see whether it answers."""


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How the servers are reached and asked.

    Args:
        target: ``host:port``; see :class:`~.pods.Pods`.
        version: the version that answers, or
        version_label: the label of the version that answers, where the protocol knows labels; with neither,
            the newest that is loaded.
        sha256: of the files of each version that may answer, where the servers were started on files of
            these hashes; any version may where none is named.
        tls: plain text where None.
        timeout_s: the longest that a question may take, retries included; less where the deadline of the
            request is nearer.
        start_timeout_s: how long :meth:`RemoteModelServer.start` waits for the server.
        keepalive_s: at least 300.
        max_attempts: calls for one question; 1 never retries.
        retry_share, retry_reserve: the budget of retries and hedges; see :class:`~.retry.RetryBudget`.
        hedge_after_s: after how long ``classify`` asks a second time; never where None.
        breaker_min_calls, breaker_open_s: see :class:`~orchestrator.common.circuit_breaker.CircuitBreaker`.
    """

    target: str
    version: int | None = None
    version_label: str | None = None
    sha256: Mapping[int, str] | None = None
    tls: TlsFiles | None = None
    timeout_s: float = 5.0
    start_timeout_s: float = 30.0
    keepalive_s: float = 300.0
    max_attempts: int = 3
    retry_share: float = 0.2
    retry_reserve: float = 10.0
    hedge_after_s: float | None = None
    breaker_min_calls: int = 10
    breaker_open_s: float = 2.0


class RemoteModelServer:
    """Asks servers elsewhere; see :class:`~.base.ModelServer`.

    Args:
        options: where they are, and how they are asked.
        server: what they are, for people.
        open_wire: what is spoken on a channel.
        observer: told of the calls.
        clock: of the circuit breakers, in seconds.
    """

    def __init__(
        self,
        options: RemoteOptions,
        server: str,
        open_wire: Callable[[grpc.aio.Channel, WhatAnswers], Wire],
        *,
        observer: CallObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._server = server
        self._wanted = WhatAnswers(options.version, options.version_label, options.sha256)
        self._open_wire = open_wire
        self._observer = observer or Unobserved()
        self._clock = clock
        self._pods: Pods | None = None
        self._identity: ModelIdentity | None = None
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._budget = RetryBudget(options.retry_share, options.retry_reserve)
        self._retrying = Retrying(
            max_attempts=options.max_attempts,
            budget=self._budget,
            may_help=self._may_help,
            observe=self._observer.retry_ended,
        )

    async def start(self) -> None:
        """Wait until the server tells the model's signatures, and compare them with the contract.

        A call that raises leaves nothing open, and may be made again.
        """
        if self._pods:
            return
        pods = self._new_pods()
        try:
            self._now_answers(await self._checked_identity(pods))
        except BaseException:
            await pods.close()
            raise
        self._pods = pods
        pods.follow()
        _LOGGER.info("%s answers with %s version %d", self._server, MODEL_NAME, self._require().version)

    async def close(self) -> None:
        """Answer what was accepted, refuse what comes after, and close the lines."""
        pods, self._pods, self._identity = self._pods, None, None
        if pods:
            await self._idle.wait()  # not longer than the deadline of the last question
            await pods.close()

    async def ready(self) -> bool:
        """Whether a pod that is not left alone says that the version, or any, is loaded."""
        if self._pods is None:
            return False
        return any(await asyncio.gather(*(self._is_ready(pod) for pod in self._pods.trusted())))

    async def identity(self) -> ModelIdentity:
        """Return the name and version of the model that answered last."""
        return self._require()

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row."""
        return await self._ask("classify", question)

    async def explain(self, question: Question) -> Prediction:
        """Return the class probabilities and the Grad-CAM of each class, of each row."""
        return await self._ask("explain", question)

    async def _ask(self, method: Method, question: Question) -> Prediction:
        check_question(question)
        pods = self._pods
        if pods is None:
            raise ModelServerUnavailable("the model server is not started")
        tried: list[Pod] = []
        made: dict[int, bytes] = {}

        async def call() -> Prediction:
            try:
                pod = pods.choose(tried)
            except CircuitOpen:
                self._observer.call_ended(method, "breaker_open", None, 0.0)
                raise
            tried.append(pod)
            return await self._call(pod, method, question, made)

        with self._counted(), deadline(self._options.timeout_s):
            require_time()
            after_s = self._options.hedge_after_s
            if method == "explain" or after_s is None:
                return await self._retrying.ask(call)
            observe, may_hedge = self._observer.hedge_ended, self._budget.take
            return await self._retrying.ask(
                lambda: hedged(call, after_s=after_s, may_hedge=may_hedge, observe=observe)
            )

    async def _call(
        self, pod: Pod, method: Method, question: Question, made: dict[int, bytes] | None = None
    ) -> Prediction:
        """One call on the wire; ``made`` keeps what is sent, by the features of the model."""
        if pod.features is not None:
            check_question(question, pod.features)  # a caller's mistake is no fault of the pod
        started_s, made = time.perf_counter(), {} if made is None else made
        try:
            with pod.asked(self._judge()):
                features = await self._known_features(pod)
                if features not in made:
                    made[features] = pod.wire.request(method, question, features)
                prediction = await pod.wire.ask(made[features], method, question, features)
        except BaseException as error:
            if isinstance(error, ContractViolation):
                pod.features = None  # perhaps another version answers now, with another number of them
            self._observer.call_ended(method, outcome_of(error), None, time.perf_counter() - started_s)
            raise
        identity = prediction.model
        self._observer.call_ended(method, "ok", identity.version, time.perf_counter() - started_s)
        if identity != self._identity and self._pods is not None:
            self._now_answers(identity)
        return prediction

    def _new_pods(self) -> Pods:
        options = self._options

        def new_breaker(observe: Callable[[BreakerState], None]) -> CircuitBreaker:
            return CircuitBreaker(
                lambda: CircuitOpen("The model server failed repeatedly and is left alone for a moment."),
                min_calls=options.breaker_min_calls,
                open_s=options.breaker_open_s,
                clock=self._clock,
                observe=observe,
            )

        def open_line(address: str) -> tuple[grpc.aio.Channel, Wire]:
            channel = open_channel(
                address, name=name_of(options.target), tls=options.tls, keepalive_s=options.keepalive_s
            )
            return channel, self._open_wire(channel, self._wanted)

        told: list[BreakerState] = []

        def observe(best: BreakerState, asked: int, left_alone: int) -> None:
            if told != [best]:
                told[:] = [best]
                self._observer.breaker_changed(best)
            self._observer.pods_changed(asked, left_alone)

        return Pods(
            options.target,
            open_line=open_line,
            new_breaker=new_breaker,
            probe=self._probe,
            probe_every_s=options.breaker_open_s,
            observe=observe,
        )

    async def _probe(self, pod: Pod) -> None:
        """Ask one row, as a request does."""
        with deadline(self._options.timeout_s):
            await self._call(pod, "classify", ONE_ROW)

    async def _is_ready(self, pod: Pod) -> bool:
        try:
            with deadline(_READY_TIMEOUT_S):
                return await pod.wire.is_ready()
        except WbcError as error:
            _LOGGER.info("the model server at %s is not ready: %s", pod.address, error)
            return False

    async def _checked_identity(self, pods: Pods) -> ModelIdentity:
        """Ask until one of the servers answers, at most for the time of a start."""
        with deadline(self._options.start_timeout_s):
            while True:
                try:
                    return await self._first_identity(await pods.look_up())
                except (ModelServerUnavailable, ModelServerTimeout, Overloaded) as error:
                    left_s = remaining_s()
                    if left_s is None or left_s <= _START_PAUSE_S:
                        raise ModelServerUnavailable(
                            f"expected {self._wanted} on {self._server} at {self._options.target} "
                            f"within {self._options.start_timeout_s:g} s: {_server_words(error)}"
                        ) from error
                    await asyncio.sleep(_START_PAUSE_S)

    async def _first_identity(self, pods: list[Pod]) -> ModelIdentity:
        """What the first server answers that serves the model of the contract.

        Raises:
            WbcError: why the others do not, where none does; one that may come yet before one that differs.
        """
        differs: ContractViolation | None = None
        late: WbcError | None = None
        for pod in pods:
            try:
                with deadline(_LOOK_TIMEOUT_S):
                    pod.features, identity = await pod.wire.look()
                return identity
            except ContractViolation as error:
                differs = error
            except (ModelServerUnavailable, ModelServerTimeout, Overloaded) as error:
                late = error
        raise late or differs or ModelServerUnavailable("The name of the model server has no address.")

    async def _known_features(self, pod: Pod) -> int:
        if pod.features is None:
            pod.features, _ = await pod.wire.look()
        return pod.features

    def _now_answers(self, identity: ModelIdentity) -> None:
        before, self._identity = self._identity, identity
        if before != identity:
            self._observer.version_changed(before, identity)

    def _require(self) -> ModelIdentity:
        if self._identity is None:
            raise ModelServerUnavailable("the model server is not started")
        return self._identity

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    def _may_help(self, error: Exception) -> bool:
        """Whether another attempt may: after UNAVAILABLE, or where another pod may serve the right model."""
        others = self._pods is not None and len(self._pods) > 1
        return may_be_retried(error) or (others and isinstance(error, ContractViolation))

    def _judge(self) -> Callable[[BaseException], Verdict]:
        """What the end of a call that begins now says of its pod."""
        allowed_s = require_time()
        # A caller who gives a question no time learns nothing of the server, and nor does this service.
        fair = allowed_s is None or allowed_s >= _FAIR_SHARE * self._options.timeout_s

        def judge(error: BaseException) -> Verdict:
            if isinstance(error, ModelServerTimeout):
                return Verdict.FAILED if fair else Verdict.NOTHING
            if isinstance(error, Overloaded):
                return Verdict.ALIVE  # it answered
            return Verdict.FAILED if isinstance(error, ModelServerError) else Verdict.NOTHING

        return judge


def _server_words(error: WbcError) -> str:
    """The error, and what the server or gRPC says of it; for the person who starts the service."""
    cause = error.__cause__
    details = cause.details() if isinstance(cause, grpc.aio.AioRpcError) else None
    return f"{error} ({details})" if details else str(error)
