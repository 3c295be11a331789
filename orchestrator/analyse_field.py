"""One whole field, top to bottom: from the bytes of an image to all its white cells.

Each cell goes the way of a single one (:mod:`orchestrator.analyse`), by the same steps; the network sees them
in batches.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from orchestrator import field_steps, routing
from orchestrator.analyse import Services, answered_by_head, likeness_of
from orchestrator.device_state import device_state, with_device_reason
from orchestrator.domain import Box, CellViews, FieldAnalysis, FieldCell, Finding, Prediction, joined
from orchestrator.field_steps import PreparedField
from orchestrator.image_steps import RenderOptions
from orchestrator.model_contract import MAX_BATCH_SIZE
from orchestrator.observability.metrics import record_field, record_finding, record_views
from orchestrator.observability.stages import milliseconds, recorded_stages, stage
from orchestrator.profiles import Profile
from orchestrator.views import stacked
from orchestrator.vision import tta
from orchestrator.vision.field_crops import PreparedFieldCell
from orchestrator.vision.tta import TtaMode


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """What a caller chooses of a field; None stands for the service's or the profile's default.

    ``red_cell_px`` is the diameter of the field's red cells in pixels; None: the profile's, or as the field
    tells.
    """

    profile: str | None = None
    tta: TtaMode | None = None
    heatmap: bool = False
    red_cell_px: float | None = None
    drawing: RenderOptions = field(default_factory=RenderOptions)
    specimen: str | None = None
    """Name of the specimen as whose cells its own are kept, each with its image, answered by one head."""
    drawn: Box | None = None
    """What a person drew around a cell of it, which alone is then analysed."""


async def analyse_field(
    payload: bytes,
    services: Services,
    options: FieldOptions = FieldOptions(),
    request_id: str = "",
) -> FieldAnalysis:
    """Find and classify every white cell of a field; none is an answer, too.

    Raises:
        InvalidImage: the payload cannot be analysed.
        FieldTooSmall: its cells are too small.
        Overloaded, ModelServerError: the model server did not answer.
        UnknownProfile: there is none of the name in ``options``.
    """
    profile = services.profile(options.profile)
    profile = replace(profile, tta=options.tta or profile.tta)
    with recorded_stages() as stages, stage("total"):
        prepared = await services.images.run(
            field_steps.prepare_field,
            payload,
            profile.recipe,
            services.field_limits,
            profile.quality,
            options.red_cell_px or profile.red_cell_px,
            options.heatmap,
            options.specimen is not None,
            options.drawn,
        )
        profile = services.tried(profile, options.specimen or prepared.image_sha256)

        async def ask(profile: Profile) -> list[Prediction]:
            return await _predictions(prepared.cells, services, profile, explain=options.heatmap)

        predictions: list[Prediction] = []
        if prepared.cells:  # else there is nothing to ask, nor whom the head belongs to
            profile, predictions = await answered_by_head(ask, profile, services)
        cells = [
            await _as_found(cell, prediction, services, profile, prepared, options)
            for cell, prediction in zip(prepared.cells, predictions, strict=True)
        ]
    model = predictions[0].model if predictions else None
    told = milliseconds(stages)
    if options.drawn is None:
        record_field(
            sum(cell.is_identified for cell in cells),
            sum(not cell.is_identified for cell in cells),
            told.get("total", 0.0) / 1000,
        )
    return FieldAnalysis(
        request_id=request_id or str(uuid.uuid4()),
        model=model,
        profile=profile.name,
        profile_sha256=profile.sha256,
        head=None if model is None or profile.head is None else profile.head.label,
        device_state="unknown" if model is None else device_state(profile, model, services.audits),
        image_size=prepared.image_size,
        red_cell_px=prepared.red_cell_px,
        found=tuple(cells),
        timings_ms=told,
    )


async def _predictions(
    cells: Sequence[PreparedFieldCell], services: Services, profile: Profile, *, explain: bool
) -> list[Prediction]:
    """The network's answers for each cell: the first view of all, then the others of those that need them."""
    ask = services.model_server.explain if explain else services.model_server.classify

    async def batched(questions: Sequence[CellViews]) -> list[Prediction]:
        answers: list[Prediction] = []
        first = 0
        while first < len(questions):
            last, rows = first, 0
            while last < len(questions) and rows + len(questions[last]) <= MAX_BATCH_SIZE:
                rows += len(questions[last])
                last += 1
            answer = await ask(stacked(questions[first:last]))
            row = 0
            for question in questions[first:last]:
                answers.append(answer.part(row, row + len(question)))
                row += len(question)
            first = last
        return answers

    with stage("predict"):
        codes = tta.FIRST_CODES[profile.tta]
        answers = await batched(
            [CellViews(cell.pixels, codes, cell.morphometry, profile.delta) for cell in cells]
        )
        if profile.tta != "adaptive":
            return answers
        doubtful = [
            index
            for index, (cell, answer) in enumerate(zip(cells, answers, strict=True))
            if not routing.is_clear(_routed(cell, answer, profile), profile.adaptive_margin)
        ]
        others = await batched(
            [
                CellViews(cells[i].pixels, tta.OTHER_CODES, cells[i].morphometry, profile.delta)
                for i in doubtful
            ]
        )
        for index, other in zip(doubtful, others, strict=True):
            if other.model == answers[index].model:  # else one model's single view stands
                answers[index] = joined(answers[index], other)
    return answers


def _routed(cell: PreparedFieldCell, prediction: Prediction, profile: Profile) -> Finding:
    return routing.route(routing.average(prediction), profile.routing, cell.quality)


async def _as_found(
    cell: PreparedFieldCell,
    prediction: Prediction,
    services: Services,
    profile: Profile,
    prepared: PreparedField,
    options: FieldOptions,
) -> FieldCell:
    averaged = routing.average(prediction)
    finding = routing.route(averaged, profile.routing, cell.quality)
    focus, overlay = None, None
    if prediction.cams is not None:
        cams = prediction.cams[:, finding.class_index]
        focus, overlay = await services.images.run(
            field_steps.explain_cell, cell, cams, profile.tta, options.drawing
        )
    finding = routing.with_focus_reason(finding, focus)
    state = device_state(profile, prediction.model, services.audits)
    # Audits sample by image; of a field each cell is one.
    named = cell.image or f"{prepared.image_sha256}{cell.box}".encode()
    cell_sha256 = sha256(named).hexdigest()
    finding = with_device_reason(finding, state, profile, prediction.model, cell_sha256, services.audits)
    is_identified = routing.is_white_cell(finding, profile.routing)
    record_views(profile.tta, len(prediction.main_out))
    if is_identified:
        record_finding(
            profile.name,
            finding.class_name,
            finding.confidence,
            reasons=[reason.code for reason in finding.review_reasons],
            focus_ratio=None if focus is None else focus.focus_ratio,
        )
        services.count_heads(profile, prediction, finding)
    return FieldCell(
        cell.box,
        cell.outlines,
        finding,
        len(prediction.main_out),
        cell.is_cut,
        cell.is_clump,
        is_identified,
        focus,
        overlay,
        likeness_of(averaged, finding, profile, prediction.model, services.profiles),
        cell.image,
        cell.mark,
    )
