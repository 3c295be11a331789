"""Frozen value types that travel through the service.

Arrays follow the conventions of the project: images are RGB, ``uint8[H, W, 3]``; positions are
(row, column); maps are ``float32[H, W]`` in [0, 1]. Arrays inside these types are never written to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from orchestrator.model_contract import CLASS_NAMES, MEASURES, UNKNOWN

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]

DISCLAIMER: Final = "For research use only. Not for use in diagnostic procedures."

MIN_FOCUS_RATIO: Final = 0.55
"""Least share of a heatmap on the cell; below it a decision may rest on the background.

The limit of the reference system for the mean over images while training. The attention of the served model
is taught where the cell is (mean 0.89 on TestA), so that what falls below this limit is no ordinary cell."""

Language = Literal["en", "tr"]
WriterKind = Literal["configured", "rule-based"]
FocusJudgement = Literal["sound", "doubtful", "background"]
RoutingMode = Literal["none", "main", "aux", "prior"]
MefVersion = Literal["v1", "v2", "v3", "v4", "v5", "v6"]
DeviceState = Literal["unknown", "profiled", "known", "audited"]
"""How far the service knows the microscope of an image, the least first: ``unknown``: it has no profile of
its own; ``profiled``: a site made one, and the model was not trained on
that device; ``known``: the model was; ``audited``: an audit on that very device passed, and still holds."""

DEVICE_UNKNOWN: Final = "device_unknown"
"""Code of the reason for a review that all results of an unknown or merely profiled device carry."""

NOT_AUDITED_CLASS: Final = "not_audited_class"
"""Code of the reason that those of an audited device carry which its audit does not release."""

AUDIT_SAMPLED: Final = "audit_sample"
"""Code of the reason that those carry which its audit releases, and a person checks all the same."""

DEVICE_REASONS: Final = frozenset({DEVICE_UNKNOWN, NOT_AUDITED_CLASS, AUDIT_SAMPLED})
"""Codes of the reasons that tell of a microscope and its audit, and not of an image."""


@dataclass(frozen=True, slots=True)
class CellImage:
    """A decoded image.

    ``rgb`` is uint8 ``[H, W, 3]`` with the EXIF orientation applied; ``media_type`` is the type of the
    payload as found in its bytes (never as claimed by the caller), for example ``image/jpeg``.
    """

    rgb: UInt8Array
    media_type: str


@dataclass(frozen=True, slots=True)
class ReviewReason:
    """Why a person should look at a result: a stable ``code`` and a sentence in English."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Morphometry:
    """What is measured of a cell, the same on every microscope; None where it is not to be seen.

    ``size`` is log2 of the nucleus' diameter over the median diameter of the red cells around, mostly -0.5 to
    1. The others compare the parts of the cell, and are all there or none. ``nucleus_share`` is the logit of
    the nucleus' share of the cell's area, within 3.9 of 0. ``cytoplasm_density`` is the natural logarithm of
    the cytoplasm's optical density in green (the median) over the nucleus', from -3.9 (as clear as the field)
    to 0.7. ``cytoplasm_hue`` is the cytoplasm's density in red over that in green, less the same of the
    nucleus, from -1.5 to 1.5: above 0 where it is bluer than the nucleus, below where it is redder.

    What follows is the outline of the nucleus, all its lobes together, and the least of what another stain or
    camera changes. ``nucleus_concavity`` is the natural logarithm of the share of its convex hull that is not
    nucleus, plus 0.02, from -3.9 (convex) to 0. ``nucleus_circularity`` is the logarithm of 4 pi times its
    area over its perimeter squared, at most 0.2, ``nucleus_thickness`` that of the radius of the largest disc
    within it over the radius of the disc of its area, at most 0.1. ``nucleus_aspect`` is the ratio of its
    smaller to its larger deviation along its axes, from 0 (a line) to 1.
    """

    size: float | None = None
    nucleus_share: float | None = None
    cytoplasm_density: float | None = None
    cytoplasm_hue: float | None = None
    nucleus_concavity: float | None = None
    nucleus_circularity: float | None = None
    nucleus_thickness: float | None = None
    nucleus_aspect: float | None = None

    def places(self) -> Float32Array:
        """As the model takes it, float32 ``[8]``."""
        values = (getattr(self, name) for name in MEASURES)
        return np.array([UNKNOWN if value is None else value for value in values], np.float32)


UNMEASURED: Final = Morphometry()
"""Of a cell of which nothing is known."""


@dataclass(frozen=True, slots=True)
class CellViews:
    """One image and the views of it that a model server is asked about.

    ``image`` is uint8 ``[224, 224, 3]``; ``codes``, 1 to 8 of them, are places in
    :data:`orchestrator.views.VIEWS`. ``head`` is the site's linear head as its difference from the model's,
    float32 ``[F + 1, 5]``, None where the model's own decides.
    """

    image: UInt8Array
    codes: tuple[int, ...]
    morphometry: Morphometry = UNMEASURED
    head: Float32Array | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def part(self, first: int, last: int) -> "CellViews":
        """The views from ``first`` to before ``last``."""
        return replace(self, codes=self.codes[first:last])


@dataclass(frozen=True, slots=True)
class ViewBatch:
    """Rows as they are, in the layout of the model contract.

    ``images`` is uint8 ``[N, 224, 224, 3]``, ``gain`` is float32 ``[N]``, ``morphometry`` float32 ``[N, 8]``
    or None where nothing is known, ``head`` float32 ``[N, F + 1, 5]`` or None where the model's own decides.
    """

    images: UInt8Array
    gain: Float32Array
    morphometry: Float32Array | None = None
    head: Float32Array | None = None

    def __len__(self) -> int:
        return len(self.images)

    def part(self, first: int, last: int) -> "ViewBatch":
        """The rows from ``first`` to before ``last``."""
        return ViewBatch(
            self.images[first:last],
            self.gain[first:last],
            None if self.morphometry is None else self.morphometry[first:last],
            None if self.head is None else self.head[first:last],
        )


Question: TypeAlias = CellViews | ViewBatch
"""What a model server is asked about."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model answered: its name, version and the SHA-256 of its files (hex; None where a remote
    server does not tell), and which ``server`` ran it, such as ``embedded`` or ``tf-serving``."""

    name: str
    version: int
    sha256: str | None
    server: str = "embedded"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model server answers for the N rows of a :data:`Question`.

    ``main_out`` is float32 ``[N, 5]``, ``aux_out`` is float32 ``[N]``, ``logits`` is float32 ``[N, 5]``
    (``main_out`` before its softmax), ``not_wbc`` is float32 ``[N]``, ``features`` is float32 ``[N, F]``,
    ``cams`` is float32 ``[N, 5, 7, 7]`` or None where no explanation was asked for.
    """

    main_out: Float32Array
    aux_out: Float32Array
    logits: Float32Array
    not_wbc: Float32Array
    features: Float32Array
    cams: Float32Array | None
    model: ModelIdentity

    def part(self, first: int, last: int) -> "Prediction":
        """The answers for the rows from ``first`` to before ``last``."""
        return Prediction(
            self.main_out[first:last],
            self.aux_out[first:last],
            self.logits[first:last],
            self.not_wbc[first:last],
            self.features[first:last],
            None if self.cams is None else self.cams[first:last],
            self.model,
        )


def joined(*parts: Prediction) -> Prediction:
    """The answers for several batches of views of one image as one; all with ``cams``, or none.

    Raises ``ValueError`` where two models gave them: their mean would be nobody's answer.
    """
    models = {part.model for part in parts}
    if len(models) != 1:
        raise ValueError(f"expected answers of one model, received {models}")
    cams = [part.cams for part in parts if part.cams is not None]
    return Prediction(
        main_out=np.concatenate([part.main_out for part in parts]),
        aux_out=np.concatenate([part.aux_out for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        not_wbc=np.concatenate([part.not_wbc for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        cams=np.concatenate(cams) if len(cams) == len(parts) else None,
        model=models.pop(),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """The decision about one cell.

    ``probabilities`` are calibrated, in the order of ``CLASS_NAMES``, and sum to 1 (after routing, so
    that a class which routing excludes has probability 0). ``aux_neutrophil`` is the auxiliary head's
    probability for Neutrophil against Lymphocyte. ``energy`` is the energy score of the image (Liu et al.
    2020; see :mod:`orchestrator.routing`): the higher, the less the image is like what the model was trained
    on. ``not_wbc`` in [0, 1] is the model's probability that what is shown is none of the five classes.
    ``decided_by`` names the routing rule that decided.
    """

    class_index: int
    probabilities: tuple[float, ...]
    aux_neutrophil: float
    energy: float
    not_wbc: float
    decided_by: RoutingMode
    review_reasons: tuple[ReviewReason, ...] = ()

    @property
    def class_name(self) -> str:
        return CLASS_NAMES[self.class_index]

    @property
    def confidence(self) -> float:
        return self.probabilities[self.class_index]

    @property
    def margin(self) -> float:
        """Top-1 minus top-2 probability."""
        first, second = sorted(self.probabilities, reverse=True)[:2]
        return first - second

    @property
    def needs_review(self) -> bool:
        return bool(self.review_reasons)


@dataclass(frozen=True, slots=True)
class FocusShares:
    """Shares of the heatmap's mass, each in [0, 1], together 1, that fall on each region."""

    nucleus: float
    cytoplasm: float
    background: float


@dataclass(frozen=True, slots=True)
class FocusReason:
    """One ground of a :class:`FocusVerdict`: a stable ``code`` and a sentence in English."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class FocusVerdict:
    """Whether a decision rests on the cell, as far as its heatmap tells, and why.

    ``sound``: on the cell, and where its class is recognised. ``doubtful``: a person should look where.
    ``background``: largely beside the cell, so that the decision may rest on a shortcut.
    """

    judgement: FocusJudgement
    reasons: tuple[FocusReason, ...]


@dataclass(frozen=True, slots=True)
class Focus:
    """Where the mass of a Grad-CAM heatmap lies.

    ``focus_ratio`` is rho, the share of the mass on the foreground mask, in [0, 1]; ``shares`` splits it by
    region. Both are measured on the plain Grad-CAM, before anything that is done for display. All-zero
    heatmaps have a focus ratio of 0. ``verdict`` is there once a decision is judged by it.
    """

    focus_ratio: float
    shares: FocusShares
    verdict: FocusVerdict | None = None


Polygon = tuple[tuple[float, float], ...]
"""Corners as (row, column) in pixels of the original image; at least three."""


@dataclass(frozen=True, slots=True)
class CellOutlines:
    """The outer edges of the cell and of its nucleus; a nucleus may have several parts."""

    cell: tuple[Polygon, ...]
    nucleus: tuple[Polygon, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the original image, its edges between pixels."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def area(self) -> float:
        """In pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def common(self, other: "Box") -> float:
        """Area of what both hold."""
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        return max(0.0, height) * max(0.0, width)

    def overlap(self, other: "Box") -> float:
        """Intersection over union, in [0, 1]."""
        common = self.common(other)
        return common / max(self.area + other.area - common, 1e-9)


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """The facts, and the only facts, that a report writer may use."""

    finding: Finding
    focus: Focus | None
    language: Language = "en"


@dataclass(frozen=True, slots=True)
class Report:
    """A short text about one result, at most 80 words, and who wrote it.

    ``model`` is the language model that answered, by the name that its provider gave; None where rules wrote.
    ``focus_opinion`` is what the writer says of the heatmap; None where it has no opinion of its own.
    """

    text: str
    writer: str
    language: Language
    model: str | None = None
    focus_opinion: FocusJudgement | None = None


@dataclass(frozen=True, slots=True)
class WriterIdentity:
    """A configured writer of reports, and the host that it sends the facts to; None where they stay here."""

    name: str
    model: str | None
    sends_to: str | None


@dataclass(frozen=True, slots=True)
class Overlay:
    """The heatmap as a picture in the size of the original image, encoded (``media_type`` image/png or
    image/jpeg): drawn over the image in the colours of ``colour_map``, or its levels of grey alone."""

    data: bytes = field(repr=False)
    media_type: str
    colour_map: str = "viridis"


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole answer about one image."""

    request_id: str
    finding: Finding
    model: ModelIdentity
    profile: str
    image_size: tuple[int, int]
    """Height and width in pixels of the original image."""
    views: int
    """Views of the image that the finding rests on: 1, or 8 with test-time augmentation."""
    focus: Focus | None
    overlay: Overlay | None
    report: Report | None
    timings_ms: Mapping[str, float]
    outlines: CellOutlines | None = None
    box: Box | None = None
    """The smallest that holds the cell's outline; None where no cell was found."""
    disclaimer: str = DISCLAIMER
    profile_sha256: str | None = None
    """Of the profile as it was used, with the test-time augmentation that was asked for."""
    device_state: DeviceState = "unknown"
    head: str | None = None
    """The site's head that answered, ``NAME:SHA256``; None where the model's own did."""
    looks_like: Mapping[str, bool] | None = None
    """By profile whether the cell looks like those of its device (:mod:`orchestrator.cell_features`); None
    where nobody can say."""

    @property
    def focus_ratio(self) -> float | None:
        """Of its heatmap; None without one."""
        return None if self.focus is None else self.focus.focus_ratio


@dataclass(frozen=True, slots=True)
class FieldCell:
    """One cell of a field. ``is_identified`` is False of what may be no white cell: it is offered to a person
    and not counted. ``focus`` and ``overlay`` (over the cell's crop) are there where heat was asked for,
    ``image`` (a PNG) and ``mark`` where they are to be kept. ``looks_like`` is as in an :class:`Analysis`.
    """

    box: Box
    outlines: CellOutlines
    finding: Finding
    views: int
    is_cut: bool
    is_clump: bool
    is_identified: bool
    focus: Focus | None = None
    overlay: Overlay | None = None
    looks_like: Mapping[str, bool] | None = None
    image: bytes | None = field(default=None, repr=False)
    mark: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FieldAnalysis:
    """The whole answer about one field; ``found`` are its cells and what may be some, from top to bottom.

    ``red_cell_px`` is the diameter of its red cells in pixels, None where nothing tells. ``model`` is None
    where nothing was found: no network was asked.
    """

    request_id: str
    model: ModelIdentity | None
    profile: str
    profile_sha256: str | None
    device_state: DeviceState
    image_size: tuple[int, int]
    red_cell_px: float | None
    found: tuple[FieldCell, ...]
    timings_ms: Mapping[str, float]
    head: str | None = None
    """The site's head that answered, ``NAME:SHA256``; None where the model's own did."""
    disclaimer: str = DISCLAIMER

    @property
    def cells(self) -> tuple[FieldCell, ...]:
        """White cells, which count."""
        return tuple(cell for cell in self.found if cell.is_identified)

    @property
    def unidentified(self) -> tuple[FieldCell, ...]:
        """What a person may know to be a white cell; not counted."""
        return tuple(cell for cell in self.found if not cell.is_identified)

    @property
    def counts(self) -> tuple[int, ...]:
        """Cells of each class, in the order of ``CLASS_NAMES``."""
        classes = [cell.finding.class_index for cell in self.cells]
        return tuple(classes.count(index) for index in range(len(CLASS_NAMES)))
