"""What the HTTP edge receives and answers about many differentials, their progress and their audit trail."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.documents.differential import CellId, DifferentialId, DifferentialSummary, Label, State
from orchestrator.documents.fields import Document, Time
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.orders import CommentText, PersonName
from orchestrator.labels import Denominator
from orchestrator.specimen import ANYBODY


class DecisionBody(BaseModel):
    """What a person says that a cell is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Label = Field(
        description="One of `GET /v1/labels`. The service's own class accepts it; another one reclassifies "
        "the cell.",
        examples=["Monocyte"],
    )


class AddedCellBody(BaseModel):
    """A white cell that was missed in a field: its box, drawn closely, in pixels of the upright field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    top: float = Field(ge=0, allow_inf_nan=False, examples=[120.0])
    left: float = Field(ge=0, allow_inf_nan=False, examples=[340.0])
    bottom: float = Field(ge=0, allow_inf_nan=False, examples=[215.0])
    right: float = Field(ge=0, allow_inf_nan=False, examples=[430.0])


class AddendumBody(BaseModel):
    """What a person adds to a signed differential."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: CommentText = Field(examples=["Told to the ward by telephone."])


class CommentBody(AddendumBody):
    """What a person writes about a specimen, or about a cell of it."""

    cell_id: CellId | None = Field(default=None, description="Of the cell; of the specimen where null.")


class AssignmentBody(BaseModel):
    """Who has a specimen from now on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    assignee: PersonName | None = Field(description="Who reviews it; null gives it back.", examples=["anna"])
    instead_of: PersonName | Literal[""] | None = Field(
        default=ANYBODY,
        description="Whom the caller saw it with, null for nobody: refused with 412 where that is so no "
        "more. Whoever has it where absent.",
        examples=[None],
    )


class LabelDocument(Document):
    """What a person may call a cell."""

    name: Label = Field(description="Also what it is called in English.")
    turkish: str = Field(examples=["Nötrofil"])
    key: str = Field(examples=["5"], description="On the page; empty where it has none.")
    denominator: Denominator = Field(description="As of a row of `counts`.")
    part_of: Label | None = Field(examples=[None], description="As of a row of `counts`.")
    is_own: bool = Field(examples=[False], description="Whether it is the site's own.")


class LabelList(Document):
    """All that a person may call a cell at this site, in the order in which they are shown."""

    labels: list[LabelDocument]
    disclaimer: str = DISCLAIMER


class DifferentialPage(Document):
    """One page of the list, the newest first where nothing else was asked for."""

    items: list[DifferentialSummary]
    next_cursor: str | None = Field(
        examples=[None], description="The `cursor` of the next page; null on the last one."
    )
    person: str = Field(examples=["local"], description="As whom the service knows who asks.")
    disclaimer: str = DISCLAIMER


class ProgressEvent(Document):
    """The data of the events ``progress`` and ``done``."""

    id: DifferentialId = Field(validation_alias="differential_id")
    state: State
    total: int = Field(examples=[100])
    waiting: int = Field(examples=[40])
    analysed: int = Field(examples=[59])
    failed: int = Field(examples=[1])
    disclaimer: str = DISCLAIMER


class AuditRow(Document):
    """One row of the trail."""

    sequence: int = Field(examples=[12])
    at: Time
    actor: str = Field(examples=["local"], description="The person or key that acted.")
    action: str = Field(examples=["decided"])
    cell_id: str | None
    details: dict[str, Any] = Field(examples=[{"label": "Monocyte"}])
    row_hash: str = Field(description="SHA-256 over the row and the hash of the row before it.")


class AuditTrail(Document):
    """Who did what with a specimen, the earliest first. ``wbc audit verify`` checks the whole chain."""

    entries: list[AuditRow]
    disclaimer: str = DISCLAIMER
