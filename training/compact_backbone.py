"""A small residual network for single cells: what a few hundred images can teach, at a tenth of the cost.

::

    [N, S, S, 3] -> mean over 2x2 -> conv 5x5 /2 -> residual blocks at S/4, S/8 and S/16 -> conv 1x1
                 -> [N, S/32, S/32, 1024] after a ReLU

Residual blocks of two 3x3 convolutions (He et al. 2016, arXiv:1512.03385), shortcuts averaged where they
shrink (He et al. 2019, arXiv:1812.01187). The image is halved first: a crop of 224 pixels shows nothing of
a cell that is smaller than two of them, and at that price the last maps keep 7x7 positions without the
last stride of the usual networks. The 1x1 convolution at the end widens to as many channels as
DenseNet121 has, as MobileNetV2's does.

What differs between microscopes is mostly the level and contrast of the first maps. So half of the channels
of the first two stages are normalised by each image's own statistics (Pan et al. 2018, arXiv:1807.09441,
IBN-a), and in training the statistics of images are mixed after both (MixStyle).
"""

from typing import Final

import keras
from keras import layers

from training.layers import InstanceBatchNormalization, MixStyle, Tensor

STAGES: Final = ((1, 1), (2, 2), (4, 2), (8, 2))
"""Width, in multiples of the first, and number of blocks; every stage but the first halves the maps."""

TOP_CHANNELS: Final = 1024

STYLE_STAGES: Final = 2
"""How many stages are kept from learning a device's style."""


def compact_backbone(
    *,
    include_top: bool = False,
    weights: str | None = None,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "compact",
    width: int = 32,
) -> keras.Model:
    """Build it; the arguments are those of ``keras.applications``, and ``width`` the channels of stage one.

    Raises:
        ValueError: a classifier on top, or pre-trained weights, are asked for.
    """
    if include_top or weights is not None:
        raise ValueError(
            "the compact backbone has no top and no pre-trained weights; use --backbone-weights none"
        )
    image = keras.Input(input_shape)
    x = layers.AveragePooling2D(2, name="halve")(image)
    x = _conv(x, width, 5, 2, by_image=True)
    for stage, (multiple, blocks) in enumerate(STAGES):
        has_style = stage < STYLE_STAGES
        for block in range(blocks):
            x = _residual(x, width * multiple, 2 if block == 0 and stage > 0 else 1, by_image=has_style)
        if has_style:
            x = MixStyle(name=f"mix_style_{stage + 1}")(x)
    return keras.Model(image, _conv(x, TOP_CHANNELS, 1), name=name)


def _residual(x: Tensor, width: int, stride: int, *, by_image: bool) -> Tensor:
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride)(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = _conv(shortcut, width, 1, activation=None, by_image=by_image)
    x = _conv(x, width, 3, stride, by_image=by_image)
    x = _conv(x, width, 3, activation=None, by_image=by_image)
    return layers.Activation("relu")(layers.Add()([shortcut, x]))


def _conv(
    x: Tensor,
    width: int,
    side: int,
    stride: int = 1,
    activation: str | None = "relu",
    *,
    by_image: bool = False,
) -> Tensor:
    """Convolution, normalisation, activation; ``by_image`` normalises half of the channels by the image."""
    x = layers.Conv2D(width, side, stride, padding="same", use_bias=False)(x)
    x = InstanceBatchNormalization()(x) if by_image else layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x
