"""The HTTP edge: routes, middleware and error handlers of the service, each a list that one can read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import FastAPI, Header, Query
from fastapi.routing import APIRoute
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute

from orchestrator import __version__, errors
from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.deadline import deadline, remaining_s
from orchestrator.domain import DISCLAIMER, Analysis
from orchestrator.edge import docs_page, problems
from orchestrator.edge.admission import Admission, counted
from orchestrator.edge.disconnection import CancelOnDisconnect
from orchestrator.edge.draining import Draining
from orchestrator.edge.http_schemas import (
    AnalysisParameters,
    AnalysisResult,
    Health,
    ModelDescription,
    PredictParameters,
    PredictResult,
    form_schema,
)
from orchestrator.edge.languages import preferred_language
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.edge.middleware import Envelope, Traced
from orchestrator.edge.problems import FieldProblem, InvalidParameter, Problem
from orchestrator.edge.uploads import (
    FILE_FIELD,
    UPLOAD_TIMEOUT_S,
    MalformedUpload,
    UnsupportedBody,
    Upload,
    UploadTimeout,
    read_upload,
)
from orchestrator.request_context import current_request_id
from orchestrator.telemetry import MODEL_INFO

READINESS_TIMEOUT_S: Final = 2.0

TIMEOUT_HEADER: Final = "X-Request-Timeout-Ms"

Parameters = TypeVar("Parameters", PredictParameters, AnalysisParameters)

DESCRIPTION: Final = f"""
Classifies images of single white blood cells, explains each decision by a Grad-CAM heatmap and puts it
into words. **{DISCLAIMER}**

```
curl -F file=@cell.jpg http://localhost:8000/predict
curl -F file=@cell.jpg -F language=tr "http://localhost:8000/v1/analyses?heatmap_format=jpeg"
```

A caller who cannot wait says so in `X-Request-Timeout-Ms`: after that time the answer is a 504, and nothing
is computed any more. A busy service answers 503 at once, with `Retry-After`, rather than late; a caller who
hangs up ends the work on his request.

JPEG, PNG, BMP, TIFF and WebP are read; images are neither stored nor logged. Every answer carries an
`X-Request-ID` (the caller's, where it sends a sane one). Every error is an RFC 9457 problem document
(`{problems.MEDIA_TYPE}`).
"""

_UPLOAD_PROBLEMS: Final = (
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

TimeoutMs = Annotated[
    int | None,
    Header(
        alias=TIMEOUT_HEADER,
        ge=1,
        le=86_400_000,
        description="Milliseconds that the caller waits, counted from the arrival of the request. The "
        "service's default where absent, and never more than its limit.",
        examples=[5000],
    ),
]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a request has: by default, and at most."""

    default_s: float = 15.0
    longest_s: float = 30.0

    def seconds(self, asked_ms: int | None) -> float:
        return min(self.default_s if asked_ms is None else asked_ms / 1000, self.longest_s)


class AnalysisRoute(APIRoute):
    """Counts every request by its outcome, those included whose parameters FastAPI itself refuses."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_counted(request: Request) -> Response:
            with counted(self.name):
                return await handle(request)

        return handle_counted


class HttpApi:
    """The endpoints, bound to the services that they speak to."""

    def __init__(
        self, services: Services, admission: Admission, deadlines: Deadlines, draining: Draining
    ) -> None:
        self._services = services
        self._admission = admission
        self._deadlines = deadlines
        self._draining = draining

    async def predict(
        self,
        request: Request,
        query: Annotated[PredictParameters, Query()],
        timeout_ms: TimeoutMs = None,
    ) -> PredictResult:
        """Classify one image.

        Compatible with the reference system: its five fields, and additional ones.
        """
        async with self._begun(request, timeout_ms) as upload:
            chosen = _merged(query, _only_known(upload.fields, PredictParameters))
            options = AnalysisOptions(
                profile=self._known_profile(chosen.profile),
                tta=chosen.tta,
                language=chosen.language,
                overlay_format="jpeg",
            )
            analysis = await self._analyse(upload, options)
        if analysis.overlay is None or analysis.report is None:
            raise errors.ContractViolation("The model server sent no class activation maps.")
        return PredictResult.of(analysis, analysis.overlay, analysis.report)

    async def analyses(
        self,
        request: Request,
        query: Annotated[AnalysisParameters, Query()],
        timeout_ms: TimeoutMs = None,
    ) -> AnalysisResult:
        """Analyse one image.

        Decision, reasons for a review, calibrated probabilities, heatmap and report as one typed result.
        Every parameter may stand in the query or in the form; where both have it, the form counts.
        """
        async with self._begun(request, timeout_ms) as upload:
            chosen = _merged(query, upload.fields)
            options = AnalysisOptions(
                profile=self._known_profile(chosen.profile),
                tta=chosen.tta,
                language=chosen.language or preferred_language(request.headers.get("accept-language")),
                heatmap=chosen.heatmap,
                report=chosen.report == "inline",
                colour_map=chosen.colour_map,
                overlay_format=chosen.heatmap_format,
            )
            analysis = await self._analyse(upload, options)
        return AnalysisResult.of(analysis, chosen.colour_map)

    async def model(self) -> ModelDescription:
        """The model that answers, its signatures, and the device profiles."""
        return ModelDescription.of(await self._services.model_server.identity(), self._services)

    async def livez(self) -> Health:
        """Whether this process runs."""
        return Health(status="live")

    async def readyz(self) -> Health:
        """Whether analyses would be answered, now and in the next seconds."""
        if self._draining.begun:
            raise errors.ModelServerUnavailable("This process is about to stop.")
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_S):
                ready = await self._services.model_server.ready()
        except TimeoutError as error:
            raise errors.ModelServerUnavailable("The model server does not say that it is ready.") from error
        if not ready:
            raise errors.ModelServerUnavailable("The model server is not ready.")
        return Health(status="ready")

    async def metrics(self, request: Request) -> Response:
        """Metrics for Prometheus."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"Content-Type": content_type})

    async def docs(self, request: Request) -> Response:
        """The documentation as a page; the same in full for programs is at ``/openapi.json``."""
        application: FastAPI = request.app
        return HTMLResponse(docs_page.render(application.openapi()), headers=docs_page.HEADERS)

    async def root(self) -> Response:
        """To the documentation."""
        return RedirectResponse("/docs")

    @asynccontextmanager
    async def _begun(self, request: Request, timeout_ms: int | None) -> AsyncIterator[Upload]:
        """What comes before an analysis: its deadline, its place among the others, and its image."""
        with deadline(self._deadlines.seconds(timeout_ms)):
            async with self._admission.admitted():
                left_s = max(0.0, remaining_s() or 0.0)
                max_bytes = self._services.decode_limits.max_bytes
                yield await read_upload(request, max_bytes, min(UPLOAD_TIMEOUT_S, left_s))

    async def _analyse(self, upload: Upload, options: AnalysisOptions) -> Analysis:
        try:
            async with asyncio.timeout(remaining_s()) as limit:
                return await analyse(upload.payload, self._services, options, current_request_id())
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise errors.DeadlineExceeded("There was no answer in the time for this request.") from error

    def _known_profile(self, name: str | None) -> str | None:
        if name is None or name in self._services.profiles:
            return name
        raise InvalidParameter(
            FieldProblem("profile", "there is no such profile", tuple(self._services.profiles))
        )


def _only_known(fields: Mapping[str, str], parameters: type[BaseModel]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name in parameters.model_fields}


def _merged(query: Parameters, fields: Mapping[str, str]) -> Parameters:
    """The query's parameters, overridden by the form's; a form's empty field is one not filled in."""
    filled_in = {name: value for name, value in fields.items() if value}
    try:
        return type(query).model_validate({**query.model_dump(exclude_unset=True), **filled_in})
    except ValidationError as error:
        raise InvalidParameter.from_validation(error.errors(include_url=False)) from error


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """Start the model server, and close it at the end."""
    MODEL_INFO.clear()
    await services.model_server.start()
    try:
        with suppress(errors.ModelServerError):  # a remote one may come later; /readyz tells
            identity = await services.model_server.identity()
            MODEL_INFO.labels(identity.name, str(identity.version), identity.sha256 or "").set(1)
        yield
    finally:
        await services.model_server.close()


class _Application(FastAPI):
    """FastAPI describes no media type of errors but its own; the schema of problems is added here."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= {"Problem": schema, **schema.pop("$defs")}
        return document


def create_app(
    services: Services,
    *,
    admission: Admission | None = None,
    deadlines: Deadlines = Deadlines(),
    draining: Draining | None = None,
) -> FastAPI:
    """The application: all that it answers, goes through and turns errors into."""
    draining = draining or Draining()
    api = HttpApi(services, admission or Admission(), deadlines, draining)
    analysis_problems = problems.responses(*_UPLOAD_PROBLEMS)
    unavailable = problems.responses(errors.ModelServerUnavailable)
    routes: list[BaseRoute] = [
        AnalysisRoute(
            "/predict",
            api.predict,
            methods=["POST"],
            name="predict",
            operation_id="predict",
            tags=["analysis"],
            response_description="The cell's class, its heatmap and a report.",
            responses=analysis_problems,
            openapi_extra={"requestBody": form_schema(PredictParameters, FILE_FIELD)},
        ),
        AnalysisRoute(
            "/v1/analyses",
            api.analyses,
            methods=["POST"],
            name="analyses",
            operation_id="analyses",
            tags=["analysis"],
            response_description="The analysis.",
            responses=analysis_problems,
            openapi_extra={"requestBody": form_schema(AnalysisParameters, FILE_FIELD)},
        ),
        APIRoute("/v1/model", api.model, operation_id="model", tags=["model"], responses=unavailable),
        APIRoute("/livez", api.livez, operation_id="livez", tags=["operation"]),
        APIRoute("/readyz", api.readyz, operation_id="readyz", tags=["operation"], responses=unavailable),
        APIRoute(
            "/metrics",
            api.metrics,
            operation_id="metrics",
            tags=["operation"],
            response_class=PlainTextResponse,
        ),
        APIRoute("/docs", api.docs, include_in_schema=False),
        APIRoute("/", api.root, include_in_schema=False),
    ]
    begin_at_zero(services.profiles, [route.name for route in routes if isinstance(route, AnalysisRoute)])
    return _Application(
        title="WBC Analyzer",
        version=__version__,
        summary="White-blood-cell analysis of blood-smear images.",
        description=DESCRIPTION,
        routes=routes,
        middleware=[
            Middleware(Traced),
            Middleware(Envelope, draining=draining),
            Middleware(CancelOnDisconnect),
        ],
        exception_handlers=problems.HANDLERS,
        lifespan=lambda _: running(services),
        # The page of Swagger UI loads its code from a public network, which a laboratory may not reach.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own would export paths, queries and messages of exceptions wherever a provider is found in
        # the process or the environment; what may leave is decided in orchestrator.tracing.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
