"""Arrays as tensors on the wire, as a server answers with them."""

from typing import Any

from numpy.typing import NDArray

from orchestrator.model_server.protos import tensor_pb2
from orchestrator.model_server.tensor_codec import content, tensor_header


def to_tensor(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    """``array``, of a dtype of the contract, as a tensor; in C order, little-endian."""
    tensor = tensor_header(array)
    tensor.tensor_content = bytes(content(array))
    return tensor
