"""Two other ways to serve the same task, the baselines of :mod:`loadtests.compare_peers`; small servers.

    python -m loadtests.peers reference|reference-per-view|reference-network|plain --port 9001

``reference``
    as the reference system works, written anew from the description of its behaviour: whole frame, its five
    filter steps in float32, a Keras ``predict`` for the eight views, then a new Keras model and a gradient
    tape for the Grad-CAM, all for each request. The network is the shipped one's twin with random weights,
    since a SavedModel has no Keras layers to build a Grad-CAM model from; that costs the same.
``reference-per-view``
    the same with a ``predict`` for each view.
``reference-network``
    the first with the reference's own network, DenseNet121 with attention, random weights.
``plain``
    what one would write today: FastAPI over TensorFlow on this project's SavedModel and its own vision code,
    one call for the eight views of a request; no batching across requests.

They answer POST /predict with a file as the service does. Baselines of a benchmark: no limits, no handling of
errors. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, File

from loadtests.mef_benchmark import float_mef
from orchestrator.domain import DISCLAIMER, CellViews, Float32Array
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE, MAIN_OUT
from orchestrator.profiles import DEFAULT_PROFILE, load_profiles
from orchestrator.routing import average, route
from orchestrator.views import rows_of
from orchestrator.vision import heatmap, tta
from orchestrator.vision.decode import decode
from orchestrator.vision.preprocessing import preprocess
from orchestrator.vision.stain import LabStatistics, reinhard

Answer = dict[str, Any]
Predict = Callable[[bytes], Answer]

REINHARD_REFERENCE = LabStatistics((180.0, 145.0, 120.0), (40.0, 15.0, 18.0))
SENTENCE = "No language model was asked. Check the heatmap yourself."


def reference_style(*, per_view: bool = False, own_network: bool = False) -> Predict:
    """The reference system's steps, with the served network or its own."""
    import keras
    import tensorflow as tf

    from training.classifier import CONV_MAPS_LAYER, build_classifier

    model = build_classifier() if own_network else build_classifier("EfficientNetLite0", head_units=())

    def grad_cam(image: Float32Array, class_index: int) -> Float32Array:
        """Guided Grad-CAM by a model that is built for this request."""
        explained = keras.Model(
            model.input, [model.get_layer(CONV_MAPS_LAYER).output, model.output[MAIN_OUT.name]]
        )
        with tf.GradientTape() as tape:
            maps, answer = explained(tf.constant(image[np.newaxis]), training=False)
            score = answer[:, class_index]
        gradients = tape.gradient(score, maps)
        guided = tf.cast(maps > 0, tf.float32) * tf.cast(gradients > 0, tf.float32) * gradients
        weights = tf.reduce_mean(guided, axis=(1, 2), keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))[0].numpy()
        return np.asarray(cam / max(float(cam.max()), 1e-8), np.float32)

    def predict(payload: bytes) -> Answer:
        rgb = decode(payload).rgb
        small = np.asarray(cv2.resize(rgb, (IMAGE_SIZE, IMAGE_SIZE)), np.uint8)
        enhanced = float_mef(reinhard(small, REINHARD_REFERENCE))
        views = rows_of(CellViews(enhanced, tta.CODES["light"]))
        batch = np.clip(views.images / np.float32(255) * views.gain[:, None, None, None], 0, 1)
        if per_view:
            rows = [model.predict(view[np.newaxis], verbose=0)[MAIN_OUT.name] for view in batch]
            mean = np.concatenate(rows).mean(axis=0)
        else:
            mean = model.predict(batch, verbose=0)[MAIN_OUT.name].mean(axis=0)
        class_index = int(mean.argmax())
        cam = cv2.resize(grad_cam(batch[0], class_index), (rgb.shape[1], rgb.shape[0]))
        cam = np.clip(cv2.GaussianBlur(cam, (0, 0), 2.0), 0, 1)
        overlay = heatmap.draw_overlay(rgb, np.asarray(cam, np.float32), "jet", "jpeg")
        return _answer(mean, class_index, overlay.data, SENTENCE)

    return predict


REFERENCES: Final[dict[str, dict[str, bool]]] = {
    "reference": {},
    "reference-per-view": {"per_view": True},
    "reference-network": {"own_network": True},
}
"""What :func:`reference_style` is to be, by the name of the peer."""


def plain(version_dir: Path) -> Predict:
    """FastAPI and TensorFlow without more."""
    from training.predictors import saved_model_predictor

    ask = saved_model_predictor(version_dir, explain=True)
    profile = load_profiles()[DEFAULT_PROFILE]

    def predict(payload: bytes) -> Answer:
        rgb = decode(payload).rgb
        cell = preprocess(rgb, profile.recipe)
        prediction = ask(rows_of(CellViews(cell.pixels, tta.CODES["light"])))
        finding = route(average(prediction), profile.routing)
        if prediction.cams is None:
            raise ValueError("expected class activation maps")
        cams = prediction.cams[:, finding.class_index]
        focus = heatmap.assemble(cams, "light", cell.masks, cell.window, rgb.shape)
        overlay = heatmap.draw_overlay(rgb, focus.heatmap, "viridis", "jpeg")
        report = f"{finding.class_name}, {finding.confidence:.1%}; {focus.focus_ratio:.0%} on the cell."
        return _answer(np.array(finding.probabilities), finding.class_index, overlay.data, report)

    return predict


def application(predict: Predict) -> FastAPI:
    """A synchronous handler, which FastAPI runs in a thread of its pool."""
    app = FastAPI()

    @app.post("/predict")
    def _(file: Annotated[bytes, File()]) -> Answer:
        return predict(file)

    @app.get("/readyz")
    def _() -> Answer:
        return {"status": "ready"}

    return app


def _answer(probabilities: Any, class_index: int, overlay: bytes, report: str) -> Answer:
    return {
        "class": CLASS_NAMES[class_index],
        "confidence": float(probabilities[class_index]),
        "all_probabilities": dict(zip(CLASS_NAMES, map(float, probabilities), strict=True)),
        "gradcam_image": base64.b64encode(overlay).decode("ascii"),
        "llm_report": report,
        "disclaimer": DISCLAIMER,
    }


def main() -> None:
    """Serve one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=REFERENCES | {"plain": {}})
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-path", type=Path, default=Path("model_repository/wbc/9"))
    options = parser.parse_args()
    if options.peer == "plain":
        predict = plain(options.model_path)
    else:
        predict = reference_style(**REFERENCES[options.peer])
    uvicorn.run(application(predict), port=options.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
