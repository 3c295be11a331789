"""Running averages of the weights (EMA): put into the model where it is scored and saved.

Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim.
30(4); batch normalisation as in Izmailov et al. 2018, arXiv:1803.05407, section 3.2.
"""

from collections.abc import Iterator
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from training.layers import InstanceBatchNormalization

NORM_BATCHES: Final = 8
"""Batches that the statistics are taken from: hundreds of images, thousands of positions each."""


class AveragedWeights:
    """Swaps the optimizer's averages with the model's weights, and back, between two epochs.

    The optimizer averages weights and not the statistics of batch normalisation, and those that belong to
    the weights as they are do not fit the average: they are taken anew, by passing training batches
    through the averaged network, and put back afterwards. A frozen layer keeps its own.

    ``model`` is compiled with an optimizer of ``use_ema``; ``batches[i]`` is ``(images, labels, weights)``.
    """

    def __init__(self, model: keras.Model, batches: Any) -> None:
        self._model = model
        # Taken once: varying images anew after every epoch would take as long as training on them.
        self._images = [np.asarray(batches[index][0]) for index in range(min(NORM_BATCHES, len(batches)))]
        self._swap = keras.callbacks.SwapEMAWeights()
        self._swap.set_model(model)
        self._statistics: list[Any] = []

    def put_in(self) -> None:
        """Give the model its averaged weights and the statistics that belong to them."""
        self._swap.on_test_begin()
        layers = [layer for layer in batch_norm_layers(self._model) if layer.trainable]
        self._statistics = [
            (variable, ops.convert_to_numpy(variable).copy())
            for layer in layers
            for variable in (layer.moving_mean, layer.moving_variance)
        ]
        momenta = [layer.momentum for layer in layers]
        for index, images in enumerate(self._images if layers else ()):
            for layer in layers:
                layer.momentum = index / (index + 1)  # so that all batches count alike
            self._model(images, training=True)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def take_out(self) -> None:
        """Give the model back the weights and statistics that training goes on with."""
        for variable, value in self._statistics:
            variable.assign(value)
        self._swap.on_test_end()


def batch_norm_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """All batch normalisations of a model, of the models in it, and of the layers that hold one."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from batch_norm_layers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer
        elif isinstance(layer, InstanceBatchNormalization):
            yield layer.batch
