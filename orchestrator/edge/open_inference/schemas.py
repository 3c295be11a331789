"""The JSON documents of the Open Inference Protocol, version 2 (REST), and of its binary tensor extension.

Source: github.com/kserve/open-inference-protocol, ``specification/protocol/open_inference_rest.yaml``; and
the "Binary Tensor Data Extension" of Triton and KServe. What the protocol leaves open is bounded here: the
number of tensors and the length of names. Members that it does not know are ignored, as its clients send
their own.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ProblemType, WbcError
from orchestrator.model_contract import IMAGE_SIZE, MODEL_NAME

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""How many bytes of a body are its JSON; the binary data of the tensors follows."""

BINARY_MEDIA_TYPE: Final = "application/octet-stream"

SERVER_NAME: Final = "wbc-analyzer"

MAX_TENSORS: Final = 16

_OTHER_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("classification", "class_count"), "class_count"),
        **dict.fromkeys(
            ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"), "shared memory"
        ),
        **dict.fromkeys(("sequence_id", "sequence_start", "sequence_end"), "sequences"),
        **dict.fromkeys(("priority", "timeout"), "scheduling (priority, timeout)"),
    }
)
"""Parameters of Triton's extensions that this service does not have, by what the extension is called."""

DataType = Literal["BOOL", "UINT8", "INT32", "FP32", "FP64", "BYTES"]
"""Those of the protocol that a tensor of this service has."""

Name = Annotated[str, Field(max_length=64)]


class MalformedInference(WbcError):
    """A request is not one of the protocol, or its tensors are not those of the model."""

    kind = ProblemType(
        "malformed-inference",
        HTTPStatus.BAD_REQUEST,
        "The inference request is malformed",
        "images: expected the datatype UINT8.",
    )


class InferenceTooLarge(WbcError):
    """A request has more bytes, or more rows, than a model takes at a time."""

    kind = ProblemType(
        "inference-too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The inference request is too large",
        "images: at most 32 rows are taken at a time.",
    )


class UnknownModel(WbcError):
    """There is no such model, or no such version of it."""

    kind = ProblemType(
        "unknown-model",
        HTTPStatus.NOT_FOUND,
        "There is no such model",
        "There is no such model; there are wbc, wbc_analysis.",
    )


def _without_other_extensions(parameters: Any) -> Any:
    """An extension that a caller asks for is given or refused, and not passed over in silence."""
    for name in parameters if isinstance(parameters, dict) else ():
        if name in _OTHER_EXTENSIONS:
            told = f"the extension {_OTHER_EXTENSIONS[name]} is not there; leave {name} out"
            raise PydanticCustomError("extension", "{told}", {"told": told})
    return parameters


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Received(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class ServerMetadata(_Document):
    """The answer of ``GET /v2``."""

    name: str = Field(examples=["wbc-analyzer"])
    version: str = Field(examples=["1.0.0"])
    extensions: list[str] = Field(examples=[["binary_tensor_data"]])
    disclaimer: str = DISCLAIMER


class ServerLive(_Document):
    """The answer of ``GET /v2/health/live``."""

    live: Literal[True] = True
    disclaimer: str = DISCLAIMER


class ServerReady(_Document):
    """The answer of ``GET /v2/health/ready``; ``live`` is what the specification names, ``ready`` what KServe
    does."""

    live: Literal[True] = True
    ready: Literal[True] = True
    disclaimer: str = DISCLAIMER


class ModelReady(_Document):
    """The answer of ``GET /v2/models/{model_name}/ready``."""

    name: str = Field(examples=[MODEL_NAME])
    ready: Literal[True] = True
    disclaimer: str = DISCLAIMER


class TensorMetadata(_Document):
    """A tensor of a model; a size of -1 is free."""

    name: str = Field(examples=["images"])
    datatype: DataType = Field(examples=["UINT8"])
    shape: list[int] = Field(examples=[[-1, IMAGE_SIZE, IMAGE_SIZE, 3]])


class ModelMetadata(_Document):
    """The answer of ``GET /v2/models/{model_name}``."""

    name: str = Field(examples=[MODEL_NAME])
    versions: list[str] = Field(examples=[["1"]])
    platform: str = Field(examples=["tensorflow_savedmodel"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    disclaimer: str = DISCLAIMER


class InferenceError(_Document):
    """What every refusal and failure under ``/v2`` is answered with."""

    error: str = Field(examples=["There is no such model."])
    disclaimer: str = DISCLAIMER


class _Parameters(_Received):
    """Those that mean something here; any other would be passed over in silence, and is refused."""

    model_config = ConfigDict(extra="forbid")

    content_type: str | None = None
    """Of MLServer's clients."""

    _known = model_validator(mode="before")(_without_other_extensions)


class TensorParameters(_Parameters):
    """Parameters of a tensor in a request: of the binary extension."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = None
    binary_data: bool | None = None


class RequestParameters(_Parameters):
    """Parameters of a request: of the binary extension, and of analyses as ``POST /v1/analyses`` has them."""

    binary_data_output: bool = False
    profile: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    tta: str | None = None
    language: str | None = None


class RequestInput(_Received):
    """One input tensor; ``data`` nested or flat, absent where it is binary."""

    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=8)]
    datatype: Name
    parameters: TensorParameters = TensorParameters()
    data: Annotated[Any, Field(json_schema_extra={"type": "array", "items": {}})] = None


class RequestOutput(_Received):
    """One output tensor that the caller wants."""

    name: Name
    parameters: TensorParameters = TensorParameters()


class InferenceRequest(_Received):
    """The JSON of a request."""

    id: Annotated[str, Field(max_length=256)] | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[RequestInput], Field(min_length=1, max_length=MAX_TENSORS)]
    outputs: Annotated[list[RequestOutput], Field(max_length=MAX_TENSORS)] = []


class ResponseOutput(_Document):
    """One output tensor: ``data`` flat, in row-major order; where it is binary, its size as a parameter."""

    name: str = Field(examples=["main_out"])
    datatype: DataType = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[1, 5]])
    parameters: dict[str, str | int | bool] | None = Field(default=None, examples=[None])
    data: list[bool | int | float | str] | None = Field(
        default=None, examples=[[0.001, 0.004, 0.002, 0.009, 0.984]]
    )


class InferenceResponse(_Document):
    """The JSON of an answer."""

    model_name: str = Field(examples=[MODEL_NAME])
    model_version: str = Field(examples=["1"])
    id: str | None = Field(default=None, examples=["42"], description="That of the request, if it has one.")
    parameters: dict[str, str] = Field(default={"disclaimer": DISCLAIMER})
    outputs: list[ResponseOutput]


def request_schema() -> dict[str, Any]:
    """The JSON Schema of a request, without references, with an example."""
    schema = InferenceRequest.model_json_schema()
    definitions = schema.pop("$defs")

    def without_references(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return without_references(definitions[part["$ref"].rsplit("/", 1)[1]])
            return {name: without_references(value) for name, value in part.items()}
        return [without_references(item) for item in part] if isinstance(part, list) else part

    inlined: dict[str, Any] = without_references(schema)
    inlined["examples"] = [
        {
            "inputs": [
                {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["/9j/4AAQSkZJRgABAQ..."]}
            ],
            "outputs": [{"name": "class"}, {"name": "probabilities"}],
        }
    ]
    return inlined
