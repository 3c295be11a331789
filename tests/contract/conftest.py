from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.export_fixture import ExportedModel, exported_model, small_exported_model

if TYPE_CHECKING:
    from tests.fakes.open_inference_server import OpenInferenceServer
    from tests.fakes.tf_serving_stand_in import StandIn

__all__ = ["exported_model", "small_exported_model"]


@pytest.fixture(scope="session")
def two_versions(small_exported_model: ExportedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the versions 1 and 2 of one model."""
    model_dir = tmp_path_factory.mktemp("two") / "wbc"
    model_dir.mkdir()
    for version in ("1", "2"):
        (model_dir / version).symlink_to(small_exported_model.version_dir)
    return model_dir


@pytest.fixture(scope="session")
def _stand_in(two_versions: Path) -> "Iterator[StandIn]":
    from tests.fakes.tf_serving_stand_in import StandIn  # not before a test asks: it imports TensorFlow

    with StandIn(two_versions, versions=(1, 2)) as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(_stand_in: "StandIn") -> "StandIn":
    """A stand-in for TensorFlow Serving that runs, holds the versions 1 and 2, and works without faults."""
    from tests.fakes.tf_serving_stand_in import Faults

    _stand_in.faults = Faults()
    _stand_in.tensor_content = False
    _stand_in.labels.clear()
    _stand_in.seen.clear()
    _stand_in.broken_off = 0
    return _stand_in


@pytest.fixture(scope="session")
def _open_inference(two_versions: Path) -> "Iterator[OpenInferenceServer]":
    from tests.fakes.open_inference_server import OpenInferenceServer

    with OpenInferenceServer({number: two_versions / str(number) for number in (1, 2)}) as server:
        yield server


@pytest.fixture
def open_inference(_open_inference: "OpenInferenceServer") -> "OpenInferenceServer":
    """A server of the Open Inference Protocol that holds the versions 1 and 2, and works without faults."""
    _open_inference.reset()
    return _open_inference
