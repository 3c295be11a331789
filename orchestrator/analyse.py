"""One cell, top to bottom: the whole way from the bytes of an image to the answer.

CPU-bound steps (:mod:`orchestrator.image_steps`) hop to a worker, one hop before the network and one after
it, so that the event loop is never blocked. Both edges call :func:`analyse`.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Protocol

from orchestrator import image_steps, routing
from orchestrator.canary_heads import CanaryCounts
from orchestrator.cell_features import Likeness, likeness
from orchestrator.device_state import NO_AUDITS, DeviceAudits, device_state, with_device_reason
from orchestrator.domain import (
    Analysis,
    CellViews,
    Finding,
    Focus,
    Language,
    ModelIdentity,
    Prediction,
    Question,
    Report,
    ReportRequest,
    WriterIdentity,
    WriterKind,
    joined,
)
from orchestrator.errors import UnknownProfile
from orchestrator.image_steps import Explanation, RenderOptions
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.threads import ImageThreads
from orchestrator.model_server.base import ModelServer
from orchestrator.observability.metrics import record_finding, record_views
from orchestrator.observability.stages import milliseconds, recorded_stages, stage
from orchestrator.profiles import Profile
from orchestrator.recent_cells import RecentCells
from orchestrator.report.base import ReportWriter
from orchestrator.report.focus_verdict import judge_focus
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.routing import AveragedPrediction
from orchestrator.shadow_heads import ShadowCounts
from orchestrator.site_head.head_file import SiteHead
from orchestrator.site_head.registry import Canary
from orchestrator.vision import tta
from orchestrator.vision.decode import FIELD_LIMITS, DecodeLimits
from orchestrator.vision.tta import TtaMode

NO_WHITE_CELL: Final = frozenset({"no_cell", "uncertain_cell", "not_wbc"})
"""Reasons for which an image says nothing of how the cells of a microscope look."""


_LOGGER: Final = logging.getLogger(__name__)


class SiteHeads(Protocol):
    """The heads of a site's microscopes."""

    def active(self, profile: str) -> SiteHead | None:
        """The head that is on for a profile now; None where the model's own answers."""

    def canary(self, profile: str) -> Canary | None:
        """The head that answers for a share in its place; None where there is none."""

    def shadow(self, profile: str) -> SiteHead | None:
        """The head that runs beside it and answers nobody; None where there is none."""


class NoHeads:
    """None was ever learnt."""

    def active(self, profile: str) -> SiteHead | None:  # noqa: ARG002
        """None."""
        return None

    def canary(self, profile: str) -> Canary | None:  # noqa: ARG002
        """None."""
        return None

    def shadow(self, profile: str) -> SiteHead | None:  # noqa: ARG002
        """None."""
        return None


@dataclass(frozen=True, slots=True)
class Services:
    """What an analysis needs, assembled once by :mod:`orchestrator.bootstrap.services`.

    ``images`` runs the steps on pixels. ``writers`` are those that ``report_writer`` is made of, in their
    order; ``local_writer`` asks nobody else. ``audits`` are those of the site's microscopes, ``heads`` the
    heads that it learnt for them, ``recent`` the cells by which a profile is contradicted,
    ``canary_counts`` what heads answered while one of them was a canary, ``shadow_counts`` what heads in the
    shadow said.
    """

    model_server: ModelServer
    report_writer: ReportWriter
    profiles: Mapping[str, Profile]
    default_profile: str
    default_language: Language
    decode_limits: DecodeLimits
    field_limits: DecodeLimits = FIELD_LIMITS
    images: ImageWorkers = field(default_factory=ImageThreads)
    writers: tuple[WriterIdentity, ...] = ()
    local_writer: ReportWriter = field(default_factory=RuleBasedWriter)
    audits: DeviceAudits = NO_AUDITS
    heads: SiteHeads = field(default_factory=NoHeads)
    recent: RecentCells = field(default_factory=RecentCells)
    canary_counts: CanaryCounts = field(default_factory=CanaryCounts)
    shadow_counts: ShadowCounts = field(default_factory=ShadowCounts)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start what answers, side by side, and close it at the end."""
        try:
            await asyncio.gather(self.model_server.start(), self.images.start())
            yield
        finally:
            await self.model_server.close()
            await self.images.close()
            await self.report_writer.close()

    def profile(self, name: str | None) -> Profile:
        """The profile of this name, with the site's head where one is switched on; the default one where
        None.

        Raises:
            UnknownProfile: there is none.
        """
        try:
            profile = self.profiles[self.default_profile if name is None else name]
        except KeyError:
            raise UnknownProfile(self.profiles) from None
        head = self.heads.active(profile.name)
        if head is not None and head.recipe_sha256 != profile.recipe_sha256:
            _tell_of_other_images(head)
            return profile
        return profile.with_head(head)

    def tried(self, profile: Profile, asked_for: str) -> Profile:
        """The profile with its canary's head where that answers for this image (its SHA-256, hex) or specimen
        (its name); else the profile."""
        canary = self.heads.canary(profile.name)
        if canary is None or not canary.takes(asked_for):
            return profile
        if canary.head.recipe_sha256 != profile.recipe_sha256:
            _tell_of_other_images(canary.head)
            return profile
        return replace(self.profiles[profile.name].with_head(canary.head), tta=profile.tta)

    def count_heads(self, profile: Profile, prediction: Prediction, finding: Finding) -> None:
        """Count what was answered while the profile has a canary, and what the head in its shadow says of
        it."""
        canary = self.heads.canary(profile.name)
        if canary is not None:
            self.canary_counts.add(canary.head, profile, finding)
        shadow = self.heads.shadow(profile.name)
        if shadow is not None:
            self.shadow_counts.add(shadow, prediction, profile, finding.class_index)

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
    drawing: RenderOptions = field(default_factory=RenderOptions)
    outlines: bool = False
    specimen: str | None = None
    """Name of the specimen with whose images the image is judged, by one head; None: it stands for itself,
    and is judged with the last ones of its profile."""
    canary: bool = True
    """Whether a canary of the profile may answer."""


async def analyse(
    payload: bytes, services: Services, options: AnalysisOptions = AnalysisOptions(), request_id: str = ""
) -> Analysis:
    """Analyse one image.

    Raises:
        InvalidImage: the payload cannot be analysed.
        Overloaded, ModelServerError: the model server did not answer.
        UnknownProfile: there is none of the name in ``options``.
    """
    profile = services.profile(options.profile)
    profile = replace(profile, tta=options.tta or profile.tta)
    language = options.language or services.default_language
    with recorded_stages() as stages, stage("total"):
        prepared = await services.images.run(
            image_steps.prepare, payload, profile.recipe, services.decode_limits, profile.quality
        )
        if options.canary:
            profile = services.tried(profile, options.specimen or prepared.image_sha256)

        with stage("predict"):  # one pass through the network classifies and explains
            ask = services.model_server.explain if options.heatmap else services.model_server.classify
            question = CellViews(prepared.pixels, tta.FIRST_CODES[profile.tta], prepared.morphometry)
            profile, prediction = await _answered(ask, question, profile, services)

        with stage("route"):
            averaged = routing.average(prediction)
            finding = routing.route(averaged, profile.routing, prepared.quality)

        if profile.tta == "adaptive" and not routing.is_clear(finding, profile.adaptive_margin):
            with stage("predict"):
                profile, prediction = await _see_other_views(ask, prediction, question, profile, services)
            with stage("route"):
                averaged = routing.average(prediction)
                finding = routing.route(averaged, profile.routing, prepared.quality)

        explained = Explanation()
        if prediction.cams is not None:
            cams = prediction.cams[:, finding.class_index]
            explained = await services.images.run(
                image_steps.explain, prepared, cams, profile.tta, options.drawing
            )
        focus = explained.focus
        looks_like = likeness_of(averaged, finding, profile, prediction.model, services.profiles)
        recent = None if options.specimen is not None else services.recent
        if recent is not None and looks_like is not None:
            recent.add(profile.name, looks_like)
        state = device_state(profile, prediction.model, services.audits, recent)
        finding = routing.with_focus_reason(finding, focus)
        finding = with_device_reason(
            finding, state, profile, prediction.model, prepared.image_sha256, services.audits, recent
        )

        report = None
        if options.report:
            with stage("report"):
                request = ReportRequest(finding, focus, language)
                report = await services.writer(options.writer).write(request)

    record_views(profile.tta, len(prediction.main_out))
    record_finding(
        profile.name,
        finding.class_name,
        finding.confidence,
        reasons=[reason.code for reason in finding.review_reasons],
        focus_ratio=None if focus is None else focus.focus_ratio,
    )
    services.count_heads(profile, prediction, finding)
    return Analysis(
        request_id=request_id or str(uuid.uuid4()),
        finding=finding,
        model=prediction.model,
        profile=profile.name,
        profile_sha256=profile.sha256,
        head=None if profile.head is None else profile.head.label,
        image_size=(prepared.rgb.shape[0], prepared.rgb.shape[1]),
        views=len(prediction.main_out),
        focus=_judged(finding, focus, report),
        overlay=explained.overlay,
        report=report,
        timings_ms=milliseconds(stages),
        box=prepared.box,
        outlines=prepared.outlines if options.outlines else None,
        device_state=state,
        looks_like=looks_like,
    )


def likeness_of(
    averaged: AveragedPrediction,
    finding: Finding,
    profile: Profile,
    model: ModelIdentity,
    profiles: Mapping[str, Profile],
) -> Likeness | None:
    """Of the profiles that prepare images alike; None where the image may show no white cell."""
    if any(reason.code in NO_WHITE_CELL for reason in finding.review_reasons):
        return None
    known = {
        name: one.features
        for name, one in profiles.items()
        if one.features is not None and one.recipe == profile.recipe
    }
    if profile.features is not None:  # of its head, where it has one
        known[profile.name] = profile.features
    return likeness(averaged.features, finding.class_index, model, known)


async def with_report(
    analysis: Analysis,
    services: Services,
    language: Language | None = None,
    writer: WriterKind = "configured",
) -> Analysis:
    """The analysis with a report, and with what its writer thinks of the heatmap in the verdict; for callers
    who want the result first. Within the deadline of the request that this runs for, as :func:`analyse`."""
    request = ReportRequest(analysis.finding, analysis.focus, language or services.default_language)
    with recorded_stages() as stages, stage("report"):
        report = await services.writer(writer).write(request)
    return replace(
        analysis,
        report=report,
        focus=_judged(analysis.finding, analysis.focus, report),
        timings_ms={**analysis.timings_ms, **milliseconds(stages)},
    )


def _judged(finding: Finding, focus: Focus | None, report: Report | None) -> Focus | None:
    if focus is None:
        return None
    verdict = judge_focus(finding, focus, None if report is None else report.focus_opinion)
    return replace(focus, verdict=verdict)


_Ask = Callable[[Question], Awaitable[Prediction]]


async def _answered(
    ask: _Ask, question: CellViews, profile: Profile, services: Services
) -> tuple[Profile, Prediction]:
    async def answers(profile: Profile) -> list[Prediction]:
        return [await ask(replace(question, head=profile.delta))]

    profile, (prediction,) = await answered_by_head(answers, profile, services)
    return profile, prediction


async def answered_by_head(
    ask: Callable[[Profile], Awaitable[list[Prediction]]], profile: Profile, services: Services
) -> tuple[Profile, list[Prediction]]:
    """The answers by the profile's head where the model that answers is the one that it was learnt on; else
    by the next in line, and the profile with that: after a canary comes the head that is on, after that the
    model's own. ``ask`` asks with the head of the profile that it is given."""
    head = profile.head
    if head is not None:
        model = await services.model_server.identity()
        if head.belongs_to(model):
            predictions = await ask(profile)
            others = [one.model for one in predictions if not head.belongs_to(one.model)]
            if not others:
                return profile, predictions
            model = others[0]
        _tell_of_another_model(head, model)
        instead = services.profile(profile.name)
        if instead.head is head:
            instead = services.profiles[profile.name]
        return await answered_by_head(ask, replace(instead, tta=profile.tta), services)
    return profile, await ask(profile)


@lru_cache(maxsize=64)  # once, and not at each image
def _tell_of_other_images(head: SiteHead) -> None:
    _LOGGER.error("site head %s is of images prepared otherwise: not used", head.name)


@lru_cache(maxsize=64)
def _tell_of_another_model(head: SiteHead, model: ModelIdentity) -> None:
    _LOGGER.error(
        "site head %s was learnt on version %d of model %s, and version %d of %s answers: the model's own "
        "head decides until the site's is learnt anew",
        head.name,
        head.model.version,
        head.model.name,
        model.version,
        model.name,
    )


async def _see_other_views(
    ask: _Ask, first: Prediction, question: CellViews, profile: Profile, services: Services
) -> tuple[Profile, Prediction]:
    """The answers for all eight views, of which the first is there already."""
    with_head, others = await _answered(ask, replace(question, codes=tta.OTHER_CODES), profile, services)
    if others.model == first.model:
        return with_head, joined(first, others)
    # Between the two questions another version came into service; no mean of two models is an answer.
    return await _answered(ask, replace(question, codes=tta.CODES["light"]), profile, services)
