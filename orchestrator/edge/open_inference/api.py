"""The Open Inference Protocol, version 2, over REST, beside the service's own endpoints.

Source: github.com/kserve/open-inference-protocol, ``specification/protocol/inference_rest.md``. Clients that
speak with KServe, Triton or MLServer speak with this service, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Header, Path
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import __version__, errors
from orchestrator.analyse import Services
from orchestrator.common.deadline import remaining_s
from orchestrator.edge.access.needs import ANALYSE, OPEN, READ
from orchestrator.edge.admission import Admission
from orchestrator.edge.http import problems
from orchestrator.edge.http.bodies import bounded
from orchestrator.edge.http.endpoint import Endpoint, TimeoutMs
from orchestrator.edge.http.uploads import UPLOAD_TIMEOUT_S
from orchestrator.edge.open_inference.errors import PREFIX
from orchestrator.edge.open_inference.message import (
    MESSAGE_THREAD,
    Question,
    images_of,
    read_question,
    write_answer,
)
from orchestrator.edge.open_inference.models import MODEL_NAMES, InferenceModel, inference_models, known_model
from orchestrator.edge.open_inference.schemas import (
    BINARY_MEDIA_TYPE,
    HEADER_LENGTH,
    SERVER_NAME,
    InferenceError,
    InferenceResponse,
    InferenceTooLarge,
    MalformedInference,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    UnknownModel,
    request_schema,
)
from orchestrator.edge.request_frame import Deadlines, RequestFrame, within_deadline
from orchestrator.errors import InvalidParameter, UnsupportedBody, UploadTimeout

EXTENSIONS: Final = ["binary_tensor_data"]

Ready = Callable[[], Awaitable[Any]]
"""Returns where analyses would be answered now, and raises where they would not."""

ModelName = Annotated[
    str,
    Path(
        min_length=1, max_length=64, json_schema_extra={"enum": list(MODEL_NAMES)}, examples=[MODEL_NAMES[0]]
    ),
]
ModelVersion = Annotated[str, Path(min_length=1, max_length=64, examples=["1"])]
HeaderLength = Annotated[
    int | None,
    Header(
        alias=HEADER_LENGTH,
        ge=0,
        le=2**31,
        description="How many bytes of the body are JSON; the binary data of its inputs follows. 0: the "
        "body is one file, for a model with one input of files. The whole body is JSON where absent.",
    ),
]


class OpenInferenceApi:
    """The endpoints, bound to the services that they speak to."""

    def __init__(self, services: Services, admission: Admission, deadlines: Deadlines, ready: Ready) -> None:
        self._model_server = services.model_server
        self._models: Mapping[str, InferenceModel] = inference_models(services)
        self._frame = RequestFrame(services, admission)
        self._deadlines = deadlines
        self._ready = ready

    async def server(self) -> ServerMetadata:
        """This server, and the extensions of the Open Inference Protocol that it has."""
        return ServerMetadata(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS)

    async def live(self) -> ServerLive:
        """Whether this process runs."""
        return ServerLive()

    async def ready(self) -> ServerReady:
        """Whether inference requests would be answered now."""
        await self._ready()
        return ServerReady()

    async def model(self, model_name: ModelName) -> ModelMetadata:
        """A model.

        `wbc` is the network, for prepared images; `wbc_analysis` the whole analysis, for files.
        """
        model = self._model(model_name)
        identity = await self._model_server.identity()
        return ModelMetadata(
            name=model.name,
            versions=[str(identity.version)],
            platform=model.platform,
            inputs=list(model.inputs),
            outputs=list(model.outputs),
        )

    async def model_of_version(self, model_name: ModelName, model_version: ModelVersion) -> ModelMetadata:
        """A model, by its version; the one that is served, or none."""
        await self._check_version(model_name, model_version)
        return await self.model(model_name)

    async def model_ready(self, model_name: ModelName) -> ModelReady:
        """Whether a model would answer now."""
        model = self._model(model_name)
        await self._ready()
        return ModelReady(name=model.name)

    async def model_of_version_ready(self, model_name: ModelName, model_version: ModelVersion) -> ModelReady:
        """Whether a version of a model would answer now."""
        await self._check_version(model_name, model_version)
        return await self.model_ready(model_name)

    async def infer(
        self,
        request: Request,
        model_name: ModelName,
        header_length: HeaderLength = None,
        timeout_ms: TimeoutMs = None,
    ) -> Response:
        """Ask a model.

        Tensors are JSON, or binary data behind it, both ways. Where a request names no outputs, the answer
        has all of them.
        """
        return await self._infer(request, model_name, None, header_length, timeout_ms)

    async def infer_by_version(
        self,
        request: Request,
        model_name: ModelName,
        model_version: ModelVersion,
        header_length: HeaderLength = None,
        timeout_ms: TimeoutMs = None,
    ) -> Response:
        """Ask a version of a model; the one that is served, or none."""
        return await self._infer(request, model_name, model_version, header_length, timeout_ms)

    async def _infer(
        self,
        request: Request,
        model_name: str,
        version: str | None,
        header_length: int | None,
        timeout_ms: int | None,
    ) -> Response:
        run = asyncio.get_running_loop().run_in_executor
        model = self._model(model_name)

        async def read() -> Question:
            if version is not None:
                await self._check_version(model_name, version)
            body = await _read_body(request, model.max_body_bytes)
            async with within_deadline():
                return await run(MESSAGE_THREAD, read_question, body, header_length, model)

        time_s = self._deadlines.seconds(timeout_ms)
        async with self._frame.begun(time_s, read, partial(images_of, model)) as question:
            inference = await model.infer(question.inputs, question.wanted.keys(), question.parameters)
            if version not in (None, str(inference.version)):  # it came into service a moment ago
                raise _no_such_version()
            answer = await run(MESSAGE_THREAD, write_answer, question, inference, model)
        if answer.header_length is None:
            return Response(answer.body, media_type="application/json")
        headers = {HEADER_LENGTH: str(answer.header_length)}
        return Response(answer.body, headers=headers, media_type=BINARY_MEDIA_TYPE)

    def _model(self, name: str) -> InferenceModel:
        return known_model(self._models, name)

    async def _check_version(self, name: str, version: str) -> None:
        self._model(name)
        if version != str((await self._model_server.identity()).version):
            raise _no_such_version()


def _no_such_version() -> UnknownModel:
    return UnknownModel("This version of the model is not served.")


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The body, counted as it arrives.

    Raises:
        CompressedBody: it has a content coding.
        InferenceTooLarge: it has more than ``max_bytes``.
        UploadTimeout: it did not arrive in time.
        ClientDisconnect: the sender went away.
    """
    too_large = InferenceTooLarge(
        f"The request is too large; at most {max_bytes} bytes are accepted (images take less as binary data)."
    )
    timeout_s = min(UPLOAD_TIMEOUT_S, max(0.0, remaining_s() or 0.0))
    try:
        async with asyncio.timeout(timeout_s):
            return b"".join([chunk async for chunk in bounded(request, max_bytes, too_large)])
    except TimeoutError as error:
        raise UploadTimeout(f"The request did not arrive within {timeout_s:.3g} seconds.") from error


def open_inference_routes(
    services: Services, admission: Admission, deadlines: Deadlines, ready: Ready
) -> list[Endpoint]:
    """The routes, for the application's list; ``ready`` is what ``/readyz`` asks."""
    api = OpenInferenceApi(services, admission, deadlines, ready)
    model = f"{PREFIX}/models/{{model_name}}"
    version = f"{model}/versions/{{model_version}}"
    unavailable = inference_problems(errors.ModelServerUnavailable)
    of_model = inference_problems(UnknownModel, InvalidParameter, errors.ModelServerUnavailable)
    get = partial(Endpoint, "GET", tags=["open inference"])
    post = partial(
        Endpoint,
        "POST",
        tags=["open inference"],
        response_model=InferenceResponse,
        response_description="The outputs that were asked for.",
        responses={200: _BINARY_ANSWER, **inference_problems(*_INFER_PROBLEMS)},
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    return [
        get(PREFIX, api.server, READ, operation_id="v2_server"),
        get(f"{PREFIX}/", api.server, READ, include_in_schema=False),
        get(f"{PREFIX}/health/live", api.live, OPEN, operation_id="v2_live"),
        get(f"{PREFIX}/health/ready", api.ready, OPEN, operation_id="v2_ready", responses=unavailable),
        get(model, api.model, READ, operation_id="v2_model", responses=of_model),
        get(version, api.model_of_version, READ, operation_id="v2_version", responses=of_model),
        get(f"{model}/ready", api.model_ready, OPEN, operation_id="v2_model_ready", responses=of_model),
        get(
            f"{version}/ready",
            api.model_of_version_ready,
            OPEN,
            operation_id="v2_version_ready",
            responses=of_model,
        ),
        post(f"{model}/infer", api.infer, ANALYSE, name="v2_infer"),
        post(f"{version}/infer", api.infer_by_version, ANALYSE, name="v2_version_infer"),
    ]


_INFER_PROBLEMS: Final = (
    MalformedInference,
    errors.UndecodableImage,
    UnknownModel,
    UploadTimeout,
    InferenceTooLarge,
    errors.ImageTooLarge,
    UnsupportedBody,
    errors.UnsupportedImage,
    InvalidParameter,
    errors.ModelServerError,
    errors.Overloaded,
    errors.ModelServerUnavailable,
    errors.ModelServerTimeout,
    errors.DeadlineExceeded,
)

_ERROR: Final = {"$ref": f"#/components/schemas/{InferenceError.__name__}"}

_BINARY: Final = {"schema": {"type": "string", "contentMediaType": BINARY_MEDIA_TYPE}}

_BINARY_ANSWER: Final[dict[str, Any]] = {
    "content": {BINARY_MEDIA_TYPE: _BINARY},
    "headers": {
        HEADER_LENGTH: {
            "description": "How many bytes are JSON, where binary data follows.",
            "schema": {"type": "integer"},
        }
    },
}

_REQUEST_BODY: Final = {
    "required": True,
    "content": {"application/json": {"schema": request_schema()}, BINARY_MEDIA_TYPE: _BINARY},
}


def inference_problems(*kinds: type[errors.WbcError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the errors that an operation may answer with."""
    described: dict[int | str, dict[str, Any]] = {}
    for status, response in problems.responses(*kinds).items():
        ((_, content),) = response["content"].items()
        examples = {
            name: {"value": InferenceError(error=example["value"]["detail"]).model_dump()}
            for name, example in content["examples"].items()
        }
        described[status] = {
            **response,
            "content": {"application/json": {"schema": _ERROR, "examples": examples}},
        }
    return described
