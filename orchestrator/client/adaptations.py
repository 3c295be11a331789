"""A microscope's own heads as typed, frozen values: learnt from labelled images, judged, switched on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..protos.wbc.v1 import wbc_pb2 as pb
from .reading import value_of
from .results import Model
from .words import ClassName, number

LEARNING_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image of one cell: the bytes of a file, and what a person says that it shows.

    Args:
        label: None where nobody has said it, which only ``suggest_cells`` takes.
        specimen: the laboratory's own name of it; where empty the image counts as a specimen of its own.
        hold_out: whether it is scored and never learnt from.

    Raises:
        ValueError: there is no such class.
    """

    image: bytes = field(repr=False)
    label: ClassName | None = None
    specimen: str = ""
    hold_out: bool = False

    def __post_init__(self) -> None:
        number(pb.CellClass, "CELL_CLASS", self.label)

    def message(self) -> pb.LabelledImage:
        """As it travels."""
        label = number(pb.CellClass, "CELL_CLASS", self.label)
        return pb.LabelledImage(image=self.image, label=label, specimen=self.specimen, hold_out=self.hold_out)


def learning_messages(
    profile: str,
    images: Sequence[LabelledImage],
    signed: Sequence[str],
    hold_out: Sequence[str],
    cells_of: int | None,
) -> Iterator[pb.LearnAdaptationRequest]:
    """What is learnt, then its images."""
    what = pb.Adaptation(
        profile=profile, images=len(images), signed=signed, hold_out=hold_out, cells_of=cells_of
    )
    yield pb.LearnAdaptationRequest(adaptation=what)
    for image in images:
        yield pb.LearnAdaptationRequest(image=image.message())


def suggestion_messages(
    profile: str, images: Sequence[LabelledImage], wanted: int
) -> Iterator[pb.SuggestCellsRequest]:
    """What is asked for, then its images."""
    what = pb.Suggestion(profile=profile, images=len(images), wanted=wanted)
    yield pb.SuggestCellsRequest(suggestion=what)
    for image in images:
        yield pb.SuggestCellsRequest(image=image.message())


@dataclass(frozen=True, slots=True)
class ClassRecall:
    """The share of the cells of a class that are recognised, by the model's own head and by the site's."""

    class_name: str = field(metadata={"absent": ""})
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """Balanced accuracy of the model's own head (``before``) and of the site's on the same ``cells`` of
    ``groups`` specimens; intervals are 95 %, from and to."""

    cells: int
    groups: int
    before: float
    after: float
    after_interval: tuple[float, ...]
    gain: float
    gain_interval: tuple[float, ...]
    recalls: tuple[ClassRecall, ...] = field(metadata={"kind": ClassRecall})


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Balanced accuracy on specimens left out, with so many cells of each class."""

    cells: int
    balanced_accuracy: float


@dataclass(frozen=True, slots=True)
class HeadTrust:
    """What a person must see before a head is switched on. ``counts`` and ``ten_more`` (what ten more cells
    would add) are in the order of the model's classes; ``kept`` are those that stay as the model has them."""

    counts: tuple[int, ...]
    kept: tuple[str, ...]
    left_out: HeadComparison | None = field(metadata={"kind": HeadComparison})
    hold_out: HeadComparison | None = field(metadata={"kind": HeadComparison})
    curve: tuple[CurvePoint, ...] = field(metadata={"kind": CurvePoint})
    ten_more: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SiteHead:
    """A head. ``decision`` is ``recommended``, ``not better`` (it takes a reason to switch it on) or
    ``too few`` (it stays off); ``why`` says it in a sentence. ``cells_kept``: whether another head can learn
    from its cells, too."""

    name: str
    number: int
    sha256: str
    model: Model = field(metadata={"kind": Model})
    made_at: datetime
    made_by: str
    decision: str
    why: str
    is_active: bool
    trust: HeadTrust | None = field(metadata={"kind": HeadTrust})
    cells_kept: bool


@dataclass(frozen=True, slots=True)
class HeadAct:
    """What somebody did: ``made``, ``imported``, ``switched on``, ``rolled back``, ``canary begun``, ``canary
    ended``, ``shadowed`` or ``shadow ended``; ``head`` is None where the model's own answered from then on,
    ``share`` what a canary answered from then on."""

    at: datetime
    who: str
    act: str
    head: str | None
    sha256: str | None
    reason: str
    share: float | None


@dataclass(frozen=True, slots=True)
class ShadowAnswers:
    """``images`` that were ``answered`` with one class, and for which the head in the ``shadow`` gives
    another."""

    answered: str | None
    shadow: str | None
    images: int


@dataclass(frozen=True, slots=True)
class HeadShadow:
    """The head that runs beside the one that answers and answers nobody. The process that was asked compared
    it on so many ``images`` since it began; ``alike`` of them have the class that was answered. ``unused``
    says why it is not compared."""

    name: str
    unused: str | None
    images: int
    alike: int
    otherwise: tuple[ShadowAnswers, ...] = field(metadata={"kind": ShadowAnswers})


@dataclass(frozen=True, slots=True)
class HeadAnswers:
    """``images`` that a ``head`` (None: the model's own) answered in the process that was asked, and those of
    them that were ``for_review`` by what it said."""

    head: str | None
    images: int
    for_review: int


@dataclass(frozen=True, slots=True)
class HeadCanary:
    """The head that answers for a ``share`` in place of the one that is on; ``unused`` says why it does not.
    ``answers`` are the canary's, then those of what is on."""

    name: str
    share: float
    unused: str | None
    answers: tuple[HeadAnswers, ...] = field(metadata={"kind": HeadAnswers})


@dataclass(frozen=True, slots=True)
class SiteHeads:
    """The heads of a microscope, and who did what. ``active`` is on, None where the model's own answers;
    ``unused`` says why it does not answer although it is on; ``canary`` answers for a share in its place,
    ``shadow`` runs beside it; ``broken`` says what is wrong with files."""

    profile: str
    active: str | None
    versions: tuple[SiteHead, ...] = field(metadata={"kind": SiteHead})
    trail: tuple[HeadAct, ...] = field(metadata={"kind": HeadAct})
    disclaimer: str
    unused: str | None
    broken: tuple[str, ...]
    shadow: HeadShadow | None = field(metadata={"kind": HeadShadow})
    canary: HeadCanary | None = field(metadata={"kind": HeadCanary})

    @classmethod
    def of(cls, message: pb.SiteHeads) -> "SiteHeads":
        """From the wire."""
        return value_of(message, cls)


@dataclass(frozen=True, slots=True)
class FailedCell:
    """An image that nothing could be learnt from, by its number among those sent, from 1."""

    name: str
    problem: str
    detail: str


@dataclass(frozen=True, slots=True)
class LearntHead:
    """A new head, which is off. Cells that are ``wrong`` when left out, the worst first, and those whose
    labels all else speaks against, are told by their numbers among the images, from 1."""

    head: SiteHead = field(metadata={"kind": SiteHead})
    wrong: tuple[str, ...]
    likely_label_errors: tuple[str, ...]
    failed: tuple[FailedCell, ...] = field(metadata={"kind": FailedCell})
    disclaimer: str

    @classmethod
    def of(cls, message: pb.LearnAdaptationResponse) -> "LearntHead":
        """From the wire."""
        return value_of(message, cls)


@dataclass(frozen=True, slots=True)
class SuggestedCell:
    """A cell to label next, by its number among the images, from 1, and what it is taken for now."""

    image: int
    looks_like: str | None


@dataclass(frozen=True, slots=True)
class SuggestedCells:
    """Cells to label, the first first."""

    cells: tuple[SuggestedCell, ...] = field(metadata={"kind": SuggestedCell})
    failed: tuple[FailedCell, ...] = field(metadata={"kind": FailedCell})
    disclaimer: str

    @classmethod
    def of(cls, message: pb.SuggestCellsResponse) -> "SuggestedCells":
        """From the wire."""
        return value_of(message, cls)
