import socket

import cv2
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.settings import HttpSettings, ImageSettings, Settings
from orchestrator.wiring import build_app, build_services, serve
from tests.fakes.model_server import FakeModelServer


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
