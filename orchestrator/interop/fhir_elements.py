"""Small parts of FHIR R4 resources, as plain documents: codings, quantities, references, ids."""

import uuid
from datetime import datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from orchestrator.interop.coding import UCUM, Code, Unit
from orchestrator.specimen import Range

Json = dict[str, Any]

PERSON_SYSTEM: Final = "urn:wbc-analyzer:person"

AI_ASSERTED: Final[Json] = {
    "security": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
            "code": "AIAST",
            "display": "Artificial Intelligence asserted",
        }
    ]
}
"""``meta`` of what a model had a part in (implementation guide "AI Transparency on FHIR")."""

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:wbc-analyzer:fhir")


def resource_id(*parts: str) -> str:
    """The id of a resource, the same whenever it is written (UUID version 5, RFC 9562).

    So a second delivery, and the final report after the preliminary one, replace and do not double.
    """
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))


def reference(resource: Json) -> Json:
    """A reference to a resource of the same Bundle."""
    return {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}


def person(name: str) -> Json:
    """A logical reference to somebody whom the receiver may know, and this service only by name."""
    return {
        "type": "Practitioner",
        "identifier": {"system": PERSON_SYSTEM, "value": plain(name)},
        "display": plain(name),
    }


def concept(code: Code, *others: Code) -> Json:
    """A CodeableConcept; its text is what the first code says."""
    return {
        "coding": [{"system": c.system, "code": c.code, "display": c.display} for c in (code, *others)],
        "text": code.display,
    }


def quantity(value: float, unit: Unit, digits: int) -> Json:
    """A Quantity in UCUM, rounded to as many decimals as mean something."""
    return {"value": rounded(value, digits), "unit": unit.display, "system": UCUM, "code": unit.code}


def range_of(limits: Range, unit: Unit, digits: int) -> Json:
    """A Range; of its ends FHIR allows no comparator."""
    return {"low": quantity(limits.low, unit, digits), "high": quantity(limits.high, unit, digits)}


def rounded(value: float, digits: int) -> float | int:
    """A number as FHIR's decimal: no digits that mean nothing, no ``-0.0``, whole numbers without a point."""
    value = round(value, digits) + 0.0
    return int(value) if value.is_integer() else value


def instant(moment: datetime) -> str:
    """FHIR's ``instant``. Raises ``ValueError`` for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with its zone, received {moment.isoformat()}")
    return moment.isoformat(timespec="milliseconds")


def note(*sentences: str) -> list[Json]:
    """Annotations."""
    return [{"text": plain(sentence)} for sentence in sentences]


def narrative(title: str, rows: list[tuple[str, str]], sentences: tuple[str, ...]) -> Json:
    """A Narrative that says the same as the resource, for whoever reads it as text."""

    def cell(tag: str, text: str) -> str:
        return f"<{tag}>{escape(plain(text))}</{tag}>"

    table = "".join(f"<tr>{cell('th', left)}{cell('td', right)}</tr>" for left, right in rows)
    said = "".join(cell("p", sentence) for sentence in sentences)
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{cell("h1", title)}'
        f"<table><tbody>{table}</tbody></table>{said}</div>",
    }


def plain(text: str) -> str:
    """Text that XML and FHIR's ``string`` can hold: no control characters, no halves of characters, not
    empty.

    What cannot be written becomes U+FFFD: visible, and not silently gone.
    """
    kept = "".join(c if _is_text(c) else "\ufffd" for c in text)
    # FHIR's pattern for a string wants a character that is no space at its start.
    return kept.strip(" \r\n\t") or "\ufffd"


def _is_text(character: str) -> bool:
    point = ord(character)
    return (
        character in "\t\n\r"
        or 0x20 <= point < 0x7F
        or 0xA0 <= point < 0xD800
        or 0xE000 <= point < 0xFFFE
        or point > 0xFFFF
    )
