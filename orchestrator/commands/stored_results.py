"""Results that were printed as JSON, one a line, back as facts to write a report about.

The lines are those of ``wbc analyse --json``. They were in other hands since, so that nothing in them is
taken on trust: what is no result of this service is told with the number of its line.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.domain import (
    DEVICE_UNKNOWN,
    DeviceState,
    Finding,
    Focus,
    FocusShares,
    Language,
    ReportRequest,
    ReviewReason,
    RoutingMode,
)
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, ClassName
from orchestrator.specimen import UNVERIFIED_DEVICES

MAX_LINE_CHARACTERS = 1_000_000

_SUM_TOLERANCE = 0.02


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Decision(_Part):
    class_name: ClassName = Field(alias="class")
    decided_by: RoutingMode


class _Reason(_Part):
    code: str = Field(max_length=64)
    message: str = Field(max_length=1000)


class _Review(_Part):
    reasons: list[_Reason] = Field(max_length=64)


class _Shares(_Part):
    nucleus: float = Field(ge=0, le=1.001)
    cytoplasm: float = Field(ge=0, le=1.001)
    background: float = Field(ge=0, le=1.001)


class _Focus(_Part):
    ratio: float = Field(ge=0, le=1.001)
    shares: _Shares


class _Report(_Part):
    language: Language


class _Stored(_Part):
    decision: _Decision
    review: _Review
    probabilities: dict[str, float]
    aux_neutrophil_probability: float
    energy: float
    not_wbc: float = Field(default=0.0, ge=0, le=1)
    """0 in what older versions wrote."""
    focus: _Focus | None
    report: _Report | None
    device_state: DeviceState = "unknown"

    @model_validator(mode="after")
    def _check_probabilities(self) -> "_Stored":
        if set(self.probabilities) != set(CLASS_NAMES):
            raise ValueError(f"expected probabilities of {', '.join(CLASS_NAMES)}")
        values = self.probabilities.values()
        if min(values) < 0 or abs(math.fsum(values) - 1) > _SUM_TOLERANCE:
            raise ValueError("expected probabilities that sum to 1")
        return self


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One line: its document, and what a report may say about it; None for a line that tells an error."""

    document: dict[str, Any]
    request: ReportRequest | None


def read_results(lines: Iterable[str], language: Language | None) -> Iterator[StoredResult]:
    """The results of all lines but empty ones. ``language`` is that of the new reports; where None, that of
    the stored one, and English where there is none.

    Raises :class:`ConfigurationError` at the first line that is no result.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line) > MAX_LINE_CHARACTERS:
            raise ConfigurationError(
                f"line {number} is no result: it has over {MAX_LINE_CHARACTERS} characters"
            )
        try:
            document = json.loads(line)
            if isinstance(document, dict) and "error" in document:
                yield StoredResult(document, None)
                continue
            stored = _Stored.model_validate(document)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"line {number} is no result: {_why(error)}") from error
        yield StoredResult(document, _request(stored, language))


def _request(stored: _Stored, language: Language | None) -> ReportRequest:
    reasons = [ReviewReason(reason.code, reason.message) for reason in stored.review.reasons]
    if "device_state" not in stored.model_fields_set:  # of an older version, which did not ask
        reasons.append(ReviewReason(DEVICE_UNKNOWN, UNVERIFIED_DEVICES[stored.device_state]))
    finding = Finding(
        class_index=CLASS_NAMES.index(stored.decision.class_name),
        probabilities=tuple(stored.probabilities[name] for name in CLASS_NAMES),
        aux_neutrophil=stored.aux_neutrophil_probability,
        energy=stored.energy,
        not_wbc=stored.not_wbc,
        decided_by=stored.decision.decided_by,
        review_reasons=tuple(reasons),
    )
    focus = None
    if stored.focus is not None:
        shares = stored.focus.shares
        focus = Focus(
            stored.focus.ratio,
            FocusShares(shares.nucleus, shares.cytoplasm, shares.background),
        )
    return ReportRequest(finding, focus, language or (stored.report.language if stored.report else "en"))


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}"
    return (
        "it is not JSON"
        if isinstance(error, json.JSONDecodeError)
        else "its numbers or its depth are out of bounds"
    )
