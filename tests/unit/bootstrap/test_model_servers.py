from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from orchestrator.bootstrap.model_servers import build_model_server
from orchestrator.common.circuit_breaker import BreakerState
from orchestrator.domain import ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.model_server.embedded import EmbeddedModelServer
from orchestrator.model_server.open_inference import OpenInferenceModelServer
from orchestrator.model_server.tf_serving import TfServingModelServer
from orchestrator.observability.metrics import TfServingMetrics
from orchestrator.settings import Settings, TfServingSettings


def test_a_target_chooses_tensorflow_serving_and_none_the_embedded_server():
    assert isinstance(build_model_server(Settings()), EmbeddedModelServer)
    remote = Settings(tf_serving=TfServingSettings(target="tf-serving:8500"))
    assert isinstance(build_model_server(remote), TfServingModelServer)


def test_a_protocol_chooses_the_open_inference_client_which_knows_no_labels():
    chosen = TfServingSettings(target="triton:8001", protocol="open_inference")
    assert isinstance(build_model_server(Settings(tf_serving=chosen)), OpenInferenceModelServer)
    labelled = chosen.model_copy(update={"version_label": "stable"})
    with pytest.raises(ConfigurationError, match="a version_label is known to TensorFlow Serving only"):
        build_model_server(Settings(tf_serving=labelled))


def test_the_environment_sets_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WBC_TF_SERVING__TARGET", "tf-serving:8500")
    monkeypatch.setenv("WBC_TF_SERVING__VERSION_LABEL", "stable")
    monkeypatch.setenv("WBC_MODEL_VERSION", "2")  # a label is the closer choice
    settings = Settings()
    assert (settings.tf_serving.target, settings.tf_serving.version_label) == ("tf-serving:8500", "stable")
    assert isinstance(build_model_server(settings), TfServingModelServer)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": 1, "version_label": "stable"}, "a version or a version_label, received both"),
        ({"tls": True, "client_key_file": Path("key.pem")}, "expected both client_certificate_file and"),
        ({"ca_file": Path("ca.pem")}, "expected tls with a file of certificates"),
        ({"keepalive_s": 30}, "greater than or equal to 300"),
        ({"target": ""}, "at least 1 character"),
    ],
)
def test_what_contradicts_itself_is_refused(wrong, message: str):
    with pytest.raises(ValidationError, match=message):
        TfServingSettings(**wrong)


def test_calls_are_counted_by_method_outcome_and_version():
    metrics = TfServingMetrics("a test")
    labels = {"method": "classify", "outcome": "ok", "version": "4711"}

    metrics.call_ended("classify", "ok", 4711, 0.01)
    metrics.retry_ended("answered")
    metrics.hedge_ended(won=True)
    metrics.breaker_changed(BreakerState.OPEN)

    assert REGISTRY.get_sample_value("wbc_model_server_calls_total", labels) == 1
    assert REGISTRY.get_sample_value("wbc_model_server_retries_total", {"outcome": "answered"}) == 1
    assert REGISTRY.get_sample_value("wbc_model_server_hedges_total", {"won": "true"}) == 1
    assert REGISTRY.get_sample_value("wbc_circuit_breaker_state", {"dependency": "a test"}) == 2
    seconds = {"method": "classify"}
    assert (REGISTRY.get_sample_value("wbc_model_server_call_duration_seconds_count", seconds) or 0) >= 1


def test_a_new_version_takes_the_place_of_the_old_one():
    metrics = TfServingMetrics()
    first, second = (ModelIdentity("of a test", version, None) for version in (1, 2))

    metrics.version_changed(None, first)
    metrics.version_changed(first, second)
    metrics.version_changed(ModelIdentity("never told", 1, None), second)

    def told(version: str) -> float | None:
        labels = {"name": "of a test", "version": version, "sha256": ""}
        return REGISTRY.get_sample_value("wbc_model_info", labels)

    assert (told("1"), told("2")) == (None, 1)
