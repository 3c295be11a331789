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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.transport.serialization import Binary

from orchestrator.edge.http.uploads import FILE_FIELD, FILES_FIELD
from orchestrator.edge.open_inference.schemas import BINARY_MEDIA_TYPE, HEADER_LENGTH
from tests.fuzz import seeds
from tests.fuzz.mutation import drawn

PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")

_MAX_FAILURE_CHARACTERS: Final = 1500


class Seed(Binary):
    """A real file, or a changed one, in the place of generated text."""


@dataclass
class HttpFigures:
    """Requests and their answers; ``failures`` are told as Schemathesis tells them, each kind once."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def fuzz_over_http(
    url: str,
    *,
    seed: int,
    max_examples: int,
    max_time_s: int | None = None,
    workers: int = 1,
    phases: Sequence[str] = PHASES,
) -> HttpFigures:
    """Ask the service at ``url`` at most ``max_examples`` times an operation and phase of generated data.

    With ``max_time_s`` it goes on with other data until then.
    """
    begun_s = time.monotonic()
    figures = HttpFigures()
    turn = 0
    while True:
        left_s = None if max_time_s is None else max(1, round(max_time_s - figures.seconds))
        _run(url, seed + turn, max_examples, left_s, workers, phases, figures)
        turn += 1
        figures.seconds = time.monotonic() - begun_s
        if max_time_s is None or figures.seconds >= max_time_s:
            return figures


def _run(
    url: str,
    seed: int,
    max_examples: int,
    max_time_s: int | None,
    workers: int,
    phases: Sequence[str],
    figures: HttpFigures,
) -> None:
    config = SchemathesisConfig.from_dict(
        {
            **({} if max_time_s is None else {"max-time": max_time_s}),
            "seed": seed,
            "workers": workers,
            "continue-on-failure": True,
            "generation": {"max-examples": max_examples, "no-shrink": True, "database": "none"},
            "phases": {name: {"enabled": name in phases} for name in PHASES},
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                # A wrong body that did not arrive in the caller's own millisecond is refused by 408.
                "negative_data_rejection": {"expected-statuses": ["4xx", "503", "504"]},
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
            case = recorder.cases[case_id].value
            if check.status is Status.FAILURE and check.failure_info is not None:
                # Schemathesis takes a seed in the place of its own text for a wrong value, to be refused.
                if check.name == "negative_data_rejection" and _has_seed(case.body):
                    continue
                label, failure = case.operation.label, check.failure_info
                figures.failures.setdefault(
                    f"{label}: {check.name}: {failure.failure.title}",
                    f"{failure.failure.message}\n{failure.code_sample}"[:_MAX_FAILURE_CHARACTERS],
                )


def _with_seeds(_: Any, case: Any) -> Any:
    """Real images, archives and requests in the places of generated ones, in cases that may be right.

    The same for the same case, so that it can be sent again.
    """
    if case.meta is None or case.meta.generation.mode.is_negative:
        return case
    rng = random.Random(hashlib.sha256(repr((case.body, case.path_parameters, case.query)).encode()).digest())
    if case.media_type == "multipart/form-data" and isinstance(case.body, Mapping):
        case.body = {name: _filled_in(name, value, rng) for name, value in case.body.items()}
    elif case.media_type == BINARY_MEDIA_TYPE:
        data = drawn(seeds.inference_requests(), rng)
        length = int.from_bytes(data[:4], "little")
        case.body = Seed(data[4:])
        if length < 2**31:
            case.headers[HEADER_LENGTH] = str(length)
    if "model_version" in case.path_parameters and rng.random() < 0.8:
        case.path_parameters["model_version"] = "1"
    return case


def _filled_in(name: str, value: Any, rng: random.Random) -> Any:
    if name == FILE_FIELD:
        return _file(rng)
    return [_file(rng) for _ in value] if name == FILES_FIELD and isinstance(value, list) else value


def _file(rng: random.Random) -> Seed:
    if rng.random() < 0.5:
        return Seed(rng.choice(seeds.images()[:10]))
    return Seed(drawn(seeds.archives() if rng.random() < 0.1 else seeds.images(), rng))


def _has_seed(body: Any) -> bool:
    if isinstance(body, Mapping):
        return any(map(_has_seed, body.values()))
    return isinstance(body, Seed) or (isinstance(body, list) and any(map(_has_seed, body)))
