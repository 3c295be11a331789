"""Adaptive test-time augmentation through an analysis: one view where it is clear, all where it is not."""

import dataclasses

import cv2
import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.domain import Finding, ModelIdentity, Morphometry, ReviewReason, ViewBatch, joined
from orchestrator.image_workers.processes import ImageProcesses
from orchestrator.image_workers.threads import ImageThreads
from orchestrator.profiles import load_profiles
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.routing import DOUBTS, is_clear
from orchestrator.vision.decode import DecodeLimits
from orchestrator.vision.preprocessing import preprocess
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import cell_file, image_file

DEFAULT = load_profiles()["default"]
# The fake is never sure: nothing but the margin shall decide here.
PROFILE = dataclasses.replace(
    DEFAULT,
    tta="adaptive",
    routing=dataclasses.replace(DEFAULT.routing, review_threshold=0.0, review_margin=0.0, max_energy=None),
)
ALWAYS_CLEAR, NEVER_CLEAR = (dataclasses.replace(PROFILE, adaptive_margin=margin) for margin in (0.0, 1.0))


class CountingModelServer(FakeModelServer):
    """Remembers how many rows each question had; answers as another version from its second question on."""

    def __init__(self, *, changes: bool = False) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.measured: list[Morphometry] = []
        self.changes = changes

    async def classify(self, views):
        prediction = await super().classify(views)
        self.rows.append(len(views))
        self.measured.append(views.morphometry)
        if not self.changes or len(self.rows) == 1:
            return prediction
        return dataclasses.replace(prediction, model=ModelIdentity("wbc", 2, None))


@pytest.fixture
def payload():
    return cell_file("Eosinophil", seed=1, size=220)


async def analysed(payload, server, profile, options=None):
    await server.start()
    return await analyse(payload, services_of(server, profile), options or AnalysisOptions())


def services_of(server, profile):
    return Services(server, RuleBasedWriter(), {"p": profile}, "p", "en", DecodeLimits())


def pixels(overlay):
    return cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR).astype(int)


async def test_a_clear_first_view_is_the_whole_answer_and_its_heatmap(payload):
    server = CountingModelServer()
    analysis = await analysed(payload, server, ALWAYS_CLEAR)
    alone = await analysed(payload, FakeModelServer(), dataclasses.replace(PROFILE, tta="none"))

    assert server.rows == [1]
    assert analysis.views == 1
    assert analysis.finding == alone.finding
    assert analysis.focus == alone.focus
    assert analysis.overlay == alone.overlay


async def test_an_unclear_first_view_asks_for_the_seven_others_and_answers_as_light_does(payload):
    server = CountingModelServer()
    analysis = await analysed(payload, server, NEVER_CLEAR)
    light = await analysed(payload, FakeModelServer(), dataclasses.replace(PROFILE, tta="light"))

    assert server.rows == [1, 7]
    assert analysis.views == 8
    assert analysis.finding == light.finding
    assert analysis.focus.focus_ratio == pytest.approx(light.focus.focus_ratio, abs=1e-6)
    np.testing.assert_allclose(pixels(analysis.overlay), pixels(light.overlay), atol=1)
    assert set(analysis.timings_ms) == set(light.timings_ms)


def counted_views(mode: str) -> tuple[float, float]:
    """Analyses that took one view, and all."""
    one = REGISTRY.get_sample_value("wbc_analyses_views_bucket", {"tta": mode, "le": "1.0"})
    every = REGISTRY.get_sample_value("wbc_analyses_views_count", {"tta": mode})
    return one or 0.0, every or 0.0


async def test_analyses_are_counted_by_the_views_that_they_took(payload):
    one, every = counted_views("adaptive")
    await analysed(payload, CountingModelServer(), ALWAYS_CLEAR)
    assert counted_views("adaptive") == (one + 1, every + 1)
    await analysed(payload, CountingModelServer(), NEVER_CLEAR)
    assert counted_views("adaptive") == (one + 1, every + 2)


async def test_answers_of_two_versions_are_not_averaged(payload):
    server = CountingModelServer(changes=True)
    analysis = await analysed(payload, server, NEVER_CLEAR)

    assert server.rows == [1, 7, 8]
    assert (analysis.views, analysis.model.version) == (8, 2)


@pytest.mark.parametrize(("mode", "rows"), [("none", [1]), ("light", [8]), ("adaptive", [1]), (None, [1])])
async def test_a_caller_may_choose_another_augmentation_than_the_profiles(payload, mode, rows):
    server = CountingModelServer()
    analysis = await analysed(payload, server, ALWAYS_CLEAR, AnalysisOptions(tta=mode, heatmap=False))

    assert server.rows == rows
    assert analysis.views == rows[0]
    assert analysis.focus is None


def finding(margin: float, *codes: str) -> Finding:
    probabilities = (0.5 + margin / 2, 0.5 - margin / 2, 0.0, 0.0, 0.0)
    return Finding(0, probabilities, 0.5, -5.0, 0.0, "none", tuple(ReviewReason(code, "") for code in codes))


def test_clear_is_a_wide_margin_without_a_doubt_of_the_models_own():
    assert is_clear(finding(0.5), 0.5 - 1e-9)
    assert not is_clear(finding(0.4), 0.5)
    for code in ("blurred", "too_small", "out_of_distribution"):
        assert is_clear(finding(0.9, code), 0.5)  # more views would say the same
    for code in DOUBTS:
        assert not is_clear(finding(0.9, code), 0.5)


@pytest.mark.parametrize("mode", ["none", "light", "adaptive"])
async def test_processes_for_images_change_nothing_of_an_analysis(payload, mode):
    options = AnalysisOptions(tta=mode, outlines=True)
    found = []
    for images in (ImageThreads(), ImageProcesses(1)):
        services = dataclasses.replace(services_of(FakeModelServer(), NEVER_CLEAR), images=images)
        async with services.running():
            found.append(await analyse(payload, services, options, "r"))
    in_threads, in_processes = found

    assert in_threads.overlay == in_processes.overlay
    assert in_threads.outlines == in_processes.outlines
    assert in_threads.finding == in_processes.finding
    assert in_threads.report == in_processes.report
    assert in_threads.timings_ms.keys() == in_processes.timings_ms.keys()
    assert in_threads.focus == in_processes.focus


async def test_answers_are_joined_in_order_and_only_of_one_model():
    server = FakeModelServer()
    await server.start()
    first = await server.classify(_views(1, 10))
    others = await server.classify(_views(2, 200))

    both = joined(first, others)
    np.testing.assert_array_equal(both.main_out, np.concatenate([first.main_out, others.main_out]))
    assert both.cams is None
    with pytest.raises(ValueError, match="of one model"):
        joined(first, dataclasses.replace(others, model=ModelIdentity("wbc", 9, None)))


def _views(rows, level):
    return ViewBatch(np.full((rows, 224, 224, 3), level, np.uint8), np.ones(rows, np.float32))


async def test_the_model_is_told_what_was_measured_of_the_cell_with_every_view(synthetic_cell):
    rgb = synthetic_cell("Neutrophil", seed=1)
    measured = preprocess(rgb, PROFILE.recipe).morphometry
    server = CountingModelServer()

    await analysed(image_file(rgb), server, NEVER_CLEAR)

    assert None not in dataclasses.astuple(measured)
    assert server.rows == [1, 7]
    assert server.measured == [measured, measured]


async def test_cells_unlike_their_profile_make_it_unknown_but_not_for_a_specimen(payload):
    known = dataclasses.replace(ALWAYS_CLEAR, name="p", device="known")
    services = services_of(FakeModelServer(), known)
    await services.model_server.start()
    for _ in range(20):
        services.recent.add("p", {"p": False})

    alone = await analyse(payload, services)
    of_specimen = await analyse(payload, services, AnalysisOptions(specimen="S-1"))

    assert alone.device_state == "unknown"
    (reason,) = [one for one in alone.finding.review_reasons if one.code == "device_unknown"]
    assert "do not look like those of profile `p`" in reason.message
    assert of_specimen.device_state == "known"
