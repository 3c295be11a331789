#!/usr/bin/env bash
# Surprise: the first tf.data.Dataset.from_generator that is iterated sets glibc's M_TRIM_THRESHOLD to 128 kB, for the
#   whole process and for good, also where MALLOC_TRIM_THRESHOLD_ says otherwise. That switches off glibc's own
#   adjustment of M_MMAP_THRESHOLD, which stays where it stands (128 kB in a fresh process): every larger buffer,
#   NumPy's too, is from then on asked of the system anew, page by page, and given back when it is freed.
#   keras.Model.fit on a keras.utils.PyDataset makes such a dataset. A training step of EfficientNet-Lite0's late blocks
#   on a CPU had 130,000 to 160,000 page faults, and with both limits raised again 800 to 17,000 and 0.5 to 0.6 of the
#   processor time.
# Good guess: how a pipeline of data is made bears on the pipeline alone, and an environment variable that glibc
#   documents wins over a library's default. A line of level INFO tells, which TF_CPP_MIN_LOG_LEVEL usually hides.
# Date: 2026-11-30
# Hurts: who trains with Keras on CPUs under Linux, and looks for the system time in the kernel, the container or the
#   memory limit. mallopt(M_MMAP_THRESHOLD and M_TRIM_THRESHOLD) afterwards takes it back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6
cat >"$folder/measure.py" <<'PYTHON'
import ctypes
import os
import platform
import resource
import sys
from importlib.metadata import version

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MEBIBYTE = 2**20


libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes, libc.free.restype = [ctypes.c_void_p], None


def faults() -> float:
    """Minor page faults of a buffer of 24 MiB (6,144 pages of 4 kB) that is taken, filled and given back."""

    def buffer():
        address = libc.malloc(24 * MEBIBYTE)
        ctypes.memset(address, 1, 24 * MEBIBYTE)
        libc.free(address)

    for _ in range(5):
        buffer()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        buffer()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20


class OneBatch(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)


print("tensorflow", version("tensorflow-cpu"), "keras", keras.__version__, *platform.libc_ver(), *sys.argv[1:])
print("MALLOC_TRIM_THRESHOLD_:", os.environ.get("MALLOC_TRIM_THRESHOLD_"))
if sys.argv[1] == "keras":
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(OneBatch(), verbose=0)
elif sys.argv[1] == "from_generator":
    list(tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=tf.TensorSpec((), tf.int32)))
else:
    list(tf.data.Dataset.range(3))
found = faults()
print(f"page faults of a buffer: {found:.0f}")
if sys.argv[1] == "range":
    assert found < 5, "memory is given back without a generator, too"
else:
    assert found >= 12, "memory is kept now"  # 12 huge pages, where the kernel gives them unasked
    assert libc.mallopt(M_MMAP_THRESHOLD, 32 * MEBIBYTE) == 1
    assert libc.mallopt(M_TRIM_THRESHOLD, 2**30) == 1
    print(f"after mallopt: {faults():.0f}")
    assert faults() < 5
PYTHON
for way in range from_generator keras; do
    "$folder/venv/bin/python" "$folder/measure.py" "$way" 2>/dev/null
done
MALLOC_TRIM_THRESHOLD_=1073741824 "$folder/venv/bin/python" "$folder/measure.py" from_generator 2>/dev/null
echo "as described"
