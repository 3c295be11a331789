"""One cell, top to bottom: the whole way from the bytes of an image to the answer.

CPU-bound steps hop to a worker thread, one hop before the network and one after it, so that the event loop
is never blocked. Both edges call :func:`analyse`.
"""

import asyncio
import contextvars
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, ParamSpec, TypeVar

from orchestrator import routing
from orchestrator.domain import (
    Analysis,
    Finding,
    FocusMap,
    FocusVerdict,
    Language,
    Overlay,
    Prediction,
    Report,
    ReportRequest,
    ReviewReason,
    UInt8Array,
    ViewBatch,
    WriterIdentity,
    WriterKind,
    joined,
)
from orchestrator.model_server.base import ModelServer
from orchestrator.profiles import Profile
from orchestrator.report.base import ReportWriter
from orchestrator.report.focus_verdict import judge_focus
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.telemetry import finding_reached, recorded_timings, stage, views_taken
from orchestrator.vision import heatmap, quality, tta
from orchestrator.vision.decode import DecodeLimits, decode
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.outlines import mask_outlines
from orchestrator.vision.preprocessing import PreprocessedCell, preprocess
from orchestrator.vision.tta import TtaMode

P = ParamSpec("P")
R = TypeVar("R")

IMAGE_THREADS: Final = 2
"""Threads for the steps on pixels. Each step calls OpenCV, which gives up Python's lock and must get it back,
some hundred times; with a thread for each of eight requests they wait for one another, and the service
answers half as many (18 a second instead of 36, with adaptive augmentation, on four cores)."""

_image_threads: Final = ThreadPoolExecutor(IMAGE_THREADS, thread_name_prefix="image")


@dataclass(frozen=True, slots=True)
class Services:
    """What an analysis needs, assembled once by :mod:`orchestrator.wiring`.

    ``writers`` are those that ``report_writer`` is made of, in their order; ``local_writer`` asks nobody
    else.
    """

    model_server: ModelServer
    report_writer: ReportWriter
    profiles: Mapping[str, Profile]
    default_profile: str
    default_language: Language
    decode_limits: DecodeLimits
    writers: tuple[WriterIdentity, ...] = ()
    local_writer: ReportWriter = field(default_factory=RuleBasedWriter)

    def writer(self, kind: WriterKind) -> ReportWriter:
        """The writer that a caller chose."""
        return self.local_writer if kind == "rule-based" else self.report_writer


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """What a caller chooses. None stands for the service's default; for ``tta``, for the profile's."""

    profile: str | None = None
    tta: TtaMode | None = None
    language: Language | None = None
    heatmap: bool = True
    report: bool = True
    writer: WriterKind = "configured"
    colour_map: ColourMap = "viridis"
    overlay_format: OverlayFormat = "png"
    overlay_style: OverlayStyle = "overlay"
    outlines: bool = False


@dataclass(frozen=True, slots=True)
class _Prepared:
    rgb: UInt8Array
    cell: PreprocessedCell
    views: ViewBatch
    quality: tuple[ReviewReason, ...]


async def analyse(
    payload: bytes, services: Services, options: AnalysisOptions = AnalysisOptions(), request_id: str = ""
) -> Analysis:
    """Analyse one image.

    Raises:
        InvalidImage: the payload cannot be analysed.
        Overloaded, ModelServerError: the model server did not answer.
        KeyError: there is no such profile.
    """
    profile = services.profiles[options.profile or services.default_profile]
    profile = replace(profile, tta=options.tta or profile.tta)
    language = options.language or services.default_language
    with recorded_timings() as timings_ms, stage("total"):
        prepared = await _in_image_thread(_prepare, payload, profile, services.decode_limits)

        with stage("predict"):  # one pass through the network classifies and explains
            ask = services.model_server.explain if options.heatmap else services.model_server.classify
            prediction = await ask(prepared.views)

        with stage("route"):
            finding = routing.route(routing.average(prediction), profile.routing, prepared.quality)

        if profile.tta == "adaptive" and not routing.is_clear(finding, profile.adaptive_margin):
            with stage("predict"):
                prediction = await _see_other_views(ask, prediction, prepared.cell.pixels)
            with stage("route"):
                finding = routing.route(routing.average(prediction), profile.routing, prepared.quality)

        focus, overlay = await _in_image_thread(_explain, prepared, prediction, finding, profile, options)
        finding = routing.with_focus_reason(finding, focus)

        report = None
        if options.report:
            with stage("report"):
                request = ReportRequest(finding, focus, language)
                report = await services.writer(options.writer).write(request)

    views_taken(profile.tta, len(prediction.main_out))
    finding_reached(
        profile.name,
        finding.class_name,
        finding.confidence,
        reasons=[reason.code for reason in finding.review_reasons],
        focus_ratio=None if focus is None else focus.focus_ratio,
    )
    return Analysis(
        request_id=request_id or str(uuid.uuid4()),
        finding=finding,
        model=prediction.model,
        profile=profile.name,
        profile_sha256=profile.sha256,
        image_size=(prepared.rgb.shape[0], prepared.rgb.shape[1]),
        views=len(prediction.main_out),
        focus=focus,
        overlay=overlay,
        report=report,
        timings_ms=timings_ms,
        focus_verdict=_focus_verdict(finding, focus, report),
        outlines=mask_outlines(prepared.cell.masks, prepared.cell.window) if options.outlines else None,
    )


async def with_report(
    analysis: Analysis,
    services: Services,
    language: Language | None = None,
    writer: WriterKind = "configured",
) -> Analysis:
    """The analysis with a report, and with what its writer thinks of the heatmap in the verdict; for callers
    who want the result first. Within the deadline of the request that this runs for, as :func:`analyse`."""
    request = ReportRequest(analysis.finding, analysis.focus, language or services.default_language)
    with recorded_timings() as timings_ms, stage("report"):
        report = await services.writer(writer).write(request)
    return replace(
        analysis,
        report=report,
        focus_verdict=_focus_verdict(analysis.finding, analysis.focus, report),
        timings_ms={**analysis.timings_ms, **timings_ms},
    )


def _focus_verdict(finding: Finding, focus: FocusMap | None, report: Report | None) -> FocusVerdict | None:
    if focus is None:
        return None
    return judge_focus(finding, focus, None if report is None else report.focus_opinion)


async def _in_image_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """As :func:`asyncio.to_thread`, in one of the threads for images."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        _image_threads, lambda: context.run(function, *args, **kwargs)
    )


def _prepare(payload: bytes, profile: Profile, limits: DecodeLimits) -> _Prepared:
    """First hop: bytes to rows for the model server."""
    with stage("decode"):
        rgb = decode(payload, limits).rgb
    with stage("preprocess"):
        cell = preprocess(rgb, profile.recipe)
        views = tta.stack_first(cell.pixels, profile.tta)
    with stage("quality"):
        found = cell.cell
        reasons = quality.assess(
            rgb,
            cell_size_px=found.size if found else None,
            cell_centre=(found.row, found.column) if found else None,
        )
    return _Prepared(rgb, cell, views, reasons)


async def _see_other_views(
    ask: Callable[[ViewBatch], Awaitable[Prediction]], first: Prediction, pixels: UInt8Array
) -> Prediction:
    """The answers for all eight views, of which the first is there already."""
    others = await ask(await _in_image_thread(tta.stack_others, pixels))
    if others.model == first.model:
        return joined(first, others)
    # Between the two questions another version came into service; no mean of two models is an answer.
    return await ask(await _in_image_thread(tta.stack, pixels, "light"))


def _explain(
    prepared: _Prepared, prediction: Prediction, finding: Finding, profile: Profile, options: AnalysisOptions
) -> tuple[FocusMap | None, Overlay | None]:
    """Second hop: class activation maps to a heatmap in the original frame and its picture."""
    if prediction.cams is None:
        return None, None
    with stage("explain"):
        cams = prediction.cams[:, finding.class_index]
        focus = heatmap.assemble(
            cams, profile.tta, prepared.cell.masks, prepared.cell.window, prepared.rgb.shape
        )
        if options.overlay_style == "levels":
            overlay = heatmap.draw_levels(focus.heatmap)
        else:
            overlay = heatmap.draw_overlay(
                prepared.rgb, focus.heatmap, options.colour_map, options.overlay_format
            )
    return focus, overlay
