"""How cells are looked at for learning: a busy model server is waited for, within the deadline."""

import cv2
import pytest

from orchestrator.adaptation.cells import LabelledImage, SeenCell, look_at_all
from orchestrator.bootstrap.services import build_services
from orchestrator.common.deadline import deadline
from orchestrator.domain import ModelIdentity
from orchestrator.errors import ModelServerTimeout, ModelServerUnavailable, Overloaded
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.canary import CanaryModelServer
from orchestrator.observability.request_context import current_request_id, set_request_id
from orchestrator.settings import ImageSettings, Settings
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import synthetic_cell


class Failing(FakeModelServer):
    """Raises each failure once, then answers."""

    def __init__(self, *failures):
        super().__init__()
        self.failures = list(failures)
        self.asked = 0

    async def classify(self, question):
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return await super().classify(question)


async def an_image():
    return cv2.imencode(".png", synthetic_cell("Monocyte", seed=1))[1].tobytes()


async def looked_at(model_server, **chosen):
    services = build_services(Settings(images=ImageSettings(processes=0)), model_server=model_server)
    image = LabelledImage(an_image, 0, "S-1", "1")
    async with services.running():
        return await look_at_all([image], services, services.profile("painted"), **chosen)


async def test_a_model_server_that_is_busy_or_away_is_asked_again():
    model_server = Failing(
        Overloaded("busy", 0.0), ModelServerUnavailable("away"), ModelServerTimeout("late")
    )

    (seen,) = await looked_at(model_server, first_pause_s=0.0)

    assert isinstance(seen, SeenCell)
    assert model_server.asked == 4


async def test_the_canary_is_not_asked():
    canary = FakeModelServer(ModelIdentity(MODEL_NAME, 2, None))
    model_server = CanaryModelServer(FakeModelServer(), canary, share=1.0, request_name=current_request_id)
    set_request_id("on trial")

    (seen,) = await looked_at(model_server)

    assert seen.model.version == 1
    assert current_request_id() == "on trial"


async def test_no_longer_than_the_deadline():
    model_server = Failing(Overloaded("busy", 3600.0))

    with deadline(1800.0), pytest.raises(Overloaded):
        await looked_at(model_server)

    assert model_server.asked == 1
