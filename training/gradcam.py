"""Guided Grad-CAM of every class, written as plain forward operations.

For the maps ``A`` (the layer ``conv_maps``) and the logit ``y_k`` of class k (Selvaraju et al. 2017,
arXiv:1610.02391; guided as in Springenberg et al. 2015, arXiv:1412.6806)::

    g_k   = d y_k / d A                                       [N, H, W, C]
    w_kc  = mean over space of g_k where g_k > 0 and A > 0    [N, C]
    cam_k = relu(sum over c of w_kc A_c)                      [N, H, W]

``y_k`` may be the logit of a site's head, which is told as its difference from the model's.

``A`` are the maps after the attention, those that the head pools, so that between them and the logits
stands only the small head and ``g_k`` is written out here by the chain rule. A served graph then needs no
gradient operations, which OpenVINO cannot read, and TensorFlow Serving and OpenVINO compute the same.
:func:`autodiff_class_activation_maps` is the reference that the tests and the export check it against. Maps
are not normalised: their scale says how strong the evidence is. Dropout is off and batch normalisation uses
its moving statistics, as in inference.
"""

from typing import TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from orchestrator.model_contract import MAIN_OUT
from training.classifier import head_blocks, main_logits, site_logits
from training.layers import Tensor

Float32Array: TypeAlias = NDArray[np.float32]


def class_activation_maps(model: keras.Model, conv_maps: Tensor, head: Tensor | None = None) -> Tensor:
    """Return the guided Grad-CAM of each class, float32 ``[N, K, H, W]``, non-negative.

    ``model`` comes from :func:`training.classifier.build_classifier`, ``conv_maps`` is float32
    ``[N, H, W, C]``, the output of its layer ``conv_maps``; ``head``, float32 ``[N, F + 1, K]``, is what a
    site's head adds to the model's for each row, as the model contract has it.
    """
    shape = ops.shape(conv_maps)
    height, width, channels = shape[1], shape[2], conv_maps.shape[-1]
    maps = ops.reshape(conv_maps, (-1, height * width, channels))
    # The maps are averaged over space before the head: the gradient is the same at each position.
    gradient = _pooled_gradient(model, ops.mean(maps, axis=1), head) / _count(maps)  # [N or 1, K, C]
    active = ops.mean(ops.cast(maps > 0, maps.dtype), axis=1)[:, None]
    weights = ops.relu(gradient) * active
    cams = ops.relu(ops.matmul(weights, ops.transpose(maps, (0, 2, 1))))
    return ops.reshape(cams, (-1, cams.shape[1], height, width))


def _pooled_gradient(model: keras.Model, pooled: Tensor, head: Tensor | None) -> Tensor:
    """Return d logit / d pooled, ``[N, K, C]``, for the pooled maps ``[N, C]``; N is 1 where the gradient is
    the same for every row.

    A block is ``x -> bend(n)`` with ``n = scale * (W^T x + b) + shift``, hence
    ``d/dx = W (scale * bend'(n) * d/d bend)``.
    """
    x = pooled
    backward = []
    for block in head_blocks(model):
        scale = block.norm.gamma / ops.sqrt(block.norm.moving_variance + block.norm.epsilon)
        shift = block.norm.beta - block.norm.moving_mean * scale
        normed = (ops.matmul(x, block.dense.kernel) + block.dense.bias) * scale + shift
        backward.append((block.dense.kernel, scale * block.bend.derivative(normed)))
        x = block.bend(normed)
    kernel = model.get_layer(MAIN_OUT.name).kernel[None]
    if head is not None:
        kernel = kernel + head[:, :-1]  # the last row is the bias, which the gradient does not have
    gradient = ops.transpose(kernel, (0, 2, 1))  # [N or 1, K, F]
    for kernel, slope in reversed(backward):
        gradient = ops.matmul(gradient * slope[:, None, :], ops.transpose(kernel))
    return gradient


def _count(maps: Tensor) -> Tensor:
    return ops.cast(ops.shape(maps)[1], maps.dtype)


def autodiff_class_activation_maps(
    model: keras.Model, conv_maps: Tensor, head: Tensor | None = None
) -> Float32Array:
    """Return what :func:`class_activation_maps` returns, with the gradient taken by the backend.

    Eager, on TensorFlow or JAX; the reference for tests, for the check after an export and for the
    focus monitor.

    Raises:
        NotImplementedError: Keras runs on another backend.
    """
    maps = ops.convert_to_tensor(conv_maps)
    gradient = np.stack(_autodiff_gradients(model, maps, head), axis=1)  # [N, K, H, W, C]
    activations = ops.convert_to_numpy(maps)
    guided = np.where((gradient > 0) & (activations[:, None] > 0), gradient, 0.0)
    weights = guided.mean(axis=(2, 3))
    return np.maximum(np.einsum("nkc,nhwc->nkhw", weights, activations), 0.0).astype(np.float32)


def _logits(model: keras.Model, conv_maps: Tensor, head: Tensor | None) -> Tensor:
    x = ops.mean(conv_maps, axis=(1, 2))
    for block in head_blocks(model):
        x = block.bend(block.norm(block.dense(x), training=False))
    logits = main_logits(model, x)
    return logits if head is None else logits + site_logits(x, head)


def _autodiff_gradients(model: keras.Model, maps: Tensor, head: Tensor | None) -> list[Float32Array]:
    """Return d logit_k / d maps, float32 ``[N, H, W, C]``, of each class k."""
    classes = range(model.get_layer(MAIN_OUT.name).units)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(maps)
            logits = _logits(model, maps, head)
            per_class = [logits[:, k] for k in classes]
        return [tape.gradient(logit, maps).numpy() for logit in per_class]
    if backend == "jax":
        import jax

        _, pull_back = jax.vjp(lambda a: _logits(model, a, head), maps)
        one_hot = np.eye(len(classes), dtype=np.float32)
        return [np.asarray(pull_back(ops.tile(one_hot[k : k + 1], (len(maps), 1)))[0]) for k in classes]
    raise NotImplementedError(f"gradients are taken with TensorFlow or JAX, Keras runs on {backend}")
