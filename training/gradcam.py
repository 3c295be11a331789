"""Guided Grad-CAM of every class, written as plain forward operations.

For the maps ``A`` (the layer ``conv_maps``) and the logit ``y_k`` of class k (Selvaraju et al. 2017,
arXiv:1610.02391; guided as in Springenberg et al. 2015, arXiv:1412.6806)::

    g_k   = d y_k / d A                                       [N, H, W, C]
    w_kc  = mean over space of g_k where g_k > 0 and A > 0    [N, C]
    cam_k = relu(sum over c of w_kc A_c)                      [N, H, W]

Between ``A`` and the logits stands only the small head, so ``g_k`` is written out here by the chain
rule. A served graph then needs no gradient operations, which OpenVINO cannot read, and TensorFlow
Serving and OpenVINO compute the same. :func:`autodiff_class_activation_maps` is the reference that the
tests and the export check it against. Maps are not normalised: their scale says how strong the
evidence is. Dropout is off and batch normalisation uses its moving statistics, as in inference.
"""

from typing import TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from orchestrator.model_contract import MAIN_OUT
from training.classifier import attention_block, head_blocks
from training.layers import Tensor, WBCAttentionBlock

Float32Array: TypeAlias = NDArray[np.float32]


def class_activation_maps(model: keras.Model, conv_maps: Tensor) -> Tensor:
    """Return the guided Grad-CAM of each class, float32 ``[N, K, H, W]``, non-negative.

    ``model`` comes from :func:`training.classifier.build_classifier`, ``conv_maps`` is float32
    ``[N, H, W, C]``, the output of its layer ``conv_maps``.
    """
    shape = ops.shape(conv_maps)
    height, width, channels = shape[1], shape[2], conv_maps.shape[-1]
    maps = ops.reshape(conv_maps, (-1, height * width, channels))

    block = attention_block(model)
    if block is None:
        pooled = ops.mean(maps, axis=1)
        gradient = _pooled_gradient(model, pooled)[:, :, None, :] / _count(maps)
    else:
        gradient = _attention_gradient(model, block, maps, height, width)

    # gradient is [N, K, P, C] (P positions), or [N, K, 1, C] where it is the same at each position.
    positive = ops.cast(maps > 0, maps.dtype)[:, None]
    weights = ops.mean(ops.relu(gradient) * positive, axis=2)
    cams = ops.relu(ops.matmul(weights, ops.transpose(maps, (0, 2, 1))))
    return ops.reshape(cams, (-1, cams.shape[1], height, width))


def _pooled_gradient(model: keras.Model, pooled: Tensor) -> Tensor:
    """Return d logit / d pooled, ``[N, K, C]``, for the pooled maps ``[N, C]``.

    A block is ``x -> swish(n)`` with ``n = scale * (W^T x + b) + shift``, hence
    ``d/dx = W (scale * swish'(n) * d/d swish)``.
    """
    x = pooled
    backward = []
    for block in head_blocks(model):
        scale = block.norm.gamma / ops.sqrt(block.norm.moving_variance + block.norm.epsilon)
        shift = block.norm.beta - block.norm.moving_mean * scale
        normed = (ops.matmul(x, block.dense.kernel) + block.dense.bias) * scale + shift
        backward.append((block.dense.kernel, scale * block.swish.derivative(normed)))
        x = block.swish(normed)
    gradient = ops.transpose(model.get_layer(MAIN_OUT.name).kernel)[None]  # [1, K, units]
    for kernel, slope in reversed(backward):
        gradient = ops.matmul(gradient * slope[:, None, :], ops.transpose(kernel))
    return gradient


def _attention_gradient(
    model: keras.Model, block: WBCAttentionBlock, maps: Tensor, height: int, width: int
) -> Tensor:
    """Return d logit / d maps, ``[N, K, P, C]``, for maps ``A``, ``[N, P, C]``.

    Names are those of :class:`training.layers.WBCAttentionBlock`.

    Forward: ``s = sigmoid(mlp(mean A) + mlp(max A))``, ``B = A s``, ``m = sigmoid(conv(mean_c B, max_c B))``,
    ``pooled = mean_p (B m)``. Backward, each line the adjoint of one line of the forward pass.
    """
    positions, channels = _count(maps), maps.shape[-1]

    mean, peak = ops.mean(maps, axis=1), ops.max(maps, axis=1)
    hidden_mean, hidden_peak = block.squeeze(mean), block.squeeze(peak)
    s = ops.sigmoid(block.excite(hidden_mean) + block.excite(hidden_peak))[:, None, :]  # [N, 1, C]
    b = maps * s
    b_mean, b_peak = ops.mean(b, axis=2), ops.max(b, axis=2)  # [N, P]
    summary = ops.reshape(ops.stack([b_mean, b_peak], axis=-1), (-1, height, width, 2))
    m = ops.reshape(ops.sigmoid(block.spatial(summary)), (-1, height * width, 1))  # [N, P, 1]
    pooled = ops.mean(b * m, axis=1)

    d_product = _pooled_gradient(model, pooled) / positions  # d/d(B m), the same at each position: [N, K, C]
    d_m = ops.matmul(d_product, ops.transpose(b, (0, 2, 1)))  # [N, K, P]
    m_row = ops.transpose(m, (0, 2, 1))
    d_mean_peak = _convolution_adjoint(block, d_m * m_row * (1.0 - m_row), height, width)  # [N, K, P, 2]
    d_b = (
        d_product[:, :, None, :] * m[:, None]
        + d_mean_peak[..., 0:1] / channels
        + d_mean_peak[..., 1:2] * _shares_of_maximum(b, b_peak[:, :, None], axis=2)[:, None]
    )
    d_s = ops.sum(d_b * maps[:, None], axis=2)  # [N, K, C]
    d_logit_of_s = d_s * s * (1.0 - s)
    d_mean = _squeeze_excite_adjoint(block, d_logit_of_s, hidden_mean)
    d_peak = _squeeze_excite_adjoint(block, d_logit_of_s, hidden_peak)
    return (
        d_b * s[:, None]
        + d_mean[:, :, None, :] / positions
        + d_peak[:, :, None, :] * _shares_of_maximum(maps, peak[:, None, :], axis=1)[:, None]
    )


def _convolution_adjoint(block: WBCAttentionBlock, gradient: Tensor, height: int, width: int) -> Tensor:
    """``[N, K, P]`` at the output of the spatial convolution to ``[N, K, P, 2]`` at its input.

    The adjoint of a convolution of stride 1 and padding "same" with an odd kernel is the convolution
    with the kernel turned by 180 degrees.
    """
    classes = gradient.shape[1]
    kernel = ops.transpose(ops.flip(ops.flip(block.spatial.kernel, axis=0), axis=1), (0, 1, 3, 2))
    rows = ops.reshape(gradient, (-1, height, width, 1))
    return ops.reshape(ops.conv(rows, kernel, padding="same"), (-1, classes, height * width, 2))


def _squeeze_excite_adjoint(block: WBCAttentionBlock, gradient: Tensor, hidden: Tensor) -> Tensor:
    """``[N, K, C]`` at the output of the shared MLP to the same at its input; ``hidden`` after its ReLU."""
    d_hidden = ops.matmul(gradient, ops.transpose(block.excite.kernel))
    active = ops.cast(hidden > 0, hidden.dtype)[:, None, :]
    return ops.matmul(d_hidden * active, ops.transpose(block.squeeze.kernel))


def _shares_of_maximum(values: Tensor, maximum: Tensor, axis: int) -> Tensor:
    """Return d max / d values along ``axis``: ties share equally, the convention of TensorFlow and JAX."""
    at_maximum = ops.cast(ops.equal(values, maximum), values.dtype)
    # A runtime that rounds the two sides differently may find no maximum: no share then, and no NaN.
    return at_maximum / ops.maximum(ops.sum(at_maximum, axis=axis, keepdims=True), 1.0)


def _count(maps: Tensor) -> Tensor:
    return ops.cast(ops.shape(maps)[1], maps.dtype)


def autodiff_class_activation_maps(model: keras.Model, conv_maps: Tensor) -> Float32Array:
    """Return what :func:`class_activation_maps` returns, with the gradient taken by the backend.

    Eager, on TensorFlow or JAX; the reference for tests, for the check after an export and for the
    focus monitor.

    Raises:
        NotImplementedError: Keras runs on another backend.
    """
    maps = ops.convert_to_tensor(conv_maps)
    gradient = np.stack(_autodiff_gradients(model, maps), axis=1)  # [N, K, H, W, C]
    activations = ops.convert_to_numpy(maps)
    guided = np.where((gradient > 0) & (activations[:, None] > 0), gradient, 0.0)
    weights = guided.mean(axis=(2, 3))
    return np.maximum(np.einsum("nkc,nhwc->nkhw", weights, activations), 0.0).astype(np.float32)


def _logits(model: keras.Model, conv_maps: Tensor) -> Tensor:
    block = attention_block(model)
    x = conv_maps if block is None else block(conv_maps)
    x = ops.mean(x, axis=(1, 2))
    for head in head_blocks(model):
        x = head.swish(head.norm(head.dense(x), training=False))
    output = model.get_layer(MAIN_OUT.name)
    return ops.matmul(x, output.kernel) + output.bias


def _autodiff_gradients(model: keras.Model, maps: Tensor) -> list[Float32Array]:
    """Return d logit_k / d maps, float32 ``[N, H, W, C]``, of each class k."""
    classes = range(model.get_layer(MAIN_OUT.name).units)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(maps)
            logits = _logits(model, maps)
            per_class = [logits[:, k] for k in classes]
        return [tape.gradient(logit, maps).numpy() for logit in per_class]
    if backend == "jax":
        import jax

        _, pull_back = jax.vjp(lambda a: _logits(model, a), maps)
        one_hot = np.eye(len(classes), dtype=np.float32)
        return [np.asarray(pull_back(ops.tile(one_hot[k : k + 1], (len(maps), 1)))[0]) for k in classes]
    raise NotImplementedError(f"gradients are taken with TensorFlow or JAX, Keras runs on {backend}")
