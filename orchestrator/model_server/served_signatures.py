"""Whether a served model is that of the contract, by what its server says of it."""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from orchestrator.errors import ContractViolation
from orchestrator.model_contract import (
    FEATURES,
    HEAD,
    ROWS_SIGNATURE,
    SIGNATURES,
    VIEWS_SIGNATURE,
    Signature,
    TensorSpec,
)
from orchestrator.model_server.protos import serving_pb2
from orchestrator.model_server.tensor_codec import described, dtype_name

METADATA_FIELD: Final = "signature_def"

Shape = tuple[int | None, ...]

Tensors = Mapping[str, tuple[str, Shape | None]]
"""Dtype and shape of each tensor, as a server tells them; None where it tells no shape."""

Declared = tuple[Tensors, Tensors]
"""The inputs and the outputs."""


def check_signatures(response: serving_pb2.GetModelMetadataResponse) -> int:
    """Check every signature of the contract, and return the number of features; a model may have others
    besides.

    Raises:
        ContractViolation: with all that differs.
    """
    served = _signatures(response)
    differences: list[str] = []
    for name, signature in SIGNATURES.items():
        if name not in served:
            differences.append(f"signature {name}: missing (there are {_listed(served)})")
            continue
        differences += differences_of(f"signature {name}", signature, *served[name])
    return agreed_features(served, differences)


def agreed_features(served: Mapping[str, Declared], differences: list[str]) -> int:
    """Return the number of features, which the signatures of a served model agree on.

    Raises:
        ContractViolation: there are ``differences`` to the contract, or they do not agree.
    """
    if differences:
        raise ContractViolation(f"the served model is not that of the contract: {'; '.join(differences)}")
    found = set()
    for name in (ROWS_SIGNATURE, VIEWS_SIGNATURE):
        inputs, outputs = served[name]
        for size, extra in ((_size(outputs[FEATURES.name], -1), 0), (_size(inputs[HEAD.name], 1), 1)):
            found.add(size - extra)
    if len(found) != 1 or min(found) < 1:
        raise ContractViolation(
            "the served model is not that of the contract: expected one number of features, "
            f"received {sorted(found)}"
        )
    return found.pop()


def _size(tensor: tuple[str, Shape | None], place: int) -> int:
    shape = tensor[1] or ()
    return shape[place] or 0  # 0: free, which no model's number of features is


def _signatures(response: serving_pb2.GetModelMetadataResponse) -> dict[str, Declared]:
    if METADATA_FIELD not in response.metadata:
        raise ContractViolation("the model server tells no signatures of the model")
    signatures = serving_pb2.SignatureDefMap()
    try:
        # Not Any.Unpack: it compares names, and that of our message is not the official one.
        signatures.ParseFromString(response.metadata[METADATA_FIELD].value)
    except DecodeError as error:
        raise ContractViolation("the model server's signatures cannot be read") from error
    return {
        name: (_tensors(signature.inputs), _tensors(signature.outputs))
        for name, signature in signatures.signature_def.items()
    }


def _tensors(served: Mapping[str, serving_pb2.TensorInfo]) -> Tensors:
    return {name: (dtype_name(info.dtype), _shape(info)) for name, info in served.items()}


def differences_of(place: str, signature: Signature, inputs: Tensors, outputs: Tensors) -> Iterable[str]:
    """In what a served model's tensors differ from ``signature``, in words that begin with ``place``."""
    yield from _differences(f"{place}, input", signature.inputs, inputs)
    yield from _differences(f"{place}, output", signature.outputs, outputs)


def _differences(place: str, specs: tuple[TensorSpec, ...], served: Tensors) -> Iterable[str]:
    for spec in specs:
        if spec.name not in served:
            yield f"{place} {spec.name}: missing (there are {_listed(served)})"
        elif not spec.admits(*served[spec.name]):
            expected, received = described(spec.dtype, spec.shape), described(*served[spec.name])
            yield f"{place} {spec.name}: expected {expected}, received {received}"
    for name in sorted(set(served) - {spec.name for spec in specs}):
        yield f"{place} {name}: not in the contract"


def _shape(info: serving_pb2.TensorInfo) -> Shape | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
