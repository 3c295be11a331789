"""What the fuzzers begin with: right and wrong inputs of every kind, the same in every run."""

import base64
import io
import json
import zipfile
from functools import cache

import numpy as np

from tests.fakes.tensors import to_tensor
from tests.malformed_images import FORMATS, malformed_images, whole_image
from tests.multipart_forms import CONTENT_TYPE, form, part

_MAX_SEED_BYTES = 60_000


@cache
def images() -> list[bytes]:
    """Whole files of every format and kind, then malformed ones."""
    kinds = [
        *(whole_image(name) for name in FORMATS),
        whole_image("JPEG", progressive=True),
        whole_image("WEBP", lossless=True),
        *(whole_image("TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
    ]
    return [data for data in (*kinds, *dict(malformed_images()).values()) if len(data) <= _MAX_SEED_BYTES]


@cache
def forms() -> list[bytes]:
    """The content type in the first line, then the body."""
    head = CONTENT_TYPE.encode() + b"\n"
    file = part("file", b"\xff\xd8\xff\xd9", "cell.jpg", (b"Content-Type: image/jpeg",))
    return [
        head + form(file),
        head + form(part("profile", b"raabin"), file, part("language", b"tr")),
        head + form(file, file),
        head + form(part("files", b"PK\x03\x04" + bytes(40), "cells.zip")),
        head + form(part("profile", b"default")),
        head + form(part("file", b"x", 'a";b="c')),
        head + form(part("x" * 2000, b"")),
        head + form(part("file", b"x", "c.jpg", tuple(b"X-%d: y" % i for i in range(12)))),
        head + b"\r\n\r\n" + form(file) + b"epilogue",
        b'multipart/form-data; boundary="cell-boundary"\n' + form(file),
        b"multipart/form-data; boundary=\n" + form(file),
        b"multipart/form-data; boundary=" + b"b" * 300 + b"\n",
        b"application/json\n{}",
        b"\n",
    ]


@cache
def archives() -> list[bytes]:
    """Zip archives, with files that inflate a lot among them."""
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, data in (
                ("cell.png", b"\x89PNG"),
                ("folder/", b""),
                ("__MACOSX/x", b"x"),
                ("zeros", bytes(30_000)),
            ):
                archive.writestr(zipfile.ZipInfo(name), data, method)
        made.append(stream.getvalue())
    return [*made, b"PK\x05\x06" + bytes(18), made[0][:-5], made[1] + made[0]]


@cache
def inference_requests() -> list[bytes]:
    """The length of the JSON (4 bytes, little-endian; all ones: no header), then the body."""
    gain = {"name": "gain", "shape": [2], "datatype": "FP32", "data": [1.0, 0.9]}
    binary = {"name": "gain", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    cell = whole_image("JPEG")
    text = {
        "name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(cell).decode()],
        "parameters": {"content_type": "base64"},
    }  # fmt: skip
    two = b"".join(len(data).to_bytes(4, "little") + data for data in (cell, b""))
    files = {
        "name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(two)},
    }  # fmt: skip
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "class"}]
    chosen = {"parameters": {"binary_data_output": True, "profile": "raabin", "tta": "light"}}
    black = {"name": "images", "datatype": "UINT8", "shape": [1, 224, 224, 3]}
    size = 224 * 224 * 3
    documents: list[tuple[dict[str, object], bytes]] = [
        ({"id": "42", "inputs": [gain], "outputs": outputs}, b""),
        ({"inputs": [{**gain, "data": [[1, 2.5e-3], [True]]}], **chosen}, b""),
        ({"inputs": [binary, binary]}, np.ones(4, "<f4").tobytes()),
        ({"inputs": [text], "outputs": outputs[1:]}, b""),
        ({"inputs": [files], **chosen}, two),
        ({"inputs": [{**black, "parameters": {"binary_data_size": size}}, binary]}, bytes(size + 8)),
    ]
    made = [(len(json.dumps(d)), json.dumps(d).encode() + tail, bool(tail)) for d, tail in documents]
    with_lengths = [
        (length if is_binary else 2**32 - 1).to_bytes(4, "little") + body for length, body, is_binary in made
    ]
    return [*with_lengths, bytes(4) + cell, b"\xff\xff\xff\xff" + b"[" * 300, b"\x02\0\0\0{}"]


@cache
def tensors() -> list[bytes]:
    """Answers of TensorFlow Serving: tensors of the contract, in both encodings."""
    array = np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5)
    packed = to_tensor(array)
    typed = to_tensor(array)
    typed.tensor_content = b""
    typed.float_val.extend(array.ravel().tolist())
    return [
        packed.SerializeToString(),
        typed.SerializeToString(),
        to_tensor(array.astype("u1")).SerializeToString(),
    ]


@cache
def hl7_messages() -> list[bytes]:
    """Acknowledgements and a result, with and without their frames."""
    acknowledgement = (
        b"MSH|^~\\&|LIS|LAB|WBC|LAB|20260101120000+0000||ACK^R01^ACK|7|P|2.5.1\rMSA|AA|42\r"
        b"ERR|||207^Application internal error^HL70357|E\r"
    )
    result = (
        b"MSH|^~\\&|WBC|LAB|LIS|LAB|20260101120000+0000||ORU^R01^ORU_R01|42|P|2.5.1\rPID|1\r"
        b"OBR|1||S-1|57023-4^Auto Differential panel^LN\rOBX|1|NM|770-8^Neutrophils^LN||55.5|%|||||P\r"
    )
    return [
        acknowledgement, result, b"\x0b" + acknowledgement + b"\x1c\r", b"\x0b\x0b" + result + b"\x1c" * 3,
        b"MSH|^~\\&#|a\\X0D\\b\\H\\\\.br\\", b"MSH", b"FHS|^~\\&|\rBHS|^~\\&|\r" + result,
    ]  # fmt: skip


def languages() -> list[bytes]:
    """Values of ``Accept-Language``."""
    return [b"tr-TR,tr;q=0.9,en;q=0.8,*;q=0.1", b"en;q=nan", b"tr;q=1e400,,;"]
