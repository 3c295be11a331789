import json
import logging

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from orchestrator import errors
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.http import problems
from orchestrator.edge.http.problems import Problem
from orchestrator.edge.request_identity import adopt_request_id
from orchestrator.errors import (
    FieldProblem,
    InvalidParameter,
    MalformedUpload,
    UnsupportedBody,
    UploadTimeout,
)


def document_of(error: Exception) -> Problem:
    return Problem.model_validate_json(bytes(problems.respond(error).body))


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.UndecodableImage("cut"), 400, "undecodable-image"),
        (errors.UnsupportedImage("animated"), 415, "unsupported-image"),
        (errors.ImageTooLarge("10 MiB"), 413, "image-too-large"),
        (errors.InvalidImage("odd"), 400, "invalid-image"),
        (MalformedUpload("no file"), 400, "malformed-upload"),
        (UnsupportedBody("JSON"), 415, "unsupported-body"),
        (UploadTimeout("60 s"), 408, "upload-timeout"),
        (InvalidParameter(FieldProblem("profile", "unknown")), 422, "invalid-parameter"),
        (errors.Overloaded("full", 3), 503, "overloaded"),
        (errors.ModelServerUnavailable("gone"), 503, "model-unavailable"),
        (errors.ModelServerTimeout("late"), 504, "model-timeout"),
        (errors.ContractViolation("other outputs"), 500, "contract-violation"),
        (errors.ModelServerError("broken"), 500, "model-error"),
        (errors.ReportWriterError("silent"), 500, "internal-error"),
        (RuntimeError("a bug"), 500, "internal-error"),
    ],
)
def test_every_error_of_the_tree_has_its_status(error, status, name):
    response = problems.respond(error)
    document = document_of(error)
    assert response.status_code == document.status == status
    assert response.media_type == "application/problem+json"
    assert document.type == f"urn:wbc-analyzer:problem:{name}"
    assert document.disclaimer == DISCLAIMER


def test_no_error_of_the_tree_is_unknown_to_this_edge():
    unknown = {errors.WbcError, errors.ReportWriterError, errors.ConfigurationError}  # reach no caller
    unknown |= {errors.InteropError, errors.MalformedMessage}  # of commands, which tell a person
    unknown |= {errors.PeerUnavailable, errors.PeerRefused, errors.PeerRejected, errors.PeerUnconfirmed}

    def below(base: type[Exception]) -> set[type[Exception]]:
        return {base, *(cls for child in base.__subclasses__() for cls in below(child))}

    of_the_tree = {cls for cls in below(errors.WbcError) if cls.__module__ == errors.__name__}
    assert {cls for cls in of_the_tree if cls.kind is errors.INTERNAL} == unknown


def test_a_subclass_has_the_kind_of_its_nearest_ancestor():
    class BrokenTiff(errors.UndecodableImage):
        pass

    assert problems.kind_of(BrokenTiff()).name == "undecodable-image"


def test_the_document_names_the_request_and_says_what_is_wrong():
    adopt_request_id("lab-42")
    document = document_of(errors.UndecodableImage("The file is truncated."))
    assert document.request_id == "lab-42"
    assert document.instance == "urn:wbc-analyzer:request:lab-42"
    assert document.detail == "The file is truncated."


@pytest.mark.parametrize(("retry_after_s", "header"), [(0.0, "1"), (0.2, "1"), (3.0, "3"), (3.1, "4")])
def test_an_overloaded_service_says_when_to_try_again(retry_after_s, header):
    assert problems.respond(errors.Overloaded("full", retry_after_s)).headers["Retry-After"] == header


def test_an_unavailable_model_says_when_to_try_again():
    assert int(problems.respond(errors.ModelServerUnavailable("gone")).headers["Retry-After"]) >= 1


def test_the_frameworks_errors_keep_their_headers():
    response = problems.respond(HTTPException(405, headers={"Allow": "POST"}))
    document = Problem.model_validate_json(bytes(response.body))
    assert response.headers["Allow"] == "POST"
    assert (document.type, document.title, document.status) == ("about:blank", "Method Not Allowed", 405)


def test_a_wrong_parameter_is_named_with_what_is_right():
    document = document_of(InvalidParameter(FieldProblem("profile", "unknown", ("default", "raabin"))))
    (problem,) = document.errors
    assert (problem.field, problem.allowed) == ("profile", ["default", "raabin"])
    assert document.detail == "profile: unknown"


def test_a_wrong_parameter_is_not_repeated():
    found = [{"loc": ("query", "language"), "msg": "Input should be 'en' or 'tr'", "input": "Yilmaz"}]
    response = problems.respond(RequestValidationError(found))
    assert response.status_code == 422
    assert b"Yilmaz" not in response.body
    assert json.loads(bytes(response.body))["errors"] == [
        {"field": "language", "message": "Input should be 'en' or 'tr'", "allowed": []}
    ]


def test_problems_without_wrong_parameters_have_no_list_of_them():
    assert "errors" not in json.loads(bytes(problems.respond(errors.UndecodableImage("cut")).body))


def test_an_unexpected_error_shows_nothing_of_the_inside(caplog):
    adopt_request_id("lab-43")
    content, name = "Yilmaz Ayse", "Yilmaz_Ayse.jpg"
    try:
        try:
            int(content)
        except ValueError as error:
            raise RuntimeError(f"while reading {name}") from error
    except RuntimeError as error:
        response = problems.respond(error)
    assert b"Yilmaz" not in response.body
    assert b"RuntimeError" not in response.body
    assert b"Traceback" not in response.body
    # The log has request, types and place, and not the messages, which may quote an image or a form.
    assert "lab-43" in caplog.text
    assert "RuntimeError from ValueError" in caplog.text
    assert "test_problems.py" in caplog.text
    assert "Yilmaz" not in caplog.text


def test_an_error_of_the_model_server_is_logged_with_its_message(caplog):
    problems.respond(errors.ContractViolation("expected outputs main_out, received logits"))
    assert "expected outputs main_out, received logits" in caplog.text


def test_an_error_of_the_caller_is_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    problems.respond(errors.UndecodableImage("cut"))
    assert not caplog.records


def test_operations_are_described_with_every_problem_that_shares_a_status():
    described = problems.responses(errors.Overloaded, errors.ModelServerUnavailable, errors.ImageTooLarge)
    assert set(described) == {413, 503}
    examples = described[503]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"overloaded", "model-unavailable"}
    assert "Retry-After" in described[503]["headers"]
    for example in examples.values():
        Problem.model_validate(example["value"])


def test_a_coding_that_is_refused_names_the_one_that_is_read():
    assert problems.respond(errors.CompressedBody()).headers["Accept-Encoding"] == "identity"
    assert "Accept-Encoding" not in problems.respond(UnsupportedBody("JSON")).headers
