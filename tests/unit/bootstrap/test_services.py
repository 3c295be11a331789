import socket
from functools import partial

import cv2
import numpy as np
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from orchestrator.bootstrap.model_servers import build_model_server
from orchestrator.bootstrap.process import announcement, serve
from orchestrator.bootstrap.services import build_app, build_image_workers, build_services
from orchestrator.common.cores import available_cores
from orchestrator.domain import ViewBatch
from orchestrator.errors import ConfigurationError
from orchestrator.image_workers.processes import ImageProcesses
from orchestrator.image_workers.threads import ImageThreads
from orchestrator.model_server.canary import CanaryModelServer
from orchestrator.model_server.embedded import EmbeddedModelServer
from orchestrator.model_server.failover import FailoverModelServer
from orchestrator.model_server.shadow import ShadowModelServer
from orchestrator.settings import (
    CanarySettings,
    EmbeddedSettings,
    FailoverSettings,
    HttpSettings,
    ImageSettings,
    Settings,
    ShadowSettings,
    TfServingSettings,
)
from tests.fakes.model_server import FakeModelServer
from tests.waiting import LONGEST_S, becomes


def test_services_follow_the_settings():
    settings = Settings(profile="raabin", language="tr", images=ImageSettings(max_bytes=1000, max_pixels=500))
    model_server = FakeModelServer()
    services = build_services(settings, model_server=model_server)
    assert services.model_server is model_server
    assert services.report_writer.name == "rule-based"
    assert services.default_profile == "raabin"
    assert services.default_language == "tr"
    assert (services.decode_limits.max_bytes, services.decode_limits.max_pixels) == (1000, 500)


def test_opencv_is_left_one_thread():
    cv2.setNumThreads(2)
    build_services(Settings(), model_server=FakeModelServer())
    assert cv2.getNumThreads() == 1


def test_a_default_profile_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ConfigurationError, match=r"expected one of .*raabin.*, received 'leica'"):
        build_services(Settings(profile="leica"), model_server=FakeModelServer())


def test_a_limit_that_the_decoder_refuses_is_a_configuration_error():
    settings = Settings(images=ImageSettings(max_pixels=10**9))
    with pytest.raises(ConfigurationError, match="max_pixels"):
        build_services(settings, model_server=FakeModelServer())


def test_an_application_is_built_from_services_of_ones_own():
    services = build_services(Settings(), model_server=FakeModelServer())
    assert build_app(Settings(), services).title == "WBC Analyzer"


TARGET = TfServingSettings(target="tf-serving:8500")


@pytest.mark.parametrize(
    ("settings", "outermost"),
    [
        (Settings(), EmbeddedModelServer),
        (Settings(tf_serving=TARGET, failover=FailoverSettings(enabled=True)), FailoverModelServer),
        (Settings(canary=CanarySettings(share=0.1, version=2)), CanaryModelServer),
        (Settings(shadow=ShadowSettings(version=2)), ShadowModelServer),
        (
            Settings(tf_serving=TARGET, canary=CanarySettings(share=0.1, version_label="canary")),
            CanaryModelServer,
        ),
        (
            Settings(
                tf_serving=TARGET,
                failover=FailoverSettings(enabled=True),
                canary=CanarySettings(share=0.1, version_label="canary"),
                shadow=ShadowSettings(target="next:8500"),
            ),
            ShadowModelServer,
        ),
        (Settings(canary=CanarySettings(version=2)), EmbeddedModelServer),  # a share of nothing
    ],
)
def test_model_servers_are_put_together_as_the_settings_say(settings, outermost):
    assert type(build_model_server(settings)) is outermost


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (ImageSettings(processes=0), ImageThreads),
        (ImageSettings(processes=3), ImageProcesses),
        (ImageSettings(processes=None), ImageProcesses if available_cores() > 1 else ImageThreads),
    ],
)
def test_steps_on_pixels_run_where_the_settings_say(settings, kind):
    assert type(build_image_workers(Settings(images=settings))) is kind


def test_beside_a_tensorflow_serving_steps_on_pixels_run_in_threads_unless_told_otherwise():
    remote = TfServingSettings(target="models:8500")
    unset, two = (
        build_image_workers(Settings(tf_serving=remote, images=ImageSettings(processes=processes)))
        for processes in (None, 2)
    )
    assert type(unset) is ImageThreads
    assert type(two) is ImageProcesses


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(failover=FailoverSettings(enabled=True)), "WBC_TF_SERVING__TARGET"),
        (Settings(canary=CanarySettings(share=0.1, version_label="canary")), "version_label"),
        (Settings(shadow=ShadowSettings(version_label="next")), "version_label"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, told):
    with pytest.raises(ConfigurationError, match=told):
        build_model_server(settings)


@pytest.mark.parametrize(
    ("section", "chosen"),
    [(CanarySettings, {"share": 0.1}), (ShadowSettings, {"version": 1, "version_label": "next"})],
)
def test_another_version_is_named_once(section, chosen):
    with pytest.raises(ValidationError, match="expected a version"):
        section(**chosen)


async def test_a_shadow_of_another_version_is_asked_and_not_told(small_exported_model):
    repository = small_exported_model.model_dir.parent
    settings = Settings(
        model_repository=repository,
        embedded=EmbeddedSettings(threads=1),
        # It starts beside the answers, which may take longer than it has for one by default.
        shadow=ShadowSettings(version=int(small_exported_model.version_dir.name), timeout_s=LONGEST_S),
    )
    server = build_model_server(settings)
    before = REGISTRY.get_sample_value("wbc_shadow_comparisons_total", {"outcome": "agree"}) or 0.0
    await server.start()
    assert await server.ready()
    views = ViewBatch(np.zeros((1, 224, 224, 3), np.uint8), np.ones(1, np.float32))
    answer = await server.classify(views)
    agreed = partial(REGISTRY.get_sample_value, "wbc_shadow_comparisons_total", {"outcome": "agree"})
    await becomes(lambda: agreed() == before + 1)
    await server.close()
    assert answer.model.server == "embedded"


def test_a_port_in_use_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]):
    services = build_services(Settings(), model_server=FakeModelServer())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as left:
            serve(Settings(http=HttpSettings(port=port)), services)
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot listen on 127.0.0.1 port {port} (")
    assert "WBC_HTTP__PORT" in line


@pytest.mark.parametrize(
    ("host", "listens_on", "url", "told"),
    [
        ("127.0.0.1", ("127.0.0.1", 81), "http://localhost:81", "127.0.0.1:81\n"),
        ("0.0.0.0", ("0.0.0.0", 81), "http://localhost:81", "0.0.0.0:81 (every address of this machine)\n"),
        ("192.0.2.7", ("192.0.2.7", 81), "http://192.0.2.7:81", "192.0.2.7:81\n"),
        ("wbc.example", ("192.0.2.7", 81), "http://wbc.example:81", "192.0.2.7:81\n"),
        ("::1", ("::1", 81, 0, 0), "http://[::1]:81", "[::1]:81\n"),
    ],
)
def test_the_start_tells_where_the_service_is_and_where_it_listens(host, listens_on, url, told):
    text = announcement(Settings(http=HttpSettings(host=host)), listens_on)
    assert f"ready on {url}\n  listens on     {told}" in text
    assert f"{url}/predict\n" in text


def test_without_an_image_of_a_clone_the_start_names_a_placeholder_and_says_so(tmp_path):
    text = announcement(Settings(), ("127.0.0.1", 8000), tmp_path / "example.png")
    command = "curl --fail-with-body -F file=@cell.jpg http://localhost:8000/predict"
    assert f"{command}   (cell.jpg: an image of yours)\n" in text
