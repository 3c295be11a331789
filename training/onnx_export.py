"""A version of the model repository as ONNX, for servers of the Open Inference Protocol.

::

    <folder>/
      wbc/config.pbtxt        wbc/<version>/model.onnx         the signature serving_default
      wbc_views/config.pbtxt  wbc_views/<version>/model.onnx   the signature views

Triton and OpenVINO Model Server read this layout; the second needs no ``config.pbtxt``, which is a
``ModelConfig`` of Triton (``inference``, model_config.proto) in protobuf text format.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from orchestrator.domain import Float32Array
from orchestrator.model_contract import (
    ALLOWED_BATCH_SIZES,
    CODES,
    GAIN,
    HEAD,
    IMAGE,
    IMAGES,
    MAX_BATCH_SIZE,
    MORPHOMETRY,
    NO_VIEW,
    NUM_CLASSES,
    NUM_VIEWS,
    OPEN_MODELS,
    ROWS_SIGNATURE,
    SIGNATURES,
    Signature,
    TensorSpec,
    open_signature,
)
from training.export_check import CHECK_GAINS, CHECK_MORPHOMETRY, HEAD_SCALE, check_answers, synthetic_images

OPSET: Final = 18
"""Of ONNX; ONNX Runtime reads it since 1.14 (2023)."""

MAX_QUEUED: Final = 4 * MAX_BATCH_SIZE
"""Requests that wait at Triton before it refuses: four full batches."""

_TYPES: Final = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "float32": "TYPE_FP32"}


def export_onnx(version_dir: Path, folder: Path) -> list[Path]:
    """Write the SavedModel in ``version_dir`` as ONNX into ``folder``, and return the files of the models.

    Each is run by ONNX Runtime and compared with the SavedModel before it takes its place. Two exports of one
    model differ in their bytes.

    Raises:
        FileExistsError: this version is there already.
        ContractViolation: what was written answers otherwise than the SavedModel.
        ValueError: ``version_dir`` is not named by a version.
    """
    version = int(version_dir.name)
    places = {name: folder / model / str(version) / "model.onnx" for name, model in OPEN_MODELS.items()}
    for place in places.values():
        if place.exists():
            raise FileExistsError(f"{place} is there already")
    saved = tf.saved_model.load(str(version_dir))
    features = saved.signatures[ROWS_SIGNATURE].structured_input_signature[1][HEAD.name].shape[1] - 1
    # Beside the folder's models: a server that watches it sees both models whole, or neither.
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        written = {name: Path(partial) / f"{model}.onnx" for name, model in OPEN_MODELS.items()}
        for name, path in written.items():
            _write(saved.signatures[name], open_signature(name), features, path)
            _check(saved, name, path, features)
        for name, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            written[name].replace(place)
            (place.parents[1] / "config.pbtxt").write_text(triton_config(name, features), encoding="utf-8")
    return list(places.values())


def triton_config(name: str, features: int) -> str:
    """The ``config.pbtxt`` of the signature ``name`` for a network of so many features."""
    signature = open_signature(name)
    lines = [
        f'name: "{OPEN_MODELS[name]}"',
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH_SIZE}",
    ]
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        lines += [f'{kind} {{ name: "{spec.name}" {_declared(spec, features)} }}' for spec in specs]
    lines += [
        "# Rows gather while the network is busy; a caller beyond the queue is told to come back.",
        f"dynamic_batching {{ default_queue_policy {{ max_queue_size: {MAX_QUEUED} }} }}",
        "# On a GPU: by rule, not by trials, which begin anew at each size that comes for the first time.",
        'parameters { key: "cudnn_conv_algo_search" value { string_value: "1" } }',
    ]
    for size in ALLOWED_BATCH_SIZES:
        lines.append(f'model_warmup {{ name: "{size}" batch_size: {size}')
        lines += [
            f'  inputs {{ key: "{spec.name}" value {{ {_declared(spec, features)} zero_data: true }} }}'
            for spec in signature.inputs
        ]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _declared(spec: TensorSpec, features: int) -> str:
    dims = ", ".join(map(str, _sizes(spec, features)))
    return f"data_type: {_TYPES[spec.dtype]} dims: [ {dims} ]"


def _sizes(spec: TensorSpec, features: int) -> list[int]:
    """The sizes behind the batch."""
    free = features + 1 if spec.name == HEAD.name else features
    return [free if size is None else size for size in spec.shape[1:]]


def _write(function: Any, signature: Signature, features: int, path: Path) -> None:
    from tf2onnx import convert  # the extra `onnx`, which nothing else needs

    specs = [
        tf.TensorSpec((None, *_sizes(spec, features)), spec.dtype, name=spec.name)
        for spec in signature.inputs
    ]

    def asked(*inputs: Any) -> Any:
        feed = {spec.name: value for spec, value in zip(signature.inputs, inputs, strict=True)}
        if GAIN.name in feed:
            feed[GAIN.name] = feed[GAIN.name][:, 0]
        return function(**feed)

    convert.from_function(tf.function(asked), specs, opset=OPSET, output_path=str(path))


def _check(saved: Any, name: str, path: Path, features: int) -> None:
    """Compare with the SavedModel, on synthetic images."""
    import onnxruntime

    images = synthetic_images()
    head = np.random.default_rng(1).normal(scale=HEAD_SCALE, size=(len(images), features + 1, NUM_CLASSES))
    feed: dict[str, NDArray[Any]] = {
        MORPHOMETRY.name: np.array(CHECK_MORPHOMETRY, np.float32),
        HEAD.name: head.astype(np.float32),
    }
    if name == ROWS_SIGNATURE:
        feed |= {IMAGES.name: images, GAIN.name: np.array(CHECK_GAINS, np.float32)}
    else:
        codes = np.full((len(images), NUM_VIEWS), NO_VIEW, np.int32)
        codes[0], codes[1:, 2] = np.arange(NUM_VIEWS)[::-1], 3
        feed |= {IMAGE.name: images, CODES.name: codes}
    tensors = {key: tf.constant(value) for key, value in feed.items()}
    expected = {key: value.numpy() for key, value in saved.signatures[name](**tensors).items()}
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    outputs = [spec.name for spec in SIGNATURES[name].outputs]
    sent = {key: value[:, np.newaxis] if key == GAIN.name else value for key, value in feed.items()}
    received: Mapping[str, Float32Array] = dict(zip(outputs, session.run(outputs, sent), strict=True))
    check_answers(f"{OPEN_MODELS[name]} as ONNX", received, expected)
