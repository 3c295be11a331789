"""One image in, one result out: ``POST /predict`` and ``POST /v1/analyses``."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Final, TypeVar

from fastapi import Query
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import errors
from orchestrator.analyse import AnalysisOptions, Services
from orchestrator.common.deadline import remaining_s
from orchestrator.documents.analysis import AnalysisResult, PredictResult
from orchestrator.edge.access.needs import ANALYSE
from orchestrator.edge.admission import Admission
from orchestrator.edge.http.endpoint import Endpoint, TimeoutMs
from orchestrator.edge.http.languages import preferred_language
from orchestrator.edge.http.uploads import FILE_FIELD, UPLOAD_TIMEOUT_S, UploadLimits, Uploads, read_uploads
from orchestrator.edge.parameters import AnalysisParameters, FieldParameters, PredictParameters
from orchestrator.edge.request_frame import Deadlines, RequestFrame
from orchestrator.edge.rest.forms import form_schema
from orchestrator.edge.rest.report_stream import OPENAPI as STREAM
from orchestrator.edge.rest.report_stream import report_stream
from orchestrator.errors import (
    InvalidParameter,
    MalformedUpload,
    UnsupportedBody,
    UploadTimeout,
)
from orchestrator.image_steps import RenderOptions

Parameters = TypeVar("Parameters", PredictParameters, AnalysisParameters, FieldParameters)

UPLOAD_PROBLEMS: Final = (
    errors.UndecodableImage,
    MalformedUpload,
    UploadTimeout,
    errors.ImageTooLarge,
    errors.UnsupportedImage,
    UnsupportedBody,
    InvalidParameter,
    errors.ModelServerError,
    errors.Overloaded,
    errors.ModelServerUnavailable,
    errors.ModelServerTimeout,
    errors.DeadlineExceeded,
)


def analysis_routes(services: Services, admission: Admission, deadlines: Deadlines) -> list[Endpoint]:
    """The routes of analyses."""
    api = AnalysesApi(services, admission, deadlines)
    return [
        Endpoint(
            "POST",
            "/predict",
            api.predict,
            ANALYSE,
            tags=["analysis"],
            response_description="The cell's class, its heatmap and a report.",
            refusals=UPLOAD_PROBLEMS,
            openapi_extra={"requestBody": form_schema(PredictParameters, FILE_FIELD)},
        ),
        Endpoint(
            "POST",
            "/v1/analyses",
            api.analyses,
            ANALYSE,
            tags=["analysis"],
            response_description="The analysis.",
            response_model=AnalysisResult,
            refusals=UPLOAD_PROBLEMS,
            responses={200: STREAM},
            openapi_extra={"requestBody": form_schema(AnalysisParameters, FILE_FIELD)},
        ),
    ]


class AnalysesApi:
    """The endpoints, bound to the services that they speak to."""

    def __init__(self, services: Services, admission: Admission, deadlines: Deadlines) -> None:
        self._services = services
        self._frame = RequestFrame(services, admission)
        self._deadlines = deadlines
        max_bytes = services.decode_limits.max_bytes
        self._limits = UploadLimits(max_bytes, max_bytes)

    async def predict(
        self,
        request: Request,
        query: Annotated[PredictParameters, Query()],
        timeout_ms: TimeoutMs = None,
    ) -> PredictResult:
        """Classify one image.

        Compatible with the reference system: its five fields, and additional ones.
        """
        async with self._begun(request, timeout_ms) as uploads:
            chosen = merged(query, _only_known(uploads.fields, PredictParameters))
            options = AnalysisOptions(
                profile=chosen.profile,
                tta=chosen.tta,
                language=chosen.language,
                drawing=RenderOptions(chosen.colour_map, "jpeg", chosen.heatmap_style),
            )
            analysis = await self._frame.analysed(uploads.files[0], options)
        if analysis.overlay is None or analysis.report is None:
            raise errors.ContractViolation("The model server sent no class activation maps.")
        return PredictResult.model_validate(analysis)

    async def analyses(
        self,
        request: Request,
        query: Annotated[AnalysisParameters, Query()],
        timeout_ms: TimeoutMs = None,
    ) -> AnalysisResult | Response:
        """Analyse one image.

        Decision, reasons for a review, calibrated probabilities, heatmap and report as one typed result.
        Every parameter may stand in the query or in the form; where both have it, the form counts.

        With `report=stream` the answer is a stream of server-sent events: `analysis` at once, then `report`
        when it is written (or `error`), then `done`.
        """
        async with self._begun(request, timeout_ms) as uploads:
            chosen = merged(query, uploads.fields)
            language = chosen.language or preferred_language(request.headers.get("accept-language"))
            options = AnalysisOptions(
                profile=chosen.profile,
                tta=chosen.tta,
                language=language,
                heatmap=chosen.heatmap,
                report=chosen.report == "inline",
                writer=chosen.writer,
                drawing=RenderOptions(chosen.colour_map, chosen.heatmap_format, chosen.heatmap_style),
                outlines=chosen.outlines,
            )
            analysis = await self._frame.analysed(uploads.files[0], options)
            left_s = remaining_s()
        # From here on the request holds no place among those under way: it waits for others' computers.
        if chosen.report == "stream":
            return report_stream(analysis, self._services, language, left_s, chosen.writer)
        return AnalysisResult.model_validate(analysis)

    def _begun(self, request: Request, timeout_ms: int | None) -> AbstractAsyncContextManager[Uploads]:
        return begun(self._frame, request, self._deadlines.seconds(timeout_ms), self._limits)


def begun(
    frame: RequestFrame, request: Request, time_s: float, limits: UploadLimits, max_pixels: int | None = None
) -> AbstractAsyncContextManager[Uploads]:
    """The request's frame, with its form; see :meth:`RequestFrame.begun`."""

    async def read() -> Uploads:
        left_s = max(0.0, remaining_s() or 0.0)
        return await read_uploads(request, limits, min(UPLOAD_TIMEOUT_S, left_s))

    return frame.begun(time_s, read, lambda uploads: uploads.files, max_pixels)


def _only_known(fields: Mapping[str, str], parameters: type[BaseModel]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name in parameters.model_fields}


def merged(query: Parameters, fields: Mapping[str, str]) -> Parameters:
    """The query's parameters, overridden by the form's; a form's empty field is one not filled in."""
    filled_in = {name: value for name, value in fields.items() if value}
    try:
        return type(query).model_validate({**query.model_dump(exclude_unset=True), **filled_in})
    except ValidationError as error:
        raise InvalidParameter.from_validation(error.errors(include_url=False)) from error
