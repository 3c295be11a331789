"""What every model server must do. A subclass provides ``make_server``.

``make_server`` returns a server that is not started; the suite starts and closes it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.common.deadline import deadline
from orchestrator.domain import UNMEASURED, CellViews, Morphometry, Question, ViewBatch
from orchestrator.errors import ContractViolation, ModelServerTimeout, ModelServerUnavailable
from orchestrator.model_contract import MAX_BATCH_SIZE, MEASURES, MODEL_NAME, UNKNOWN
from orchestrator.model_server.base import ModelServer
from orchestrator.views import rows_of
from tests.random_images import varied_images

MakeServer = Callable[[], ModelServer]


def views_of(rows: int, seed: int = 0) -> ViewBatch:
    return ViewBatch(varied_images(rows, 224, seed), np.ones(rows, dtype=np.float32))


IMAGE = varied_images(1, 224, seed=4)[0]
APPEARANCE = (0.6, -0.9, 0.2, -2.0, -0.5, -0.3, 0.8)
"""All measures but the size."""


def cell_of(
    codes: tuple[int, ...],
    seed: int = 4,
    morphometry: Morphometry = UNMEASURED,
    head: NDArray[np.float32] | None = None,
) -> CellViews:
    return CellViews(varied_images(1, 224, seed)[0], codes, morphometry, head)


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
        assert prediction.not_wbc.shape == (3,)
        assert ((prediction.not_wbc >= 0) & (prediction.not_wbc <= 1)).all()
        assert prediction.features.ndim == 2
        assert len(prediction.features) == 3
        assert prediction.not_wbc.dtype == prediction.features.dtype == np.float32
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
        np.testing.assert_allclose(explained.not_wbc, classified.not_wbc, atol=1e-4)
        np.testing.assert_allclose(explained.features, classified.features, atol=1e-3)

    @pytest.mark.parametrize("codes", [(0,), (1, 2, 3, 4, 5, 6, 7), tuple(range(8)), (6, 3)])
    async def test_views_of_an_image_are_answered_as_their_rows(
        self, server: ModelServer, codes: tuple[int, ...]
    ) -> None:
        cell = cell_of(codes)

        seen, rows = await server.explain(cell), await server.explain(rows_of(cell))
        classified = await server.classify(cell)

        assert seen.cams is not None
        assert rows.cams is not None
        assert classified.cams is None
        for one in (seen, classified):
            np.testing.assert_allclose(one.main_out, rows.main_out, atol=1e-4)
            np.testing.assert_allclose(one.aux_out, rows.aux_out, atol=1e-4)
            np.testing.assert_allclose(one.logits, rows.logits, atol=1e-3)
            np.testing.assert_allclose(one.not_wbc, rows.not_wbc, atol=1e-4)
            np.testing.assert_allclose(one.features, rows.features, atol=1e-3)
        np.testing.assert_allclose(seen.cams, rows.cams, atol=1e-3 * rows.cams.max())

    @pytest.mark.parametrize("as_rows", [False, True], ids=["views", "rows"])
    async def test_a_sites_head_flips_the_class_and_its_map_and_one_of_zeros_nothing(
        self, server: ModelServer, as_rows: bool
    ) -> None:
        def asked(head: NDArray[np.float32] | None) -> Question:
            cell = CellViews(IMAGE, (0, 3), head=head)
            return rows_of(cell) if as_rows else cell

        own = await server.explain(asked(None))
        features = own.features[0]
        zeros = np.zeros((len(features) + 1, 5), np.float32)
        same = await server.explain(asked(zeros))
        first = int(own.main_out[0].argmax())
        other = (first + 1) % 5
        gap = own.logits[0, first] - own.logits[0, other] + 5.0
        head = zeros.copy()
        head[:-1, other] = gap * features / (features @ features)

        site = await server.explain(asked(head))

        np.testing.assert_allclose(same.logits, own.logits, atol=1e-3)
        assert site.main_out[0].argmax() == other
        np.testing.assert_allclose(site.logits[0, other], own.logits[0, first] + 5.0, rtol=1e-3)
        np.testing.assert_allclose(
            np.delete(site.logits, other, axis=1), np.delete(own.logits, other, axis=1), atol=1e-3
        )
        assert site.cams is not None
        assert own.cams is not None
        changed = np.abs(site.cams - own.cams).max(axis=(0, 2, 3)) > 1e-3 * own.cams.max()
        assert changed.tolist() == [index == other for index in range(5)]

    async def test_the_last_row_of_a_head_is_its_bias(self, server: ModelServer) -> None:
        own = await server.classify(cell_of((0,)))
        head = np.zeros((own.features.shape[1] + 1, 5), np.float32)
        head[-1] = [0, 1, 2, 3, 4]

        moved = await server.classify(cell_of((0,), head=head))

        np.testing.assert_allclose(moved.logits - own.logits, head[-1:], atol=1e-3)

    @pytest.mark.parametrize(
        "morphometry",
        [Morphometry(size=0.8), Morphometry(None, *APPEARANCE), Morphometry(0.8, *APPEARANCE)],
        ids=["size", "appearance", "both"],
    )
    async def test_what_is_measured_of_a_cell_is_evidence_and_what_is_unknown_none(
        self, server: ModelServer, morphometry: Morphometry
    ) -> None:
        own = await server.explain(cell_of((0, 1)))

        measured = await server.explain(cell_of((0, 1), morphometry=morphometry))
        rows = rows_of(cell_of((0, 1)))
        places = np.stack([np.full(len(MEASURES), UNKNOWN, np.float32), morphometry.places()])
        mixed = await server.explain(ViewBatch(rows.images, rows.gain, places))

        moved = measured.logits - own.logits
        assert np.abs(moved).max() > 0.1
        np.testing.assert_allclose(moved[0], moved[1], atol=1e-3)  # whatever the view
        np.testing.assert_allclose(mixed.logits[0], own.logits[0], atol=1e-3)
        np.testing.assert_allclose(mixed.logits[1], measured.logits[1], atol=1e-3)
        np.testing.assert_array_equal(measured.main_out.argmax(axis=1), measured.logits.argmax(axis=1))
        assert measured.cams is not None
        assert own.cams is not None
        np.testing.assert_allclose(measured.cams, own.cams, atol=1e-3 * own.cams.max())

    async def test_sites_that_ask_at_once_have_each_their_own_head(self, server: ModelServer) -> None:
        width = (await server.classify(cell_of((0,)))).features.shape[1]
        heads = [np.full((width + 1, 5), level, np.float32) * np.arange(5) for level in (0.0, 0.01, 0.02)]
        cells = [cell_of((0, 1, 2), head=head.astype(np.float32)) for head in heads] + [cell_of((0, 1, 2))]
        alone = [await server.classify(cell) for cell in cells]

        together = await asyncio.gather(*(server.classify(cell) for cell in cells))

        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)

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
        requests: list[Question] = [views_of(1 + index % 3, seed=index) for index in range(12)]
        requests[::4] = [cell_of((0, index), seed=index) for index in range(3)]
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
        ("question", "message"),
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
            (
                ViewBatch(IMAGE[np.newaxis], np.ones(1, np.float32), np.ones((1, 3), np.float32)),
                r"expected morphometry as float32\[1, 8\], received float32\[1, 3\]",
            ),
            (
                ViewBatch(
                    IMAGE[np.newaxis],
                    np.ones(1, np.float32),
                    np.full((1, 8), 51, np.float32),
                ),
                "expected morphometry of at most 50, or unknown",
            ),
            (
                ViewBatch(IMAGE[np.newaxis], np.ones(1, np.float32), head=np.zeros((2, 4, 5), np.float32)),
                r"expected head as float32\[1, .*, 5\], received float32\[2, 4, 5\]",
            ),
            (CellViews(IMAGE, ()), r"expected 1 to 8 codes from 0 to 7, received \[\]"),
            (CellViews(IMAGE, (0, 8)), r"expected 1 to 8 codes from 0 to 7, received \[0, 8\]"),
            (CellViews(IMAGE, (0, -1)), r"expected 1 to 8 codes from 0 to 7, received \[0, -1\]"),
            (CellViews(IMAGE, (0,) * 9), "expected 1 to 8 codes"),
            (
                CellViews(IMAGE[:200], (0,)),
                r"expected image as uint8\[224, 224, 3\], received uint8\[200, 224, 3\]",
            ),
            (
                CellViews(IMAGE, (0,), Morphometry(size=float("nan"))),
                "expected a size of a cell or none, received nan",
            ),
            (
                CellViews(IMAGE, (0,), Morphometry(cytoplasm_hue=3e38)),
                r"expected a cytoplasm_hue of a cell or none, received 3e\+38",
            ),
            (
                CellViews(IMAGE, (0,), Morphometry(nucleus_share=UNKNOWN)),
                "expected a nucleus_share of a cell or none, received -100",
            ),
            (
                CellViews(IMAGE, (0,), head=np.zeros((3, 4), np.float32)),
                r"expected head as float32\[.*, 5\], received float32\[3, 4\]",
            ),
            (
                CellViews(IMAGE, (0,), head=np.zeros((7, 5), np.float32)),
                r"expected head as float32\[\d+, 5\], received float32\[7, 5\]",
            ),
            (
                CellViews(IMAGE, (0,), head=np.zeros((4, 5), np.float64)),
                r"expected head as float32\[\d+, 5\], received float64\[4, 5\]",
            ),
        ],
        ids=[
            "no row",
            "too many rows",
            "another size",
            "another dtype",
            "too few gains",
            "too few measures",
            "an absurd measure",
            "too many heads",
            "no code",
            "an unknown code",
            "a code for none",
            "too many codes",
            "an image of another size",
            "a size that is no number",
            "an infinite hue",
            "a share that says unknown",
            "a head of four classes",
            "a head of another width",
            "a head of another dtype",
        ],
    )
    async def test_refuses_what_is_not_in_the_contract(
        self, server: ModelServer, question: Question, message: str
    ) -> None:
        with pytest.raises(ContractViolation, match=message):
            await server.classify(question)
        with pytest.raises(ContractViolation, match=message):
            await server.explain(question)

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
