"""Warm-up records for TensorFlow Serving: one request per signature and allowed batch size; of the signature
``views``, so many images with all their views, and one image with one view, which most are asked first.

The server replays them before it declares a version available, so that no caller pays for the first
run of a graph at a new batch size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from orchestrator.model_contract import (
    ALLOWED_BATCH_SIZES,
    CODES,
    GAIN,
    HEAD,
    IMAGE,
    IMAGES,
    MODEL_NAME,
    MORPHOMETRY,
    NO_VIEW,
    NUM_VIEWS,
    SIGNATURES,
    UNKNOWN,
    VIEWS_SIGNATURE,
    TensorSpec,
)

WARMUP_FILE: Final = Path("assets.extra") / "tf_serving_warmup_requests"

WARMUP_VIEWS: Final = ((1, 1), *((images, NUM_VIEWS) for images in ALLOWED_BATCH_SIZES))
"""Images, and views of each, of the records of the signature ``views``."""

_VALUES: Final[Mapping[TensorSpec, Any]] = {
    IMAGES: 128,
    IMAGE: 128,
    GAIN: 1.0,
    MORPHOMETRY: UNKNOWN,
    HEAD: 0.0,
}


def write_warmup_records(version_dir: Path, features: int) -> Path:
    """Write the warm-up records of a network of so many ``features`` below ``version_dir`` and return their
    path."""
    path = version_dir / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in SIGNATURES:
            sizes = WARMUP_VIEWS if signature == VIEWS_SIGNATURE else [(n, 0) for n in ALLOWED_BATCH_SIZES]
            for rows, views in sizes:
                writer.write(_warmup_log(signature, rows, views, features).SerializeToString())
    return path


def _warmup_log(signature: str, rows: int, views: int, features: int) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL_NAME
    request.model_spec.signature_name = signature
    for spec in SIGNATURES[signature].inputs:
        if spec is CODES:
            codes = [*range(views), *[NO_VIEW] * (NUM_VIEWS - views)]
            filled = tf.make_tensor_proto(np.tile(np.array(codes, spec.dtype), (rows, 1)))
        else:
            shape = (rows, features + 1, *spec.shape[2:]) if spec is HEAD else (rows, *spec.shape[1:])
            # One value for all elements: where a typed field has fewer values than the shape has elements,
            # TensorFlow repeats the last. A grey batch of 32 images takes 30 bytes instead of 4.8 MB.
            filled = tf.make_tensor_proto(_VALUES[spec], dtype=spec.dtype, shape=shape)
        request.inputs[spec.name].CopyFrom(filled)
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
