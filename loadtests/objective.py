"""The service level objective of ``slo.toml``, and whether a run of Locust met it."""

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SLO_FILE: Final = Path(__file__).with_name("slo.toml")
AGGREGATED: Final = "Aggregated"
"""Name of Locust's row over all requests."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Overall(_Table):
    """What all requests together must meet."""

    least_requests: int = Field(ge=1)
    answered_share: float = Field(gt=0, le=1)


class Latency(_Table):
    """What requests of one kind may take, in milliseconds."""

    p95_ms: float = Field(gt=0)
    p99_ms: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective; ``latency`` by kind of request."""

    overall: Overall
    latency: Mapping[str, Latency]


@dataclass(frozen=True, slots=True)
class KindStatistics:
    """A row of Locust's statistics: counts, and percentiles in milliseconds."""

    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target, what was measured, and whether that meets it."""

    target: str
    measured: str
    met: bool


def read_objective(path: Path = SLO_FILE) -> Objective:
    """Read an objective. Raises ``ValueError`` that names the file, for a wrong key or value."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        overall = Overall.model_validate(tables.pop("all", {}))
        return Objective(overall, {name: Latency.model_validate(table) for name, table in tables.items()})
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def read_statistics(path: Path) -> dict[str, KindStatistics]:
    """Locust's ``*_stats.csv`` by kind of request; the row over all of them is :data:`AGGREGATED`.

    Locust writes N/A for the percentiles of a kind that was never answered: infinite here.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["Name"]: KindStatistics(
                requests=int(row["Request Count"]),
                failures=int(row["Failure Count"]),
                p50_ms=_milliseconds(row["50%"]),
                p95_ms=_milliseconds(row["95%"]),
                p99_ms=_milliseconds(row["99%"]),
                per_second=float(row["Requests/s"]),
            )
            for row in csv.DictReader(file)
        }


def judge(objective: Objective, statistics: Mapping[str, KindStatistics]) -> list[Verdict]:
    """Every target beside what was measured. A kind that sent nothing has missed its targets."""
    everything = statistics.get(AGGREGATED)
    sent = everything.requests if everything else 0
    answered = 1 - everything.failures / sent if everything and sent else 0.0
    least, share = objective.overall.least_requests, objective.overall.answered_share
    verdicts = [
        Verdict(f"at least {least} requests", str(sent), sent >= least),
        Verdict(f"answered as expected: at least {share:.2%}", f"{answered:.3%}", answered >= share),
    ]
    for kind, limits in objective.latency.items():
        row = statistics.get(kind)
        for name, limit in (("p95", limits.p95_ms), ("p99", limits.p99_ms)):
            target = f"{kind}: {name} at most {limit:.0f} ms"
            if row is None or row.requests == 0:
                verdicts.append(Verdict(target, "no such request", met=False))
                continue
            value = row.p95_ms if name == "p95" else row.p99_ms
            verdicts.append(Verdict(target, f"{value:.0f} ms", value <= limit))
    return verdicts


def is_met(verdicts: Sequence[Verdict]) -> bool:
    """Whether every target was met."""
    return all(verdict.met for verdict in verdicts)


def _milliseconds(text: str) -> float:
    return float("inf") if text == "N/A" else float(text)
