import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import pytest

from orchestrator.common.deadline import deadline
from orchestrator.domain import ModelIdentity, Prediction, Question, ViewBatch
from orchestrator.errors import ModelServerError, ModelServerTimeout, ModelServerUnavailable, Overloaded
from orchestrator.model_server.batching import Batcher
from orchestrator.views import stacked
from tests.predictions import predicted
from tests.waiting import becomes, time_passes

IDENTITY = ModelIdentity("wbc", 1, None)


def views_of(*values: float) -> ViewBatch:
    """Rows that can be told apart by their gain."""
    return ViewBatch(np.zeros((len(values), 2, 2, 3), np.uint8), np.array(values, dtype=np.float32))


class GatedNetwork:
    """Answers each row with its gain, when told to; fails on a negative gain.

    Batches that begin with ``slow`` are told to; where it is None, all are."""

    def __init__(self, *, is_open: bool = True, slow: float | None = None) -> None:
        self.batches: list[list[float]] = []
        self.slow = slow
        self.entered = threading.Event()
        self.gate = threading.Event()
        if is_open and slow is None:
            self.gate.set()

    def __call__(self, questions: Sequence[Question]) -> Prediction:
        views = stacked(questions)
        self.batches.append(views.gain.tolist())
        self.entered.set()
        if self.slow is None or views.gain[0] == self.slow:
            assert self.gate.wait(timeout=30)
        if (views.gain < 0).any():
            raise ValueError("a negative gain")
        main = np.repeat(views.gain[:, None], 5, axis=1)
        return predicted(main, views.gain, main + 1, main[..., None, None], IDENTITY)

    async def working(self) -> None:
        """Return when a batch is with the network."""
        assert await asyncio.to_thread(self.entered.wait, 30)


class Notes:
    def __init__(self) -> None:
        self.executed: list[int] = []
        self.depths: list[int] = []

    def batch_executed(self, rows: int, seconds: float) -> None:
        assert seconds >= 0
        self.executed.append(rows)

    def queue_depth(self, rows: int) -> None:
        self.depths.append(rows)


MakeBatcher = Callable[..., Batcher]


@pytest.fixture
async def make_batcher() -> AsyncIterator[MakeBatcher]:
    opened: list[tuple[Batcher, GatedNetwork]] = []

    def make(network: GatedNetwork, **changes: object) -> Batcher:
        arguments = {
            "lanes": 1,
            "max_batch_rows": 4,
            "max_queue_rows": 6,
            "seconds_per_row": 0.5,
            **changes,
        }
        batcher = Batcher(network, **arguments)  # type: ignore[arg-type]
        opened.append((batcher, network))
        return batcher

    yield make
    for batcher, network in opened:
        network.gate.set()
        await batcher.close()


def submitted(batcher: Batcher, *values: float) -> asyncio.Task[Prediction]:
    return asyncio.create_task(batcher.submit(views_of(*values)))


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_that_arrive_together_share_a_batch(make_batcher: MakeBatcher) -> None:
    network, notes = GatedNetwork(), Notes()
    batcher = make_batcher(network, observer=notes)

    answers = await asyncio.gather(*(submitted(batcher, value) for value in (1, 2, 3, 4)))

    assert network.batches == [[1, 2, 3, 4]]
    assert [answer.aux_out.tolist() for answer in answers] == [[1], [2], [3], [4]]
    assert notes.executed == [4]


async def test_what_gathers_while_the_network_works_goes_next_and_never_beyond_the_limit(
    make_batcher: MakeBatcher,
) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)

    first = submitted(batcher, 1)
    await network.working()
    later = [submitted(batcher, 2, 3), submitted(batcher, 4), submitted(batcher, 5, 6)]
    await settled()
    network.gate.set()
    answers = await asyncio.gather(first, *later)

    assert network.batches == [[1], [2, 3, 4, 5], [6]]
    assert [answer.aux_out.tolist() for answer in answers] == [[1], [2, 3], [4], [5, 6]]
    assert [answer.logits[:, 0].tolist() for answer in answers] == [[2], [3, 4], [5], [6, 7]]
    assert [answer.cams.shape for answer in answers if answer.cams is not None] == [
        (rows, 5, 1, 1) for rows in (1, 2, 1, 2)
    ]


async def test_the_loop_is_free_while_the_network_works(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)

    task = submitted(batcher, 1)
    await network.working()

    assert not task.done()  # and this line ran: the loop was not blocked
    network.gate.set()
    await task


async def test_a_full_queue_refuses_and_says_when_to_come_back(make_batcher: MakeBatcher) -> None:
    network, notes = GatedNetwork(is_open=False), Notes()
    batcher = make_batcher(network, observer=notes)
    running = submitted(batcher, 1)
    await network.working()
    waiting = [submitted(batcher, 2, 2, 2, 2), submitted(batcher, 3)]
    await settled()

    with pytest.raises(Overloaded, match="5 of 6 rows wait") as refusal:
        await batcher.submit(views_of(4, 4))
    fitting = submitted(batcher, 5)

    assert refusal.value.retry_after_s == pytest.approx(5 * 0.5)
    await settled()
    network.gate.set()
    answers = await asyncio.gather(running, *waiting, fitting)
    assert [len(answer.aux_out) for answer in answers] == [1, 4, 1, 1]
    assert max(notes.depths) == 6
    assert notes.depths[-1] == 0


async def test_a_request_larger_than_the_queue_is_taken_when_nobody_waits(make_batcher: MakeBatcher) -> None:
    batcher = make_batcher(GatedNetwork(), max_queue_rows=2)

    assert len((await batcher.submit(views_of(1, 2, 3))).aux_out) == 3


async def test_advice_on_coming_back_follows_the_speed_of_the_network(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork()
    batcher = make_batcher(network, seconds_per_row=1000.0)
    for _ in range(60):
        await batcher.submit(views_of(1))
    network.gate.clear()
    network.entered.clear()
    running = submitted(batcher, 1)
    await network.working()
    waiting = submitted(batcher, *[2.0] * 6)
    await settled()

    with pytest.raises(Overloaded) as refusal:
        await batcher.submit(views_of(3))

    assert refusal.value.retry_after_s < 60
    network.gate.set()
    await asyncio.gather(running, waiting)


async def test_a_cancelled_request_leaves_the_queue(make_batcher: MakeBatcher) -> None:
    network, notes = GatedNetwork(is_open=False), Notes()
    batcher = make_batcher(network, observer=notes)
    running = submitted(batcher, 1)
    await network.working()
    cancelled, kept = submitted(batcher, 2, 2), submitted(batcher, 3)
    await settled()

    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled

    assert notes.depths[-1] == 1
    network.gate.set()
    await asyncio.gather(running, kept)
    assert network.batches == [[1], [3]]


async def test_cancelling_the_only_request_that_waits_leaves_a_batcher_that_still_answers(
    make_batcher: MakeBatcher,
) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)
    running = submitted(batcher, 1)
    await network.working()
    waiting = submitted(batcher, 2)
    await settled()

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    network.gate.set()
    await running

    assert (await batcher.submit(views_of(3))).aux_out.tolist() == [3]
    assert network.batches == [[1], [3]]


async def test_a_request_whose_deadline_passes_is_answered_so_and_never_computed(
    make_batcher: MakeBatcher,
) -> None:
    network, notes = GatedNetwork(is_open=False), Notes()
    batcher = make_batcher(network, observer=notes, seconds_per_row=0.001)
    running = submitted(batcher, 1)
    await network.working()
    with deadline(60):
        expiring = submitted(batcher, 2, 2)
    kept = submitted(batcher, 3)
    await settled()

    time_passes(60)
    with pytest.raises(ModelServerTimeout, match="before the deadline"):
        await expiring

    assert notes.depths[-1] == 1
    network.gate.set()
    await asyncio.gather(running, kept)
    assert network.batches == [[1], [3]]
    assert notes.depths[-1] == 0


async def test_an_expired_request_is_not_computed_even_before_it_has_noticed(
    make_batcher: MakeBatcher,
) -> None:
    network, notes = GatedNetwork(), Notes()
    batcher = make_batcher(network, observer=notes, seconds_per_row=0.001)
    with deadline(0.02, clock=lambda: 0.0):  # from when it is submitted
        expiring = submitted(batcher, 1)
    others = [submitted(batcher, value) for value in (2, 3, 4)]
    asyncio.get_running_loop().call_soon(time.sleep, 0.05)  # the loop is late: no clock has rung yet

    answers = await asyncio.gather(*others)
    assert [answer.aux_out.tolist() for answer in answers] == [[2], [3], [4]]
    with pytest.raises(ModelServerTimeout):
        await expiring

    assert network.batches == [[2, 3, 4]]
    assert notes.depths[-1] == 0


async def test_a_deadline_within_a_batch_ends_the_wait_for_it(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network, seconds_per_row=0.001)
    with deadline(60):
        expiring = submitted(batcher, 1)
    await network.working()

    time_passes(60)
    with pytest.raises(ModelServerTimeout):
        await expiring

    network.gate.set()
    assert (await batcher.submit(views_of(2))).aux_out.tolist() == [2]


async def test_what_cannot_be_answered_in_time_is_refused_at_once(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)  # half a second a row
    running = submitted(batcher, 1)
    await network.working()
    waiting = submitted(batcher, 2, 2)
    await settled()

    with deadline(1.9), pytest.raises(Overloaded, match=r"would answer in 2\.0 s, after") as refusal:
        await batcher.submit(views_of(3))
    with deadline(30):
        in_time = submitted(batcher, 4)
    await settled()

    assert refusal.value.retry_after_s == pytest.approx(2 * 0.5)
    network.gate.set()
    await asyncio.gather(running, waiting, in_time)
    assert [3.0] not in network.batches


async def test_an_idle_network_is_asked_whatever_its_speed_seems_to_be(make_batcher: MakeBatcher) -> None:
    """Otherwise one slow moment would let it refuse for ever: only answers mend the estimate."""
    batcher = make_batcher(GatedNetwork(), seconds_per_row=1000.0)
    with deadline(5):
        assert (await batcher.submit(views_of(1))).aux_out.tolist() == [1]


async def test_no_question_is_asked_after_its_deadline(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork()
    batcher = make_batcher(network)
    with deadline(0), pytest.raises(ModelServerTimeout, match="before the network was asked"):
        await batcher.submit(views_of(1))
    assert network.batches == []


async def test_a_request_cancelled_within_a_batch_does_not_disturb_the_others(
    make_batcher: MakeBatcher,
) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)
    cancelled, kept = submitted(batcher, 1, 1), submitted(batcher, 2, 2)
    await network.working()

    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    network.gate.set()

    assert (await kept).aux_out.tolist() == [2, 2]


async def test_a_failure_reaches_every_waiter_of_its_batch_and_nobody_else(
    make_batcher: MakeBatcher, caplog: pytest.LogCaptureFixture
) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)
    failing = [submitted(batcher, 1, 1), submitted(batcher, -1), submitted(batcher, 2)]
    await network.working()
    after = submitted(batcher, 3)
    await settled()
    network.gate.set()

    errors = await asyncio.gather(*failing, return_exceptions=True)

    assert [type(error) for error in errors] == [ModelServerError] * 3
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error, Exception) and isinstance(error.__cause__, ValueError) for error in errors)
    assert (await after).aux_out.tolist() == [3]
    assert "failed on a batch of 4 rows" in caplog.text


async def test_a_lone_request_is_spread_over_all_lanes(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network, lanes=4, max_queue_rows=8)

    asked = submitted(batcher, 1, 2, 3, 4, 5, 6, 7, 8)
    await becomes(lambda: len(network.batches) == 4)  # at once: none has been answered
    network.gate.set()
    answer = await asked

    assert sorted(network.batches) == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert answer.aux_out.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert answer.cams is not None
    assert answer.cams.shape == (8, 5, 1, 1)


async def test_a_free_lane_waits_for_no_other(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(slow=1)
    batcher = make_batcher(network, lanes=2)
    slow = submitted(batcher, 1)
    await network.working()

    answers = [await batcher.submit(views_of(value)) for value in (2, 3, 4)]

    assert [answer.aux_out.tolist() for answer in answers] == [[2], [3], [4]]
    assert not slow.done()
    network.gate.set()
    await slow


async def test_answers_keep_the_order_of_their_rows_whichever_lane_is_first(
    make_batcher: MakeBatcher,
) -> None:
    network = GatedNetwork(slow=1)
    batcher = make_batcher(network, lanes=2)

    asked = submitted(batcher, 1, 2, 3, 4)
    await becomes(lambda: len(network.batches) == 2)
    other = await batcher.submit(views_of(5))  # by the lane that had 3 and 4
    network.gate.set()

    assert other.aux_out.tolist() == [5]
    assert (await asked).aux_out.tolist() == [1, 2, 3, 4]


async def test_what_is_left_of_a_request_that_failed_is_not_computed(make_batcher: MakeBatcher) -> None:
    network, notes = GatedNetwork(), Notes()
    batcher = make_batcher(network, max_batch_rows=2, observer=notes)

    with pytest.raises(ModelServerError, match="failed on this request"):
        await batcher.submit(views_of(-1, 2, 3, 4, 5, 6))

    assert network.batches == [[-1, 2]]
    assert notes.depths[-1] == 0
    assert (await batcher.submit(views_of(7))).aux_out.tolist() == [7]


async def test_what_is_left_of_a_request_that_was_cancelled_is_not_computed(
    make_batcher: MakeBatcher,
) -> None:
    network, notes = GatedNetwork(is_open=False), Notes()
    batcher = make_batcher(network, max_batch_rows=2, observer=notes)
    cancelled = submitted(batcher, 1, 2, 3, 4, 5)
    await network.working()

    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled

    assert notes.depths[-1] == 0
    network.gate.set()
    assert (await batcher.submit(views_of(7))).aux_out.tolist() == [7]
    assert network.batches == [[1, 2], [7]]


async def test_lanes_shorten_the_wait_that_is_expected(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network, lanes=2, max_queue_rows=100, seconds_per_row=50)
    running = [submitted(batcher, 1), submitted(batcher, 2)]
    await becomes(lambda: len(network.batches) == 2)
    waiting = submitted(batcher, 3, 3)
    await settled()

    with deadline(120), pytest.raises(Overloaded, match=r"would answer in 125\.0 s, after"):
        await batcher.submit(views_of(4))  # the fifth row of two lanes
    with deadline(140):
        in_time = submitted(batcher, 5)
    await settled()

    network.gate.set()
    await asyncio.gather(*running, waiting, in_time)


async def test_closing_answers_those_who_wait_and_refuses_others(make_batcher: MakeBatcher) -> None:
    network = GatedNetwork(is_open=False)
    batcher = make_batcher(network)
    running = submitted(batcher, 1)
    await network.working()
    waiting = submitted(batcher, 2)
    await settled()

    closing = asyncio.create_task(batcher.close())
    await settled()
    with pytest.raises(ModelServerUnavailable, match="shutting down"):
        await batcher.submit(views_of(3))
    assert not closing.done()
    network.gate.set()
    await closing

    assert (await running).aux_out.tolist() == [1]
    assert (await waiting).aux_out.tolist() == [2]
