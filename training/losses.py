"""Losses of the main head.

Labels are one-hot (or mixed) float ``[N, K]``, predictions softmax probabilities ``[N, K]``.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import keras
from keras import ops

from training.layers import PACKAGE, Tensor

MAX_LABEL_SMOOTHING: Final = 0.3
"""More smoothing than this and the labels say little about the class."""

DEFAULT_FOCAL_CLASS_WEIGHTS: Final = (2.0, 1.2, 1.0, 1.3, 1.0)
"""In the order of the model contract: the rare Basophil counts twice."""

MainLossName = Literal["cce", "focal"]


@keras.saving.register_keras_serializable(PACKAGE)
class WBCFocalLoss(keras.losses.Loss):
    """Focal loss with class weights and label smoothing (after Lin et al. 2017, arXiv:1708.02002).

    Per sample, with the label ``y``, the smoothed label ``y~ = (1 - e) y + e / K``, the probability of
    the true class ``p_t = sum(y p)`` and its weight ``w_y = sum(y w)``::

        FL = -alpha * w_y * (1 - p_t)^gamma * sum(y~ log p)

    Raises:
        ValueError: a class weight is not positive, or ``label_smoothing`` is outside [0, 1).
    """

    def __init__(
        self,
        class_weights: Sequence[float] = DEFAULT_FOCAL_CLASS_WEIGHTS,
        alpha: float = 0.25,
        gamma: float = 2.0,
        label_smoothing: float = 0.1,
        name: str = "wbc_focal_loss",
        **kwargs: object,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not class_weights or min(class_weights) <= 0:
            raise ValueError(f"expected positive class weights, got {tuple(class_weights)}")
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"expected a label smoothing in [0, 1), got {label_smoothing}")
        self.class_weights = tuple(float(weight) for weight in class_weights)
        self.alpha = alpha
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample, float32 ``[N]``.

        Raises:
            ValueError: the number of classes is not the number of class weights.
        """
        num_classes = len(self.class_weights)
        if y_pred.shape[-1] != num_classes:
            raise ValueError(f"expected {num_classes} classes (one per class weight), got {y_pred.shape[-1]}")
        # log(0) of a saturated softmax would make the whole batch NaN.
        probabilities = ops.clip(y_pred, keras.config.epsilon(), 1.0)
        labels = ops.cast(y_true, probabilities.dtype)
        smoothed = labels * (1.0 - self.label_smoothing) + self.label_smoothing / num_classes
        cross_entropy = -ops.sum(smoothed * ops.log(probabilities), axis=-1)
        true_probability = ops.sum(labels * probabilities, axis=-1)
        weight = ops.sum(labels * ops.convert_to_tensor(self.class_weights, probabilities.dtype), axis=-1)
        # p_t may pass 1 by rounding; the gradient of a negative base to a fractional power is NaN.
        modulation = ops.power(ops.maximum(1.0 - true_probability, 0.0), self.gamma)
        return self.alpha * weight * modulation * cross_entropy

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "class_weights": list(self.class_weights),
            "alpha": self.alpha,
            "gamma": self.gamma,
            "label_smoothing": self.label_smoothing,
        }


def smoothed_crossentropy(label_smoothing: float) -> keras.losses.Loss:
    """Categorical cross-entropy whose smoothing is clipped to [0, ``MAX_LABEL_SMOOTHING``]."""
    clipped = min(max(label_smoothing, 0.0), MAX_LABEL_SMOOTHING)
    return keras.losses.CategoricalCrossentropy(label_smoothing=clipped)


def main_loss(
    name: MainLossName,
    label_smoothing: float = 0.1,
    class_weights: Sequence[float] = DEFAULT_FOCAL_CLASS_WEIGHTS,
) -> keras.losses.Loss:
    """Return the loss of the main head by its name on the command line.

    ``cce`` is categorical cross-entropy, ``focal`` is :class:`WBCFocalLoss`; the class weights count
    for the latter alone.

    Raises:
        ValueError: ``name`` is neither.
    """
    if name == "cce":
        return smoothed_crossentropy(label_smoothing)
    if name == "focal":
        clipped = min(max(label_smoothing, 0.0), MAX_LABEL_SMOOTHING)
        return WBCFocalLoss(class_weights, label_smoothing=clipped)
    raise ValueError(f"expected the loss 'cce' or 'focal', got {name!r}")
