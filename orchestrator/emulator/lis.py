"""A laboratory information system that receives HL7 v2 messages, checks them, and answers as it is told
to."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from orchestrator.errors import MalformedMessage
from orchestrator.interop.hl7v2_ack import Code, acknowledge
from orchestrator.interop.hl7v2_check import problems
from orchestrator.interop.hl7v2_text import Message, at, read
from orchestrator.interop.mllp_frames import frame
from orchestrator.interop.mllp_listener import HangUp

Answer = Literal["accept", "error", "reject", "silence", "hang-up", "cut"]
"""``accept`` is AA (or AE where the message is wrong), ``error`` AE, ``reject`` AR; ``silence`` sends
nothing, ``hang-up`` closes the connection, ``cut`` closes it in the middle of the acknowledgement."""

ANSWERS: Final[tuple[Answer, ...]] = ("accept", "error", "reject", "silence", "hang-up", "cut")

_REMEMBERED: Final = 10_000
"""Control ids by which a repetition is known."""


@dataclass(frozen=True, slots=True)
class Result:
    """One OBX, as a person reads it."""

    code: str
    name: str
    value: str
    unit: str
    flag: str
    status: str


@dataclass(frozen=True, slots=True)
class Received:
    """What came and what became of it. ``is_repeated``: its control id was accepted before."""

    control_id: str
    kind: str
    specimen_id: str
    results: tuple[Result, ...]
    problems: tuple[str, ...]
    is_repeated: bool
    answer: Answer
    data: bytes


class EmulatedLis:
    """Handles messages for a listener.

    ``answers`` are for the first messages, one each; the last of them is for all that follow. ``stored`` are
    the messages that were accepted, each control id once, as a LIS files them. The first to see everything
    that comes is ``tell``.
    """

    def __init__(
        self,
        answers: Sequence[Answer] = ("accept",),
        tell: Callable[[Received], None] = lambda _: None,
        check: Callable[[bytes], list[str]] = problems,
    ) -> None:
        if not answers:
            raise ValueError("expected at least one answer, received none")
        self._answers = list(answers)
        self._tell = tell
        self._check = check
        self.stored: OrderedDict[str, bytes] = OrderedDict()

    async def __call__(self, data: bytes) -> bytes | None:
        """Answer one message; raises :class:`~orchestrator.interop.mllp_listener.HangUp` where told to."""
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        found = await asyncio.to_thread(self._check, data)  # which takes its time
        try:
            message = read(data)
        except MalformedMessage as error:
            self._tell(Received("", "", "", (), (str(error),), False, answer, data))
            raise HangUp from error  # without a header there is nobody to answer
        control_id = message.value("MSH", 10)
        is_repeated = control_id in self.stored
        code: Code = "AA"
        if answer == "error" or found:
            code = "AE"
        elif answer == "reject":
            code = "AR"
        else:  # filed even where the sender does not hear of it: that is what makes them repeat
            self._store(control_id, data)
        kind = f"{message.value('MSH', 9)}^{message.value('MSH', 9, 2)}"
        specimen_id = message.component(message.field("SPM", 2).split(message.delimiters[4])[0])
        self._tell(
            Received(
                control_id, kind, specimen_id, _results(message), tuple(found), is_repeated, answer, data
            )
        )
        text = "; ".join(found)[:500] or ("as the emulator was told to" if code != "AA" else "")
        acknowledgement = acknowledge(message, code, datetime.now(UTC), text)
        if answer == "silence":
            return None
        if answer == "hang-up":
            raise HangUp
        if answer == "cut":
            raise HangUp(frame(acknowledgement)[: len(acknowledgement) // 2])
        return acknowledgement

    def _store(self, control_id: str, data: bytes) -> None:
        self.stored[control_id] = data
        while len(self.stored) > _REMEMBERED:
            self.stored.popitem(last=False)


def _results(message: Message) -> tuple[Result, ...]:
    def read_one(segment: tuple[str, ...]) -> Result:
        value = " ".join(
            text for text in map(message.unescape, at(segment, 5).split(message.delimiters[1])) if text
        )
        return Result(
            code=message.component(at(segment, 3)),
            name=message.component(at(segment, 3), 2),
            value=value,
            unit=message.component(at(segment, 6)),
            flag=message.component(at(segment, 8)),
            status=message.component(at(segment, 11)),
        )

    return tuple(read_one(segment) for segment in message.all("OBX"))
