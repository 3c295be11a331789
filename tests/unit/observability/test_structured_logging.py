import io
import json
import logging
from contextvars import Context

import pytest

from orchestrator.errors import ModelServerError
from orchestrator.observability.metrics import request_ended
from orchestrator.observability.request_context import set_request_id
from orchestrator.observability.structured_logging import LogFormat, configure_logging, described

SECRET = "Yilmaz-1957"


@pytest.fixture
def log() -> io.StringIO:
    """Where the log goes."""
    return io.StringIO()


def fail() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise ModelServerError("the network failed on this request") from error


def log_a_failure() -> None:
    set_request_id("lab-9")
    try:
        fail()
    except ModelServerError:
        logging.getLogger("orchestrator.x").exception("a batch of %d rows", 8)


def test_json_is_one_object_a_line_with_the_request_and_the_exception(log):
    configure_logging("json", stream=log)
    Context().run(log_a_failure)
    Context().run(logging.getLogger("orchestrator.x").info, 'line\nbreak "quoted" ışık')
    first, second = (json.loads(line) for line in log.getvalue().splitlines())
    assert first["level"] == "ERROR"
    assert first["logger"] == "orchestrator.x"
    assert first["message"] == "a batch of 8 rows"
    assert first["request_id"] == "lab-9"
    assert "ModelServerError: the network failed on this request" in first["exception"]
    assert "from ValueError" in first["exception"]
    assert "test_structured_logging.py" in first["exception"]
    assert second["message"] == 'line\nbreak "quoted" ışık'
    assert "request_id" not in second
    assert second["time"].endswith("+00:00")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_message_of_a_foreign_exception_is_not_written(log, log_format: LogFormat):
    configure_logging(log_format, stream=log)
    Context().run(log_a_failure)
    assert "ValueError" in log.getvalue()
    assert SECRET not in log.getvalue()


def test_text_names_the_request_once(log):
    configure_logging("text", stream=log)

    def write() -> None:
        set_request_id("lab-9")
        logging.getLogger("a").warning("it failed")
        logging.getLogger("a").warning("request lab-9 failed")

    Context().run(write)
    first, second = log.getvalue().splitlines()
    assert first.endswith("WARNING a: it failed request_id=lab-9")
    assert second.endswith("WARNING a: request lab-9 failed")


@pytest.mark.parametrize("asked", [True, False])
def test_a_line_for_each_request_is_written_where_it_is_asked_for(log, asked):
    configure_logging("json", requests=asked, stream=log)
    request_ended("predict", "ok", 0.1234)
    lines = [json.loads(line)["message"] for line in log.getvalue().splitlines()]
    assert lines == (["predict ended: ok, 123 ms"] if asked else [])


def test_an_exception_s_chain_ends_where_it_is_suppressed():
    def raise_suppressed() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise ModelServerError("clear") from None

    with pytest.raises(ModelServerError) as caught:
        raise_suppressed()
    assert described(caught.value).startswith("ModelServerError: clear\n")
    assert "KeyError" not in described(caught.value).splitlines()[0]
    assert "\nfrom " not in described(caught.value)
