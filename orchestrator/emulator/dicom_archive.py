"""A small DICOMweb archive that takes objects by STOW-RS, checks them, and gives them back while it runs.

Reference: DICOM PS3.18, 10.5 (store), 10.6 (search) and 10.4 (retrieve). Needs the extra ``dicom``.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.emulator.dicom_check import CheckedObject, checked_object

MAX_BYTES: Final = 64 * 2**20
_KEPT: Final = 200
_MEDIA_TYPE: Final = "application/dicom"
_JSON: Final = "application/dicom+json"
_BOUNDARY: Final = "emulated-archive-5b1f0c"

Attributes = dict[str, Any]
"""A data set in the JSON model (PS3.18, annex F)."""

CANNOT_UNDERSTAND: Final = 0xC000
"""Failure reason (PS3.18, table 10.5.3-2)."""


class DicomArchive:
    """Takes objects at ``/dicom-web/studies``.

    ``statuses`` are the answers to the first requests, such as 503, before it answers as it should; ``tell``
    sees every object before the request is answered. What has a problem is refused; a second object under
    an identifier takes the place of the first.
    """

    def __init__(
        self, statuses: Sequence[int] = (), tell: Callable[[CheckedObject], None] = lambda _: None
    ) -> None:
        self._statuses = list(statuses)
        self._tell = tell
        self.objects: OrderedDict[str, CheckedObject] = OrderedDict()

    def app(self) -> Starlette:
        """The routes: store, with or without a study; search for instances; retrieve one of them."""
        return Starlette(
            routes=[
                Route("/dicom-web/studies", self._store, methods=["POST"]),
                Route("/dicom-web/studies/{study}", self._store, methods=["POST"]),
                Route("/dicom-web/instances", self._search),
                Route("/dicom-web/studies/{study}/series/{series}/instances/{instance}", self._retrieve),
            ]
        )

    async def _store(self, request: Request) -> Response:
        if self._statuses:
            return Response(status_code=self._statuses.pop(0))
        kind, parameters = parse_options_header(request.headers.get("content-type"))
        boundary = parameters.get(b"boundary")
        if kind != b"multipart/related" or parameters.get(b"type") != _MEDIA_TYPE.encode() or not boundary:
            return Response(f'expected multipart/related; type="{_MEDIA_TYPE}"', 415)
        body = await _body(request)
        if body is None:
            return Response(f"at most {MAX_BYTES} bytes", 413)
        try:
            parts = _parts(body, boundary)
        except MultipartParseError:
            parts = []
        if not parts:
            return Response("expected a body of parts, each a DICOM file", 400)
        expected_study = request.path_params.get("study")
        stored: list[Attributes] = []
        failed: list[Attributes] = []
        for data in parts:
            one = await asyncio.to_thread(checked_object, data)
            if expected_study not in (None, one.study):
                one = one.with_problem("The study is not that of the address.")
            (failed if one.problems else stored).append(_item(one))
            if not one.problems:
                self._keep(one)
            self._tell(one)
        document: Attributes = {}
        if stored:
            document["00081199"] = {"vr": "SQ", "Value": stored}
        if failed:
            document["00081198"] = {"vr": "SQ", "Value": failed}
        status = 200 if not failed else 202 if stored else 409
        return Response(json.dumps(document), status, media_type=_JSON)

    async def _search(self, request: Request) -> Response:
        study, instance = (request.query_params.get(f"{name}InstanceUID") for name in ("Study", "SOP"))
        found = [
            _attributes(one)
            for one in self.objects.values()
            if study in (None, one.study) and instance in (None, one.instance)
        ]
        return Response(json.dumps(found), media_type=_JSON)

    async def _retrieve(self, request: Request) -> Response:
        one = self.objects.get(request.path_params["instance"])
        place = (request.path_params["study"], request.path_params["series"])
        if one is None or (one.study, one.series) != place:
            return Response("there is no such instance", 404)
        head = f"--{_BOUNDARY}\r\nContent-Type: {_MEDIA_TYPE}\r\n\r\n".encode()
        body = head + one.data + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return Response(body, media_type=f'multipart/related; type="{_MEDIA_TYPE}"; boundary={_BOUNDARY}')

    def _keep(self, one: CheckedObject) -> None:
        self.objects.pop(one.instance, None)
        self.objects[one.instance] = one
        while len(self.objects) > _KEPT:
            self.objects.popitem(last=False)


async def _body(request: Request) -> bytes | None:
    """All of it; None where it is too large, whatever its headers say."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            return None
    return bytes(data)


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """What stands between the boundaries; raises ``MultipartParseError`` where the body is none of parts."""
    parts: list[bytearray] = []

    def begin() -> None:
        parts.append(bytearray())

    def take(data: bytes, start: int, end: int) -> None:
        parts[-1] += data[start:end]

    parser = MultipartParser(boundary, {"on_part_begin": begin, "on_part_data": take})
    parser.write(body)
    parser.finalize()
    return [bytes(part) for part in parts]


def _item(one: CheckedObject) -> Attributes:
    """Of the list of those that are stored, or of those that are not."""
    item = dict(_uids({"00081150": one.sop_class, "00081155": one.instance}))
    if one.problems:
        item["00081197"] = {"vr": "US", "Value": [CANNOT_UNDERSTAND]}
    return item


def _attributes(one: CheckedObject) -> Attributes:
    uids = {
        "00080016": one.sop_class,
        "00080018": one.instance,
        "0020000D": one.study,
        "0020000E": one.series,
    }
    return dict(_uids(uids)) | {"00080060": {"vr": "CS", "Value": [one.modality]}}


def _uids(values: dict[str, str]) -> Iterator[tuple[str, Attributes]]:
    for tag, value in values.items():
        yield tag, {"vr": "UI", "Value": [value]}
