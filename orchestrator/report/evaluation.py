"""What each writer is worth: the same results for all of them, and the checks that a report must pass."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from orchestrator.domain import Language, ReportRequest
from orchestrator.errors import ReportWriterError
from orchestrator.report.base import ReportWriter
from orchestrator.report.facts import facts_of
from orchestrator.report.grounding import Fault, faults

CHECKS: Final[tuple[Fault, ...]] = get_args(Fault)


@dataclass(frozen=True, slots=True)
class WriterScore:
    """One writer in one language: of ``cases`` results ``written`` got a report, ``good`` one without fault.

    ``passed`` counts, in the order of :data:`CHECKS`, the reports that pass each check. A result without a
    report passes none. ``median_ms`` and ``longest_words`` are of the reports; 0 where there is none.
    """

    writer: str
    language: Language
    cases: int
    written: int
    good: int
    passed: tuple[int, ...]
    longest_words: int
    median_ms: float


async def evaluate_writer(
    writer: ReportWriter, requests: Sequence[ReportRequest], language: Language
) -> WriterScore:
    """Have the writer write about every request, one after the other, in ``language``."""
    found: list[frozenset[Fault]] = []
    words: list[int] = []
    seconds: list[float] = []
    for asked in requests:
        request = ReportRequest(asked.finding, asked.focus, language)
        begun_s = time.perf_counter()
        try:
            report = await writer.write(request)
        except ReportWriterError:
            continue
        seconds.append(time.perf_counter() - begun_s)
        found.append(faults(report.text, facts_of(request)))
        words.append(len(report.text.split()))
    return WriterScore(
        writer=writer.name,
        language=language,
        cases=len(requests),
        written=len(found),
        good=sum(not one for one in found),
        passed=tuple(sum(check not in one for one in found) for check in CHECKS),
        longest_words=max(words, default=0),
        median_ms=1000 * float(np.median(seconds)) if seconds else 0.0,
    )


def markdown_table(scores: Sequence[WriterScore]) -> str:
    """The scores, for a README."""
    header = ("Writer", "Language", "Cases", "Written", "All checks", *CHECKS, "Longest, words", "Median, ms")
    rows = [
        (
            s.writer,
            s.language,
            s.cases,
            s.written,
            s.good,
            *s.passed,
            s.longest_words,
            f"{s.median_ms:.2g}" if s.median_ms < 10 else f"{s.median_ms:.0f}",
        )
        for s in scores
    ]
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
