"""What each writer is worth: the same results for all of them, and the checks that a report must pass.

The answers of language models are judged before the guard throws them away: a table of what is left over
would show no writer's faults.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from orchestrator.domain import Language, Report, ReportRequest
from orchestrator.errors import ReportWriterError
from orchestrator.report.base import ReportWriter
from orchestrator.report.facts import facts_of
from orchestrator.report.failures import FailureReason, WriterFailed
from orchestrator.report.grounding import Fault, faults

CHECKS: Final[tuple[Fault, ...]] = get_args(Fault)

_UNREADABLE: Final[frozenset[FailureReason]] = frozenset({"empty", "malformed"})
"""An answer came, and nothing in it can be checked."""


@dataclass(frozen=True, slots=True)
class WriterScore:
    """One writer in one language, about ``cases`` results.

    ``answered`` counts those about which an answer came in time, ``usable`` those whose answer is a report
    without fault. ``passed`` counts, in the order of :data:`CHECKS`, the answers that pass each check; an
    answer that cannot be read passes none. ``reasons`` are why the others are not usable, the most frequent
    first, with the words of the server where it said any. ``models`` are those that providers say have
    answered. ``longest_words`` and ``median_ms`` are of the reports; 0 where there is none.
    """

    writer: str
    language: Language
    cases: int
    answered: int
    usable: int
    passed: tuple[int, ...]
    reasons: tuple[tuple[str, int], ...]
    models: tuple[str, ...]
    longest_words: int
    median_ms: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    """``faults`` is None where there is no text to check, ``reason`` is None where the report can be used."""

    faults: frozenset[Fault] | None
    reason: str | None
    answered: bool
    report: Report | None = None
    seconds: float = 0.0


async def evaluate_writer(
    writer: ReportWriter, requests: Sequence[ReportRequest], language: Language, limit_s: float = 60.0
) -> WriterScore:
    """Have the writer write about every request, one after the other, in ``language``.

    What takes longer than ``limit_s`` would reach no reader, and counts as no answer.
    """
    outcomes = [
        await _outcome(writer, ReportRequest(asked.finding, asked.focus, language), limit_s)
        for asked in requests
    ]
    reports = [one.report for one in outcomes if one.report]
    checked = [one.faults for one in outcomes if one.faults is not None]
    seconds = [one.seconds for one in outcomes if one.report]
    return WriterScore(
        writer=writer.name,
        language=language,
        cases=len(outcomes),
        answered=sum(one.answered for one in outcomes),
        usable=sum(one.reason is None for one in outcomes),
        passed=tuple(sum(check not in found for found in checked) for check in CHECKS),
        reasons=tuple(Counter(one.reason for one in outcomes if one.reason).most_common()),
        models=tuple(sorted({report.model for report in reports if report.model})),
        longest_words=max((len(report.text.split()) for report in reports), default=0),
        median_ms=1000 * float(np.median(seconds)) if seconds else 0.0,
    )


async def _outcome(writer: ReportWriter, request: ReportRequest, limit_s: float) -> _Outcome:
    begun_s = time.perf_counter()
    try:
        async with asyncio.timeout(limit_s):
            report = await writer.write(request)
    except WriterFailed as error:
        if error.faults or error.reason == "contradiction":
            return _Outcome(error.faults, str(error), answered=True)
        return _Outcome(None, str(error), answered=error.reason in _UNREADABLE)
    except TimeoutError:
        return _Outcome(None, "timeout", answered=False)
    except ReportWriterError:
        return _Outcome(None, "unexpected", answered=False)
    seconds = time.perf_counter() - begun_s
    found = faults(report.text, facts_of(request))
    reason = next((check for check in CHECKS if check in found), None)
    return _Outcome(found, reason, True, report, seconds)


def markdown_table(scores: Sequence[WriterScore]) -> str:
    """The scores, for a README."""
    header = (
        "Writer", "Answered by", "Language", "Cases", "Answered", "Usable", *CHECKS,
        "Longest, words", "Median, ms", "Not usable",
    )  # fmt: skip
    rows = [
        (
            _in_a_cell(s.writer),
            ", ".join(_in_a_cell(model) for model in s.models) or "–",
            s.language,
            s.cases,
            s.answered,
            s.usable,
            *s.passed,
            s.longest_words,
            f"{s.median_ms:.2g}" if s.median_ms < 10 else f"{s.median_ms:.0f}",
            ", ".join(f"{count} {_in_a_cell(reason)}" for reason, count in s.reasons) or "–",
        )
        for s in scores
    ]
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _in_a_cell(text: str) -> str:
    """A provider may call its model anything."""
    return " ".join(text.split()).replace("|", "\\|")[:240]
