"""Audits of cells that nobody photographed."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from orchestrator.device_audits.audit import Audit, AuditCell, AuditedModel, AuditPlan, SealedAnswer
from orchestrator.domain import ModelIdentity
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import load_profiles

PROFILE = load_profiles()["raabin"]
MODEL = ModelIdentity("wbc", 5, "a" * 64)
PRECISION = "f32"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
THRESHOLD = 0.9


def image_sha256(number: int, kind: str = "cell") -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def plan_of(*classes: str, **changes: object) -> AuditPlan:
    fields: dict[str, object] = {
        "profile": PROFILE.name,
        "profile_sha256": PROFILE.sha256,
        "model": AuditedModel.of(MODEL, PRECISION),
        "thresholds": dict.fromkeys(classes or ("Eosinophil",), THRESHOLD),
        "cells_per_class": 99,
        "seed": 7,
        "planned_at": NOW,
    }
    return AuditPlan(**fields | changes)  # type: ignore[arg-type]


def answer_of(class_name: str, confidence: float = 0.95) -> SealedAnswer:
    rest = (1 - confidence) / 4
    return SealedAnswer(
        class_name=class_name,
        probabilities=tuple(confidence if name == class_name else rest for name in CLASS_NAMES),
    )


def cell_of(number: int, specimen: str) -> AuditCell:
    return AuditCell(image_sha256=image_sha256(number), specimen=specimen, image=f"{number:04}.png")


def audit_of(plan: AuditPlan, cells: Iterable[tuple[str, str | None, float]], specimens: int = 3) -> Audit:
    """``cells`` are the service's class, a person's label (None: not yet) and the confidence."""
    audit = Audit.of(plan)
    labels: dict[str, str] = {}
    for number, (answered, label, confidence) in enumerate(cells):
        audit = audit.with_cell(cell_of(number, f"S-{number % specimens}"), answer_of(answered, confidence))
        if label is not None:
            labels[image_sha256(number)] = label
    return audit.with_labels(labels)


def eosinophils(count: int, wrong: int = 0, label: str = "other") -> list[tuple[str, str | None, float]]:
    """As many answers, of which a person calls the first ``wrong`` something else."""
    right: list[tuple[str, str | None, float]] = [("Eosinophil", "Eosinophil", 0.95)] * (count - wrong)
    return [("Eosinophil", label, 0.95)] * wrong + right


def passed_audit(**changes: object) -> Audit:
    return audit_of(plan_of(**changes), eosinophils(99)).judged(NOW)
