"""The settings of a training run, and the phases that follow from them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from orchestrator.domain import MefVersion
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.preprocessing import Recipe
from training.augmentation import COLOURS, AugmentationConfig
from training.options import DEFAULT_DATA_ROOT, DEFAULT_RUN_DIR, DataRoot, option, share

ColourNormalisation = Literal["none", "reinhard"]

SERVED_MEF: Final = Recipe().mef_version

RUN, _DATA, _PHASES = "The run", "Data", "Phases and learning rates"
_NETWORK, _LOSS, _FOCUS = "Network", "Loss", "Focus monitor"

PLACES: Final = frozenset(
    {
        "data_root",
        "more_devices",
        "negatives",
        "teachers",
        "painted_root",
        "run_dir",
        "model_path",
        "image_cache",
        "workers",
        "distribute",
    }
)
"""Fields that say where a run happens and not what comes of it: they may change when it is resumed."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training: ``learning_rate`` is where a plateau schedule starts and a cosine peaks."""

    name: str
    epochs: int
    image_size: int
    learning_rate: float
    train_backbone: bool = True


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides the outcome of a run, next to the data and the versions.

    A field with an option is one of ``wbc-train train``, by this name, default, help and bounds
    (:func:`training.commands.from_fields.options_of`). The defaults are those of the reference where it has
    the setting, but for ``preprocessing``.

    Raises:
        ConfigurationError: a value is outside its range, or two contradict each other.
    """

    data_root: DataRoot = DEFAULT_DATA_ROOT
    run_dir: Annotated[
        Path, option("Folder for checkpoints, history and logs.", RUN, "--run-dir", "--results-dir")
    ] = DEFAULT_RUN_DIR
    model_path: Annotated[
        Path | None, option("Copy the best model here (.keras) and the manifest beside it (.run.json).", RUN)
    ] = None
    distribute: Annotated[
        bool, option("Share every batch out over all accelerators (KERAS_BACKEND=jax).", RUN, "--distribute")
    ] = False
    image_cache: Annotated[
        Path | None,
        option("Keep decoded images and their cells here for the next run; some 1 MB an image.", RUN),
    ] = None
    workers: Annotated[
        int | None, option("Threads that make batches; one a processor where absent.", RUN, min=1)
    ] = None
    seed: Annotated[int, option("Of split, order, augmentation, weights and dropout.", RUN)] = 42
    data_seed: Annotated[
        int | None, option("Of order, augmentation and dropout, where it is not the seed.", RUN)
    ] = None
    """Runs that begin with the same weights and see the images in another order can be averaged
    (``wbc-train average``)."""
    train_split: Annotated[str, option("Which split to train on.", _DATA)] = "Train"
    devices: Annotated[
        tuple[str, ...], option("Use this device alone (repeatable); all where absent.", _DATA, "--device")
    ] = ()
    more_devices: Annotated[
        tuple[Path, ...],
        option("Train on this folder, <device>/<Class>/*, as well (repeatable).", _DATA, "--more-device"),
    ] = ()
    negatives: Annotated[
        tuple[Path, ...],
        option("Images of none of the five classes, <folder>/<kind>/*, for not_wbc (repeatable).", _DATA),
    ] = ()
    negative_share: Annotated[
        float, share("Share of each batch that is drawn from them, where there are any.", _DATA)
    ] = 0.125
    teachers: Annotated[
        tuple[Path, ...],
        option(
            "Learn from this classifier (.keras or exported version) as well (repeatable).",
            _DATA,
            "--teacher",
        ),
    ] = ()
    """Their mean is half of the main head's target (:mod:`training.teachers`)."""
    sampling: Annotated[
        Literal["all", "fair"],
        option("Every image once an epoch, or draws by class, device and cell alike.", _DATA),
    ] = "all"
    val_fraction: Annotated[
        float, option("Share held out for validation, by slides and classes.", _DATA, min=0.01, max=0.5)
    ] = 0.15
    validate_device: Annotated[
        str | None,
        option("Validate on all of this device, and train on the others: how a new one may fare.", _DATA),
    ] = None
    painted_root: Annotated[
        Path | None,
        option("Mix in images of this data set of `wbc-train synthesize`; validation has none.", _DATA),
    ] = None
    painted_share: Annotated[
        float, share("Share of each batch that is painted, where there are painted images.", _DATA)
    ] = 0.4
    batch_size: Annotated[int, option("Images in a step.", _DATA, min=2)] = 16
    img_size: Annotated[int, option("Side of the model's input in pixels.", _DATA, min=32)] = IMAGE_SIZE
    phase1_epochs: Annotated[
        int, option("Epochs with a frozen backbone; none without pre-trained weights.", _PHASES, min=0)
    ] = 15
    phase2_epochs: Annotated[int, option("Epochs of the whole network.", _PHASES, min=0)] = 15
    progressive_epochs: Annotated[
        int, option("Epochs of the whole network at the progressive size, before phase 2.", _PHASES, min=0)
    ] = 0
    progressive_img_size: Annotated[
        int, option("The smaller size: most of the learning at a fraction of the cost.", _PHASES, min=32)
    ] = 112
    phase1_learning_rate: Annotated[float, option("Of the head alone.", _PHASES, min=0.0)] = 1e-3
    phase2_learning_rate: Annotated[
        float, option("Of the whole network; from random weights some 1e-3.", _PHASES, min=0.0)
    ] = 1e-5
    progressive_learning_rate: Annotated[float, option("At the progressive size.", _PHASES, min=0.0)] = 1e-3
    schedule: Annotated[
        Literal["plateau", "cosine"],
        option("Halve the rate after epochs without gain, or let it fall as a cosine per phase.", _PHASES),
    ] = "plateau"
    plateau_patience: Annotated[
        int, option("Epochs without a better validation score until the rate is halved.", _PHASES, min=1)
    ] = 3
    plateau_factor: float = 0.5
    patience: Annotated[
        int, option("Epochs without a better validation score until a phase ends; 0: never.", _PHASES, min=0)
    ] = 8
    checkpoint: Annotated[
        Literal["best", "last"], option("Keep the best epoch on validation, or the last.", _PHASES)
    ] = "best"
    """With the last, validation chooses nothing."""
    weight_decay: Annotated[float, option("Of AdamW; 0 is plain Adam.", _PHASES, min=0.0)] = 0.0
    """Decoupled (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    clip_norm: Annotated[
        float, option("Largest norm of all gradients together; 0: any.", _PHASES, min=0.0)
    ] = 0.0
    ema_momentum: Annotated[
        float,
        option("Score and save a running average of the weights (some 0.99); 0: off.", _PHASES, min=0.0),
    ] = 0.0
    backbone: Annotated[str, option("A network of keras.applications.", _NETWORK)] = "DenseNet121"
    backbone_weights: Annotated[
        str,
        option(
            "imagenet (downloaded; EfficientNetLite: of an installed package), none (random), or a path.",
            _NETWORK,
        ),
    ] = "imagenet"
    frozen_blocks: Annotated[
        int,
        option(
            "Blocks of an EfficientNetLite that stay as they came, with all its batch norm.", _NETWORK, min=0
        ),
    ] = 0
    """From the input. Batch normalisation otherwise learns the device (Kumar et al. 2022, arXiv:2202.10054,
    for the head first)."""
    linear_head: Annotated[
        bool, option("No dense blocks between the pooled maps and the outputs.", _NETWORK, "--linear-head")
    ] = False
    batch_norm_momentum: Annotated[
        float, share("Momentum of batch normalisation's statistics; 0.9 for short phases.", _NETWORK)
    ] = 0.99
    """0.99, which is Keras' own, lags hundreds of steps behind, longer than a phase on a small data set may
    last."""
    main_loss: Annotated[
        Literal["cce", "focal"], option("Loss of the five-class head: cross-entropy or focal.", _LOSS)
    ] = "cce"
    label_smoothing: Annotated[float, option("Clipped to 0 .. 0.3.", _LOSS)] = 0.1
    focal_class_weights: Annotated[
        tuple[float, ...], option(f"For the focal loss, in the order {', '.join(CLASS_NAMES)}.", _LOSS)
    ] = (1.2, 1.1, 1.0, 1.1, 1.15)
    disable_aux_binary_head: Annotated[
        bool,
        option("Do not train the auxiliary head (the model keeps it).", _LOSS, "--disable-aux-binary-head"),
    ] = False
    attention_loss_weight: Annotated[
        float, option("Of the loss that teaches the attention where the cell is; 0: none.", _LOSS, min=0.0)
    ] = 0.0
    not_wbc_loss_weight: Annotated[
        float, option("Of the loss of not_wbc, which needs --negatives; 0: not trained.", _LOSS, min=0.0)
    ] = 0.0
    aux_loss_weight: Annotated[float, option("Of the auxiliary head's loss.", _LOSS, min=0.0)] = 1.0
    aux_positive_class: Annotated[str, option("1 on the auxiliary head.", _LOSS)] = "Neutrophil"
    aux_negative_class: Annotated[str, option("0 on it; other classes do not count.", _LOSS)] = "Lymphocyte"
    color_normalization: Annotated[
        ColourNormalisation,
        option("Map each image's LAB statistics onto the training images' mean; measure first.", COLOURS),
    ] = "none"
    normalization_reference_samples: Annotated[
        int, option("At most so many training images make that mean.", COLOURS, min=1)
    ] = 1200
    preprocessing: Annotated[
        MefVersion,
        option(
            f"Version of the Medical Enhanced Filter: v1 is the reference's, {SERVED_MEF} the service's.",
            COLOURS,
        ),
    ] = SERVED_MEF
    crop_scale: Annotated[
        float,
        option("Side of the cell-centred crop in cell sizes; 0: the whole frame.", COLOURS, min=0.0),
    ] = 0.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    xai_sample_count: Annotated[
        int, option("Validation images whose Grad-CAM is held against the cell.", _FOCUS, min=1)
    ] = 24
    xai_every_n_epochs: Annotated[int, option("Epochs between two checks; 0: no monitor.", _FOCUS, min=0)] = 2
    xai_focus_threshold: Annotated[
        float, share("Least mean share of the heatmap that lies on the cell.", _FOCUS)
    ] = 0.55
    xai_patience: Annotated[
        int, option("Checks in a row below it that stop the training.", _FOCUS, min=1)
    ] = 3

    def __post_init__(self) -> None:
        """Refuse what could only fail later, and less clearly."""
        for name in (self.aux_positive_class, self.aux_negative_class):
            if name not in CLASS_NAMES:
                raise ConfigurationError(
                    f"expected classes of {', '.join(CLASS_NAMES)} for the auxiliary head, received {name!r}"
                )
        if self.aux_positive_class == self.aux_negative_class:
            raise ConfigurationError(
                f"expected two classes for the auxiliary head, received {self.aux_positive_class} twice"
            )
        if len(self.focal_class_weights) != len(CLASS_NAMES):
            raise ConfigurationError(
                f"expected {len(CLASS_NAMES)} focal class weights, received {len(self.focal_class_weights)}"
            )
        if not 0.0 <= self.ema_momentum < 1.0:
            raise ConfigurationError(f"expected an EMA momentum in [0, 1), received {self.ema_momentum}")
        if self.validate_device is not None and self.validate_device in self.devices:
            raise ConfigurationError(
                f"expected a device to train on or to validate on, received {self.validate_device!r} as both"
            )
        if self.frozen_blocks and not self.backbone.startswith("EfficientNetLite"):
            raise ConfigurationError(
                f"only an EfficientNetLite has blocks to freeze, {self.backbone} has none"
            )
        if not 0.0 < self.painted_share < 1.0:
            raise ConfigurationError(
                f"expected a share of painted images in (0, 1), received {self.painted_share}"
            )
        if not 0.0 < self.negative_share < 1.0:
            raise ConfigurationError(
                f"expected a share of images without a white cell in (0, 1), received {self.negative_share}"
            )
        if self.model_path is not None and self.model_path.suffix != ".keras":
            raise ConfigurationError(f"expected a model path ending in .keras, received {self.model_path}")

    @property
    def recipe(self) -> Recipe:
        """How images are prepared, but for a colour normalisation, which :func:`run_recipe` finds."""
        return Recipe(crop_scale=self.crop_scale or None, mef_version=self.preprocessing)

    @property
    def aux_head(self) -> bool:
        """Whether the auxiliary head is trained; the model has it in any case, for the contract's sake."""
        return not self.disable_aux_binary_head

    @property
    def order_seed(self) -> int:
        """The seed of order, augmentation and dropout."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def skips_frozen_phase(self) -> bool:
        """Whether phase 1 is wanted and impossible: a frozen backbone of random numbers teaches nothing."""
        return self.phase1_epochs > 0 and self.backbone_weights == "none"

    @property
    def aux_class_indices(self) -> tuple[int, int]:
        """The classes that are 1 and 0 on the auxiliary head."""
        return CLASS_NAMES.index(self.aux_positive_class), CLASS_NAMES.index(self.aux_negative_class)

    def phases(self) -> tuple[Phase, ...]:
        """The phases of the run in order; those of no epochs, and a senseless phase 1, are left out.

        Raises:
            ConfigurationError: none is left.
        """
        phase1_epochs = 0 if self.skips_frozen_phase else self.phase1_epochs
        phases = tuple(
            phase
            for phase in (
                Phase("phase1", phase1_epochs, self.img_size, self.phase1_learning_rate, False),
                Phase(
                    "progressive",
                    self.progressive_epochs,
                    self.progressive_img_size,
                    self.progressive_learning_rate,
                ),
                Phase("phase2", self.phase2_epochs, self.img_size, self.phase2_learning_rate),
            )
            if phase.epochs
        )
        if not phases:
            raise ConfigurationError(
                "expected at least one phase with epochs; without pre-trained weights phase 1 does not count"
            )
        return phases
