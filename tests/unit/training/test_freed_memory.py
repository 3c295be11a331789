import ctypes
import platform
import resource

import keras
import numpy as np
import pytest

from training.freed_memory import KeepFreedMemory

PAGES = 6144
"""Of 4 kB, in the buffer that is made here."""

LIBC = ctypes.CDLL(None)
LIBC.malloc.argtypes, LIBC.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
LIBC.free.argtypes, LIBC.free.restype = [ctypes.c_void_p], None


class _TwoBatches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index):
        return np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)


def page_faults_of_a_buffer() -> float:
    """Larger than any hole that other tests have left in the memory of this process."""

    def make() -> None:
        address = LIBC.malloc(4096 * PAGES)
        ctypes.memset(address, 1, 4096 * PAGES)
        LIBC.free(address)

    for _ in range(5):
        make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        make()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_what_a_step_frees_is_not_asked_of_the_system_again():
    trim, mmap = -1, -3
    for limit in (trim, mmap):
        assert LIBC.mallopt(limit, 128 << 10)  # as TensorFlow leaves it
    assert page_faults_of_a_buffer() >= 12  # huge pages at the least
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(_TwoBatches(), verbose=0, callbacks=[KeepFreedMemory()])
    assert page_faults_of_a_buffer() < 5
