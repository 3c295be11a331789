"""What a training step frees stays with the process: the next step needs the same again."""

import ctypes
from typing import Any, Final

import keras

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Of glibc's ``malloc.h``."""

_LARGEST_BUFFER: Final = 32 << 20
"""Bytes; the greatest ``M_MMAP_THRESHOLD`` that glibc takes."""

_NEVER: Final = (1 << 31) - 1


class KeepFreedMemory(keras.callbacks.Callback):
    """Takes back what TensorFlow sets when the first dataset of a Python generator is made, as ``fit`` does.

    It has glibc give freed memory back to the system, so that every step's buffers come anew, page by page:
    some 150,000 page faults a step instead of 800 to 17,000 (``findings/``). Without glibc nothing is done.
    """

    def on_train_batch_begin(self, *_: Any, **__: Any) -> None:  # the dataset is made after an epoch begins
        if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_BUFFER)
            mallopt(_M_TRIM_THRESHOLD, _NEVER)
