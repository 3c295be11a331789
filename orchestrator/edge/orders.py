"""Orders of differentials: what one may bring and say, whichever edge it came through."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from orchestrator.analyse import Services
from orchestrator.edge.admission import Places
from orchestrator.edge.parameters import OrderParameters
from orchestrator.errors import FieldProblem, ImageTooLarge, InvalidParameter
from orchestrator.specimen import IDENTIFIER, MAX_COMMENT, PROSE, ImageKind, SpecimenOrder

SPECIMEN_NAME: Final = re.compile(rf"(?=.{{1,64}}\Z){IDENTIFIER}")
PersonName = Annotated[str, Field(max_length=255, pattern=IDENTIFIER)]


def _require_prose(text: str) -> str:
    if re.fullmatch(PROSE, text) is None:
        raise PydanticCustomError("prose", "expected text without tabs, control and direction characters")
    return text


CommentText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_COMMENT),
    AfterValidator(_require_prose),
]

DEFAULT_WANTED: Final = 20
"""Cells to label next, where nobody says how many."""

MAX_SIGNED: Final = 100
"""Signed differentials that one head is learnt from, and again as many that are held out."""

MAX_REASON: Final = 1000
"""Characters of why a head is switched on or rolled back."""

IDEMPOTENCY_KEY: Final = r"^[\x21-\x7e]{1,255}$"


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """What one order may bring, how many are read at a time (each lies in temporary files until it is
    kept), and how old a stream of their progress gets."""

    max_files: int = 1000
    max_total_bytes: int = 256 * 2**20
    upload_timeout_s: float = 300.0
    max_orders: int = 2
    max_stream_s: float = 300.0

    def places(self) -> Places:
        """Of the orders of one edge."""
        return Places(self.max_orders, "orders are being received")

    def adaptations(self) -> Places:
        """Of the microscopes that are learnt at one edge: each takes a core for a while."""
        return Places(1, "microscope is being learnt")


def order_of(said: Mapping[str, Any], services: Services) -> SpecimenOrder:
    """What a laboratory ordered.

    Raises:
        InvalidParameter: a parameter is missing or wrong, or there is no such profile.
    """
    try:
        chosen = OrderParameters.model_validate(said)
    except ValidationError as error:
        raise InvalidParameter.from_validation(error.errors(include_url=False)) from error
    services.profile(chosen.profile)
    return SpecimenOrder(chosen.specimen_id, chosen.total_wbc, chosen.profile, chosen.tta, chosen.kind)


def wanted_of(said: str) -> int:
    """How many cells to label next; empty for :data:`DEFAULT_WANTED`.

    Raises :class:`~orchestrator.errors.InvalidParameter` for anything but 1 to 9999.
    """
    if re.fullmatch(r"([1-9][0-9]{0,3})?", said) is None:
        raise InvalidParameter(FieldProblem("wanted", "expected a number from 1 to 9999"))
    return int(said or DEFAULT_WANTED)


def max_image_bytes(kind: ImageKind, services: Services) -> int:
    """Of one image of an order of this kind."""
    return (services.decode_limits if kind == "cell" else services.field_limits).max_bytes


def require_sizes(sizes: Sequence[int], kind: ImageKind, services: Services) -> None:
    """Raises :class:`~orchestrator.errors.ImageTooLarge` where an image has more bytes than one of its kind
    may have."""
    max_bytes = max_image_bytes(kind, services)
    if max(sizes, default=0) > max_bytes:
        raise ImageTooLarge(f"An image is too large; at most {max_bytes} bytes are accepted.")
