"""What every kind of image workers must do. A subclass provides the fixture ``workers``."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import UnsupportedImage
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.channel import MEMORY_BYTES
from orchestrator.observability.stages import StageTime, listen, recorded_stages
from tests.image_functions import brighter, fail, hold, note, refuse, staged
from tests.waiting import becomes


class ImageWorkersSuite:
    @pytest.mark.parametrize("side", [1, 700, 2000])  # the last one and its answer are larger than the memory
    async def test_a_function_gets_and_gives_arrays_of_any_size(
        self, workers: ImageWorkers, side: int
    ) -> None:
        image = np.random.default_rng(0).integers(0, 250, (side, side, 3), np.uint8)
        assert image.nbytes < MEMORY_BYTES or side == 2000

        answer = await workers.run(brighter, image, by=3)

        np.testing.assert_array_equal(answer["image"], image + np.uint8(3))
        assert answer["by"] == 3

    async def test_views_of_an_array_arrive_as_they_look(self, workers: ImageWorkers) -> None:
        image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        for view in (image[:, ::-1], image[..., 1], image.transpose(1, 0, 2), image[:0]):
            np.testing.assert_array_equal((await workers.run(brighter, view))["image"], view + np.uint8(1))

    async def test_what_arrived_stays_when_the_next_answer_comes(self, workers: ImageWorkers) -> None:
        first = await workers.run(brighter, np.zeros((50, 50), np.uint8))
        for _ in range(6):
            await workers.run(brighter, np.full((50, 50), 200, np.uint8))
        assert np.all(first["image"] == 1)

    async def test_many_at_once_get_their_own_answers(self, workers: ImageWorkers) -> None:
        images = [np.full((30 + value, 40), value, np.uint8) for value in range(40)]
        answers = await asyncio.gather(*(workers.run(brighter, image) for image in images))
        for image, answer in zip(images, answers, strict=True):
            np.testing.assert_array_equal(answer["image"], image + np.uint8(1))

    async def test_errors_are_those_of_the_function(self, workers: ImageWorkers) -> None:
        with pytest.raises(UnsupportedImage) as refusal:
            await workers.run(refuse, "refused")
        assert str(refusal.value) == "Not this one."
        with pytest.raises(ZeroDivisionError, match="in the worker"):
            await workers.run(fail)

    async def test_stages_are_the_callers_whether_they_succeed_or_not(self, workers: ImageWorkers) -> None:
        told: list[StageTime] = []
        listen(told.append)
        before_ns = time.time_ns()
        with recorded_stages() as stages:
            await workers.run(staged, "suite-a", "suite-b")
            with pytest.raises(UnsupportedImage):
                await workers.run(refuse, "suite-c")
        with recorded_stages() as others:
            await workers.run(staged)

        assert [one.name for one in stages] == ["suite-a", "suite-b", "suite-c"]
        assert [one for one in told if one.name.startswith("suite-")] == stages
        assert [one.error_type for one in stages] == [None, None, "UnsupportedImage"]
        assert all(0.01 <= one.seconds < 5 for one in stages[:2])
        assert before_ns <= stages[0].began_ns < stages[1].began_ns <= time.time_ns()
        assert others == []

    async def test_the_loop_is_free_and_the_order_is_kept(
        self, workers: ImageWorkers, tmp_path: Path
    ) -> None:
        words = [str(number) for number in range(6)]
        tasks = [asyncio.create_task(workers.run(note, tmp_path / word, word, 0.05)) for word in words]
        begun: list[str] = []
        while not all(task.done() for task in tasks):
            begun += [word for word in words if (tmp_path / word).exists() and word not in begun]
            await asyncio.sleep(0.002)

        assert [await task for task in tasks] == words
        assert sorted(begun[:2]) == ["0", "1"]
        assert sorted(begun[2:4]) == ["2", "3"]

    async def test_what_is_cancelled_before_its_turn_never_runs(
        self, workers: ImageWorkers, tmp_path: Path
    ) -> None:
        held, end = [tmp_path / "a0", tmp_path / "a1"], tmp_path / "end"
        running = [asyncio.create_task(workers.run(hold, path, end)) for path in held]
        waiting = asyncio.create_task(workers.run(note, tmp_path / "b", "b"))
        await becomes(lambda: all(path.exists() for path in held))

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        end.touch()  # not before it is cancelled: its turn would come
        await asyncio.gather(*running)

        await workers.run(note, tmp_path / "c", "c")
        assert not (tmp_path / "b").exists()

    async def test_they_may_be_closed_without_a_start_and_twice(self, workers: ImageWorkers) -> None:
        await workers.close()
        await workers.close()
