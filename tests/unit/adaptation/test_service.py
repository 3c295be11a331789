"""What is refused before any image is looked at."""

import pytest

from orchestrator.adaptation.cells import LabelledImage
from orchestrator.adaptation.service import Adaptations
from orchestrator.bootstrap.services import build_services
from orchestrator.errors import AdaptationRefused
from orchestrator.settings import ImageSettings, Settings
from orchestrator.site_head.examples import MOST_CELLS
from orchestrator.site_head.registry import HeadRegistry
from tests.fakes.model_server import FakeModelServer


async def never_read():
    raise AssertionError("an image was read")


ONE_MORE = [LabelledImage(never_read, 0, "S-1", "1")] * (MOST_CELLS + 1)


@pytest.fixture
def adaptations(tmp_path):
    settings = Settings(images=ImageSettings(processes=0))
    return Adaptations(build_services(settings, model_server=FakeModelServer()), HeadRegistry(tmp_path))


@pytest.mark.parametrize(
    "act",
    [
        lambda adaptations: adaptations.learn("painted", "anna", ONE_MORE),
        lambda adaptations: adaptations.learn("painted", "anna", ONE_MORE[:1], ONE_MORE),
        lambda adaptations: adaptations.suggest("painted", ONE_MORE, 5),
    ],
    ids=["learn", "hold out", "suggest"],
)
async def test_more_cells_than_are_learnt_from_are_refused_before_they_are_read(adaptations, act):
    with pytest.raises(AdaptationRefused, match=f"1 to {MOST_CELLS} labelled cells, received 2001"):
        await act(adaptations)
