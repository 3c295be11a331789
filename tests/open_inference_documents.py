"""JSON Schemas of the Open Inference Protocol's documents, written from its specification, not from our code.

Source: github.com/kserve/open-inference-protocol, ``specification/protocol/inference_rest.md``, and the
Binary Tensor Data Extension (``parameters.binary_data_size`` in place of ``data``).
"""

from typing import Any, Final

_NAME: Final = {"type": "string", "minLength": 1}
_SHAPE: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_DATA_TYPES: Final = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip
_PARAMETERS: Final = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


_TENSOR: Final = _object(
    {
        "name": _NAME,
        "datatype": {"enum": _DATA_TYPES},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
    }
)

SERVER_METADATA: Final = _object(
    {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "extensions": {"type": "array", "items": {"type": "string"}},
    }
)
SERVER_LIVE: Final = _object({"live": {"type": "boolean"}})
MODEL_READY: Final = _object({"name": _NAME, "ready": {"type": "boolean"}})
MODEL_METADATA: Final = _object(
    {
        "name": _NAME,
        "platform": {"type": "string", "pattern": "^[a-z0-9]+_[a-z0-9]+$"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": _TENSOR},
    },
    {"versions": {"type": "array", "items": {"type": "string"}}},
)
ERROR: Final = _object({"error": {"type": "string", "minLength": 1}})

_OUTPUT: Final = {
    **_object(
        {"name": _NAME, "shape": _SHAPE, "datatype": {"enum": _DATA_TYPES}},
        {
            "parameters": _PARAMETERS,
            "data": {"type": "array", "items": {"type": ["number", "string", "boolean"]}},
        },
    ),
    "oneOf": [
        {"required": ["data"]},
        {
            "required": ["parameters"],
            "properties": {"parameters": {"required": ["binary_data_size"]}},
            "not": {"required": ["data"]},
        },
    ],
}
INFERENCE_RESPONSE: Final = _object(
    {"model_name": _NAME, "outputs": {"type": "array", "items": _OUTPUT}},
    {"model_version": {"type": "string"}, "id": {"type": "string"}, "parameters": _PARAMETERS},
)
