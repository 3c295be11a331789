#!/usr/bin/env bash
# Surprise: the first tf.data.Dataset.from_generator that is iterated sets glibc's M_TRIM_THRESHOLD to 128 kB, for the
#   whole process and for good, also where MALLOC_TRIM_THRESHOLD_ says otherwise. That switches off glibc's own
#   adjustment of M_MMAP_THRESHOLD: in a fresh process each array of more than 128 kB, NumPy's too, is from then on
#   asked of the system anew, page by page, and given back when it is freed. keras.Model.fit on a keras.utils.PyDataset
#   makes such a dataset. A training step on a CPU had 29,000 page faults instead of 6,000 after it, and 170,000 where
#   the dataset came first, with up to two fifths of the processor's time in the kernel.
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


def faults() -> float:
    """Minor page faults of an array of 2 MiB (512 pages of 4 kB) that is made, filled and freed."""
    for _ in range(20):
        np.full(2 * MEBIBYTE, 1, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.full(2 * MEBIBYTE, 1, np.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 100


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
print(f"page faults of an array: {found:.0f}")
if sys.argv[1] == "range":
    assert found < 10, "memory is given back without a generator, too"
else:
    assert found > 400, "memory is kept now"
    assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 32 * MEBIBYTE) == 1
    assert ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 2**30) == 1
    print(f"after mallopt: {faults():.0f}")
    assert faults() < 10
PYTHON
for way in range from_generator keras; do
    "$folder/venv/bin/python" "$folder/measure.py" "$way" 2>/dev/null
done
MALLOC_TRIM_THRESHOLD_=1073741824 "$folder/venv/bin/python" "$folder/measure.py" from_generator 2>/dev/null
echo "as described"
