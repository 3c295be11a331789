"""Bodies of the Open Inference Protocol: bytes to the inputs of a model, and its outputs to bytes.

A body is JSON, or JSON with binary data behind it, as long as the header ``Inference-Header-Content-Length``
says; 0 there means that the whole body is the one element of a model's one input of files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json as parse_json

from orchestrator.edge.open_inference.models import Inference, InferenceModel
from orchestrator.edge.open_inference.schemas import (
    HEADER_LENGTH,
    DataType,
    InferenceRequest,
    InferenceResponse,
    InferenceTooLarge,
    MalformedInference,
    RequestInput,
    RequestParameters,
    ResponseOutput,
    TensorMetadata,
)
from orchestrator.edge.open_inference.tensors import (
    Array,
    bytes_array,
    from_binary,
    from_json,
    to_binary,
    to_json,
)
from orchestrator.errors import ContractViolation

MESSAGE_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="inference-message")
"""One after the other: JSON takes up to twenty times its size while it is read, and that is the bound."""

MAX_ARRAYS: Final = 600_000
"""Brackets in the JSON of a request: enough for eleven images nested down to their 224 x 224 pixels. More,
which would be empty, take a second to read, in which Python does nothing else."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks a model: its inputs, and of each output that they want whether it is to be
    binary."""

    inputs: Mapping[str, Array] = field(repr=False)
    wanted: Mapping[str, bool]
    parameters: RequestParameters = field(default_factory=RequestParameters)
    id: str | None = None


def images_of(model: InferenceModel, question: Question) -> Sequence[bytes]:
    """The files among the inputs of a question, whose pixels take places."""
    files = question.inputs.keys() & model.files
    return [file for name in files for file in question.inputs[name].ravel().tolist()]


@dataclass(frozen=True, slots=True)
class Answer:
    """A body; the first ``header_length`` bytes are JSON, all where None."""

    body: bytes = field(repr=False)
    header_length: int | None


def read_question(body: bytes, header_length: int | None, model: InferenceModel) -> Question:
    """Read a request; takes up to a tenth of a second for a large one: call it in a thread.

    Raises:
        MalformedInference: it is not a request of the protocol, or not one to this model.
        InferenceTooLarge: more rows than the model takes.
    """
    if header_length == 0:
        return _whole_body(body, model)
    document, binary = body, memoryview(b"")
    if header_length is not None:
        if header_length > len(body):
            raise MalformedInference(f"{HEADER_LENGTH}: the body has {len(body)} bytes.")
        document, binary = body[:header_length], memoryview(body)[header_length:]

    def array_of(received: RequestInput, datatype: DataType) -> Array:
        nonlocal binary
        size = received.parameters.binary_data_size
        if size is None:
            return from_json(received.data, datatype, received.shape, received.name)
        if received.data is not None:
            raise MalformedInference(f"{received.name}: expected its data as JSON or as binary, not both.")
        if size > len(binary):
            raise MalformedInference(f"{received.name}: there are not {size} more bytes of binary data.")
        data, binary = binary[:size], binary[size:]
        return from_binary(data, datatype, received.shape, received.name)

    question = question_of(parsed(lambda: _json(document)), model, array_of)
    if len(binary):
        raise MalformedInference(f"There are {len(binary)} bytes of binary data that belong to no input.")
    return question


def question_of(
    request: InferenceRequest, model: InferenceModel, array_of: Callable[[RequestInput, DataType], Array]
) -> Question:
    """What a request asks a model; ``array_of`` gives the data of an input, of this type, in their order.

    Raises as :func:`read_question`.
    """
    inputs: dict[str, Array] = {}
    for received in request.inputs:
        declared = _declared(received.name, model.inputs, "input")
        if received.name in inputs:
            raise MalformedInference(f"{received.name}: this input occurs twice.")
        _check_type(received, declared, model.max_rows)
        inputs[received.name] = array_of(received, declared.datatype)
    for tensor in model.inputs:
        if tensor.name not in inputs and tensor.name not in model.optional_inputs:
            raise MalformedInference(f"The input {tensor.name} is missing.")
    return Question(inputs, _wanted(request, model), request.parameters, request.id)


def write_answer(question: Question, inference: Inference, model: InferenceModel) -> Answer:
    """The answer to a request, its outputs in the order in which they were asked for.

    Raises :class:`~orchestrator.errors.ContractViolation` where the model answered with what is no number.
    """
    datatypes = {tensor.name: tensor.datatype for tensor in model.outputs}
    outputs, binary = [], []
    for name, array in finite_outputs(question, inference):
        is_binary, datatype = question.wanted[name], datatypes[name]
        parameters: dict[str, str | int | bool] = {}
        data = None
        if is_binary:
            binary.append(to_binary(array, datatype))
            parameters["binary_data_size"] = len(binary[-1])
        else:
            is_file = name in model.files
            data = to_json(array, datatype, base64_text=is_file)
            if is_file:
                parameters["content_type"] = "base64"  # as MLServer marks it
        outputs.append(
            ResponseOutput.model_construct(
                name=name,
                datatype=datatype,
                shape=list(array.shape),
                parameters=parameters or None,
                data=data,
            )
        )
    response = InferenceResponse.model_construct(
        model_name=model.name, model_version=str(inference.version), id=question.id, outputs=outputs
    )
    document = response.model_dump_json(exclude_none=True).encode()
    if not binary:
        return Answer(document, None)
    return Answer(b"".join((document, *binary)), len(document))


def finite_outputs(question: Question, inference: Inference) -> Iterator[tuple[str, Array]]:
    """The outputs that are wanted, by their names, in the order in which they were asked for.

    Raises :class:`~orchestrator.errors.ContractViolation` where one holds what is no number.
    """
    for name in question.wanted:
        array = inference.outputs[name]
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ContractViolation(f"The model answered with values of {name} that are no numbers.")
        yield name, array


def _whole_body(body: bytes, model: InferenceModel) -> Question:
    if len(model.inputs) != 1 or model.inputs[0].name not in model.files:
        raise MalformedInference(f"{HEADER_LENGTH}: 0 is for models with one input of files.")
    inputs = {model.inputs[0].name: bytes_array([body], [1])}
    return Question(inputs, {tensor.name: False for tensor in model.outputs})


def _json(document: bytes) -> Any:
    """Depth is bounded by the parser, at 200."""
    if document.count(b"[") + document.count(b"{") > MAX_ARRAYS:
        raise MalformedInference(f"There are more than {MAX_ARRAYS} arrays; send flat or binary data.")
    return parse_json(document, allow_inf_nan=False, cache_strings="keys")


def parsed(read: Callable[[], Any]) -> InferenceRequest:
    """What ``read`` gives as a request. Raises :class:`MalformedInference`."""
    try:
        return InferenceRequest.model_validate(read())
    except ValidationError as error:  # a ValueError, too
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise MalformedInference(f"{place or 'The JSON'}: {first['msg']}"[:300]) from None
    except ValueError as error:
        raise MalformedInference(f"The JSON is broken: {error}.") from error


def _declared(name: str, tensors: Sequence[TensorMetadata], kind: str) -> TensorMetadata:
    for tensor in tensors:
        if tensor.name == name:
            return tensor
    expected = ", ".join(tensor.name for tensor in tensors)
    raise MalformedInference(f"The model has no such {kind}; expected {expected}.")


def _check_type(received: RequestInput, declared: TensorMetadata, max_rows: int) -> None:
    name, shape = received.name, received.shape
    if received.datatype != declared.datatype:
        raise MalformedInference(f"{name}: expected the datatype {declared.datatype}.")
    fits = len(shape) == len(declared.shape) and shape[1:] == declared.shape[1:]
    if not fits or shape[0] < 1:
        raise MalformedInference(f"{name}: expected a shape as {declared.shape}, with at least one row.")
    if shape[0] > max_rows:
        raise InferenceTooLarge(f"{name}: at most {max_rows} rows are taken at a time.")


def _wanted(request: InferenceRequest, model: InferenceModel) -> Mapping[str, bool]:
    """All outputs where the request names none."""
    binary = request.parameters.binary_data_output
    wanted: dict[str, bool] = {}
    for output in request.outputs:
        _declared(output.name, model.outputs, "output")
        if output.name in wanted:
            raise MalformedInference(f"{output.name}: this output is asked for twice.")
        asked = output.parameters.binary_data
        wanted[output.name] = binary if asked is None else asked
    return wanted or {tensor.name: binary for tensor in model.outputs}
