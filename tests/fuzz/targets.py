"""Everything that reads bytes of others, as functions of bytes.

A target returns where the input was read or refused as its function documents it. It raises whatever else
happens, an ``AssertionError`` where a result breaks its promise; that is what a fuzzer looks for.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from starlette.requests import Request

from orchestrator.bootstrap.services import build_services
from orchestrator.edge.http.languages import LANGUAGES, preferred_language
from orchestrator.edge.http.uploads import UploadLimits, read_uploads
from orchestrator.edge.http.zip_archive import unpack
from orchestrator.edge.open_inference.message import read_question
from orchestrator.edge.open_inference.models import InferenceModel, inference_models
from orchestrator.edge.open_inference.schemas import InferenceTooLarge, MalformedInference
from orchestrator.edge.open_inference.tensors import from_binary, to_binary
from orchestrator.errors import (
    ContractViolation,
    ImageTooLarge,
    InvalidImage,
    MalformedMessage,
    MalformedUpload,
    UnsupportedBody,
    UploadTooLarge,
)
from orchestrator.interop import hl7v2_text
from orchestrator.interop.hl7v2_ack import Acknowledgement
from orchestrator.interop.mllp_frames import Framer
from orchestrator.model_contract import LOGITS
from orchestrator.model_server.protos import tensor_pb2
from orchestrator.model_server.tensor_codec import from_tensor
from orchestrator.settings import Settings
from orchestrator.vision.decode import DecodeLimits, decode
from tests.fakes.model_server import FakeModelServer
from tests.fuzz import seeds

DECODE_LIMITS: Final = DecodeLimits(max_bytes=2**20, max_pixels=500_000)
UPLOAD_LIMITS: Final = UploadLimits(20_000, 50_000, max_files=3, file_field="files", archives=True)
ONE_UPLOAD: Final = UploadLimits(20_000, 20_000)
MAX_FRAME_BYTES: Final = 4096


def read_image(data: bytes) -> None:
    try:
        rgb = decode(data, DECODE_LIMITS).rgb
    except InvalidImage:
        return
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3
    assert 0 < rgb.size <= 3 * DECODE_LIMITS.max_pixels


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def read_form(data: bytes) -> None:
    """The content type is the first line; its length says how the rest is cut into pieces."""
    content_type, _, body = data.partition(b"\n")
    piece = 1 + len(content_type) % 97
    chunks = [body[i : i + piece] for i in range(0, len(body), piece)]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": chunks.pop(0) if chunks else b"", "more_body": bool(chunks)}

    for limits in (ONE_UPLOAD, UPLOAD_LIMITS):
        chunks = [body[i : i + piece] for i in range(0, len(body), piece)]
        request = Request(
            {"type": "http", "method": "POST", "headers": [(b"content-type", content_type)]}, receive
        )
        try:
            uploads = _loop().run_until_complete(read_uploads(request, limits, 5.0))
        except (MalformedUpload, UnsupportedBody, UploadTooLarge, ImageTooLarge):
            continue
        assert 1 <= len(uploads.files) <= limits.max_files
        assert sum(map(len, uploads.files)) <= limits.max_total_bytes


def read_archive(data: bytes) -> None:
    try:
        files = unpack(io.BytesIO(data), UPLOAD_LIMITS)
    except (MalformedUpload, UploadTooLarge, ImageTooLarge):
        return
    assert 1 <= len(files) <= UPLOAD_LIMITS.max_files
    assert max(map(len, files)) <= UPLOAD_LIMITS.max_file_bytes
    assert sum(map(len, files)) <= UPLOAD_LIMITS.max_total_bytes


@cache
def _models() -> Sequence[InferenceModel]:
    services = build_services(Settings(), model_server=FakeModelServer())
    return tuple(inference_models(services).values())


def read_inference_request(data: bytes) -> None:
    """The first four bytes are the length of the JSON, little-endian; all ones stand for none."""
    length = int.from_bytes(data[:4], "little")
    for model in _models():
        try:
            question = read_question(data[4:], None if length == 2**32 - 1 else length, model)
        except (MalformedInference, InferenceTooLarge):
            continue
        declared = {tensor.name: tensor for tensor in model.inputs}
        for name, array in question.inputs.items():
            tensor = declared[name]
            assert 1 <= array.shape[0] <= model.max_rows
            assert list(array.shape[1:]) == tensor.shape[1:]
            packed = to_binary(array, tensor.datatype)
            again = from_binary(memoryview(packed), tensor.datatype, array.shape, name)
            np.testing.assert_array_equal(again, array)
        assert set(question.wanted) <= {tensor.name for tensor in model.outputs}


def read_tensor(data: bytes) -> None:
    tensor = tensor_pb2.TensorProto()
    try:
        tensor.ParseFromString(data)
        array = from_tensor(tensor, LOGITS, 2)
    except (DecodeError, ContractViolation):
        return
    assert array.shape == (2, 5)
    assert np.isfinite(array).all()


def read_hl7(data: bytes) -> None:
    with suppress(MalformedMessage):
        Acknowledgement.of(hl7v2_text.read(data))
    with suppress(MalformedMessage):
        Acknowledgement.of(hl7v2_text.read_leniently(data))
    framer = Framer(MAX_FRAME_BYTES)
    piece = 1 + len(data) % 61
    with suppress(MalformedMessage):
        for start in range(0, len(data), piece):
            assert all(len(found) <= MAX_FRAME_BYTES for found in framer.feed(data[start : start + piece]))


def read_language(data: bytes) -> None:
    assert preferred_language(data.decode("latin-1")) in (None, *LANGUAGES)


@dataclass(frozen=True)
class Target:
    """A function of bytes, what to begin with, and how long an input may become."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    max_bytes: int = 16_384


TARGETS: Final = {
    "image": Target(read_image, seeds.images, 60_000),
    "form": Target(read_form, seeds.forms),
    "archive": Target(read_archive, seeds.archives),
    "inference": Target(read_inference_request, seeds.inference_requests, 200_000),
    "tensor": Target(read_tensor, seeds.tensors, 1024),
    "hl7": Target(read_hl7, seeds.hl7_messages),
    "language": Target(read_language, seeds.languages, 256),
}
