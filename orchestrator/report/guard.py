"""What a language model answers becomes a report only where it agrees with the facts.

A model invents, and whoever could speak to it could have it say anything. So an answer is a JSON object in
which the model repeats the class, the confidence and the region that it writes about; these must be the
facts' own, and the text must pass every check of :mod:`orchestrator.report.grounding`. What does not is
dropped whole, and the next writer speaks.
"""

import math
from typing import Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.domain import FocusJudgement, Report
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.report.facts import Facts
from orchestrator.report.failures import FailureReason, WriterFailed
from orchestrator.report.grounding import Fault, faults
from orchestrator.report.language_model import Completion

MAX_ANSWER_CHARACTERS: Final = 8000
"""Far more than eighty words and five fields; what is longer is not read."""

_FAULTS_BY_WEIGHT: Final[tuple[Fault, ...]] = (
    "diagnosis", "treatment", "language", "claim", "class", "number", "region", "markup", "length",
)  # fmt: skip


class ModelAnswer(BaseModel):
    """What a language model is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    class_name: str = Field(alias="class")
    confidence_percent: float
    region: str
    focus: FocusJudgement
    text: str


ANSWER_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "class": {"type": "string", "enum": list(CLASS_NAMES)},
        "confidence_percent": {"type": "number"},
        "region": {
            "type": "string",
            "enum": ["nucleus", "cytoplasm", "spread", "background", "nowhere", "unknown", "none"],
        },
        "focus": {"type": "string", "enum": list(get_args(FocusJudgement))},
        "text": {"type": "string"},
    },
    "required": ["class", "confidence_percent", "region", "focus", "text"],
    "additionalProperties": False,
}
"""JSON Schema of a :class:`ModelAnswer`, in the part of it that providers with structured output know."""


def guarded(completion: Completion, facts: Facts, writer: str) -> Report:
    """The report in an answer.

    Raises :class:`~.failures.WriterFailed` where there is none, or it does not agree with the facts.
    """
    answer = _read(completion.text)
    text = " ".join(answer.text.split())
    found = faults(text, facts)
    if not _fields_agree(answer, facts):
        raise WriterFailed("contradiction", faults=found)
    if found:
        gravest: FailureReason = next(fault for fault in _FAULTS_BY_WEIGHT if fault in found)
        raise WriterFailed(gravest, faults=found)
    return Report(text, writer, facts.language, model=completion.model, focus_opinion=answer.focus)


def _fields_agree(answer: ModelAnswer, facts: Facts) -> bool:
    """The confidence to its decimal, or in whole percents."""
    figure = float(facts.decided.percent)
    return (
        answer.class_name == facts.decided.class_name
        and answer.region == facts.region
        and any(math.isclose(answer.confidence_percent, c, abs_tol=1e-6) for c in (figure, round(figure)))
    )


def _read(text: str) -> ModelAnswer:
    stripped = text.strip()
    if not stripped:
        raise WriterFailed("empty")
    if len(stripped) > MAX_ANSWER_CHARACTERS:
        raise WriterFailed("malformed")
    # Servers without structured output let models wrap their JSON in a fence of Markdown.
    stripped = stripped.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        answer = ModelAnswer.model_validate_json(stripped)
    except ValidationError as error:
        raise WriterFailed("malformed") from error
    if not answer.text.strip():
        raise WriterFailed("empty")
    return answer
