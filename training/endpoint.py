"""Labelled images judged by a running service, through ``POST /v1/analyses`` as any caller would.

The answers carry every digit (JSON numbers as Python and Rust write them are the shortest that read back as
the same double), so that this way and the one inside this process can be held to the very same results.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.progress import Progress

from orchestrator.domain import (
    DEVICE_UNKNOWN,
    NOT_AUDITED_CLASS,
    Finding,
    ModelIdentity,
    ReviewReason,
    RoutingMode,
)
from orchestrator.errors import (
    ConfigurationError,
    InvalidImage,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
)
from orchestrator.model_contract import CLASS_NAMES
from training.cells import JudgedCell, MeasuredFocus
from training.datasets import Sample

_stderr = Console(stderr=True)

MAX_CONCURRENCY: Final = 64
"""What a service takes at once by default; more would only be sent away again."""

MAX_PAUSE_S: Final = 30.0
DEFAULT_PAUSE_S: Final = 1.0
"""Longest pause before another try, whatever the service asks for; and the pause where it asks for none."""


class _Part(BaseModel):
    """As far as an answer is looked at here."""

    model_config = ConfigDict(frozen=True)


class _Model(_Part):
    name: str
    version: int
    sha256: str | None


class _Decision(_Part):
    class_name: str = Field(alias="class")
    decided_by: RoutingMode


class _Reason(_Part):
    code: str
    message: str


class _Review(_Part):
    reasons: list[_Reason]


class _Focus(_Part):
    ratio: float


class _Analysis(_Part):
    model: _Model
    profile: str
    decision: _Decision
    review: _Review
    probabilities: Annotated[dict[str, float], Field(min_length=len(CLASS_NAMES))]
    aux_neutrophil_probability: float
    energy: float
    not_wbc: float = 0.0
    focus: _Focus | None


@dataclass(frozen=True, slots=True)
class EndpointCells:
    """The cells as the service judged them, in the order given, and the model that it says it is."""

    cells: list[JudgedCell]
    model: ModelIdentity


@dataclass(slots=True)
class Endpoint:
    """A running service and how patiently it is asked.

    ``url`` is its root, ``http://host:port``. At most ``concurrency`` images are under way at once; an answer
    may take ``timeout_s``; a busy service (503) is asked again, after the time that it asks for, until
    ``patience_s`` have passed since the first try for an image. ``transport`` is the network unless given.
    """

    url: str
    concurrency: int = 4
    timeout_s: float = 60.0
    patience_s: float = 120.0
    transport: httpx2.AsyncBaseTransport | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"--endpoint: expected a URL such as http://localhost:8000, received {self.url!r}"
            )
        if not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise ConfigurationError(
                f"--concurrency: expected 1 to {MAX_CONCURRENCY}, received {self.concurrency}"
            )

    def evaluate(
        self, samples: Sequence[Sample], profile: str, description: str = "evaluating", *, focus: bool = False
    ) -> EndpointCells:
        """Have every sample judged by the service's profile of that name, with a progress bar.

        With ``focus`` the focus ratio is asked for; the service measures it with its own masks.

        Raises:
            ConfigurationError: the service has no such profile, or is no such service.
            InvalidImage: it cannot read a file.
            ModelServerUnavailable: it cannot be reached, or stays busy for too long.
            ModelServerTimeout: an answer took too long.
            ModelServerError: it failed, answered something else, or changed its model on the way.
        """
        return asyncio.run(self._evaluate(samples, profile, description, focus=focus))

    async def _evaluate(
        self, samples: Sequence[Sample], profile: str, description: str, *, focus: bool
    ) -> EndpointCells:
        answers: list[_Analysis | None] = [None] * len(samples)
        queue = iter(enumerate(samples))
        query = {"profile": profile, "heatmap": str(focus).lower(), "report": "none"}
        async with httpx2.AsyncClient(
            base_url=self.url,
            timeout=httpx2.Timeout(self.timeout_s, connect=10.0),
            limits=httpx2.Limits(max_connections=self.concurrency),
            transport=self.transport,
        ) as client:
            with Progress(console=_stderr) as progress:
                bar = progress.add_task(description, total=len(samples))

                async def work() -> None:
                    for index, sample in queue:
                        answers[index] = await self._ask(client, sample, query)
                        progress.advance(bar)

                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(self.concurrency, len(samples))):
                            group.create_task(work())
                except ExceptionGroup as failures:  # the first one stopped the others
                    raise failures.exceptions[0] from None
        received = [answer for answer in answers if answer is not None]
        models = {answer.model for answer in received}
        if len(models) != 1:
            raise ModelServerError(f"expected one model to answer every image, {len(models)} did")
        model = received[0].model
        return EndpointCells(
            [_judged(sample, answer) for sample, answer in zip(samples, received, strict=True)],
            ModelIdentity(model.name, model.version, model.sha256),
        )

    async def _ask(self, client: httpx2.AsyncClient, sample: Sample, query: dict[str, str]) -> _Analysis:
        # The name of a file may name a patient, and the service has no need of it.
        files = {"file": ("cell", sample.path.read_bytes())}
        give_up = self.clock() + self.patience_s
        while True:
            try:
                response = await client.post("/v1/analyses", params=query, files=files)
            except httpx2.TimeoutException as error:
                raise ModelServerTimeout(
                    f"{self.url} did not answer for {sample.path.name} within {self.timeout_s:g} s"
                ) from error
            except httpx2.HTTPError as error:
                raise ModelServerUnavailable(f"{self.url} cannot be reached: {error}") from error
            if response.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
                return _analysis(self.url, sample, response, query["profile"])
            pause = _retry_after_s(response)
            if self.clock() + pause > give_up:
                raise ModelServerUnavailable(
                    f"{self.url} stayed busy or without a model for {self.patience_s:g} s: "
                    f"{_detail(response)}"
                )
            await asyncio.sleep(pause)


def _analysis(url: str, sample: Sample, response: httpx2.Response, profile: str) -> _Analysis:
    match response.status_code:
        case 200:
            try:
                answer = _Analysis.model_validate_json(response.content)
            except ValidationError as error:
                raise ConfigurationError(
                    f"{url} answered something else than an analysis ({error.error_count()} problems, the "
                    f"first: {error.errors(include_url=False)[0]['msg']})"
                ) from error
            if answer.profile != profile:
                raise ModelServerError(f"expected profile {profile}, {url} used {answer.profile}")
            return answer
        case 400 | 413 | 415:
            raise InvalidImage(f"{sample.path.name}: {_detail(response)}")
        case 404 | 405 | 422:
            raise ConfigurationError(f"{url} does not take the request: {_detail(response)}")
        case 504:
            raise ModelServerTimeout(f"{sample.path.name}: {_detail(response)}")
        case status:
            raise ModelServerError(f"{url} answered {status} for {sample.path.name}: {_detail(response)}")


def _detail(response: httpx2.Response) -> str:
    """What a problem document says; the beginning of anything else."""
    try:
        document = response.json()
        wrong = [
            f"{one['field']}: {one['message']} (allowed: {', '.join(one['allowed']) or 'not listed'})"
            for one in document.get("errors", ())
        ]
        return "; ".join(wrong) or str(document["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text[:200] or response.reason_phrase


def _retry_after_s(response: httpx2.Response) -> float:
    try:
        asked = float(response.headers["Retry-After"])
    except (KeyError, ValueError):  # absent, or a date, which this service never sends
        return DEFAULT_PAUSE_S
    return min(max(asked, 0.0), MAX_PAUSE_S)


def _judged(sample: Sample, answer: _Analysis) -> JudgedCell:
    try:
        finding = Finding(
            class_index=CLASS_NAMES.index(answer.decision.class_name),
            probabilities=tuple(answer.probabilities[name] for name in CLASS_NAMES),
            aux_neutrophil=answer.aux_neutrophil_probability,
            energy=answer.energy,
            not_wbc=answer.not_wbc,
            decided_by=answer.decision.decided_by,
            review_reasons=tuple(
                ReviewReason(one.code, one.message)
                for one in answer.review.reasons
                if one.code not in (DEVICE_UNKNOWN, NOT_AUDITED_CLASS)  # of the microscope, not of the answer
            ),
        )
    except (KeyError, ValueError) as error:
        raise ModelServerError(f"expected the classes {', '.join(CLASS_NAMES)}, received others") from error
    focus = None if answer.focus is None else MeasuredFocus(answer.focus.ratio, "own")
    return JudgedCell(sample, finding, focus)
