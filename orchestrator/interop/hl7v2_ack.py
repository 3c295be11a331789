"""Acknowledgements of HL7 v2: what a receiver says of a message (chapter 2.9, table 0008)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from orchestrator.errors import MalformedMessage
from orchestrator.interop.hl7v2_text import (
    ENCODING_CHARACTERS,
    SEGMENT_END,
    Message,
    at,
    components,
    escape,
    segment,
    timestamp,
)

Code = Literal["AA", "AE", "AR"]

ACCEPTED: Final = frozenset({"AA", "CA"})
"""The message arrived for good."""

REFUSED: Final = frozenset({"AE", "CE"})
"""It holds an error; sent again it would hold it still."""

REJECTED: Final = frozenset({"AR", "CR"})
"""The receiver cannot take it now, or not at all; only sending it again tells which."""

_ERROR: Final = "207^Application internal error^HL70357"
"""Of table 0357, the one that fits every reason; ERR-8 tells which."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What MSA says: its ``code``, the ``control_id`` of the message meant, and a text for people."""

    code: str
    control_id: str
    text: str

    @classmethod
    def of(cls, message: Message) -> "Acknowledgement":
        """Raises :class:`~orchestrator.errors.MalformedMessage` where the message is no acknowledgement."""
        code = message.value("MSA", 1)
        if code not in ACCEPTED | REFUSED | REJECTED:
            raise MalformedMessage(
                "The answer is no acknowledgement: it has no MSA segment with a known code."
            )
        errors = message.all("ERR")
        said = [message.value("MSA", 3), *(message.component(at(error, 8)) for error in errors)]
        return cls(code, message.value("MSA", 2), "; ".join(text for text in said if text))


def acknowledge(message: Message, code: Code, now: datetime, text: str = "") -> bytes:
    """The answer to a message: sender and receiver change places, MSA-2 repeats its control id.

    Anything but ``AA`` gets an ERR segment with the text.
    """
    trigger = message.value("MSH", 9, 2)
    header = segment(
        "MSH",
        [
            ENCODING_CHARACTERS,
            escape(message.value("MSH", 5)),
            escape(message.value("MSH", 6)),
            escape(message.value("MSH", 3)),
            escape(message.value("MSH", 4)),
            timestamp(now),
            "",
            components("ACK", trigger, "ACK"),
            escape(message.value("MSH", 10)),
            escape(message.value("MSH", 11)) or "P",
            escape(message.value("MSH", 12)) or "2.5.1",
            *[""] * 5,
            "UNICODE UTF-8",
        ],
    )
    lines = [header, segment("MSA", [code, escape(message.value("MSH", 10))])]
    if code != "AA":
        lines.append(segment("ERR", ["", "", _ERROR, "E", "", "", "", escape(text)]))
    return SEGMENT_END.join([*lines, ""]).encode()
