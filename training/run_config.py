"""The settings of a training run, and the phases that follow from them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.preprocessing import Recipe
from training.augmentation import AugmentationConfig

Schedule = Literal["plateau", "cosine"]
ColourNormalisation = Literal["none", "reinhard"]

REFERENCE_FOCAL_CLASS_WEIGHTS: Final = (1.2, 1.1, 1.0, 1.1, 1.15)
"""What the reference's command line gives its focal loss, in the order of the model contract."""

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

    The defaults are those of the reference where it has the setting.

    Raises:
        ConfigurationError: a value is outside its range, or two contradict each other.
    """

    data_root: Path
    run_dir: Path
    model_path: Path | None = None
    """Where the best model is copied to in the end, besides ``best.keras`` of the run's folder."""
    image_cache: Path | None = None
    """Where decoded images and their cells are kept for the next run."""
    workers: int | None = None
    """Threads that make batches; None: one a processor."""
    painted_root: Path | None = None
    """A data set of ``wbc-train synthesize`` whose Train split is mixed into the batches."""
    painted_share: float = 0.4
    """Share of each batch that is painted, where there is a painted data set."""
    more_devices: tuple[Path, ...] = ()
    """Folders of further devices to train on, one sub-folder a class
    (:func:`training.datasets.read_device`)."""
    negatives: tuple[Path, ...] = ()
    """Folders of images that show none of the five classes (:func:`training.datasets.read_negatives`)."""
    negative_share: float = 0.125
    """Share of each batch that is drawn from them, where there are any."""
    teachers: tuple[Path, ...] = ()
    """Trained classifiers whose mean is half of the main head's target (:mod:`training.teachers`)."""
    sampling: Literal["all", "fair"] = "all"
    """``all``: every image once an epoch; ``fair``: drawn by class, device and cell alike."""
    train_split: str = "Train"
    devices: tuple[str, ...] = ()
    """Use these devices alone (all where empty)."""
    val_fraction: float = 0.15
    validate_device: str | None = None
    """Hold out this whole device for validation instead of a fraction of each."""
    seed: int = 42
    data_seed: int | None = None
    """Of order, augmentation and dropout; None: ``seed``. Runs that begin with the same weights and see the
    images in another order can be averaged (``wbc-train average``)."""
    batch_size: int = 16
    img_size: int = IMAGE_SIZE
    phase1_epochs: int = 15
    phase2_epochs: int = 15
    progressive_epochs: int = 0
    """Epochs at ``progressive_img_size`` before phase 2: most of the learning at a quarter of the cost."""
    progressive_img_size: int = 112
    phase1_learning_rate: float = 1e-3
    phase2_learning_rate: float = 1e-5
    progressive_learning_rate: float = 1e-3
    schedule: Schedule = "plateau"
    plateau_patience: int = 3
    plateau_factor: float = 0.5
    patience: int = 8
    """Epochs of a phase without a better validation score before the phase ends; 0: never."""
    backbone: str = "DenseNet121"
    backbone_weights: str = "imagenet"
    linear_head: bool = False
    """Whether the outputs are made of the pooled maps themselves, without the two dense blocks."""
    frozen_blocks: int = 0
    """Blocks of an EfficientNetLite, from the input, that stay as they came; with them all batch
    normalisation of the backbone does, which otherwise learns the device (Kumar et al. 2022,
    arXiv:2202.10054, for the head first)."""
    checkpoint: Literal["best", "last"] = "best"
    """Which epoch is kept: the best on validation, or the last, so that validation chooses nothing."""
    main_loss: Literal["cce", "focal"] = "cce"
    label_smoothing: float = 0.1
    focal_class_weights: tuple[float, ...] = REFERENCE_FOCAL_CLASS_WEIGHTS
    aux_head: bool = True
    """Whether the auxiliary head is trained; the model has it in any case, for the contract's sake."""
    aux_loss_weight: float = 1.0
    attention_loss_weight: float = 0.0
    """Weight of the loss that teaches the spatial attention where the cell is; 0: it finds out by itself."""
    not_wbc_loss_weight: float = 0.0
    """Weight of the loss of ``not_wbc``, of which the labels then have a target; 0: it is not trained."""
    aux_positive_class: str = "Neutrophil"
    aux_negative_class: str = "Lymphocyte"
    weight_decay: float = 0.0
    """Decoupled (AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101); with 0 it is Adam."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0: not clipped."""
    ema_momentum: float = 0.0
    """Momentum of the running average of the weights that is scored and saved; 0: the weights as they are."""
    batch_norm_momentum: float = 0.9
    """Keras' 0.99 lags hundreds of steps behind, longer than a phase on a small data set may last."""
    color_normalization: ColourNormalisation = "none"
    normalization_reference_samples: int = 1200
    xai_sample_count: int = 24
    xai_every_n_epochs: int = 2
    """Epochs between two looks at where the model looks; 0: never."""
    xai_focus_threshold: float = 0.55
    xai_patience: int = 3
    distribute: bool = False
    recipe: Recipe = field(default_factory=Recipe)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

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
