"""The HTTP edge: routes, middleware and error handlers of the service, each a list that one can read."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from fastapi import FastAPI
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from orchestrator import __version__, errors
from orchestrator.adaptation.service import Adaptations
from orchestrator.analyse import Services
from orchestrator.documents.model import Health, ModelDescription
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.needs import ADMIN, OPEN, PROBE, READ
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.access.security import SECURITY_SCHEMES, Forbidden, RateLimited, Unauthenticated
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.http import problems
from orchestrator.edge.http.access import access_middleware
from orchestrator.edge.http.body_limits import BodyLimits
from orchestrator.edge.http.disconnection import CancelOnDisconnect
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.middleware import RequestEnvelope, Traced
from orchestrator.edge.http.problems import Problem
from orchestrator.edge.http.quality_values import acceptable, wants_gzip
from orchestrator.edge.http.route_table import Dispatch, Routed, RouteTable
from orchestrator.edge.http.uploads import FORM_OVERHEAD_BYTES
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.edge.open_inference.api import inference_problems, open_inference_routes
from orchestrator.edge.open_inference.errors import PREFIX, OpenInferenceErrors
from orchestrator.edge.open_inference.schemas import InferenceError
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.readiness import require_readiness
from orchestrator.edge.request_frame import Deadlines
from orchestrator.edge.rest.adaptations_api import adaptation_routes, without_heads
from orchestrator.edge.rest.analyses_api import analysis_routes
from orchestrator.edge.rest.device_audits_api import device_audit_routes
from orchestrator.edge.rest.differentials_api import differential_routes, without_store
from orchestrator.edge.rest.fields_api import field_routes
from orchestrator.edge.rest.interop_api import interop_routes
from orchestrator.edge.web import docs_page, web_page
from orchestrator.interop.dicom_process import ReportProcess
from orchestrator.interop.site import DEFAULT_SITE, Site
from orchestrator.observability.metrics import MODEL_INFO
from orchestrator.specimen import Differential
from orchestrator.specimens.service import Specimens

DESCRIPTION: Final = f"""
Classifies images of single white blood cells, explains each decision by a Grad-CAM heatmap and puts it
into words. **{DISCLAIMER}**

The examples of `/docs` run in a clone of the repository; or take an image of your own, or cells that
`wbc samples` paints. Ids in them are those of the answers shown there. Where the service asks who calls, add
`-H "Authorization: Bearer KEY"`.

A caller who cannot wait says so in `X-Request-Timeout-Ms`: after that time the answer is a 504, and nothing
is computed any more. A busy service answers 503 at once, with `Retry-After`, rather than late; a caller who
hangs up ends the work on their request.

JPEG, PNG, BMP, TIFF, WebP and DICOM are read. Images are never logged, and stored for differentials alone:
each until its cell is analysed or, encrypted, until its specimen is signed (`WBC_STORE__KEEP_IMAGES`).

Every answer carries an `X-Request-ID` (the caller's, where it sends a sane one). Every error is an RFC 9457
problem document (`{problems.MEDIA_TYPE}`).

Under `/v2` the service speaks the Open Inference Protocol of KServe, Triton and MLServer, whose errors are
`{{"error": "..."}}`.
"""

_LIVE: Final = Health(status="live").model_dump_json()

_REFUSALS: Final = (Unauthenticated, Forbidden, RateLimited)


_METRICS_VERSIONS: Final = frozenset({"0.0.1", "0.0.4", "1.0.0"})
"""Of Prometheus' text format and of OpenMetrics."""


def _is_known_version(offer: str) -> bool:
    """Whether an offer of ``Accept`` names no version of a format for metrics, or one that there is."""
    named = [
        value
        for name, _, value in (part.partition("=") for part in offer.split(";")[1:])
        if name.strip().lower() == "version"
    ]
    return all(value.strip() in _METRICS_VERSIONS for value in named)


class ServiceApi:
    """What the service tells of itself: its model, its state, its metrics, its documentation."""

    def __init__(self, services: Services, draining: Draining, specimens: Specimens | None) -> None:
        self._services = services
        self._probe_store = None if specimens is None else specimens.probe
        self._draining = draining

    async def model(self) -> ModelDescription:
        """The model that answers, its signatures, and the device profiles."""
        return ModelDescription.of(await self._services.model_server.identity(), self._services)

    async def livez(self) -> Response:
        """Whether this process runs."""
        return Response(_LIVE, media_type="application/json")

    async def readyz(self) -> Health:
        """Whether analyses would be answered, and orders kept, now and in the next seconds."""
        await require_readiness(self._services.model_server, self._draining, self._probe_store)
        return Health(status="ready")

    async def metrics(self, request: Request) -> Response:
        """Metrics for Prometheus."""
        accept = ",".join(request.headers.getlist("accept"))
        # The library takes what is named for what is wanted, whatever its weight, and fails on a version that
        # is none.
        encode, content_type = choose_encoder(",".join(filter(_is_known_version, acceptable(accept))))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        body = await asyncio.to_thread(encode, REGISTRY)
        if wants_gzip(",".join(request.headers.getlist("accept-encoding"))):
            body = await asyncio.to_thread(gzip.compress, body, 1)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

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


@asynccontextmanager
async def running(
    services: Services, specimens: Specimens | None = None, reports: ReportProcess | None = None
) -> AsyncIterator[None]:
    """The services and the work on specimens, from their start to their end."""
    MODEL_INFO.clear()
    async with services.running():
        with suppress(errors.ModelServerError):  # a remote one may come later; /readyz tells
            identity = await services.model_server.identity()
            MODEL_INFO.labels(identity.name, str(identity.version), identity.sha256 or "").set(1)
        async with nullcontext() if specimens is None else specimens.running():
            beginning = None
            if specimens is not None and reports is not None:
                beginning = asyncio.create_task(reports.begin(), name="reports")
            try:
                yield
            finally:
                if beginning is not None:
                    beginning.cancel()
                    await asyncio.gather(beginning, return_exceptions=True)
                if reports is not None:
                    await reports.close()


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


def _most_held_bytes(
    services: Services, admission: Admission, orders: OrderLimits, adaptations: Adaptations | None
) -> int:
    """What all bodies may take together: as many largest images as analyses, one of them a whole field, the
    orders being read, and one microscope that is learnt."""
    image_bytes, field_bytes = services.decode_limits.max_bytes, services.field_limits.max_bytes
    images = (admission.places - 1) * image_bytes + max(image_bytes, field_bytes)
    many = (orders.max_orders + (adaptations is not None)) * orders.max_total_bytes
    return images + admission.places * FORM_OVERHEAD_BYTES + many


def _specimen_endpoints(
    specimens: Specimens | None,
    services: Services,
    limits: OrderLimits,
    deadlines: Deadlines,
    site: Site,
    reports: ReportProcess,
) -> list[Endpoint]:
    """All that is done with what is kept; where nothing is, each says how that is changed."""
    kept = cast("Specimens", specimens)  # where it is None, nothing that is bound to it is left below

    async def differential(differential_id: str) -> Differential:
        return await kept.get(differential_id)

    endpoints = [
        *differential_routes(kept, services, limits, deadlines),
        *interop_routes(differential, site, reports),
    ]
    return endpoints if specimens is not None else [without_store(endpoint) for endpoint in endpoints]


def _adaptation_endpoints(
    adaptations: Adaptations | None, services: Services, limits: OrderLimits
) -> list[Endpoint]:
    """All that is done with a site's heads; where none are kept, each says how that is changed."""
    kept = cast("Adaptations", adaptations)  # as above
    endpoints = adaptation_routes(kept, services, limits)
    return endpoints if adaptations is not None else [without_heads(endpoint) for endpoint in endpoints]


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
    adaptations: Adaptations | None = None,
) -> FastAPI:
    """The application: all that it answers, goes through and turns errors into."""
    draining, access = draining or Draining(), access or AccessRules()
    admission = admission or Admission()
    reports = ReportProcess()
    api = ServiceApi(services, draining, specimens)
    unavailable = (errors.ModelServerUnavailable,)
    endpoints = [
        *analysis_routes(services, admission, deadlines),
        *field_routes(services, admission, deadlines, site, reports),
        Endpoint("GET", "/v1/model", api.model, READ, tags=["model"], refusals=unavailable),
        *_specimen_endpoints(specimens, services, order_limits, deadlines, site, reports),
        *_adaptation_endpoints(adaptations, services, order_limits),
        *device_audit_routes(audits_folder, services.decode_limits.max_bytes),
        *open_inference_routes(services, admission, deadlines, api.readyz),
        Endpoint("GET", "/livez", api.livez, PROBE, tags=["operation"], response_model=Health),
        Endpoint(
            "GET",
            "/readyz",
            api.readyz,
            PROBE,
            tags=["operation"],
            refusals=(*unavailable, errors.StoreUnavailable),
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
            Middleware(RequestEnvelope, draining=draining),
            *access_middleware(access),
            Middleware(CancelOnDisconnect),
            Middleware(
                BodyLimits, max_held_bytes=_most_held_bytes(services, admission, order_limits, adaptations)
            ),
        ],
        exception_handlers=problems.HANDLERS,
        lifespan=lambda _: running(services, specimens, reports),
        # The framework's own would not say what they need; and Swagger UI loads its code from a public
        # network, which a laboratory may not reach.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own would export paths, queries and messages of exceptions wherever a provider is found in
        # the process or the environment; what may leave is decided in orchestrator.observability.tracing.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
