"""Training's own way of an image through the service is the service's."""

import asyncio
import dataclasses

import cv2
import numpy as np
import pytest

from orchestrator.analyse import Services, analyse
from orchestrator.profiles import load_profiles
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.vision.decode import DecodeLimits
from orchestrator.vision.quality import QualityLimits
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import image_file
from training.serving_path import served_finding

PROFILE = load_profiles()["painted"]  # known: what is said of an unknown microscope is the service's alone
WITH_LIMIT = dataclasses.replace(
    PROFILE, routing=dataclasses.replace(PROFILE.routing, max_energy=-6.7, review_threshold=0.5)
)
WITHOUT_LIMIT = dataclasses.replace(PROFILE, routing=dataclasses.replace(PROFILE.routing, max_energy=None))


def images(synthetic_cell):
    blank = np.full((150, 150, 3), 230, np.uint8)
    yield from (synthetic_cell(name, seed=2, size=220) for name in ("Neutrophil", "Lymphocyte"))
    yield cv2.GaussianBlur(synthetic_cell("Monocyte", seed=1, size=220), (0, 0), 6)
    yield blank
    yield np.random.default_rng(0).integers(0, 256, (100, 140, 3), np.uint8)


STRICT = dataclasses.replace(WITHOUT_LIMIT, quality=QualityLimits(min_background=1.0))


@pytest.mark.parametrize(
    "profile", [WITHOUT_LIMIT, WITH_LIMIT, STRICT], ids=["without a limit", "with a limit", "strict"]
)
def test_the_finding_and_its_reasons_are_those_of_an_analysis(synthetic_cell, profile):
    server = FakeModelServer()
    services = Services(server, RuleBasedWriter(), {"p": profile}, "p", "en", DecodeLimits())

    async def both(rgb):
        analysis = await analyse(image_file(rgb), services)
        return analysis.finding, await asyncio.to_thread(
            served_finding, rgb, profile, lambda views: asyncio.run(server.explain(views))
        )

    async def run():
        await server.start()
        return [await both(rgb) for rgb in images(synthetic_cell)]

    pairs = asyncio.run(run())

    for served, ours in pairs:
        assert ours == served
    codes = {reason.code for served, _ in pairs for reason in served.review_reasons}
    assert {"no_cell", "blurred", "background_focus"} <= codes
    assert ("out_of_distribution" in codes) == (profile is WITH_LIMIT)
    assert ("underexposed" in codes) == (profile is STRICT)
