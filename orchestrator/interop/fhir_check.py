"""Whether a Bundle is what this service promises to send; what a receiver should check as well.

The types of the resources are checked by the R4B models of fhir.resources (extra ``interop``) where it is
installed. These accept any code as a status, and the JSON schema of FHIR R4 knows nothing of references:
that is checked here.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final

from orchestrator.domain import DISCLAIMER
from orchestrator.interop.coding import CELLS, COMMENT, LOINC, PER_NANOLITRE, PERCENT, RATIO, UCUM
from orchestrator.interop.fhir_elements import Json

REPORT_STATUSES: Final = frozenset(
    {
        "registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled",
        "entered-in-error", "unknown",
    }
)  # fmt: skip
OBSERVATION_STATUSES: Final = REPORT_STATUSES - {"partial", "appended"}

_UNITS: Final = frozenset({unit.code for unit in (PERCENT, PER_NANOLITRE, CELLS, RATIO)})
_ASSERTED_BY_AI: Final = frozenset({"DiagnosticReport", "Observation", "Provenance"})
_UUID_URN: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def can_validate() -> bool:
    """Whether fhir.resources is installed."""
    return find_spec("fhir") is not None and find_spec("fhir.resources") is not None


def problems(document: object) -> list[str]:
    """All that is wrong with a Bundle, as sentences; none for a good one."""
    try:
        return _problems(document)
    except (AttributeError, TypeError):  # without the models of fhir.resources anything may be of any type
        return ["An element has not the shape that FHIR gives it."]


def _problems(document: object) -> list[str]:
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        return ["Expected a resource of type Bundle."]
    entries = document.get("entry")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("resource"), dict) for entry in entries
    ):
        return ["Expected entries with a resource each."]
    found = _problems_of_types(document) if can_validate() else []
    if found:
        return found  # the rules below presume the types
    resources: list[Json] = [entry["resource"] for entry in entries]
    if document.get("type") not in ("transaction", "collection"):
        found.append("Bundle.type: expected transaction or collection.")
    for position, entry in enumerate(entries):
        found += [f"entry {position}: {text}" for text in _entry_problems(entry, document.get("type"))]
    urls = [entry.get("fullUrl") for entry in entries]
    if len(set(map(str, urls))) != len(urls):
        found.append("Two entries have one fullUrl.")
    for name in ("DiagnosticReport", "Specimen"):
        if sum(resource.get("resourceType") == name for resource in resources) != 1:
            found.append(f"Expected one {name}.")
    found += [
        f"A reference leads nowhere: {target[:80]}."
        for target in _values(document, "reference")
        if not isinstance(target, str) or target not in urls
    ]
    for resource in resources:
        name = str(resource.get("resourceType"))
        found += [f"{name}: {text}" for text in _resource_problems(resource)]
    return found


def _entry_problems(entry: Json, bundle_type: object) -> Iterator[str]:
    resource, url = entry["resource"], entry.get("fullUrl")
    if not isinstance(url, str) or not _UUID_URN.fullmatch(url):
        yield "expected a fullUrl of the form urn:uuid:…"
    elif url != f"urn:uuid:{resource.get('id')}":
        yield "fullUrl and id differ"
    if bundle_type == "transaction":
        expected = {"method": "PUT", "url": f"{resource.get('resourceType')}/{resource.get('id')}"}
        if entry.get("request") != expected:
            yield "expected a request that puts the resource under its id"


def _resource_problems(resource: Json) -> Iterator[str]:
    name = resource.get("resourceType")
    security = [s.get("code") for s in resource.get("meta", {}).get("security", [])]
    codes = [code.get("code") for code in resource.get("code", {}).get("coding", [])]
    is_a_comment = name == "Observation" and codes == [COMMENT.code]
    if name in _ASSERTED_BY_AI and not is_a_comment and "AIAST" not in security:
        yield "expected the security label AIAST"
    if name == "DiagnosticReport":
        yield from _report_problems(resource)
    if name == "Observation":
        yield from _observation_problems(resource)
    for coding in _codings(resource):
        if coding.get("system") == LOINC and not is_loinc(str(coding.get("code"))):
            yield f"{str(coding.get('code'))[:20]} is no LOINC code: its check digit is wrong"
    for quantity in (*_values(resource, "valueQuantity"), *_values(resource, "low")):
        if quantity.get("system") != UCUM or quantity.get("code") not in _UNITS:
            yield "a quantity is not in one of the units of UCUM that are in use here"


def _report_problems(report: Json) -> Iterator[str]:
    if report.get("status") not in REPORT_STATUSES:
        yield "the status is not one of FHIR R4"
    if report.get("status") in ("final", "appended") and not report.get("resultsInterpreter"):
        yield f"it is {report['status']}, and nobody interpreted it"
    if "conclusion" in report or "conclusionCode" in report:
        yield "a conclusion is for a person to draw"
    if DISCLAIMER not in str(report.get("text", {}).get("div", "")):
        yield "its text does not say that it is for research use only"


def _observation_problems(observation: Json) -> Iterator[str]:
    if observation.get("status") not in OBSERVATION_STATUSES:
        yield "the status is not one of FHIR R4"
    values = [key for key in observation if key.startswith("value")]
    if len(values) + ("dataAbsentReason" in observation) != 1:
        yield "expected one value, or the reason why there is none"
    if not any(DISCLAIMER in str(said.get("text")) for said in observation.get("note", [])):
        yield "no note says that it is for research use only"
    for concept in observation.get("interpretation", []):
        if any(coding.get("code") not in ("H", "L") for coding in concept.get("coding", [])):
            yield "expected the interpretation H or L, or none: it never says normal"


def is_loinc(code: str) -> bool:
    """Whether the check digit fits (Mod 10 of LOINC's users' guide, the algorithm of Luhn)."""
    parts = re.fullmatch(r"([0-9]{1,7})-([0-9])", code)
    if parts is None:
        return False
    total = 0
    for position, digit in enumerate(reversed(parts[1])):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return (10 - total % 10) % 10 == int(parts[2])


def _codings(node: object) -> Iterator[Json]:
    for codings in _values(node, "coding"):
        yield from codings


def _values(node: object, key: str) -> Iterator[Any]:
    """All that stands under a key, at whatever depth."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for child in node.values():
            yield from _values(child, key)
    elif isinstance(node, list):
        for child in node:
            yield from _values(child, key)


def _problems_of_types(document: Json) -> list[str]:
    from fhir.resources.R4B.bundle import Bundle
    from pydantic import ValidationError

    try:
        Bundle.model_validate(document)
    except ValidationError as error:
        return [
            f"FHIR R4B: {'.'.join(str(part) for part in found['loc'])}: {found['msg']}."
            for found in error.errors(include_url=False, include_input=False)[:20]
        ]
    return []
