"""Results to write reports about."""

from orchestrator.domain import (
    Finding,
    Focus,
    FocusShares,
    Language,
    ReportRequest,
    ReviewReason,
    RoutingMode,
)
from orchestrator.model_contract import CLASS_NAMES, LYMPHOCYTE, NEUTROPHIL


def finding(
    class_index: int = NEUTROPHIL,
    confidence: float = 0.973,
    codes: tuple[str, ...] = (),
    second: int = LYMPHOCYTE,
    mode: RoutingMode = "none",
) -> Finding:
    probabilities = [0.0] * len(CLASS_NAMES)
    second = (class_index + 1) % len(CLASS_NAMES) if second == class_index else second
    probabilities[class_index], probabilities[second] = confidence, 1 - confidence
    reasons = tuple(ReviewReason(code, "A sentence about smith_042.jpg at 12.34.") for code in codes)
    return Finding(class_index, tuple(probabilities), 0.5, -4.0, 0.0, mode, reasons)


def focus(nucleus: float = 0.72, cytoplasm: float = 0.2, background: float = 0.08) -> Focus:
    return Focus(nucleus + cytoplasm, FocusShares(nucleus, cytoplasm, background))


def request(
    language: Language = "en", found: Finding | None = None, where: Focus | None = None
) -> ReportRequest:
    return ReportRequest(found or finding(), focus() if where is None else where, language)


VARIED: tuple[ReportRequest, ...] = tuple(
    ReportRequest(found, where, language)
    for language in ("en", "tr")
    for found, where in (
        *((finding(index), focus(0.55, 0.35, 0.1)) for index in range(len(CLASS_NAMES))),
        (finding(NEUTROPHIL, 0.55, ("close_call", "low_confidence")), focus(0.4, 0.35, 0.25)),
        (finding(LYMPHOCYTE, 0.7, ("background_focus",), NEUTROPHIL), focus(0.2, 0.1, 0.7)),
        (finding(NEUTROPHIL, 0.9, ("no_cell",)), focus(0.0, 0.0, 1.0)),
        (finding(NEUTROPHIL, 0.9), focus(0.0, 0.0, 0.0)),
        (finding(NEUTROPHIL, 0.89, (), LYMPHOCYTE, "main"), None),
        (finding(NEUTROPHIL, 0.97, ("device_unknown",)), focus(0.55, 0.35, 0.1)),
    )
)
"""Every class, and every place where a heatmap may lie, in both languages."""
