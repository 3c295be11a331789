"""What every model server must do. A subclass provides ``make_server``.

``make_server`` returns a server that is not started; the suite starts and closes it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from orchestrator.deadline import deadline
from orchestrator.domain import ViewBatch
from orchestrator.errors import ContractViolation, ModelServerTimeout, ModelServerUnavailable
from orchestrator.model_contract import MAX_BATCH_SIZE, MODEL_NAME
from orchestrator.model_server.base import ModelServer
from tests.random_images import varied_images

MakeServer = Callable[[], ModelServer]


def views_of(rows: int, seed: int = 0) -> ViewBatch:
    return ViewBatch(varied_images(rows, 224, seed), np.ones(rows, dtype=np.float32))


class ModelServerSuite:
    @pytest.fixture
    async def server(self, make_server: MakeServer) -> AsyncIterator[ModelServer]:
        server = make_server()
        await server.start()
        yield server
        await server.close()

    async def test_answers_one_row_of_probabilities_for_each_view(self, server: ModelServer) -> None:
        prediction = await server.classify(views_of(3))

        assert prediction.main_out.shape == (3, 5)
        assert prediction.aux_out.shape == (3,)
        assert prediction.main_out.dtype == prediction.aux_out.dtype == np.float32
        np.testing.assert_allclose(prediction.main_out.sum(axis=1), 1.0, atol=1e-4)
        assert ((prediction.main_out >= 0) & (prediction.main_out <= 1)).all()
        assert ((prediction.aux_out >= 0) & (prediction.aux_out <= 1)).all()
        assert prediction.cams is None

    async def test_logits_are_what_the_probabilities_are_the_softmax_of(self, server: ModelServer) -> None:
        views = views_of(3)

        classified, explained = await server.classify(views), await server.explain(views)

        assert classified.logits.shape == (3, 5)
        assert classified.logits.dtype == np.float32
        exponentials = np.exp(classified.logits - classified.logits.max(axis=1, keepdims=True))
        softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(softmax, classified.main_out, atol=1e-4)
        np.testing.assert_allclose(explained.logits, classified.logits, atol=1e-3)
        # Not the logarithm of the probabilities: their common level is the model's own, of each row.
        level = np.log(np.exp(classified.logits).sum(axis=1))
        assert np.abs(level).min() > 1e-2
        assert np.ptp(level) > 1e-3

    async def test_explains_every_class_and_classifies_alike(self, server: ModelServer) -> None:
        views = views_of(2)

        explained, classified = await server.explain(views), await server.classify(views)

        assert explained.cams is not None
        assert explained.cams.shape == (2, 5, 7, 7)
        assert explained.cams.dtype == np.float32
        assert (explained.cams >= 0).all()
        assert explained.cams.max() > 0
        np.testing.assert_allclose(explained.main_out, classified.main_out, atol=1e-4)
        np.testing.assert_allclose(explained.aux_out, classified.aux_out, atol=1e-4)

    async def test_keeps_the_order_of_rows(self, server: ModelServer) -> None:
        views = views_of(5)
        reversed_views = ViewBatch(views.images[::-1], views.gain[::-1])

        forwards, backwards = await server.explain(views), await server.explain(reversed_views)

        assert np.abs(forwards.main_out - forwards.main_out[::-1]).max() > 1e-2
        np.testing.assert_allclose(backwards.main_out[::-1], forwards.main_out, atol=1e-4)
        assert forwards.cams is not None
        assert backwards.cams is not None
        np.testing.assert_allclose(backwards.cams[::-1], forwards.cams, atol=1e-3 * forwards.cams.max())

    async def test_gain_brightens_the_image(self, server: ModelServer) -> None:
        images = np.clip(varied_images(1, 224, seed=3), 0, 200)
        brighter = np.round(images.astype(np.float32) * np.float32(1.1)).astype(np.uint8)
        both = ViewBatch(np.concatenate([images, images, brighter]), np.array([1, 1.1, 1], dtype=np.float32))

        plain, by_gain, by_pixels = (await server.classify(both)).main_out

        # Rounding to uint8 is all that lies between the last two.
        assert np.abs(by_gain - by_pixels).max() < 0.2 * np.abs(plain - by_pixels).max()

    async def test_answers_each_of_many_callers_with_his_own_rows(self, server: ModelServer) -> None:
        requests = [views_of(1 + index % 3, seed=index) for index in range(12)]
        alone = [await server.explain(views) for views in requests]

        together = await asyncio.gather(
            *(
                (server.explain if index % 2 else server.classify)(views)
                for index, views in enumerate(requests)
            )
        )

        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one.main_out, other.main_out, atol=1e-4)
            np.testing.assert_allclose(one.aux_out, other.aux_out, atol=1e-4)
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)

    async def test_takes_the_largest_batch(self, server: ModelServer) -> None:
        prediction = await server.classify(views_of(MAX_BATCH_SIZE))

        assert prediction.main_out.shape == (MAX_BATCH_SIZE, 5)

    @pytest.mark.parametrize(
        ("views", "message"),
        [
            (views_of(0), "expected 1 to 32 rows, received 0"),
            (views_of(MAX_BATCH_SIZE + 1), "expected 1 to 32 rows, received 33"),
            (
                ViewBatch(np.zeros((1, 200, 224, 3), np.uint8), np.ones(1, np.float32)),
                r"expected images as uint8\[1, 224, 224, 3\], received uint8\[1, 200, 224, 3\]",
            ),
            (
                ViewBatch(np.zeros((1, 224, 224, 3), np.float32), np.ones(1, np.float32)),
                r"expected images as uint8\[1, 224, 224, 3\], received float32",
            ),
            (
                ViewBatch(np.zeros((2, 224, 224, 3), np.uint8), np.ones(1, np.float32)),
                r"expected gain as float32\[2\], received float32\[1\]",
            ),
        ],
        ids=["no row", "too many rows", "another size", "another dtype", "too few gains"],
    )
    async def test_refuses_what_is_not_in_the_contract(
        self, server: ModelServer, views: ViewBatch, message: str
    ) -> None:
        with pytest.raises(ContractViolation, match=message):
            await server.classify(views)
        with pytest.raises(ContractViolation, match=message):
            await server.explain(views)

    async def test_answers_within_a_deadline_and_not_after_it(self, server: ModelServer) -> None:
        with deadline(30):
            assert (await server.classify(views_of(1))).main_out.shape == (1, 5)
        for question in (server.classify, server.explain):
            with deadline(0), pytest.raises(ModelServerTimeout):
                await question(views_of(1))

    async def test_names_the_model_that_answered(self, server: ModelServer) -> None:
        identity = await server.identity()

        assert identity.name == MODEL_NAME
        assert identity.version >= 1
        assert (await server.classify(views_of(1))).model == identity
        assert (await server.explain(views_of(1))).model == identity

    async def test_is_ready_from_start_to_close(self, make_server: MakeServer) -> None:
        server = make_server()

        assert not await server.ready()
        await server.start()
        assert await server.ready()
        await server.close()
        assert not await server.ready()

    async def test_refuses_before_start_and_after_close(self, make_server: MakeServer) -> None:
        server = make_server()
        with pytest.raises(ModelServerUnavailable):
            await server.classify(views_of(1))
        with pytest.raises(ModelServerUnavailable):
            await server.identity()

        await server.start()
        await server.close()

        with pytest.raises(ModelServerUnavailable):
            await server.explain(views_of(1))
        with pytest.raises(ModelServerUnavailable):
            await server.identity()

    async def test_starts_and_closes_twice_without_effect(self, make_server: MakeServer) -> None:
        server = make_server()
        await server.start()
        await server.start()
        assert (await server.classify(views_of(1))).main_out.shape == (1, 5)
        await server.close()
        await server.close()

    async def test_answers_what_was_accepted_before_close(self, make_server: MakeServer) -> None:
        server = make_server()
        await server.start()
        accepted = [asyncio.create_task(server.classify(views_of(1, seed))) for seed in range(3)]
        await asyncio.sleep(0)  # let them be accepted

        await server.close()

        assert [(await task).main_out.shape for task in accepted] == [(1, 5)] * 3
