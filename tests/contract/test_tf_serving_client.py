"""What the client of TensorFlow Serving does when things differ, take long, or fail; against the stand-in."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from orchestrator.common.circuit_breaker import BreakerState
from orchestrator.common.deadline import deadline
from orchestrator.domain import ModelIdentity
from orchestrator.errors import (
    ConfigurationError,
    ContractViolation,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
)
from orchestrator.model_server.base import CircuitOpen
from orchestrator.model_server.grpc_channel import TlsFiles
from orchestrator.model_server.remote import RemoteOptions
from orchestrator.model_server.tf_serving import TfServingModelServer
from tests.contract.model_server_suite import cell_of, views_of
from tests.waiting import LONGEST_S, becomes

if TYPE_CHECKING:
    from tests.fakes.tf_serving_stand_in import StandIn

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "on command")


@dataclass
class Observed:
    """A CallObserver that keeps what it is told."""

    calls: list[tuple[str, str, int | None]] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    hedges: list[bool] = field(default_factory=list)
    states: list[BreakerState] = field(default_factory=list)
    pods: list[tuple[int, int]] = field(default_factory=list)
    versions: list[tuple[int | None, int]] = field(default_factory=list)

    def call_ended(self, method: str, outcome: str, version: int | None, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((method, outcome, version))

    def retry_ended(self, outcome: str) -> None:
        self.retries.append(outcome)

    def hedge_ended(self, won: bool) -> None:
        self.hedges.append(won)

    def breaker_changed(self, state: BreakerState) -> None:
        self.states.append(state)

    def pods_changed(self, asked: int, left_alone: int) -> None:
        self.pods.append((asked, left_alone))

    def version_changed(self, before: ModelIdentity | None, now: ModelIdentity) -> None:
        self.versions.append((before.version if before else None, now.version))


@pytest.fixture
def observed() -> Observed:
    return Observed()


Connect = Callable[..., Any]


@pytest.fixture
async def connect(stand_in: "StandIn", observed: Observed) -> AsyncIterator[Connect]:
    """``await connect(**options)`` is a started client of the stand-in."""
    clients = []

    async def connected(target: str | None = None, **options: Any) -> TfServingModelServer:
        client = TfServingModelServer(
            RemoteOptions(target or stand_in.target, **{"start_timeout_s": 5.0, **options}),
            observer=observed,
        )
        clients.append(client)
        await client.start()
        return client

    yield connected
    for client in clients:
        await client.close()


class TestStart:
    async def test_a_model_that_differs_is_refused_with_all_that_differs(
        self, stand_in: "StandIn", connect: Connect
    ) -> None:
        def alter(signatures: Any) -> None:
            signature = signatures.signature_def
            del signature["aux"]
            signature["main"].outputs["main_out"].tensor_shape.dim[1].size = 6
            signature["classify"].inputs["images"].dtype = 1
            signature["gradcam"].outputs["cams"].tensor_shape.unknown_rank = True
            del signature["serving_default"].outputs["cams"]
            signature["serving_default"].outputs["heat"].CopyFrom(signature["main"].outputs["main_out"])

        stand_in.faults.alter_signatures = alter
        with pytest.raises(ContractViolation) as refused:
            await connect()
        differences = str(refused.value).split("; ")
        assert "; ".join(differences) == (
            "the served model is not that of the contract: "
            "signature main, output main_out: expected float32[None, 5], received float32[None, 6]; "
            "signature aux: missing "
            "(there are __saved_model_init_op, classify, gradcam, main, serving_default, views); "
            "signature classify, input images: expected uint8[None, 224, 224, 3], "
            "received float32[None, 224, 224, 3]; "
            "signature gradcam, output cams: expected float32[None, 5, 7, 7], received float32[?]; "
            "signature serving_default, output cams: missing "
            "(there are aux_binary_out, features, heat, logits, main_out, not_wbc); "
            "signature serving_default, output heat: not in the contract"
        )

    async def test_signatures_that_disagree_on_the_features_are_refused(
        self, stand_in: "StandIn", connect: Connect
    ) -> None:
        def alter(signatures: Any) -> None:
            signatures.signature_def["views"].inputs["head"].tensor_shape.dim[1].size = 300

        stand_in.faults.alter_signatures = alter
        with pytest.raises(ContractViolation, match=r"one number of features, received \[256, 299\]"):
            await connect()

    async def test_a_model_may_have_signatures_besides(self, stand_in: "StandIn", connect: Connect) -> None:
        def alter(signatures: Any) -> None:
            signatures.signature_def["another"].CopyFrom(signatures.signature_def["main"])

        stand_in.faults.alter_signatures = alter
        assert await (await connect()).ready()

    async def test_a_server_that_is_not_there_is_named(self, connect: Connect) -> None:
        with socket.socket() as free:  # bound and not listening: nobody else gets this port
            free.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{free.getsockname()[1]}"
            with pytest.raises(
                ModelServerUnavailable, match=f"expected wbc on TensorFlow Serving at {target}"
            ):
                await connect(target, start_timeout_s=0.5)

    async def test_a_server_that_comes_later_is_waited_for(
        self, two_versions: Path, connect: Connect
    ) -> None:
        from tests.fakes.tf_serving_stand_in import StandIn

        late = StandIn(two_versions, versions=[1])
        with late:
            pass  # it has a port now, and has left it
        starting = asyncio.create_task(connect(late.target, start_timeout_s=20))
        await asyncio.sleep(0.5)
        assert not starting.done()
        with late:
            client = await starting
            assert (await client.classify(views_of(1))).model.version == 1
            await client.close()

    async def test_after_a_start_that_failed_it_may_be_started_again(self, stand_in: "StandIn") -> None:
        client = TfServingModelServer(
            RemoteOptions(stand_in.target, version_label="new", start_timeout_s=0.3)
        )
        with pytest.raises(ModelServerUnavailable, match="expected wbc labelled 'new'"):
            await client.start()
        assert not await client.ready()
        stand_in.set_label("new", 1)
        await client.start()
        assert (await client.identity()).version == 1
        await client.close()


class TestVersions:
    async def test_without_a_pin_the_newest_answers_and_has_no_hash(
        self, connect: Connect, observed: Observed
    ) -> None:
        client = await connect()
        identity = (await client.explain(views_of(1))).model
        assert identity == ModelIdentity("wbc", 2, None, "tf-serving")
        assert observed.calls == [("explain", "ok", 2)]
        assert observed.versions == [(None, 2)]

    async def test_a_pinned_version_answers(self, connect: Connect) -> None:
        client = await connect(version=1)
        assert await client.ready()
        assert (await client.classify(views_of(1))).model.version == 1

    async def test_a_pinned_version_that_is_not_loaded_is_told(self, connect: Connect) -> None:
        with pytest.raises(ModelServerUnavailable, match=r"expected wbc version 3 .*no such model"):
            await connect(version=3, start_timeout_s=0.3)

    async def test_an_answer_of_another_version_than_the_pinned_is_refused(
        self, connect: Connect, stand_in: "StandIn"
    ) -> None:
        client = await connect(version=1)
        stand_in.faults.alter_reply = lambda reply: setattr(reply.model_spec.version, "value", 9)
        with pytest.raises(ContractViolation, match=r"expected an answer of wbc version 1, .* wbc version 9"):
            await client.classify(views_of(1))

    async def test_the_hash_of_the_files_that_its_pods_check_stands_in_the_answer(
        self, connect: Connect
    ) -> None:
        client = await connect(sha256={1: "a" * 64, 2: "b" * 64})
        answer = await client.classify(views_of(1))
        assert answer.model.sha256 == {1: "a" * 64, 2: "b" * 64}[answer.model.version]

    async def test_a_version_whose_files_nobody_checks_is_refused(self, connect: Connect) -> None:
        with pytest.raises(ContractViolation, match=r"whose files are known \(9\), received version"):
            await connect(sha256={9: "a" * 64})

    async def test_an_answer_that_does_not_say_its_version_is_refused(
        self, connect: Connect, stand_in: "StandIn"
    ) -> None:
        client = await connect()
        stand_in.faults.alter_reply = lambda reply: reply.model_spec.ClearField("version")
        with pytest.raises(ContractViolation, match="version unknown"):
            await client.classify(views_of(1))

    async def test_a_label_is_followed_when_it_moves(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        stand_in.set_label("stable", 1)
        client = await connect(version_label="stable")
        assert (await client.classify(views_of(1))).model.version == 1
        stand_in.set_label("stable", 2)
        assert (await client.classify(views_of(1))).model.version == 2
        assert (await client.identity()).version == 2
        assert observed.versions == [(None, 1), (1, 2)]
        assert await client.ready()
        stand_in.labels.clear()
        assert not await client.ready()

    def test_version_and_label_exclude_each_other(self) -> None:
        with pytest.raises(ValueError, match="a version or a label"):
            TfServingModelServer(RemoteOptions("localhost:1", version=1, version_label="stable"))


class TestReadiness:
    async def test_it_follows_the_state_of_the_version(self, connect: Connect, stand_in: "StandIn") -> None:
        from tests.fakes.tf_serving_stand_in import State

        client = await connect(version=2)
        try:
            stand_in.states[2] = State.UNLOADING
            assert not await client.ready()
        finally:
            stand_in.states[2] = State.AVAILABLE
        assert await client.ready()


class TestViews:
    @pytest.mark.parametrize("codes", [(0,), tuple(range(8))])
    async def test_an_image_crosses_the_wire_once_whatever_is_asked_of_it(
        self, connect: Connect, stand_in: "StandIn", codes: tuple[int, ...]
    ) -> None:
        client = await connect()
        await client.explain(cell_of(codes))
        (seen,) = stand_in.seen
        assert (seen.signature, seen.rows) == ("views", 1)
        assert 224 * 224 * 3 < seen.size_bytes < 224 * 224 * 3 + 1000

    async def test_a_sites_head_comes_on_top(self, connect: Connect, stand_in: "StandIn") -> None:
        client = await connect()
        await client.explain(cell_of((0, 1), head=np.zeros((257, 5), np.float32)))
        assert stand_in.seen[0].size_bytes > 224 * 224 * 3 + 257 * 5 * 4

    async def test_who_does_not_ask_for_the_maps_does_not_get_them(
        self, connect: Connect, stand_in: "StandIn"
    ) -> None:
        names: list[set[str]] = []
        stand_in.faults.alter_reply = lambda reply: names.append(set(reply.outputs))
        client = await connect()
        for question in (cell_of((0,)), views_of(1)):
            await client.classify(question)
            await client.explain(question)
        assert [("cams" in found) for found in names] == [False, True, False, True]

    async def test_after_an_answer_that_breaks_the_contract_the_model_is_looked_at_again(
        self, connect: Connect, stand_in: "StandIn"
    ) -> None:
        looks: list[int] = []
        client = await connect()
        stand_in.faults.alter_signatures = lambda _: looks.append(1)
        stand_in.faults.alter_reply = lambda reply: setattr(
            reply.outputs["features"].tensor_shape.dim[-1], "size", 7
        )
        with pytest.raises(ContractViolation, match="expected features as"):
            await client.explain(cell_of((0,)))
        stand_in.faults.alter_reply = None
        for _ in range(2):
            assert (await client.explain(cell_of((0,)))).features.shape == (1, 256)
        assert looks == [1]


class TestReplies:
    @pytest.mark.parametrize(
        ("alter", "message"),
        [
            (lambda r: r.outputs.pop("logits"), "expected the output logits"),
            (lambda r: setattr(r.outputs["main_out"], "dtype", 2), r"main_out as float32\[2, 5\]"),
            (lambda r: setattr(r.outputs["main_out"].tensor_shape.dim[0], "size", 1), r"float32\[1, 5\]"),
            (lambda r: r.outputs["main_out"].float_val.pop(), "expected 10 elements of main_out"),
            (lambda r: setattr(r.model_spec, "name", "other"), "received one of other version 2"),
        ],
        ids=["no output", "dtype", "rows", "length", "model"],
    )
    async def test_a_reply_that_breaks_the_contract_is_an_error(
        self, connect: Connect, stand_in: "StandIn", alter: Callable[[Any], None], message: str
    ) -> None:
        client = await connect()
        stand_in.faults.alter_reply = alter
        with pytest.raises(ContractViolation, match=message):
            await client.classify(views_of(2))

    async def test_other_failures_of_the_server_are_errors_of_ours(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect()
        stand_in.faults.next_failures = [(grpc.StatusCode.INTERNAL, "out of memory")]
        with pytest.raises(ModelServerError, match="failed on this request"):
            await client.classify(views_of(1))
        assert observed.calls == [("classify", "error", None)]
        assert (await client.classify(views_of(1))).main_out.shape == (1, 5)


class TestDeadlines:
    async def test_what_is_left_travels(self, connect: Connect, stand_in: "StandIn") -> None:
        client = await connect(timeout_s=50.0)
        with deadline(25.0):
            await client.classify(views_of(1))
        await client.classify(views_of(1))
        remaining_s = [seen.remaining_s for seen in stand_in.seen]
        assert 10 < remaining_s[0] < 26  # the server rounds, and has a clock of its own
        assert 30 < remaining_s[1] < 51

    async def test_a_slow_server_is_left_at_the_deadline(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect()
        stand_in.faults.delay_s = 30.0
        begun_s = time.monotonic()
        with deadline(0.3), pytest.raises(ModelServerTimeout):
            await client.explain(views_of(1))
        assert 0.3 <= time.monotonic() - begun_s < 20
        assert observed.calls == [("explain", "timeout", None)]

    async def test_without_time_nothing_is_sent(self, connect: Connect, stand_in: "StandIn") -> None:
        client = await connect()
        with deadline(0.0), pytest.raises(ModelServerTimeout, match="no time left"):
            await client.classify(views_of(1))
        assert stand_in.seen == []

    async def test_a_caller_who_goes_away_breaks_the_call_off(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect(timeout_s=30.0)
        stand_in.faults.delay_s = 30.0
        asking = asyncio.create_task(client.classify(views_of(1)))
        await becomes(lambda: len(stand_in.seen) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await becomes(lambda: stand_in.broken_off == 1)
        assert observed.calls == [("classify", "cancelled", None)]


class TestRetries:
    async def test_unavailable_is_tried_again(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect()
        stand_in.faults.next_failures = [UNAVAILABLE, UNAVAILABLE]
        assert (await client.explain(views_of(1))).cams is not None
        assert [outcome for _, outcome, _ in observed.calls] == ["unavailable", "unavailable", "ok"]
        assert observed.retries == ["failed", "answered"]

    async def test_nothing_else_is(self, connect: Connect, stand_in: "StandIn", observed: Observed) -> None:
        client = await connect()
        stand_in.faults.next_failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")]
        with pytest.raises(Overloaded) as refused:
            await client.classify(views_of(1))
        assert refused.value.retry_after_s > 0
        assert (len(stand_in.seen), observed.retries) == (1, [])

    async def test_in_an_outage_the_load_grows_by_the_share_alone(
        self, connect: Connect, stand_in: "StandIn"
    ) -> None:
        client = await connect(retry_share=0.1, retry_reserve=2, breaker_min_calls=20)
        stand_in.faults.unavailable_share = 1.0
        for _ in range(15):
            with pytest.raises(ModelServerUnavailable):
                await client.classify(views_of(1))
        assert 15 + 2 <= len(stand_in.seen) <= 15 + 2 + 2

    async def test_a_full_queue_says_when_to_come_back(self, two_versions: Path, connect: Connect) -> None:
        from tests.fakes.batch_scheduler import BatchingParameters
        from tests.fakes.tf_serving_stand_in import StandIn

        tight = BatchingParameters(
            max_batch_size=1, allowed_batch_sizes=(1,), max_enqueued_batches=1, num_batch_threads=1
        )
        with StandIn(two_versions, versions=[1], batching=tight) as full:
            client = await connect(full.target, max_attempts=1)
            answers = await asyncio.gather(
                *(client.classify(views_of(1)) for _ in range(40)), return_exceptions=True
            )
            refused = [answer for answer in answers if isinstance(answer, Exception)]
            assert refused
            assert len(refused) < 40
            assert {type(error) for error in refused} == {Overloaded}
            # A server that answers that it is busy is alive: the circuit stays closed.
            assert (await client.classify(views_of(1))).main_out.shape == (1, 5)
            await client.close()


class TestCircuitBreaker:
    async def test_a_server_that_always_fails_is_left_alone_and_comes_back(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect(max_attempts=1, breaker_min_calls=3, breaker_open_s=2)
        stand_in.faults.next_failures = [UNAVAILABLE] * 3
        for _ in range(3):
            with pytest.raises(ModelServerUnavailable):
                await client.classify(views_of(1))
        with pytest.raises(CircuitOpen):
            await client.explain(views_of(1))
        assert len(stand_in.seen) == 3
        assert observed.calls[-1] == ("explain", "breaker_open", None)
        assert not await client.ready()
        async with asyncio.timeout(LONGEST_S):
            while not await client.ready():
                await asyncio.sleep(0.05)
        await client.classify(views_of(1))
        closed, opened, half_open = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
        assert observed.states == [closed, opened, half_open, closed]

    async def test_callers_without_patience_do_not_open_it(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect(timeout_s=5.0, breaker_min_calls=3)
        stand_in.faults.delay_s = 0.2
        for _ in range(5):
            with deadline(0.02), pytest.raises(ModelServerTimeout):
                await client.classify(views_of(1))
        assert observed.states == [BreakerState.CLOSED]

    async def test_timeouts_of_the_server_open_it(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect(timeout_s=0.05, breaker_min_calls=3)
        stand_in.faults.delay_s = 0.3
        for _ in range(3):
            with pytest.raises(ModelServerTimeout):
                await client.classify(views_of(1))
        assert observed.states == [BreakerState.CLOSED, BreakerState.OPEN]


class TestHedging:
    async def test_a_late_classification_is_asked_for_again(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect(hedge_after_s=0.5)
        stand_in.faults.next_delays_s = [30.0]
        await client.classify(views_of(1))
        assert observed.hedges == [True]
        assert ("classify", "cancelled", None) in observed.calls

    async def test_an_explanation_is_not(
        self, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        client = await connect(hedge_after_s=0.02)
        stand_in.faults.delay_s = 0.1
        await client.explain(views_of(1))
        assert (len(stand_in.seen), observed.hedges) == (1, [])


class TestClose:
    async def test_it_waits_for_what_was_accepted_and_refuses_the_rest(
        self, connect: Connect, stand_in: "StandIn"
    ) -> None:
        client = await connect()
        stand_in.faults.delay_s = 1.0
        asking = asyncio.create_task(client.classify(views_of(1)))
        await becomes(lambda: len(stand_in.seen) == 1)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        with pytest.raises(ModelServerUnavailable, match="not started"):
            await client.classify(views_of(1))
        assert not closing.done()
        assert (await asking).main_out.shape == (1, 5)
        await closing


class TestReplicas:
    async def test_calls_go_to_all_addresses_in_turn_and_past_one_that_is_gone(
        self, two_versions: Path, connect: Connect, stand_in: "StandIn"
    ) -> None:
        from tests.fakes.tf_serving_stand_in import StandIn

        with StandIn(two_versions, versions=[2]) as other:
            client = await connect(f"ipv4:{stand_in.target},{other.target}")
            for _ in range(20):
                await client.classify(views_of(1))
            assert len(stand_in.seen) + len(other.seen) == 20
            assert abs(len(stand_in.seen) - len(other.seen)) <= 4
            other.stop()
            for _ in range(10):
                await client.classify(views_of(1))
            await client.close()

    async def test_one_of_two_that_hangs_is_left_alone_and_the_other_answers(
        self, two_versions: Path, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        from tests.fakes.tf_serving_stand_in import StandIn

        with StandIn(two_versions, versions=[2]) as hanging:
            target = f"ipv4:{hanging.target},{stand_in.target}"
            client = await connect(target, timeout_s=4.0, breaker_min_calls=3, breaker_open_s=0.1)
            hanging.faults.delay_s = 600.0
            lost = 0
            while (1, 1) not in observed.pods:
                answers = await asyncio.gather(
                    *(client.classify(views_of(1)) for _ in range(4)), return_exceptions=True
                )
                lost += sum(isinstance(answer, ModelServerTimeout) for answer in answers)
                assert not any(isinstance(answer, CircuitOpen) for answer in answers)
            assert lost <= 6
            assert await client.ready()  # status answers at both, and one of them is asked
            asked = len(hanging.seen)
            for _ in range(20):
                await client.classify(views_of(1))
            probes = [seen.rows for seen in hanging.seen[asked:]]
            assert set(probes) <= {1}
            assert observed.states == [BreakerState.CLOSED]
            hanging.faults.delay_s = 0.0
            await becomes(lambda: observed.pods[-1] == (2, 0))
            for _ in range(10):
                await client.classify(views_of(2))
            assert 2 in [seen.rows for seen in hanging.seen]
            await client.close()

    async def test_one_of_two_that_is_slow_gets_fewer_calls(
        self, two_versions: Path, connect: Connect, stand_in: "StandIn"
    ) -> None:
        from tests.fakes.tf_serving_stand_in import StandIn

        with StandIn(two_versions, versions=[2]) as slow:
            client = await connect(f"ipv4:{slow.target},{stand_in.target}", timeout_s=60.0)
            slow.faults.delay_s = 3.0

            async def caller() -> None:
                for _ in range(10):
                    await client.classify(views_of(1))

            await asyncio.gather(caller(), caller(), caller(), caller())
            assert len(slow.seen) < len(stand_in.seen)
            assert len(slow.seen) + len(stand_in.seen) == 40
            await client.close()

    async def test_one_of_two_that_answers_wrongly_is_left_alone_and_no_caller_sees_it(
        self, two_versions: Path, connect: Connect, stand_in: "StandIn", observed: Observed
    ) -> None:
        from tests.fakes.tf_serving_stand_in import StandIn

        with StandIn(two_versions, versions=[2]) as wrong:
            client = await connect(f"ipv4:{wrong.target},{stand_in.target}", breaker_min_calls=3)
            wrong.faults.alter_reply = lambda reply: reply.outputs["main_out"].float_val.pop()
            while (1, 1) not in observed.pods:
                assert (await client.classify(views_of(1))).main_out.shape == (1, 5)
            assert [outcome for _, outcome, _ in observed.calls].count("contract_violation") == 3
            await client.close()

    async def test_a_restart_is_survived(self, two_versions: Path, connect: Connect) -> None:
        from tests.fakes.tf_serving_stand_in import StandIn

        server = StandIn(two_versions, versions=[1]).start()
        client = await connect(server.target, breaker_open_s=0.2)
        await client.classify(views_of(1))
        server.stop()
        assert not await client.ready()
        with pytest.raises(ModelServerUnavailable):
            await client.classify(views_of(1))
        with server.start():
            async with asyncio.timeout(LONGEST_S):
                while not await client.ready():
                    await asyncio.sleep(0.05)
            assert (await client.classify(views_of(1))).model.version == 1
            await client.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """One certificate for localhost that signs itself: the authority, the server and the client."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *name.split(), *files], check=True, capture_output=True, timeout=60)
    return TlsFiles(certificate, certificate, key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed; it makes certificates")
class TestTls:
    @pytest.fixture
    def mutual(self, files: TlsFiles, two_versions: Path) -> Any:
        from tests.fakes.tf_serving_stand_in import StandIn

        assert files.key is not None
        assert files.certificate is not None
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], pair[1], require_client_auth=True)
        with StandIn(two_versions, versions=[1], credentials=credentials, host="localhost") as server:
            yield server

    async def test_both_sides_show_their_certificates(
        self, mutual: "StandIn", files: TlsFiles, connect: Connect
    ) -> None:
        client = await connect(mutual.target, tls=files)
        assert (await client.classify(views_of(1))).model.version == 1
        await client.close()

    @pytest.mark.parametrize("without", ["certificate", "authority", "tls"])
    async def test_without_one_there_is_no_connection(
        self, mutual: "StandIn", files: TlsFiles, connect: Connect, without: str
    ) -> None:
        tls = {
            "certificate": replace(files, certificate=None, key=None),
            "authority": replace(files, ca=None),
            "tls": None,
        }[without]
        with pytest.raises(ModelServerUnavailable):
            await connect(mutual.target, tls=tls, start_timeout_s=0.5)

    async def test_a_missing_file_is_a_configuration_error(self, connect: Connect, files: TlsFiles) -> None:
        with pytest.raises(ConfigurationError, match="WBC_TF_SERVING__CA_FILE"):
            await connect(tls=replace(files, ca=Path("absent")))


async def test_answers_are_those_of_the_embedded_server(connect: Connect, two_versions: Path) -> None:
    from orchestrator.model_server.embedded import EmbeddedModelServer

    remote, embedded = await connect(), EmbeddedModelServer(two_versions, threads=2)
    await embedded.start()
    views = views_of(8, seed=5)
    one, other = await remote.explain(views), await embedded.explain(views)
    await embedded.close()
    np.testing.assert_allclose(one.main_out, other.main_out, atol=1e-4)
    np.testing.assert_allclose(one.aux_out, other.aux_out, atol=1e-4)
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)
    assert one.cams is not None
    assert other.cams is not None
    np.testing.assert_allclose(one.cams, other.cams, atol=1e-3 * other.cams.max())
