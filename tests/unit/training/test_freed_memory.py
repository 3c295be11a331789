import ctypes
import platform
import resource

import keras
import numpy as np
import pytest

from training.freed_memory import KeepFreedMemory

PAGES = 512
"""Of 4 kB, in an array that is made here; NumPy asks for huge pages for arrays of twice that."""


class _TwoBatches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index):
        return np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)


def page_faults_of_an_array() -> float:
    def make() -> None:
        np.full(4096 * PAGES, 1, np.uint8)

    for _ in range(20):
        make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        make()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_what_a_step_frees_is_not_asked_of_the_system_again():
    trim, mmap = -1, -3
    libc = ctypes.CDLL(None)
    for limit in (trim, mmap):
        assert libc.mallopt(limit, 128 << 10)  # as TensorFlow leaves it
    assert page_faults_of_an_array() > 0.9 * PAGES
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(_TwoBatches(), verbose=0, callbacks=[KeepFreedMemory()])
    assert page_faults_of_an_array() < 0.1 * PAGES
