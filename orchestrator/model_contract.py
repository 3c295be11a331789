"""The contract between training, the model repository and the orchestrator.

The only place for the model's name, its signatures, tensor names, shapes, dtypes and the order of
the classes. Export writes what stands here, every model server checks it, and nothing else in the
project spells one of these names.

Inputs; ``main``, ``aux``, ``classify`` and ``gradcam`` take the first two, ``serving_default`` all four:

``images``
    uint8 ``[N, 224, 224, 3]``, RGB, after the Medical Enhanced Filter. Division by 255 is in the graph.
``gain``
    float32 ``[N]``, brightness factor of each row, applied in the graph as
    ``clip(images / 255 * gain, 0, 1)``. 1.0 leaves a row as it is; the brightness views of the
    test-time augmentation use 1.1 and 0.9 without a second rounding to uint8.
``morphometry``
    float32 ``[N, 8]``, what was measured of the cell, in the places of :data:`MEASURES`;
    :data:`UNKNOWN` in each that is not to be seen. Evidence and nothing else, by tables of the model's
    own, one for each of :data:`PARTS`: the measures of a part, x1 to xm, add ``[1, x1, ..., xm, x1^2,
    x1 x2, ..., xm^2] @ table`` ``[1 + m + m (m + 1) / 2, 5]`` to the logits, where all of them are known;
    the appearance and the outline let no class fall more than 2 behind the one that they speak for.
``head``
    float32 ``[N, F + 1, 5]``, a site's linear head as its difference from the model's:
    ``[features, 1] @ head`` is added to the logits of the row. Zeros are the model's own head.

``views`` takes one image a row and makes the views in the graph, so that an image crosses the wire once:

``image``
    uint8 ``[N, 224, 224, 3]``, as ``images``.
``codes``
    int32 ``[N, 8]``, in each place the number of a view of :data:`orchestrator.views.VIEWS`, or
    :data:`NO_VIEW`, of which nothing is computed and every output is zero.
``morphometry``, ``head``
    as above, for all views of the image.

Outputs; those of ``views`` have a dimension of the eight places after the first:

``main_out``
    float32 ``[N, 5]``, softmax over :data:`CLASS_NAMES`.
``logits``
    float32 ``[N, 5]``, what ``main_out`` is the softmax of. The softmax forgets their common level, which the
    energy score of out-of-distribution detection needs.
``aux_binary_out``
    float32 ``[N, 1]``, sigmoid; 1 speaks for Neutrophil, 0 for Lymphocyte.
``not_wbc``
    float32 ``[N, 1]``, sigmoid; 1: what is shown is none of the five classes (an empty window, a platelet, a
    smudge, an erythroblast, an immature cell). The five probabilities sum to 1 whatever it says.
``features``
    float32 ``[N, F]``, the input of the main head. F is the network's own: 256 with the two dense blocks, the
    channels of the maps without.
``cams``
    float32 ``[N, 5, 7, 7]``, non-negative, guided Grad-CAM of each class with respect to its logit, the
    site's part of it included (``morphometry`` has no map); so that one pass through the network both
    classifies and explains, whichever class is decided on later.
``conv_maps``
    float32 ``[N, 7, 7, C]``, the last convolution maps of the backbone (after its final ReLU); their number
    is the backbone's own, 1,024 of DenseNet121 and 1,280 of EfficientNet-Lite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, get_args

MODEL_NAME: Final = "wbc"

ClassName = Literal["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"]
CLASS_NAMES: Final[tuple[str, ...]] = get_args(ClassName)
NUM_CLASSES: Final = len(CLASS_NAMES)
LYMPHOCYTE: Final = CLASS_NAMES.index("Lymphocyte")
NEUTROPHIL: Final = CLASS_NAMES.index("Neutrophil")

IMAGE_SIZE: Final = 224
"""Side in pixels of the square image that the model sees."""

CAM_SIZE: Final = 7

NUM_VIEWS: Final = 8
"""Views of the test-time augmentation, and places in a row of ``codes``."""

NO_VIEW: Final = -1
"""The code of a place in which no view is wanted."""

MEASURES: Final = (
    "size",
    "nucleus_share",
    "cytoplasm_density",
    "cytoplasm_hue",
    "nucleus_concavity",
    "nucleus_circularity",
    "nucleus_thickness",
    "nucleus_aspect",
)
"""Places of ``morphometry``, as :class:`orchestrator.domain.Morphometry` explains them."""

PARTS: Final = {"size": slice(0, 1), "appearance": slice(1, 4), "outline": slice(4, 8)}
"""Places of the measures that are evidence together."""

UNKNOWN: Final = -100.0
"""What stands in a place of ``morphometry`` that is not to be seen."""

LARGEST_KNOWN: Final = 50.0
"""No measure is larger; its evidence would be no number."""

LARGEST_UNKNOWN: Final = -50.0
"""All up to this one, and NaN, counts as unknown: no cell measures so little of anything."""


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

    def with_places(self, places: int) -> "TensorSpec":
        """The same for each of ``places`` views of a row."""
        return TensorSpec(self.name, self.dtype, (self.shape[0], places, *self.shape[1:]))


def admitted(
    specs: Sequence[TensorSpec], declared: Mapping[str, tuple[str, tuple[int | None, ...] | None]]
) -> bool:
    """Whether a model declares these tensors and no other; ``declared`` is dtype and shape by name."""
    return declared.keys() == {spec.name for spec in specs} and all(
        spec.admits(*declared[spec.name]) for spec in specs
    )


IMAGES: Final = TensorSpec("images", "uint8", (None, IMAGE_SIZE, IMAGE_SIZE, 3))
GAIN: Final = TensorSpec("gain", "float32", (None,))
MORPHOMETRY: Final = TensorSpec("morphometry", "float32", (None, len(MEASURES)))
HEAD: Final = TensorSpec("head", "float32", (None, None, NUM_CLASSES))
IMAGE: Final = TensorSpec("image", "uint8", IMAGES.shape)
CODES: Final = TensorSpec("codes", "int32", (None, NUM_VIEWS))

MAIN_OUT: Final = TensorSpec("main_out", "float32", (None, NUM_CLASSES))
LOGITS: Final = TensorSpec("logits", "float32", (None, NUM_CLASSES))
AUX_OUT: Final = TensorSpec("aux_binary_out", "float32", (None, 1))
NOT_WBC: Final = TensorSpec("not_wbc", "float32", (None, 1))
FEATURES: Final = TensorSpec("features", "float32", (None, None))
CAMS: Final = TensorSpec("cams", "float32", (None, NUM_CLASSES, CAM_SIZE, CAM_SIZE))
CONV_MAPS: Final = TensorSpec("conv_maps", "float32", (None, CAM_SIZE, CAM_SIZE, None))


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


_ROWS: Final = (IMAGES, GAIN)
_CLASSIFIED: Final = (MAIN_OUT, AUX_OUT, LOGITS, NOT_WBC)
_SERVED: Final = (*_CLASSIFIED, FEATURES, CAMS)

ROWS_SIGNATURE: Final = "serving_default"
"""The signature for rows as they are; what the embedded server reads."""

VIEWS_SIGNATURE: Final = "views"
"""The signature for views of one image."""

SIGNATURES: Final = MappingProxyType(
    {
        "main": Signature(_ROWS, (MAIN_OUT,)),
        "aux": Signature(_ROWS, (AUX_OUT,)),
        "classify": Signature(_ROWS, _CLASSIFIED),
        "gradcam": Signature(_ROWS, (*_CLASSIFIED, CAMS, CONV_MAPS)),
        ROWS_SIGNATURE: Signature((*_ROWS, MORPHOMETRY, HEAD), _SERVED),
        VIEWS_SIGNATURE: Signature(
            (IMAGE, CODES, MORPHOMETRY, HEAD), tuple(spec.with_places(NUM_VIEWS) for spec in _SERVED)
        ),
    }
)

OPEN_MODELS: Final = MappingProxyType({ROWS_SIGNATURE: MODEL_NAME, VIEWS_SIGNATURE: f"{MODEL_NAME}_views"})
"""The Open Inference Protocol knows no signatures: there, each of these is a model of its own."""


def open_signature(name: str) -> Signature:
    """The signature as it is asked by the Open Inference Protocol, where ``gain`` is a column: its servers
    batch along the first dimension, and Triton leaves no tensor without another."""
    signature = SIGNATURES[name]
    inputs = tuple(replace(spec, shape=(None, 1)) if spec is GAIN else spec for spec in signature.inputs)
    return Signature(inputs, signature.outputs)


ALLOWED_BATCH_SIZES: Final = (1, 2, 3, 4, 6, 8, 16, 32)
"""Rows, or images, per executed batch: TensorFlow Serving pads to the next one, the warm-up covers each. An
image more is eight views more, so the sizes lie close where batches are small; large ones come under load
alone, when they are full."""

MAX_BATCH_SIZE: Final = ALLOWED_BATCH_SIZES[-1]

MAX_FEATURES: Final = 2048
"""The most features that the limits of messages have room for: ResNet50's."""
