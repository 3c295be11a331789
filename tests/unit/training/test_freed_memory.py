import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource
import keras
import numpy as np
from training.freed_memory import KeepFreedMemory

PAGES, TRIM, MMAP = 6144, -1, -3
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes, libc.free.restype = [ctypes.c_void_p], None

class TwoBatches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)

def make():
    address = libc.malloc(4096 * PAGES)
    ctypes.memset(address, 1, 4096 * PAGES)
    libc.free(address)

def page_faults_of_a_buffer():
    for _ in range(5):
        make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        make()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20

assert libc.mallopt(TRIM, 128 << 10) and libc.mallopt(MMAP, 128 << 10)  # as TensorFlow leaves it
print(page_faults_of_a_buffer())
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(TwoBatches(), verbose=0, callbacks=[KeepFreedMemory()])
print(page_faults_of_a_buffer())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_what_a_step_frees_is_not_asked_of_the_system_again():
    """In a process of its own: in this one other tests have left holes that hold the buffer."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = map(float, done.stdout.split())
    assert before >= 12  # huge pages at the least
    assert after < 5
