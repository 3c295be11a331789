"""A microscope's own heads as documents: what was learnt, what the trust view says of it, who did what."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, model_validator

from orchestrator.adaptation.cells import FailedImage
from orchestrator.adaptation.service import CanaryOfProfile, HeadsOfProfile, Learning, Shadow, Suggestion
from orchestrator.documents.fields import ClassName, Document, Model
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import kind_of
from orchestrator.model_contract import CLASS_NAMES, NUM_CLASSES
from orchestrator.site_head.head_file import SiteHead
from orchestrator.site_head.registry import Act
from orchestrator.site_head.trust import Decision

_BY_CLASS: Final = Field(
    min_length=NUM_CLASSES, max_length=NUM_CLASSES, description=f"Of {', '.join(CLASS_NAMES)}, in this order."
)
Interval = Annotated[list[float], Field(min_length=2, max_length=2, description="95 %, from and to.")]


class ClassRecall(Document):
    """The share of the cells of a class that are recognised."""

    class_name: ClassName
    before: float
    after: float


class HeadComparison(Document):
    """The model's own head (`before`) and the site's (`after`) on the same cells, in balanced accuracy."""

    cells: int
    groups: int = Field(description="Specimens that they are of; images where nobody said any.")
    before: float
    after: float
    after_interval: Interval
    gain: float
    gain_interval: Interval
    recalls: list[ClassRecall] = Field(description="Of the classes that have cells.")

    @model_validator(mode="before")
    @classmethod
    def _of_both(cls, said: Any) -> Any:
        """From the two lists by class that a head keeps, None for a class without cells."""
        if not isinstance(said, Mapping) or "recalls_before" not in said:
            return said
        by_class = zip(CLASS_NAMES, said["recalls_before"], said["recalls_after"], strict=True)
        recalls = [
            {"class": name, "before": before, "after": after}
            for name, before, after in by_class
            if before is not None and after is not None
        ]
        return {**said, "recalls": recalls}


class CurvePoint(Document):
    """Balanced accuracy on specimens left out, by cells learnt of each class."""

    cells: int
    balanced_accuracy: float


class HeadTrust(Document):
    """What a person must see before a head is switched on."""

    counts: Annotated[list[int], _BY_CLASS]
    kept: list[str] = Field(description="Classes that stay as the model has them, for want of examples.")
    left_out: HeadComparison
    hold_out: HeadComparison | None = Field(description="Null where no cells were held out.")
    curve: list[CurvePoint]
    ten_more: Annotated[list[float], _BY_CLASS]

    @classmethod
    def of(cls, head: SiteHead) -> Self | None:
        """As it is kept with the head; None where another site's tells none that can be read."""
        curve = head.summary.get("curve", ())
        try:
            points = [{"cells": cells, "balanced_accuracy": accuracy} for cells, accuracy in curve]
            return cls.model_validate({**head.summary, "curve": points})
        except (ValidationError, TypeError, ValueError):
            return None


class HeadVersion(Document):
    """A head of a microscope."""

    name: str = Field(examples=["my-scope.1"])
    number: int
    sha256: str = Field(description="Of all that it holds; results name it as `name`:`sha256`.")
    model: Model = Field(description="That it was learnt on, and answers for.")
    made_at: datetime
    made_by: str
    decision: Decision = Field(
        description="`recommended`; `not better`: it takes a reason to switch it on; `too few`: it stays off."
    )
    why: str
    is_active: bool
    cells_kept: bool = Field(
        description="Whether the cells that it was learnt from are kept, so that another head can learn from "
        "them, too; without their images, encrypted by the store's key."
    )
    trust: HeadTrust | None

    @classmethod
    def of(cls, head: SiteHead, *, cells_kept: bool, is_active: bool = False) -> Self:
        return cls(
            name=head.name,
            number=head.number,
            sha256=head.sha256,
            model=Model.model_validate(head.model),
            made_at=head.made_at,
            made_by=head.made_by,
            decision=head.decision,
            why=str(head.summary.get("why", "")),
            is_active=is_active,
            cells_kept=cells_kept,
            trust=HeadTrust.of(head),
        )


class FailedCell(Document):
    """An image that nothing could be learnt from."""

    name: str
    problem: str = Field(examples=["undecodable-image"])
    detail: str

    @classmethod
    def of(cls, failed: FailedImage) -> Self:
        kind = kind_of(failed.error)
        return cls(name=failed.name, problem=kind.name, detail=str(failed.error) or kind.title)


class LearntHead(Document):
    """A head that was learnt now. It stays off until somebody switches it on."""

    head: HeadVersion
    wrong: list[str] = Field(description="Cells that are still wrong when left out, the worst first.")
    likely_label_errors: list[str] = Field(description="Cells whose labels all else speaks against.")
    failed: list[FailedCell]
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, learning: Learning) -> Self:
        return cls(
            head=HeadVersion.of(learning.head, cells_kept=learning.cells_kept),
            wrong=list(learning.trust.wrong),
            likely_label_errors=list(learning.trust.likely_label_errors),
            failed=[FailedCell.of(one) for one in learning.failed],
        )


class HeadAct(Document):
    """What somebody did with the heads of a microscope."""

    at: datetime
    who: str
    act: Act
    head: str | None = Field(description="Null where the model's own answers from then on.")
    sha256: str | None
    reason: str
    share: float | None = Field(description="That a canary answers from then on; null for any other act.")


class ShadowAnswers(Document):
    """Images with one answer of each head."""

    answered: str = Field(json_schema_extra={"enum": list(CLASS_NAMES)})
    shadow: str = Field(json_schema_extra={"enum": list(CLASS_NAMES)})
    images: int


class HeadShadow(Document):
    """The head that runs beside the one that answers and answers nobody."""

    name: str = Field(examples=["my-scope.2"])
    unused: str | None = Field(description="Why it is not compared; null where it is.")
    images: int = Field(
        description="That it was compared on beside the head which answers now, by this process since it "
        "began."
    )
    alike: int = Field(description="Of them, those with the class that was answered.")
    otherwise: list[ShadowAnswers] = Field(description="The others, by both classes, the most first.")

    @classmethod
    def of(cls, shadow: Shadow) -> Self:
        images = sorted(shadow.images.items(), key=lambda one: (-one[1], one[0]))
        return cls(
            name=shadow.head.name,
            unused=shadow.unused,
            images=sum(count for _, count in images),
            alike=sum(count for (answered, given), count in images if answered == given),
            otherwise=[
                ShadowAnswers(answered=CLASS_NAMES[answered], shadow=CLASS_NAMES[given], images=count)
                for (answered, given), count in images
                if answered != given
            ],
        )


class HeadAnswers(Document):
    """What a head answered while there was the canary."""

    head: str | None = Field(description="Null for the model's own.")
    images: int = Field(description="By this process since it began.")
    for_review: int = Field(
        description="Of them, those for review by what this head said; reasons of the microscope aside."
    )


class HeadCanary(Document):
    """The head that answers for a share in place of the one that is on."""

    name: str = Field(examples=["my-scope.2"])
    share: float = Field(description="Of images and specimens, chosen by their hash.", examples=[0.1])
    unused: str | None = Field(description="Why it does not answer; null where it does.")
    answers: list[HeadAnswers] = Field(description="Of the canary, then of what is on.")

    @classmethod
    def of(cls, canary: CanaryOfProfile) -> Self:
        return cls(
            name=canary.head.name,
            share=canary.share,
            unused=canary.unused,
            answers=[
                HeadAnswers(
                    head=None if one.head is None else one.head.name,
                    images=one.images,
                    for_review=one.for_review,
                )
                for one in canary.answers
            ],
        )


class HeadList(Document):
    """The heads of a microscope, the one that answers, and who did what, the earliest first."""

    profile: str
    active: str | None = Field(description="The head that is on; null where the model's own answers.")
    unused: str | None = Field(
        description="Why the head that is switched on does not answer; null where it does, or none is."
    )
    canary: HeadCanary | None = Field(description="Null where no head is tried.")
    shadow: HeadShadow | None = Field(description="Null where no head is in the shadow.")
    versions: list[HeadVersion]
    broken: list[str] = Field(
        description="What is wrong with heads that are left out: their files do not hold."
    )
    trail: list[HeadAct]
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, heads: HeadsOfProfile) -> Self:
        active = None if heads.active is None else heads.active.name
        return cls(
            profile=heads.profile,
            active=active,
            unused=heads.unused,
            canary=None if heads.canary is None else HeadCanary.of(heads.canary),
            shadow=None if heads.shadow is None else HeadShadow.of(heads.shadow),
            versions=[
                HeadVersion.of(one, is_active=one.name == active, cells_kept=one.name in heads.cells_kept)
                for one in heads.versions
            ],
            broken=list(heads.broken),
            trail=[HeadAct.model_validate(entry) for entry in heads.trail],
        )


class SuggestedCell(Document):
    """A cell to label next."""

    image: int = Field(description="Its number among the images of the request, from 1.")
    looks_like: str = Field(json_schema_extra={"enum": list(CLASS_NAMES)})


class SuggestedCells(Document):
    """The cells to label next, the first first."""

    cells: list[SuggestedCell]
    failed: list[FailedCell]
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, cells: tuple[Suggestion, ...], failed: tuple[FailedImage, ...]) -> Self:
        return cls(
            cells=[SuggestedCell(image=c.place + 1, looks_like=CLASS_NAMES[c.class_index]) for c in cells],
            failed=[FailedCell.of(one) for one in failed],
        )
