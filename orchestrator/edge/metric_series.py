"""Series of metrics that exist from the start.

A counter with labels has no series before its first event. A share of failures would then be unknown as long
as nothing fails, and the first failure would be no increase. So what can happen is announced, at 0.
"""

from collections.abc import Iterable
from typing import get_args

from orchestrator.edge.admission import Reason
from orchestrator.errors import kinds
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.observability.metrics import (
    ADMISSION_REFUSED,
    CONFIDENCE,
    FINDINGS,
    FOCUS_RATIO,
    REQUEST_SECONDS,
    REQUESTS,
    REVIEW_REASONS,
    SPECIMEN_CELLS,
    SPECIMEN_DECISIONS,
    SPECIMENS,
    VIEWS,
)
from orchestrator.report.wording import REASONS_BY_WEIGHT
from orchestrator.vision.tta import TtaMode


def begin_at_zero(profiles: Iterable[str], endpoints: Iterable[str]) -> None:
    """Announce every outcome of every endpoint, and every finding by every profile."""
    for endpoint in endpoints:
        REQUEST_SECONDS.labels(endpoint)
        for outcome in ("ok", "cancelled", *(kind.name for kind in kinds())):
            REQUESTS.labels(endpoint, outcome)
    for profile in profiles:
        CONFIDENCE.labels(profile)
        FOCUS_RATIO.labels(profile)
        for reason in REASONS_BY_WEIGHT:
            REVIEW_REASONS.labels(reason, profile)
        for class_name in CLASS_NAMES:
            for review in ("true", "false"):
                FINDINGS.labels(class_name, profile, review)
    for mode in get_args(TtaMode):
        VIEWS.labels(mode)
    for event in ("ordered", "repeated", "analysed", "signed", "cancelled"):
        SPECIMENS.labels(event)
    for outcome in ("analysed", "failed", "retried"):
        SPECIMEN_CELLS.labels(outcome)
    for outcome in ("accepted", "changed", "undone"):
        SPECIMEN_DECISIONS.labels(outcome)
    for refused in get_args(Reason):
        ADMISSION_REFUSED.labels(refused)
