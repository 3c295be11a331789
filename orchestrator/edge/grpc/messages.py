"""Analyses and the model as messages of ``wbc.v1``.

Made from the same values as the documents of HTTP, so that both edges answer the same.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator import __version__
from orchestrator.analyse import AnalysisOptions, Services
from orchestrator.domain import (
    DISCLAIMER,
    Analysis,
    CellOutlines,
    Focus,
    FocusVerdict,
    ModelIdentity,
    Overlay,
    Polygon,
    Report,
)
from orchestrator.edge.grpc.words import (
    CELL_CLASSES,
    COLOUR_MAPS,
    DEVICE_STATES,
    HEATMAP_FORMATS,
    HEATMAP_STYLES,
    JUDGEMENTS,
    LANGUAGES,
    ROUTINGS,
    TTA_MODES,
)
from orchestrator.errors import InvalidParameter
from orchestrator.image_steps import RenderOptions
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE, SIGNATURES
from orchestrator.profiles import Profile
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.vision.heatmap import ColourMap


def options_of(message: pb.AnalysisOptions) -> AnalysisOptions:
    """What a caller chose.

    Raises:
        InvalidParameter: a value is unknown.
    """
    return AnalysisOptions(
        profile=message.profile or None,
        tta=TTA_MODES.word(message.tta, "tta"),
        language=LANGUAGES.word(message.language, "language"),
        heatmap=message.heatmap if message.HasField("heatmap") else True,
        report=message.report if message.HasField("report") else True,
        drawing=RenderOptions(
            COLOUR_MAPS.word(message.colour_map, "colour_map") or "viridis",
            HEATMAP_FORMATS.word(message.heatmap_format, "heatmap_format") or "png",
            HEATMAP_STYLES.word(message.heatmap_style, "heatmap_style") or "overlay",
            message.outlines,
        ),
    )


@contextmanager
def fields_of(message: str) -> Iterator[None]:
    """Name parameters that are wrong within the message that they stand in."""
    try:
        yield
    except InvalidParameter as error:
        raise error.within(message) from error


def analysis_message(analysis: Analysis, colour_map: ColourMap) -> pb.Analysis:
    """An analysis; ``colour_map`` is the one that it was asked to draw with."""
    finding, report = analysis.finding, analysis.report
    height, width = analysis.image_size
    return pb.Analysis(
        request_id=analysis.request_id,
        model=model_message(analysis.model),
        profile=analysis.profile,
        image=pb.ImageSize(height=height, width=width),
        views=analysis.views,
        decision=pb.Decision(
            cell_class=CELL_CLASSES.number(finding.class_name),
            confidence=finding.confidence,
            margin=finding.margin,
            decided_by=ROUTINGS.number(finding.decided_by),
        ),
        needs_review=finding.needs_review,
        review_reasons=[pb.Reason(code=r.code, message=r.message) for r in finding.review_reasons],
        probabilities=probability_messages(finding.probabilities),
        aux_neutrophil_probability=finding.aux_neutrophil,
        energy=finding.energy,
        not_wbc=finding.not_wbc,
        focus=None if analysis.focus is None else _focus(analysis.focus, analysis.focus_verdict),
        heatmap=None if analysis.overlay is None else _heatmap(analysis.overlay, colour_map),
        outlines=None if analysis.outlines is None else _outlines(analysis.outlines),
        report=None if report is None else _report(report),
        timings_ms={name: round(duration, 3) for name, duration in analysis.timings_ms.items()},
        disclaimer=analysis.disclaimer,
        profile_sha256=analysis.profile_sha256,
        device_state=DEVICE_STATES.number(analysis.device_state),
    )


def probability_messages(probabilities: Iterable[float]) -> list[pb.ClassProbability]:
    """Of the five classes, in their order."""
    return [
        pb.ClassProbability(cell_class=CELL_CLASSES.number(name), probability=probability)
        for name, probability in zip(CLASS_NAMES, probabilities, strict=True)
    ]


def model_message(identity: ModelIdentity) -> pb.Model:
    """Which model answered."""
    return pb.Model(
        name=identity.name, version=identity.version, sha256=identity.sha256, server=identity.server
    )


def model_description(identity: ModelIdentity, services: Services) -> pb.GetModelResponse:
    """What answers, and how it may be asked."""
    return pb.GetModelResponse(
        model=model_message(identity),
        classes=[CELL_CLASSES.number(name) for name in CLASS_NAMES],
        input_size=IMAGE_SIZE,
        profiles=[
            _profile(profile, is_default=name == services.default_profile)
            for name, profile in services.profiles.items()
        ],
        report_writers=[
            pb.ReportWriter(name=writer.name, model=writer.model, sends_to=writer.sends_to)
            for writer in services.writers
        ],
        signatures=[
            pb.ModelSignature(name=name, outputs=[tensor.name for tensor in signature.outputs])
            for name, signature in SIGNATURES.items()
        ],
        service_version=__version__,
        disclaimer=DISCLAIMER,
    )


def _focus(focus: Focus, verdict: FocusVerdict | None) -> pb.Focus:
    shares = focus.shares
    return pb.Focus(
        ratio=focus.focus_ratio,
        shares=pb.FocusShares(
            nucleus=shares.nucleus, cytoplasm=shares.cytoplasm, background=shares.background
        ),
        judgement=None if verdict is None else JUDGEMENTS.number(verdict.judgement),
        reasons=[pb.Reason(code=r.code, message=r.message) for r in verdict.reasons] if verdict else [],
    )


def _heatmap(overlay: Overlay, colour_map: ColourMap) -> pb.Heatmap:
    return pb.Heatmap(
        media_type=overlay.media_type, colour_map=COLOUR_MAPS.number(colour_map), data=overlay.data
    )


def _report(report: Report) -> pb.Report:
    return pb.Report(
        text=report.text,
        writer=report.writer,
        language=LANGUAGES.number(report.language),
        model=report.model,
    )


def _outlines(outlines: CellOutlines) -> pb.Outlines:
    return pb.Outlines(
        cell=[_polygon(polygon) for polygon in outlines.cell],
        nucleus=[_polygon(polygon) for polygon in outlines.nucleus],
    )


def _polygon(corners: Polygon) -> pb.Polygon:
    return pb.Polygon(points=[pb.Point(row=row, column=column) for row, column in corners])


def _profile(profile: Profile, *, is_default: bool) -> pb.Profile:
    recipe, routing = profile.recipe, profile.routing
    return pb.Profile(
        name=profile.name,
        description=profile.description,
        is_default=is_default,
        device=DEVICE_STATES.number(profile.device),
        preprocessing=recipe.mef_version,
        crop_scale=recipe.crop_scale,
        reinhard=recipe.reinhard is not None,
        tta=TTA_MODES.number(profile.tta),
        adaptive_margin=profile.adaptive_margin,
        routing=ROUTINGS.number(routing.mode),
        temperature=routing.temperature,
        review_threshold=routing.review_threshold,
        review_margin=routing.review_margin,
        max_energy=routing.max_energy,
        max_not_wbc=routing.max_not_wbc,
        prior=routing.prior,
        training_prior=routing.training_prior,
    )
