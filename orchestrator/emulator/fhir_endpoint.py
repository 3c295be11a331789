"""A small FHIR R4 server that takes Bundles, checks them, and keeps their resources while it runs."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.domain import DISCLAIMER
from orchestrator.interop.fhir import MEDIA_TYPE
from orchestrator.interop.fhir_check import problems
from orchestrator.interop.fhir_elements import Json

MAX_BYTES: Final = 32 * 2**20
_KEPT: Final = 20_000
_VERSION: Final = "4.0.1"


@dataclass(frozen=True, slots=True)
class ReceivedBundle:
    """What came and what became of it: the status that was answered, and how many resources are new."""

    bundle_type: str
    status: int
    created: int
    replaced: int
    problems: tuple[str, ...]
    resources: tuple[Json, ...]


class FhirEndpoint:
    """Takes Bundles at ``/fhir``.

    ``statuses`` are the answers to the first Bundles, such as 503, before it answers as it should. ``check``
    gives all that is wrong with a Bundle; ``tell`` sees everything that comes before it
    is answered.
    """

    def __init__(
        self,
        statuses: Sequence[int] = (),
        check: Callable[[object], list[str]] = problems,
        tell: Callable[[ReceivedBundle], None] = lambda _: None,
    ) -> None:
        self._statuses = list(statuses)
        self._check = check
        self._tell = tell
        self.resources: OrderedDict[str, Json] = OrderedDict()

    def app(self) -> Starlette:
        """The routes: capabilities, a transaction, a Bundle under its id, and reading what was put."""
        return Starlette(
            routes=[
                Route("/fhir/metadata", self._metadata),
                Route("/fhir", self._transaction, methods=["POST"]),
                Route("/fhir/Bundle/{key}", self._put, methods=["PUT"]),
                Route("/fhir/{kind}/{key}", self._read),
            ]
        )

    async def _metadata(self, _: Request) -> Response:
        return _fhir(
            {
                "resourceType": "CapabilityStatement",
                "status": "active",
                "date": "2026-01-01",
                "kind": "instance",
                "implementation": {"description": f"An emulated laboratory. {DISCLAIMER}"},
                "fhirVersion": _VERSION,
                "format": ["json"],
                "rest": [{"mode": "server", "interaction": [{"code": "transaction"}]}],
            }
        )

    async def _transaction(self, request: Request) -> Response:
        document = await _body(request)
        refusal = await self._refusal(document, "transaction")
        if refusal is not None:
            return refusal
        entries, counts = [], {201: 0, 200: 0}
        for entry in document["entry"]:
            resource = entry["resource"]
            status, place = self._keep(resource)
            counts[status] += 1
            entries.append(
                {
                    "response": {
                        "status": f"{status} {'Created' if status == 201 else 'OK'}",
                        "location": f"{place}/_history/1",
                        "lastModified": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    }
                }
            )
        self._received(document, 200, created=counts[201], replaced=counts[200])
        return _fhir({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    async def _put(self, request: Request) -> Response:
        document = await _body(request)
        refusal = await self._refusal(document, "collection")
        if refusal is not None:
            return refusal
        if document.get("id") != request.path_params["key"]:
            return _outcome(400, ["The id in the address is not that of the Bundle."])
        status, place = self._keep(document)
        self._received(document, status, created=int(status == 201), replaced=int(status == 200))
        return _fhir(document, status, {"Location": f"/fhir/{place}"})

    async def _read(self, request: Request) -> Response:
        place = f"{request.path_params['kind']}/{request.path_params['key']}"
        resource = self.resources.get(place)
        return _outcome(404, ["There is no such resource."]) if resource is None else _fhir(resource)

    async def _refusal(self, document: Any, expected_type: str) -> Response | None:
        if self._statuses:
            status = self._statuses.pop(0)
            self._received(document, status)
            return _outcome(status, ["As the emulator was told to."])
        if document is None:
            self._received(document, 400, found=["The body is no JSON, or too large."])
            return _outcome(400, ["The body is no JSON, or too large."])
        found = await asyncio.to_thread(self._check, document)
        if not found and document.get("type") != expected_type:
            found = [f"Expected a Bundle of type {expected_type} here."]
        if not found:
            return None
        self._received(document, 422, found=found)
        return _outcome(422, found)

    def _keep(self, resource: Json) -> tuple[int, str]:
        place = f"{resource['resourceType']}/{resource['id']}"
        status = 200 if place in self.resources else 201
        self.resources[place] = resource
        while len(self.resources) > _KEPT:
            self.resources.popitem(last=False)
        return status, place

    def _received(
        self, document: Any, status: int, *, created: int = 0, replaced: int = 0, found: Sequence[str] = ()
    ) -> None:
        entries = document.get("entry") if isinstance(document, dict) and status < 300 else None
        self._tell(
            ReceivedBundle(
                bundle_type=str(document.get("type")) if isinstance(document, dict) else "",
                status=status,
                created=created,
                replaced=replaced,
                problems=tuple(found),
                resources=tuple(entry["resource"] for entry in entries or ()),
            )
        )


async def _body(request: Request) -> Any:
    """The JSON of a request; None where it is none or too large, whatever its headers say."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _fhir(document: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), status, headers, MEDIA_TYPE)


def _outcome(status: int, texts: Sequence[str]) -> Response:
    code = "not-found" if status == 404 else "transient" if status in (429, 503) else "invalid"
    issues = [{"severity": "error", "code": code, "diagnostics": text} for text in texts]
    return _fhir({"resourceType": "OperationOutcome", "issue": issues}, status)
