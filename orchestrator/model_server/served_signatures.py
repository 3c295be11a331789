"""Whether a served model is that of the contract, by what ``GetModelMetadata`` says of it."""

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
    TensorSpec,
)
from orchestrator.model_server.protos import serving_pb2
from orchestrator.model_server.tensor_codec import DATA_TYPES, described

METADATA_FIELD: Final = "signature_def"


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
        differences += _differences(f"signature {name}, input", signature.inputs, served[name].inputs)
        differences += _differences(f"signature {name}, output", signature.outputs, served[name].outputs)
    if differences:
        raise ContractViolation(f"the served model is not that of the contract: {'; '.join(differences)}")
    return _features(served)


def _features(served: Mapping[str, serving_pb2.SignatureDef]) -> int:
    """The number of features, which the signatures agree on."""
    found = set()
    for name in (ROWS_SIGNATURE, VIEWS_SIGNATURE):
        found.add(served[name].outputs[FEATURES.name].tensor_shape.dim[-1].size)
        found.add(served[name].inputs[HEAD.name].tensor_shape.dim[1].size - 1)
    if len(found) != 1 or min(found) < 1:
        raise ContractViolation(
            "the served model is not that of the contract: expected one number of features, "
            f"received {sorted(found)}"
        )
    features: int = found.pop()
    return features


def _signatures(response: serving_pb2.GetModelMetadataResponse) -> Mapping[str, serving_pb2.SignatureDef]:
    if METADATA_FIELD not in response.metadata:
        raise ContractViolation("the model server tells no signatures of the model")
    signatures = serving_pb2.SignatureDefMap()
    try:
        # Not Any.Unpack: it compares names, and that of our message is not the official one.
        signatures.ParseFromString(response.metadata[METADATA_FIELD].value)
    except DecodeError as error:
        raise ContractViolation("the model server's signatures cannot be read") from error
    found: Mapping[str, serving_pb2.SignatureDef] = signatures.signature_def
    return found


def _differences(
    place: str, specs: tuple[TensorSpec, ...], served: Mapping[str, serving_pb2.TensorInfo]
) -> Iterable[str]:
    for spec in specs:
        if spec.name not in served:
            yield f"{place} {spec.name}: missing (there are {_listed(served)})"
            continue
        dtype, shape = served[spec.name].dtype, _shape(served[spec.name])
        if dtype != DATA_TYPES[spec.dtype] or not spec.admits(spec.dtype, shape):
            expected, received = described(DATA_TYPES[spec.dtype], spec.shape), described(dtype, shape)
            yield f"{place} {spec.name}: expected {expected}, received {received}"
    for name in sorted(set(served) - {spec.name for spec in specs}):
        yield f"{place} {name}: not in the contract"


def _shape(info: serving_pb2.TensorInfo) -> tuple[int | None, ...] | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
