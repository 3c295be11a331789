"""The HTTP edge: routes, middleware and error handlers of the service, each a list that one can read."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, cast

from fastapi import FastAPI, Query
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from orchestrator import __version__, errors
from orchestrator.analyse import AnalysisOptions, Services
from orchestrator.deadline import remaining_s
from orchestrator.domain import DISCLAIMER
from orchestrator.edge import docs_page, problems, web_page
from orchestrator.edge.access_control import kept_by
from orchestrator.edge.access_rules import AccessRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.body_limits import BodyLimits
from orchestrator.edge.device_audits_api import device_audit_routes
from orchestrator.edge.dicom_api import dicom_routes
from orchestrator.edge.differentials_api import differential_routes, without_store
from orchestrator.edge.disconnection import CancelOnDisconnect
from orchestrator.edge.draining import Draining
from orchestrator.edge.endpoint import Endpoint, TimeoutMs
from orchestrator.edge.http_schemas import (
    AnalysisParameters,
    AnalysisResult,
    Health,
    ModelDescription,
    PredictParameters,
    PredictResult,
    form_schema,
)
from orchestrator.edge.interop_api import interop_routes
from orchestrator.edge.languages import preferred_language
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.edge.middleware import Envelope, Traced
from orchestrator.edge.needs import ADMIN, ANALYSE, OPEN, PROBE, READ
from orchestrator.edge.open_inference_api import inference_problems, open_inference_routes
from orchestrator.edge.open_inference_errors import PREFIX, OpenInferenceErrors
from orchestrator.edge.open_inference_schemas import InferenceError
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.problems import Problem
from orchestrator.edge.readiness import require_readiness
from orchestrator.edge.report_stream import OPENAPI as STREAM
from orchestrator.edge.report_stream import report_stream
from orchestrator.edge.request_frame import Deadlines, RequestFrame
from orchestrator.edge.route_table import Dispatch, Routed, RouteTable
from orchestrator.edge.security import SECURITY_SCHEMES, Forbidden, RateLimited, Unauthenticated
from orchestrator.edge.uploads import FILE_FIELD, FORM_OVERHEAD_BYTES, UPLOAD_TIMEOUT_S, Upload, read_upload
from orchestrator.errors import (
    InvalidParameter,
    MalformedUpload,
    UnsupportedBody,
    UploadTimeout,
)
from orchestrator.image_steps import Drawing
from orchestrator.interop.site import DEFAULT_SITE, Site
from orchestrator.specimen import Differential
from orchestrator.specimens import Specimens
from orchestrator.telemetry import MODEL_INFO

Parameters = TypeVar("Parameters", PredictParameters, AnalysisParameters)

DESCRIPTION: Final = f"""
Classifies images of single white blood cells, explains each decision by a Grad-CAM heatmap and puts it
into words. **{DISCLAIMER}**

The examples of `/docs` run in a clone of the repository; or take an image of your own, or cells that
`wbc samples` paints. Ids in them are those of the answers shown there. Where the service asks who calls, add
`-H "Authorization: Bearer KEY"`.

A caller who cannot wait says so in `X-Request-Timeout-Ms`: after that time the answer is a 504, and nothing
is computed any more. A busy service answers 503 at once, with `Retry-After`, rather than late; a caller who
hangs up ends the work on his request.

JPEG, PNG, BMP, TIFF, WebP and DICOM are read. Images are never logged, and stored for differentials alone:
each until its cell is analysed, or longer where the service keeps images (`WBC_STORE__KEEP_IMAGES`).

Every answer carries an `X-Request-ID` (the caller's, where it sends a sane one). Every error is an RFC 9457
problem document (`{problems.MEDIA_TYPE}`).

Under `/v2` the service speaks the Open Inference Protocol of KServe, Triton and MLServer, whose errors are
`{{"error": "..."}}`.
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

_LIVE: Final = Health(status="live").model_dump_json()

_REFUSALS: Final = (Unauthenticated, Forbidden, RateLimited)


class HttpApi:
    """The endpoints, bound to the services that they speak to."""

    def __init__(
        self, services: Services, admission: Admission, deadlines: Deadlines, draining: Draining
    ) -> None:
        self._services = services
        self._frame = RequestFrame(services, admission)
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
                profile=chosen.profile,
                tta=chosen.tta,
                language=chosen.language,
                drawing=Drawing(format="jpeg"),
            )
            analysis = await self._frame.analysed(upload.payload, options)
        if analysis.overlay is None or analysis.report is None:
            raise errors.ContractViolation("The model server sent no class activation maps.")
        return PredictResult.of(analysis, analysis.overlay, analysis.report)

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
        async with self._begun(request, timeout_ms) as upload:
            chosen = _merged(query, upload.fields)
            language = chosen.language or preferred_language(request.headers.get("accept-language"))
            options = AnalysisOptions(
                profile=chosen.profile,
                tta=chosen.tta,
                language=language,
                heatmap=chosen.heatmap,
                report=chosen.report == "inline",
                writer=chosen.writer,
                drawing=Drawing(
                    chosen.colour_map, chosen.heatmap_format, chosen.heatmap_style, chosen.outlines
                ),
            )
            analysis = await self._frame.analysed(upload.payload, options)
            left_s = remaining_s()
        # From here on the request holds no place among those under way: it waits for others' computers.
        if chosen.report == "stream":
            return report_stream(analysis, self._services, language, chosen.colour_map, left_s, chosen.writer)
        return AnalysisResult.of(analysis, chosen.colour_map)

    async def model(self) -> ModelDescription:
        """The model that answers, its signatures, and the device profiles."""
        return ModelDescription.of(await self._services.model_server.identity(), self._services)

    async def livez(self) -> Response:
        """Whether this process runs."""
        return Response(_LIVE, media_type="application/json")

    async def readyz(self) -> Health:
        """Whether analyses would be answered, now and in the next seconds."""
        await require_readiness(self._services.model_server, self._draining)
        return Health(status="ready")

    async def metrics(self, request: Request) -> Response:
        """Metrics for Prometheus."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"Content-Type": content_type})

    async def docs(self, request: Request) -> Response:
        """The documentation as a page; the same in full for programs is at ``/openapi.json``."""
        application: FastAPI = request.app
        model = None
        with suppress(errors.ModelServerError):  # the page is there all the same
            model = await self._services.model_server.identity()
        page = docs_page.render(application.openapi(), str(request.base_url).rstrip("/"), model)
        return HTMLResponse(page, headers=docs_page.HEADERS)

    async def openapi(self, request: Request) -> Response:
        """The documentation for programs."""
        document = request.app.openapi()
        if root := request.scope.get("root_path", "").rstrip("/"):  # what a proxy puts before all paths
            document = {**document, "servers": [{"url": root}]}
        return JSONResponse(document)

    def _begun(self, request: Request, timeout_ms: int | None) -> AbstractAsyncContextManager[Upload]:
        """The request's frame, with its upload."""

        async def read() -> Upload:
            left_s = max(0.0, remaining_s() or 0.0)
            return await read_upload(
                request, self._services.decode_limits.max_bytes, min(UPLOAD_TIMEOUT_S, left_s)
            )

        return self._frame.begun(self._deadlines.seconds(timeout_ms), read)


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
async def running(services: Services, specimens: Specimens | None = None) -> AsyncIterator[None]:
    """The services and the work on specimens, from their start to their end."""
    MODEL_INFO.clear()
    async with services.running():
        with suppress(errors.ModelServerError):  # a remote one may come later; /readyz tells
            identity = await services.model_server.identity()
            MODEL_INFO.labels(identity.name, str(identity.version), identity.sha256 or "").set(1)
        async with nullcontext() if specimens is None else specimens.running():
            yield


class _Application(FastAPI):
    """FastAPI describes no media type of errors but its own; the schemas of errors are added here, and what
    any operation may be refused with where the service asks who calls."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= {"Problem": schema, **schema.pop("$defs")}
            schemas["InferenceError"] = InferenceError.model_json_schema()
            for path, operations in document["paths"].items():
                describe = inference_problems if path.startswith(PREFIX) else problems.responses
                refusals = {str(status): of for status, of in describe(*_REFUSALS).items()}
                for operation in operations.values():
                    operation["responses"] = refusals | operation["responses"]
            document["components"]["securitySchemes"] = SECURITY_SCHEMES
            document["security"] = [{}, *({name: []} for name in SECURITY_SCHEMES)]
        return document


def _most_held_bytes(services: Services, admission: Admission, orders: OrderLimits) -> int:
    """What all bodies may take together: as many largest images as analyses, and the orders being read."""
    image_bytes = services.decode_limits.max_bytes + FORM_OVERHEAD_BYTES
    return admission.places * image_bytes + orders.max_orders * orders.max_total_bytes


def _specimen_endpoints(
    specimens: Specimens | None, services: Services, limits: OrderLimits, site: Site
) -> list[Endpoint]:
    """All that is done with what is kept; where nothing is, each says how that is changed."""
    kept = cast("Specimens", specimens)  # where it is None, nothing that is bound to it is left below

    async def differential(differential_id: str) -> Differential:
        return await kept.get(differential_id)

    endpoints = [
        *differential_routes(kept, services, limits),
        *interop_routes(differential, site),
        *dicom_routes(differential, site),
    ]
    return endpoints if specimens is not None else [without_store(endpoint) for endpoint in endpoints]


def create_app(
    services: Services,
    *,
    admission: Admission | None = None,
    deadlines: Deadlines = Deadlines(),
    draining: Draining | None = None,
    access: AccessRules | None = None,
    specimens: Specimens | None = None,
    order_limits: OrderLimits = OrderLimits(),
    site: Site = DEFAULT_SITE,
    audits_folder: Path | None = None,
) -> FastAPI:
    """The application: all that it answers, goes through and turns errors into."""
    draining, access = draining or Draining(), access or AccessRules()
    admission = admission or Admission()
    api = HttpApi(services, admission, deadlines, draining)
    unavailable = (errors.ModelServerUnavailable,)
    endpoints = [
        Endpoint(
            "POST",
            "/predict",
            api.predict,
            ANALYSE,
            tags=["analysis"],
            response_description="The cell's class, its heatmap and a report.",
            refusals=_UPLOAD_PROBLEMS,
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
            refusals=_UPLOAD_PROBLEMS,
            responses={200: STREAM},
            openapi_extra={"requestBody": form_schema(AnalysisParameters, FILE_FIELD)},
        ),
        Endpoint("GET", "/v1/model", api.model, READ, tags=["model"], refusals=unavailable),
        *_specimen_endpoints(specimens, services, order_limits, site),
        *device_audit_routes(audits_folder, services.decode_limits.max_bytes),
        *open_inference_routes(services, admission, deadlines, api.readyz),
        Endpoint(
            "GET",
            "/livez",
            api.livez,
            PROBE,
            tags=["operation"],
            response_model=Health,
        ),
        Endpoint(
            "GET",
            "/readyz",
            api.readyz,
            PROBE,
            tags=["operation"],
            refusals=unavailable,
        ),
        Endpoint(
            "GET",
            "/metrics",
            api.metrics,
            replace(PROBE, roles=ADMIN.roles) if access.protect_metrics else PROBE,
            tags=["operation"],
            response_class=PlainTextResponse,
        ),
        Endpoint("GET", "/docs", api.docs, OPEN, include_in_schema=False),
        Endpoint("GET", "/openapi.json", api.openapi, OPEN, include_in_schema=False),
        *web_page.routes(),
    ]
    begin_at_zero(services.profiles, [endpoint.name for endpoint in endpoints if endpoint.needs.counted])
    return _Application(
        title="WBC Analyzer",
        version=__version__,
        summary="White-blood-cell analysis of blood-smear images.",
        description=DESCRIPTION,
        routes=[Dispatch(), *endpoints],
        middleware=[
            Middleware(Routed, table=RouteTable(endpoints)),
            Middleware(OpenInferenceErrors),
            Middleware(Traced),
            Middleware(Envelope, draining=draining),
            *kept_by(access),
            Middleware(CancelOnDisconnect),
            Middleware(BodyLimits, max_held_bytes=_most_held_bytes(services, admission, order_limits)),
        ],
        exception_handlers=problems.HANDLERS,
        lifespan=lambda _: running(services, specimens),
        # The framework's own would not say what they need; and Swagger UI loads its code from a public
        # network, which a laboratory may not reach.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own would export paths, queries and messages of exceptions wherever a provider is found in
        # the process or the environment; what may leave is decided in orchestrator.tracing.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
