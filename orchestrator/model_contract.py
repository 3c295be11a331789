"""The contract between training, the model repository and the orchestrator.

The only place for the model's name, its signatures, tensor names, shapes, dtypes and the order of
the classes. Export writes what stands here, every model server checks it, and nothing else in the
project spells one of these names.

Inputs of every signature:

``images``
    uint8 ``[N, 224, 224, 3]``, RGB, after the Medical Enhanced Filter. Division by 255 is in the graph.
``gain``
    float32 ``[N]``, brightness factor of each row, applied in the graph as
    ``clip(images / 255 * gain, 0, 1)``. 1.0 leaves a row as it is; the brightness views of the
    test-time augmentation use 1.1 and 0.9 without a second rounding to uint8.

Outputs:

``main_out``
    float32 ``[N, 5]``, softmax over :data:`CLASS_NAMES`.
``logits``
    float32 ``[N, 5]``, what ``main_out`` is the softmax of. The softmax forgets their common level, which the
    energy score of out-of-distribution detection needs.
``aux_binary_out``
    float32 ``[N, 1]``, sigmoid; 1 speaks for Neutrophil, 0 for Lymphocyte.
``cams``
    float32 ``[N, 5, 7, 7]``, non-negative, guided Grad-CAM of each class with respect to its logit; so
    that one pass through the network both classifies and explains, whichever class is decided on later.
``conv_maps``
    float32 ``[N, 7, 7, C]``, the last convolution maps of the backbone (after its final ReLU); their number
    is the backbone's own, 1,024 of DenseNet121 and 1,280 of EfficientNet-Lite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MODEL_NAME: Final = "wbc"

CLASS_NAMES: Final = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
NUM_CLASSES: Final = len(CLASS_NAMES)
LYMPHOCYTE: Final = CLASS_NAMES.index("Lymphocyte")
NEUTROPHIL: Final = CLASS_NAMES.index("Neutrophil")

IMAGE_SIZE: Final = 224
"""Side in pixels of the square image that the model sees."""

CAM_SIZE: Final = 7


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of a tensor; the first dimension, the batch, is free (``None``), and so may
    others be."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def admits(self, dtype: str, shape: tuple[int | None, ...] | None) -> bool:
        """Whether a model may declare it so: the batch free, all else as here, or a size where here is
        none."""
        return (
            dtype == self.dtype
            and shape is not None
            and len(shape) == len(self.shape)
            and shape[0] is None
            and all(got == want or want is None for got, want in zip(shape[1:], self.shape[1:], strict=True))
        )


def admitted(
    specs: Sequence[TensorSpec], declared: Mapping[str, tuple[str, tuple[int | None, ...] | None]]
) -> bool:
    """Whether a model declares these tensors and no other; ``declared`` is dtype and shape by name."""
    return declared.keys() == {spec.name for spec in specs} and all(
        spec.admits(*declared[spec.name]) for spec in specs
    )


IMAGES: Final = TensorSpec("images", "uint8", (None, IMAGE_SIZE, IMAGE_SIZE, 3))
GAIN: Final = TensorSpec("gain", "float32", (None,))
INPUTS: Final = (IMAGES, GAIN)

MAIN_OUT: Final = TensorSpec("main_out", "float32", (None, NUM_CLASSES))
LOGITS: Final = TensorSpec("logits", "float32", (None, NUM_CLASSES))
AUX_OUT: Final = TensorSpec("aux_binary_out", "float32", (None, 1))
CAMS: Final = TensorSpec("cams", "float32", (None, NUM_CLASSES, CAM_SIZE, CAM_SIZE))
CONV_MAPS: Final = TensorSpec("conv_maps", "float32", (None, CAM_SIZE, CAM_SIZE, None))

SIGNATURES: Final = MappingProxyType(
    {
        "main": (MAIN_OUT,),
        "aux": (AUX_OUT,),
        "classify": (MAIN_OUT, AUX_OUT, LOGITS),
        "gradcam": (MAIN_OUT, AUX_OUT, LOGITS, CAMS, CONV_MAPS),
        "serving_default": (MAIN_OUT, AUX_OUT, LOGITS, CAMS),
    }
)
"""Signature name -> its outputs. ``serving_default`` is what the embedded server reads."""

ALLOWED_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Rows per executed batch: TensorFlow Serving pads to the next one, the warm-up covers each."""

MAX_BATCH_SIZE: Final = ALLOWED_BATCH_SIZES[-1]
