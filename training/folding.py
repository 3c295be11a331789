"""Batch normalisation, folded into the convolutions that it follows.

In inference a normalisation is one multiplication and one addition for each channel, which a linear
convolution before it does as well (Jacob et al. 2018, arXiv:1712.05877, section 3.2)::

    scale = gamma / sqrt(moving variance + epsilon)
    kernel' = kernel * scale,  bias' = beta + (bias - moving mean) * scale

TensorFlow Serving cannot do so itself: a SavedModel's weights are variables to it, so that every
normalisation remains seven operations, each a kernel that a GPU is asked to launch.
"""

from collections import Counter, defaultdict
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """Return a copy of ``model`` that answers in inference as it does, with fewer layers.

    A ``BatchNormalization`` is folded where it alone reads what a ``Conv2D`` or ``DepthwiseConv2D`` without
    activation gives; any other stays. Every other layer is copied under its name; ``model``, functional or
    sequential, and the models in it are left as they are.
    """
    # Functional whatever it was, without what it was compiled with. The `output` of a sequential model may be
    # that of a call of it.
    is_sequential = isinstance(model, keras.Sequential)
    ends = (model.inputs[0], model.outputs[0]) if is_sequential else (model.input, model.output)
    model = keras.Model(*ends, name=model.name)
    norms = _foldable(model)
    folded = {norm.name for norm in norms.values()}

    def copy(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return fold_batch_norms(layer)
        with_bias = {"use_bias": True} if layer.name in norms else {}
        return type(layer).from_config({**layer.get_config(), **with_bias})

    copied = keras.models.clone_model(
        model,
        clone_function=copy,
        call_function=lambda layer, *args, **kwargs: (
            args[0] if layer.name in folded else layer(*args, **kwargs)
        ),
    )
    for layer in copied.layers:
        if layer.weights and not isinstance(layer, keras.Model):
            source = model.get_layer(layer.name)
            norm = norms.get(layer.name)
            layer.set_weights(source.get_weights() if norm is None else _folded_weights(source, norm))
    return copied


def _foldable(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """The normalisations that can be folded, by the name of the convolution before each."""
    # The nodes of this graph; a layer also keeps those of graphs that it was part of before.
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    uses = Counter(node.operation for node in nodes)
    readers = defaultdict(list)
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)].append(node.operation)
    given_out = {id(tensor) for tensor in model.outputs}
    norms = {}
    for node in nodes:
        convolution, maps = node.operation, id(node.outputs[0])
        if (
            isinstance(convolution, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
            and convolution.activation is keras.activations.linear
            and convolution.data_format == "channels_last"
            and maps not in given_out
            and len(readers[maps]) == 1
            and isinstance(norm := readers[maps][0], keras.layers.BatchNormalization)
            and norm.axis in (-1, 3)
            and uses[convolution] == uses[norm] == 1
        ):
            norms[convolution.name] = norm
    return norms


def _folded_weights(
    convolution: keras.layers.Layer, norm: keras.layers.BatchNormalization
) -> list[Float32Array]:
    """Kernel and bias, computed in float64."""

    def values(weight: Any) -> NDArray[np.float64]:
        return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)

    kernel, mean = values(convolution.kernel), values(norm.moving_mean)
    gamma = values(norm.gamma) if norm.scale else 1.0
    scale = gamma / np.sqrt(values(norm.moving_variance) + norm.epsilon)
    shift = values(norm.beta) if norm.center else 0.0
    bias = values(convolution.bias) if convolution.use_bias else 0.0
    # The last axes count the outputs: one, or of a depthwise kernel two, its input and multiplier.
    is_depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    factor = scale.reshape(kernel.shape[2:] if is_depthwise else -1)
    return [(kernel * factor).astype(np.float32), (shift + (bias - mean) * scale).astype(np.float32)]
