"""The network: a backbone, attention, and a head with three outputs.

::

    image [N, S, S, 3] in [0, 1] -> backbone -> attention -> conv_maps [N, h, w, C] -> mean over space
      -> (Dense, BatchNorm, MedSwish, Dropout) x 2 -> main_out [N, 5] softmax
                                                   -> aux_binary_out [N, 1] sigmoid
                                                   -> not_wbc [N, 1] sigmoid

Without dense blocks the head is linear: the mean over space, Dropout, and the outputs.

Augmentation happens in the data loader, not here: random layers carry the state of their seeds, which
has no place in a served model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Final, Literal

import keras
from keras import layers, ops

from orchestrator.model_contract import (
    AUX_OUT,
    CONV_MAPS,
    FEATURES,
    IMAGE_SIZE,
    LOGITS,
    MAIN_OUT,
    NOT_WBC,
    NUM_CLASSES,
)
from training.compact_backbone import compact_backbone
from training.efficientnet_lite import efficientnet_lite
from training.layers import BackboneInput, ImageNetScaling, MedSwish, Tensor, WBCAttentionBlock

BackboneWeights = Literal["imagenet", "none"] | Path

BACKBONE_LAYER: Final = "backbone"
CONV_MAPS_LAYER: Final = CONV_MAPS.name
ATTENTION_LAYER: Final = "attention"
HEAD_UNITS: Final = (512, 256)
HEAD_DROPOUT: Final = (0.5, 0.3)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A constructor of ``keras.applications`` and the scaling of pixels that its weights expect."""

    build: Callable[..., keras.Model]
    scaling: ImageNetScaling


BACKBONES: Final = {
    "DenseNet121": Backbone(keras.applications.DenseNet121, "torch"),
    "Compact": Backbone(compact_backbone, "torch"),
    "EfficientNetB0": Backbone(keras.applications.EfficientNetB0, "raw"),
    **{
        f"EfficientNetLite{variant}": Backbone(partial(efficientnet_lite, variant=variant), "lite")
        for variant in (0, 1, 2)
    },
    "MobileNetV2": Backbone(keras.applications.MobileNetV2, "tf"),
    "ResNet50V2": Backbone(keras.applications.ResNet50V2, "tf"),
    "VGG16": Backbone(keras.applications.VGG16, "caffe"),
}


def build_classifier(
    backbone: str = "DenseNet121",
    backbone_weights: BackboneWeights = "none",
    image_size: int | None = IMAGE_SIZE,
    attention: bool = True,
    dropout: tuple[float, float] = HEAD_DROPOUT,
    med_swish: bool = True,
    head_units: tuple[int, ...] = HEAD_UNITS,
) -> keras.Model:
    """Build the classifier.

    Args:
        backbone: a key of :data:`BACKBONES`.
        backbone_weights: ``imagenet`` downloads the weights of ``keras.applications`` (EfficientNetLite
            takes its own from an installed package), ``none`` starts from random numbers, a path is read:
            weights of the backbone (``.h5``, ``.weights.h5``, the files of ``keras.applications`` among
            them) or a whole saved classifier (``.keras``).
        image_size: side of the input in pixels; None builds a network for any size, so that one model
            can be trained at growing sizes.
        attention: whether the attention block stands between the maps and the pooling.
        dropout: shares of dropout after the first and the second dense block; the last of them also stands
            before the outputs of a linear head.
        med_swish: whether the head bends by MedSwish; otherwise by ReLU, for comparisons.
        head_units: widths of the dense blocks, at most two; with none the head is linear.

    Returns:
        A model with the input ``image``, float32 ``[N, S, S, 3]`` RGB in [0, 1], and the outputs
        ``main_out`` (float32 ``[N, 5]``, softmax), ``aux_binary_out`` and ``not_wbc`` (float32 ``[N, 1]``,
        sigmoid) as a dict. Its layer ``backbone`` is the backbone; the layer ``conv_maps`` gives the
        maps that the head pools, after the attention. 7,830,766 parameters with DenseNet121 and attention.

    Raises:
        ValueError: the backbone is unknown, or the weights do not fit it or cannot be downloaded.
        FileNotFoundError: there is no file at the path.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"expected a backbone of {sorted(BACKBONES)}, got {backbone!r}")
    spec = BACKBONES[backbone]
    network = _build_backbone(spec, backbone_weights, image_size)
    name = f"wbc_{backbone.lower()}" + ("_attention" if attention else "")
    return assemble_classifier(network, spec.scaling, attention, dropout, name, med_swish, head_units)


def assemble_classifier(
    backbone: keras.Model,
    scaling: ImageNetScaling,
    attention: bool = True,
    dropout: tuple[float, float] = HEAD_DROPOUT,
    name: str = "wbc",
    med_swish: bool = True,
    head_units: tuple[int, ...] = HEAD_UNITS,
) -> keras.Model:
    """Put attention and head onto a backbone; see :func:`build_classifier`.

    ``backbone`` is named ``backbone`` and turns pixels, scaled by ``scaling``, into maps after a ReLU.
    """
    image = keras.Input(backbone.input_shape[1:], name="image", dtype="float32")
    features = backbone(BackboneInput(scaling, name="backbone_input")(image))
    if attention:
        features, _ = WBCAttentionBlock(name=ATTENTION_LAYER)(features)
    # The maps that the head pools: what attention has dimmed explains nothing either.
    maps = layers.Identity(name=CONV_MAPS_LAYER)(features)

    x = layers.GlobalAveragePooling2D(name="pool")(maps)
    for block, (units, rate) in enumerate(zip(head_units, dropout, strict=False), start=1):
        x = layers.Dense(units, name=f"dense_{block}")(x)
        x = layers.BatchNormalization(name=f"norm_{block}")(x)
        x = (
            MedSwish(name=f"med_swish_{block}")
            if med_swish
            else layers.Activation("relu", name=f"relu_{block}")
        )(x)
        x = layers.Dropout(rate, name=f"dropout_{block}")(x)
    if not head_units:
        x = layers.Dropout(dropout[-1], name="dropout")(x)
    # float32 whatever the policy: half-precision probabilities spoil losses and calibration.
    main = layers.Dense(NUM_CLASSES, activation="softmax", name=MAIN_OUT.name, dtype="float32")(x)
    aux = layers.Dense(1, activation="sigmoid", name=AUX_OUT.name, dtype="float32")(x)
    not_wbc = layers.Dense(1, activation="sigmoid", name=NOT_WBC.name, dtype="float32")(x)
    outputs = {MAIN_OUT.name: main, AUX_OUT.name: aux, NOT_WBC.name: not_wbc}
    return keras.Model(image, outputs, name=name)


def with_conv_maps(model: keras.Model) -> keras.Model:
    """Return the classifier, on the same weights, with ``conv_maps`` as a further output of its dict."""
    maps = model.get_layer(CONV_MAPS_LAYER).output
    return keras.Model(model.input, {**model.output, CONV_MAPS.name: maps}, name=model.name)


def with_served_outputs(model: keras.Model) -> keras.Model:
    """Return the classifier, on the same weights, with ``conv_maps``, ``features`` and ``logits`` in its dict
    as well."""
    outputs = with_conv_maps(model).output
    features = model.get_layer(MAIN_OUT.name).input
    outputs = {**outputs, FEATURES.name: features, LOGITS.name: main_logits(model, features)}
    return keras.Model(model.input, outputs, name=model.name)


def feature_count(model: keras.Model) -> int:
    """Return F, the number of features that ``main_out`` is made from."""
    return int(model.get_layer(MAIN_OUT.name).input.shape[-1])


def main_logits(model: keras.Model, features: Tensor) -> Tensor:
    """Return what ``main_out`` is the softmax of, ``[N, 5]``, from its input, ``features`` ``[N, F]``.

    By the weights of ``main_out`` itself: a layer of its own for the logits would change which saved models
    can be loaded, and the logarithm of the probabilities lacks their normaliser.
    """
    output = model.get_layer(MAIN_OUT.name)
    return ops.matmul(features, output.kernel) + output.bias


def site_logits(features: Tensor, head: Tensor) -> Tensor:
    """Return what a site's head adds to the logits, ``[N, K]``: ``[features, 1] @ head``, row by row.

    ``features`` is ``[N, F]``, ``head`` is ``[N, F + 1, K]``.
    """
    return ops.matmul(features[:, None], head[:, :-1])[:, 0] + head[:, -1]


class Relu:
    """What a head without MedSwish bends by, with its derivative as MedSwish has it."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return ``max(inputs, 0)``."""
        return ops.relu(inputs)

    def derivative(self, inputs: Tensor) -> Tensor:
        """Return 1 where ``inputs`` is positive, 0 elsewhere."""
        return ops.cast(inputs > 0, inputs.dtype)


@dataclass(frozen=True, slots=True)
class HeadBlock:
    """One ``Dense, BatchNorm, MedSwish`` (or ReLU) of the head of a classifier (dropout does nothing in
    inference)."""

    dense: keras.layers.Dense
    norm: keras.layers.BatchNormalization
    bend: MedSwish | Relu


def head_blocks(model: keras.Model) -> tuple[HeadBlock, ...]:
    """Return the dense blocks of a classifier's head, from the pooling to the outputs; none of a linear
    one."""
    names = {layer.name for layer in model.layers}
    return tuple(
        HeadBlock(
            model.get_layer(f"dense_{block}"),
            model.get_layer(f"norm_{block}"),
            model.get_layer(f"med_swish_{block}") if f"med_swish_{block}" in names else Relu(),
        )
        for block in takewhile(lambda block: f"dense_{block}" in names, count(1))
    )


def with_attention(model: keras.Model) -> keras.Model:
    """Return the classifier, on the same weights, with the spatial attention as an output ``attention``.

    float32 ``[N, h, w, 1]`` in [0, 1]: what the loss of the attention is taken from.

    Raises:
        ValueError: the classifier was built without attention.
    """
    if ATTENTION_LAYER in model.output:
        return model
    block = next((layer for layer in model.layers if layer.name == ATTENTION_LAYER), None)
    if block is None:
        raise ValueError("expected a classifier with attention, received one without")
    return keras.Model(model.input, {**model.output, ATTENTION_LAYER: block.output[1]}, name=model.name)


def _build_backbone(spec: Backbone, weights: BackboneWeights, image_size: int | None) -> keras.Model:
    arguments: dict[str, Any] = {
        "include_top": False,
        "input_shape": (image_size, image_size, 3),
        "name": BACKBONE_LAYER,
    }
    if weights == "none":
        return spec.build(weights=None, **arguments)
    if weights == "imagenet":
        try:
            return spec.build(weights="imagenet", **arguments)
        except Exception as error:  # Keras raises a bare Exception when a download fails
            raise ValueError(
                f"the ImageNet weights could not be fetched ({error}); give a path to them, or 'none'"
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"expected backbone weights at {path}, found no file")
    model = spec.build(weights=None, **arguments)
    if path.suffix == ".keras":
        model.set_weights(
            keras.models.load_model(path, compile=False).get_layer(BACKBONE_LAYER).get_weights()
        )
    else:
        model.load_weights(path)
    return model
