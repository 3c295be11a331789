"""Whether an HL7 v2 message is what this service promises to send; what a receiver should check as well.

The rules of the standard are checked by hl7apy (extra ``interop``) where it is installed; without it only
the rules below are.
"""

import re
from importlib.util import find_spec
from typing import Final

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import MalformedMessage
from orchestrator.interop.hl7v2 import CONTROL_ID_LENGTH, VERSION
from orchestrator.interop.hl7v2_text import Message, at, read

KINDS: Final = frozenset({("ORU", "R01"), ("OUL", "R22")})

_VALUE_TYPES: Final = frozenset({"NM", "SN", "CWE"})
_STATUSES: Final = frozenset({"P", "F", "C", "X"})
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FIELDS_OF_OBX: Final = 25
"""In version 2.5.1; IHE's LAW takes OBX-29 from a later one, which hl7apy would refuse."""


def can_validate() -> bool:
    """Whether hl7apy is installed."""
    return find_spec("hl7apy") is not None


def problems(data: bytes) -> list[str]:
    """All that is wrong with a message, as sentences; none for a good one. Takes some tenths of a second."""
    found = own_problems(data)
    return [*found, *problems_of_standard(data)] if can_validate() else found


def own_problems(data: bytes) -> list[str]:
    """What is wrong by the rules of this module alone."""
    try:
        message = read(data)
    except MalformedMessage as error:
        return [str(error)]
    found = [*_header_problems(message), *_result_problems(message)]
    if not data.isascii() and not message.value("MSH", 18):
        found.append("MSH-18: expected the character set of a message that is not ASCII.")
    comments = [message.component(at(comment, 3)) for comment in message.all("NTE")]
    if DISCLAIMER not in comments:
        found.append("No NTE says that the results are for research use only.")
    return found


def _header_problems(message: Message) -> list[str]:
    found = []
    if (message.value("MSH", 9), message.value("MSH", 9, 2)) not in KINDS:
        found.append("MSH-9: expected ORU^R01 or OUL^R22.")
    if message.value("MSH", 12) != VERSION:
        found.append(f"MSH-12: expected {VERSION}.")
    if not 0 < len(message.value("MSH", 10)) <= CONTROL_ID_LENGTH:
        found.append(f"MSH-10: expected a control id of at most {CONTROL_ID_LENGTH} characters.")
    if message.value("OBR", 25) not in _STATUSES:
        found.append("OBR-25: expected a status P, F, C or X.")
    return found


def _result_problems(message: Message) -> list[str]:
    found = []
    results = message.all("OBX")
    if not results:
        found.append("There is no OBX.")
    for position, result in enumerate(results, start=1):
        value, status = at(result, 5), at(result, 11)
        if at(result, 1) != str(position):
            found.append(f"OBX {position}: expected this number in OBX-1.")
        if at(result, 2) not in _VALUE_TYPES:
            found.append(f"OBX {position}: expected a value of type NM, SN or CWE.")
        elif at(result, 2) == "NM" and value and not _NUMBER.fullmatch(value):
            found.append(f"OBX {position}: the value is no number.")
        if status not in _STATUSES:
            found.append(f"OBX {position}: expected a status P, F, C or X.")
        if bool(value) == (status == "X"):
            found.append(f"OBX {position}: a value has a status other than X, and X has none.")
        if status in ("P", "F") and status != message.value("OBR", 25):
            found.append(f"OBX {position}: its status is not that of the report.")
        if at(result, 8) not in ("", "H", "L"):
            found.append(f"OBX {position}: expected H, L or nothing in OBX-8, which never says normal.")
        if at(result, 2) != "CWE" and at(result, 6) == "":
            found.append(f"OBX {position}: no unit.")
    return found


def problems_of_standard(data: bytes) -> list[str]:
    """What is wrong by HL7's definition of the message, as hl7apy holds it."""
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.parser import parse_message
    from hl7apy.validation import Validator

    try:
        message = read(data)
    except MalformedMessage:
        return []  # which is told by the other rules
    separator = message.delimiters[0]
    lines = []
    for fields in message.segments:
        if fields[0] == "MSH":
            lines.append(separator.join(["MSH", *fields[2:]]))
        elif fields[0] == "OBX":
            lines.append(separator.join(fields[: _FIELDS_OF_OBX + 1]))
        else:
            lines.append(separator.join(fields))
    try:
        parsed = parse_message("\r".join(lines), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
        Validator.validate(parsed)
    except Exception as error:  # whatever a parser of foreign text may raise; this is its verdict
        return [f"HL7 {VERSION}: {error}"]
    return []
