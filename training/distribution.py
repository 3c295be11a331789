"""``--distribute``: every batch shared out over all accelerators, by Keras' own data parallelism."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from rich.console import Console

from orchestrator.errors import ConfigurationError


def data_parallel(batch_size: int, console: Console) -> AbstractContextManager[Any]:
    """The scope in which a model must be built and trained; on one device it changes nothing and says so.

    Raises:
        ConfigurationError: there are several devices, and the Keras backend or the batch size does not
            allow to use them together.
    """
    devices = keras.distribution.list_devices()
    if len(devices) < 2:
        console.print(f"--distribute: there is one device ({', '.join(devices)}); going on without")
        return nullcontext()
    if keras.config.backend() != "jax":
        raise ConfigurationError(
            f"expected KERAS_BACKEND=jax to train on {len(devices)} devices (Keras shares out batches on JAX "
            f"alone), received {keras.config.backend()}"
        )
    if batch_size % len(devices):
        raise ConfigurationError(
            f"expected a batch size that {len(devices)} devices can share, received {batch_size}"
        )
    console.print(
        f"--distribute: {batch_size // len(devices)} images of a batch on each of {len(devices)} devices"
    )
    scope: AbstractContextManager[Any] = keras.distribution.DataParallel(devices=devices).scope()
    return scope
