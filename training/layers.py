"""Layers of the classifier that Keras does not ship.

Written in ``keras.ops`` alone, so that a model trains on any Keras backend, and registered under the
package ``wbc``, so that a saved model loads without ``custom_objects``.
"""

from typing import Any, Final, Literal, TypeAlias

import keras
from keras import ops

PACKAGE: Final = "wbc"

Tensor: TypeAlias = Any
"""A tensor of whichever backend Keras runs on."""

Shape: TypeAlias = tuple[int | None, ...]

ImageNetScaling = Literal["torch", "tf", "caffe", "raw", "lite"]


@keras.saving.register_keras_serializable(PACKAGE)
class MedSwish(keras.layers.Layer):
    """Swish with a learnable slope and a learnable, bounded gain.

    ``f(x) = x * sigmoid(beta * x) * (1 + alpha * tanh(x))`` with two scalars, ``alpha`` (0.1 at the
    start) and ``beta`` (1.0 at the start). Any shape, element by element. With ``alpha = 0`` it is the
    Swish of Ramachandran et al. 2017 (arXiv:1710.05941).
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.initial_alpha = alpha
        self.initial_beta = beta
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:  # noqa: ARG002 - Keras passes it by name
        """Create the two scalars."""
        constant = keras.initializers.Constant
        self.alpha = self.add_weight(name="alpha", shape=(), initializer=constant(self.initial_alpha))
        self.beta = self.add_weight(name="beta", shape=(), initializer=constant(self.initial_beta))

    def call(self, inputs: Tensor) -> Tensor:
        """Return ``f(inputs)``, in the shape of ``inputs``."""
        return inputs * ops.sigmoid(self.beta * inputs) * (1.0 + self.alpha * ops.tanh(inputs))

    def derivative(self, inputs: Tensor) -> Tensor:
        """Return ``f'(inputs)``, in the shape of ``inputs``.

        With ``s = sigmoid(beta x)`` and ``t = tanh(x)``::

            f'(x) = s (1 + alpha t) (1 + beta x (1 - s)) + alpha x s (1 - t^2)
        """
        s = ops.sigmoid(self.beta * inputs)
        t = ops.tanh(inputs)
        slope = 1.0 + self.beta * inputs * (1.0 - s)
        return s * (1.0 + self.alpha * t) * slope + self.alpha * inputs * s * (1.0 - t * t)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return ``input_shape``."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "alpha": self.initial_alpha, "beta": self.initial_beta}


def _statistics(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each image's channels, float32 ``[N, 1, 1, C]``."""
    mean = ops.mean(maps, axis=(1, 2), keepdims=True)
    square = ops.mean(ops.square(maps), axis=(1, 2), keepdims=True)
    return mean, ops.maximum(square - ops.square(mean), 0.0)


def _scale_and_shift(
    mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """The multiplication and the addition that a normalisation is."""
    scale = gamma * ops.rsqrt(variance + epsilon)
    return scale, beta - mean * scale


@keras.saving.register_keras_serializable(PACKAGE)
class InstanceBatchNormalization(keras.layers.Layer):
    """Half of the channels normalised by each image's own statistics, the others by the batch's.

    IBN-a of Pan et al. 2018 (arXiv:1807.09441). float ``[N, H, W, C]`` in and out; the first ``C // 2``
    channels are the instance's. In inference both halves are one multiplication and one addition for each
    channel of each image: written as a normalisation of groups, a network as small as the compact backbone
    spent two thirds of its time here.
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        """Create gain and offset of the instance half, and the batch normalisation of the other.

        Raises:
            ValueError: the number of channels is unknown or smaller than 2.
        """
        channels = input_shape[-1]
        if channels is None or channels < 2:
            raise ValueError(f"InstanceBatchNormalization needs at least 2 channels, got {channels}")
        self.half = channels // 2
        self.gamma = self.add_weight(name="gamma", shape=(self.half,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(self.half,), initializer="zeros")
        self.batch = keras.layers.BatchNormalization(
            epsilon=self.epsilon, name="batch", dtype=self.dtype_policy
        )
        self.batch.build((*input_shape[:-1], channels - self.half))

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the normalised maps, in the shape of ``inputs``."""
        if training:
            own = ops.cast(inputs[..., : self.half], "float32")  # squares overflow in half precision
            scale, shift = _scale_and_shift(*_statistics(own), self.gamma, self.beta, self.epsilon)
            own = ops.cast(own * scale + shift, inputs.dtype)
            return ops.concatenate([own, self.batch(inputs[..., self.half :], training=True)], axis=-1)
        mean, variance = _statistics(ops.cast(inputs, "float32"))
        is_own = ops.concatenate([ops.ones_like(self.gamma), ops.zeros_like(self.batch.gamma)])
        nothing = ops.zeros_like(self.gamma)
        mean = mean * is_own + ops.concatenate([nothing, self.batch.moving_mean])
        variance = variance * is_own + ops.concatenate([nothing, self.batch.moving_variance])
        gamma = ops.concatenate([self.gamma, self.batch.gamma])
        beta = ops.concatenate([self.beta, self.batch.beta])
        scale, shift = _scale_and_shift(mean, variance, gamma, beta, self.epsilon)
        return inputs * ops.cast(scale, inputs.dtype) + ops.cast(shift, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return ``input_shape``."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(PACKAGE)
class MixStyle(keras.layers.Layer):
    """Gives maps the contrast and level of another image of their batch, in part; in training alone.

    Mean and standard deviation of a channel over an image say how it was stained and taken more than what it
    shows. With ``probability`` a batch's are mixed with those of the same batch in another order, by shares
    drawn from Beta(``concentration``, ``concentration``): Zhou et al. 2021, arXiv:2104.02008. float32
    ``[N, H, W, C]`` in and out.
    """

    def __init__(
        self, probability: float = 0.5, concentration: float = 0.1, seed: int | None = None, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.probability = probability
        self.concentration = concentration
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # TensorFlow's gamma distribution cannot be compiled by XLA.
        self.supports_jit = keras.config.backend() != "tensorflow"

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the inputs, mixed where ``training``."""
        if not training:
            return inputs
        mean, variance = ops.moments(inputs, axes=[1, 2], keepdims=True)
        mean, deviation = ops.stop_gradient(mean), ops.stop_gradient(ops.sqrt(variance + 1e-6))
        count = ops.shape(inputs)[0]
        order = keras.random.shuffle(ops.arange(count), seed=self.seed_generator)
        first, second = (
            keras.random.gamma((count, 1, 1, 1), self.concentration, seed=self.seed_generator)
            for _ in range(2)
        )
        share = first / (first + second + 1e-9)  # a Beta; both may be too small for float32
        mixed_mean = share * mean + (1 - share) * ops.take(mean, order, axis=0)
        mixed_deviation = share * deviation + (1 - share) * ops.take(deviation, order, axis=0)
        mixed = (inputs - mean) / deviation * mixed_deviation + mixed_mean
        chosen = keras.random.uniform((), seed=self.seed_generator) < self.probability
        return ops.where(chosen, mixed, inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return ``input_shape``."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {
            **super().get_config(),
            "probability": self.probability,
            "concentration": self.concentration,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class WBCAttentionBlock(keras.layers.Layer):
    """Channel attention, then spatial attention (CBAM, Woo et al. 2018, arXiv:1807.06521).

    For maps ``A``, float32 ``[N, H, W, C]``::

        s = sigmoid(mlp(mean_hw A) + mlp(max_hw A))          [N, C], mlp: C -> C/reduction, relu -> C
        B = A * s
        m = sigmoid(conv([mean_c B, max_c B]))               [N, H, W, 1]
        output = B * m, m                                    [N, H, W, C], [N, H, W, 1]

    ``m`` is given out as well, so that training can teach it where the cell is. The two passes through
    ``mlp`` share their weights. At C = 1024 the block has 132,259 parameters.
    """

    def __init__(self, reduction: int = 16, kernel_size: int = 7, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.reduction = reduction
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        """Create the shared MLP and the convolution.

        Raises:
            ValueError: the number of channels is unknown or smaller than ``reduction``.
        """
        channels = input_shape[-1]
        if channels is None or channels < self.reduction:
            raise ValueError(
                f"WBCAttentionBlock needs at least {self.reduction} channels (its reduction), got {channels}"
            )
        squeezed = channels // self.reduction
        # Built by hand: these layers are called on tensors of two ranks, and Keras would otherwise
        # build them inside call(), too late for loading weights.
        self.squeeze = keras.layers.Dense(
            squeezed,
            activation="relu",
            kernel_initializer="he_normal",
            name="squeeze",
            dtype=self.dtype_policy,
        )
        self.squeeze.build((input_shape[0], channels))
        self.excite = keras.layers.Dense(
            channels, kernel_initializer="he_normal", name="excite", dtype=self.dtype_policy
        )
        self.excite.build((input_shape[0], squeezed))
        self.spatial = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            kernel_initializer="he_normal",
            name="spatial",
            dtype=self.dtype_policy,
        )
        self.spatial.build((*input_shape[:-1], 2))

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted maps, in the shape of ``inputs``, and the spatial weights in [0, 1]."""
        mean = self.excite(self.squeeze(ops.mean(inputs, axis=(1, 2))))
        peak = self.excite(self.squeeze(ops.max(inputs, axis=(1, 2))))
        channel_scale = ops.sigmoid(mean + peak)[:, None, None, :]
        weighted = inputs * channel_scale
        summary = ops.concatenate(
            [ops.mean(weighted, axis=-1, keepdims=True), ops.max(weighted, axis=-1, keepdims=True)], axis=-1
        )
        spatial = ops.sigmoid(self.spatial(summary))
        return weighted * spatial, spatial

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return ``input_shape`` and the same with one channel."""
        return input_shape, (*input_shape[:-1], 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "reduction": self.reduction, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable(PACKAGE)
class BackboneInput(keras.layers.Layer):
    """Pixels in [0, 1] to the range that a backbone of ``keras.applications`` was made for.

    float ``[N, H, W, 3]``, RGB. ``scaling`` is one of the three conventions of ``keras.applications``
    (``torch``: ImageNet mean and deviation; ``tf``: [-1, 1]; ``caffe``: BGR less the ImageNet mean) or
    ``raw`` ([0, 255], for the backbones that scale themselves), or ``lite`` (less 127, over 128). Part of the
    model, so that weights and the scaling which they expect are never separated. No parameters.
    """

    def __init__(self, scaling: ImageNetScaling, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.scaling = scaling

    def call(self, inputs: Tensor) -> Tensor:
        """Return the scaled pixels, in the shape of ``inputs``."""
        pixels = inputs * 255.0
        if self.scaling == "raw":
            return pixels
        if self.scaling == "lite":
            return (pixels - 127.0) / 128.0
        return keras.applications.imagenet_utils.preprocess_input(
            pixels, data_format="channels_last", mode=self.scaling
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return ``input_shape``."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "scaling": self.scaling}
