"""Whether a served model is that of the contract, by what ``GetModelMetadata`` says of it."""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from orchestrator.errors import ContractViolation
from orchestrator.model_contract import INPUTS, SIGNATURES, TensorSpec
from orchestrator.model_server.protos import serving_pb2
from orchestrator.model_server.tensor_codec import DATA_TYPES, described

METADATA_FIELD: Final = "signature_def"


def check_signatures(response: serving_pb2.GetModelMetadataResponse) -> None:
    """Check every signature of the contract; a model may have others besides.

    Raises:
        ContractViolation: with all that differs.
    """
    served = _signatures(response)
    differences: list[str] = []
    for name, outputs in SIGNATURES.items():
        if name not in served:
            differences.append(f"signature {name}: missing (there are {_listed(served)})")
            continue
        differences += _differences(f"signature {name}, input", INPUTS, served[name].inputs)
        differences += _differences(f"signature {name}, output", outputs, served[name].outputs)
    if differences:
        raise ContractViolation(f"the served model is not that of the contract: {'; '.join(differences)}")


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
