"""Schemathesis over every operation that the OpenAPI document of a running service describes.

Checked of every answer: no 500, a documented status and media type, a body that its schema describes, 405
with ``Allow`` for other methods, a refusal of wrong parameters. Whether right parameters with wrong images
are refused rightly is not the document's to say, so that ``positive_data_acceptance`` is off; 503 and 504
are the right answers to a busy moment and to a caller who waits for one millisecond.
"""

import hashlib
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from orchestrator.model_contract import MODEL_NAME
from tests.fuzz import seeds
from tests.fuzz.mutation import drawn

PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")

_FILES: Final = ("file", "files")


@dataclass
class HttpFigures:
    """Requests and their answers; ``failures`` are told as Schemathesis tells them, each kind once."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def fuzz_over_http(
    url: str, *, seed: int, max_examples: int, max_time_s: int | None = None, workers: int = 1
) -> HttpFigures:
    """Ask the service at ``url`` at most ``max_examples`` times an operation and phase of generated data.

    With ``max_time_s`` it goes on with other data until then.
    """
    begun_s = time.monotonic()
    figures = HttpFigures()
    turn = 0
    while True:
        _run(url, seed + turn, max_examples, workers, figures)
        turn += 1
        figures.seconds = time.monotonic() - begun_s
        if max_time_s is None or figures.seconds >= max_time_s:
            return figures


def _run(url: str, seed: int, max_examples: int, workers: int, figures: HttpFigures) -> None:
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "workers": workers,
            "continue-on-failure": True,
            "generation": {"max-examples": max_examples, "no-shrink": True, "database": "none"},
            "phases": {name: {"enabled": True} for name in PHASES},
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503", "504"]},
            },
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    schema.hook("map_case")(_with_seeds)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note(event, figures)
        elif isinstance(event, events.NonFatalError):
            figures.failures[f"{event.label}: {event.info.title}"] = str(event.value)
        elif isinstance(event, events.FatalError):
            raise event.exception


def _note(event: events.ScenarioFinished, figures: HttpFigures) -> None:
    recorder = event.recorder
    figures.cases += len(recorder.interactions)
    for interaction in recorder.interactions.values():
        if interaction.response is not None:
            figures.statuses[interaction.response.status_code] += 1
    for case in recorder.find_all_cases():
        figures.operations.add(case.operation.label)
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                label = recorder.cases[case_id].value.operation.label
                failure = check.failure_info
                figures.failures.setdefault(
                    f"{label}: {check.name}: {failure.failure.title}",
                    f"{failure.failure.message}\n{failure.code_sample}",
                )


def _with_seeds(_: Any, case: Any) -> Any:
    """Real images, archives and requests in the places of generated ones, in cases that may be right.

    The same for the same case, so that it can be sent again.
    """
    if case.meta is None or case.meta.generation.mode.is_negative:
        return case
    rng = random.Random(hashlib.sha256(repr((case.body, case.path_parameters, case.query)).encode()).digest())
    if case.media_type == "multipart/form-data" and isinstance(case.body, Mapping):
        case.body = {name: _file(rng) if name in _FILES else value for name, value in case.body.items()}
    elif case.operation.path.endswith("/infer"):
        _fill_inference(case, rng)
    if "model_name" in case.path_parameters and rng.random() < 0.8:
        case.path_parameters["model_name"] = rng.choice((MODEL_NAME, f"{MODEL_NAME}_analysis"))
    if "model_version" in case.path_parameters and rng.random() < 0.8:
        case.path_parameters["model_version"] = "1"
    return case


def _file(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.choice(seeds.images()[:10])
    return drawn(seeds.archives() if rng.random() < 0.1 else seeds.images(), rng)


def _fill_inference(case: Any, rng: random.Random) -> None:
    if case.media_type != "application/octet-stream":
        return
    data = drawn(seeds.inference_requests(), rng)
    length = int.from_bytes(data[:4], "little")
    case.body = data[4:]
    if length < 2**31:
        case.headers["Inference-Header-Content-Length"] = str(length)
