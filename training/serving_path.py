"""One image the whole way that the service takes, without a server.

:mod:`training.evaluate` scores decisions and needs no more than the network's answer; whether a result is
marked for review also rests on the quality of the image and on where the heatmap lies. The steps and their
order are those of :func:`orchestrator.analyse.analyse`, and the tests hold both to the same answer,
but for what is said of the microscope (:mod:`orchestrator.device_state`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.domain import CellViews, Finding, Focus, Prediction, UInt8Array, ViewBatch, joined
from orchestrator.profiles import Profile
from orchestrator.routing import average, is_clear, route, with_focus_reason
from orchestrator.views import rows_of
from orchestrator.vision import heatmap, quality, tta
from orchestrator.vision.preprocessing import PreprocessedCell, preprocess


@dataclass(frozen=True, slots=True)
class Served:
    """What the service finds in one image, where its heatmap lies (None without ``cams``), and by what."""

    finding: Finding
    focus: Focus | None
    prediction: Prediction
    prepared: PreprocessedCell


def served_finding(rgb: UInt8Array, profile: Profile, predict: Callable[[ViewBatch], Prediction]) -> Finding:
    """What the service finds in a decoded image, uint8 ``[H, W, 3]``, with every reason for a review.

    ``predict`` answers with ``cams``; without them the heatmap gives no reason.
    """
    return served(rgb, profile, predict).finding


def served(rgb: UInt8Array, profile: Profile, predict: Callable[[ViewBatch], Prediction]) -> Served:
    """As :func:`served_finding`, with what the finding rests on."""
    prepared = preprocess(rgb, profile.recipe)
    reasons = quality.assess_located(rgb, prepared.cell, profile.quality)
    prediction = predict(
        rows_of(CellViews(prepared.pixels, tta.FIRST_CODES[profile.tta], prepared.morphometry))
    )
    finding = route(average(prediction), profile.routing, reasons)
    if profile.tta == "adaptive" and not is_clear(finding, profile.adaptive_margin):
        prediction = joined(
            prediction, predict(rows_of(CellViews(prepared.pixels, tta.OTHER_CODES, prepared.morphometry)))
        )
        finding = route(average(prediction), profile.routing, reasons)
    if prediction.cams is None:
        return Served(finding, None, prediction, prepared)
    cams = prediction.cams[:, finding.class_index]
    focus = heatmap.assemble(cams, profile.tta, prepared.masks, prepared.window, rgb.shape)
    return Served(with_focus_reason(finding, focus), focus, prediction, prepared)
