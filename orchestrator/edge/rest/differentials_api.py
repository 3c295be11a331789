"""Differentials over HTTP: many images of one specimen in, and everything that is done with them."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final, Literal, cast

from fastapi import Header, Path, Query
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator import errors
from orchestrator.analyse import Services
from orchestrator.documents.differential import DifferentialResult, DifferentialSummary
from orchestrator.domain import Box
from orchestrator.edge.access.needs import ADMIN, ORDER, READ, REVIEW, SIGN, UPLOAD
from orchestrator.edge.admission import BUSY_RETRY_S
from orchestrator.edge.http import problems
from orchestrator.edge.http.access import acting_person
from orchestrator.edge.http.bodies import json_schema, read_json
from orchestrator.edge.http.endpoint import Endpoint, TimeoutMs
from orchestrator.edge.http.uploads import FILES_FIELD, ZIP_SIGNATURE, UploadLimits, Uploads, read_uploads
from orchestrator.edge.http.zip_archive import is_archive, unpack
from orchestrator.edge.orders import (
    IDEMPOTENCY_KEY,
    OrderLimits,
    PersonName,
    max_image_bytes,
    order_of,
    require_sizes,
)
from orchestrator.edge.request_frame import Deadlines, within
from orchestrator.edge.rest.differential_openapi import EVENTS, LOCATION, order_form
from orchestrator.edge.rest.differential_schemas import (
    AddedCellBody,
    AddendumBody,
    AssignmentBody,
    AuditTrail,
    CommentBody,
    DecisionBody,
    DifferentialPage,
    LabelList,
    ProgressEvent,
)
from orchestrator.edge.rest.shown_image import image_response
from orchestrator.edge.spool import MEMORY_BYTES, Spooled
from orchestrator.errors import (
    FieldProblem,
    InvalidParameter,
    MalformedUpload,
    UnsupportedBody,
    UploadTimeout,
    UploadTooLarge,
)
from orchestrator.specimen import (
    Differential,
    ImageKind,
    SpecimenSearch,
    SpecimenSort,
    SpecimenState,
)
from orchestrator.specimens.service import Progress, Specimens

PATH: Final = "/v1/differentials"
LABELS_PATH: Final = "/v1/labels"
_ONE: Final = f"{PATH}/{{differential_id}}"
_CELL: Final = f"{_ONE}/cells/{{cell_id}}"

MAX_STREAMS: Final = 100
"""Streams of progress that are open at a time; each looks into the store every second."""

STALLED_S: Final = 10.0
"""How much longer than its stream may get one is waited for who does not read it."""

_RECONNECT_MS: Final = 2000

_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
"""Of ours, which hold neither a comma nor anything beyond ASCII."""

DifferentialIdPath = Annotated[str, Path(max_length=64)]
CellIdPath = Annotated[str, Path(max_length=64)]
WithCells = Annotated[bool, Query(description="Whether the answer lists every cell.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=IDEMPOTENCY_KEY,
        description="The same order sent again under the same key is answered with the first one's "
        "differential, and analysed once.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        max_length=1000,
        description="What the caller saw: the `ETag` of the differential, or the `etag` of the cell in "
        "quotes, or several. Refused with 412 where none is current; any state will do where absent.",
        examples=['"cell-1"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        max_length=1000,
        description="The `ETag` of what the caller has; answered with 304 where it is still so.",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(max_length=64, description="What a client that reconnects has seen last; sent by browsers."),
]


class EventStream(EventSourceResponse):
    """A response of ``events``, which are closed with it, whatever ends it.

    A client who takes a byte now and then is not cut off by the server's clock on unread answers, and holds
    the source at the event that they do not take. So the whole response has ``longest_s`` seconds; a source
    that ends by itself before that lets those who read see a clean end.
    """

    def __init__(self, events: AsyncGenerator[bytes], longest_s: float) -> None:
        super().__init__(events, headers={"X-Accel-Buffering": "no"})  # nginx would collect events
        self._events = events
        self._longest_s = longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, for as long as it may last."""
        async with aclosing(self._events):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._longest_s):
                    await super().__call__(scope, receive, send)


class DifferentialsApi:
    """The endpoints, bound to the use cases."""

    def __init__(
        self, specimens: Specimens, services: Services, limits: OrderLimits, deadlines: Deadlines
    ) -> None:
        self._specimens = specimens
        self._deadlines = deadlines
        self._services = services
        self._uploads = UploadLimits(
            max_file_bytes=max(services.decode_limits.max_bytes, services.field_limits.max_bytes),
            max_total_bytes=limits.max_total_bytes,
            max_files=limits.max_files,
            file_field=FILES_FIELD,
            archives=True,
            memory_bytes=MEMORY_BYTES,
        )
        self._limits = limits
        self._orders = limits.places()
        self._streams = 0

    async def order(
        self,
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        cells: WithCells = True,
    ) -> DifferentialResult:
        """Order the differential of one specimen.

        Many images in the field `files`, or one zip of them. The answer comes as soon as all of it is kept;
        `Location` says where its progress and result are. An image that cannot be analysed is a failed cell
        with the reason, and fails nothing else.
        """
        with self._orders.taken():
            uploads = await read_uploads(request, self._uploads, self._limits.upload_timeout_s)
            order = order_of({name: value for name, value in uploads.fields.items() if value}, self._services)
            payloads = await self._images(uploads, order.kind)
            require_sizes(payloads.sizes(), order.kind, self._services)
            del uploads  # the archive, of which each image is a copy, or nothing
            differential, created = await self._specimens.order(
                order, payloads, acting_person(request), idempotency_key
            )
        # Relative to this request: a proxy may have taken a prefix off the path that the caller sees.
        collection = PATH.rpartition("/")[2]
        response.headers["Location"] = f"{collection}/{differential.specimen.differential_id}"
        if not created:
            response.headers["Idempotent-Replayed"] = "true"
        return _told(differential, response, cells)

    async def page(
        self,
        request: Request,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[
            str | None,
            Query(max_length=200, description="The `next_cursor` of the page before; it is of its `sort`."),
        ] = None,
        specimen_id: Annotated[
            str | None, Query(max_length=64, description="Only of this laboratory's name of the specimen.")
        ] = None,
        state: Annotated[
            tuple[SpecimenState, ...],
            Query(max_length=5, description="Only in this state; may be repeated."),
        ] = (),
        created_from: Annotated[
            AwareDatetime | None, Query(description="Only ordered at this time or later.")
        ] = None,
        created_before: Annotated[AwareDatetime | None, Query(description="Only ordered earlier.")] = None,
        text: Annotated[
            str | None,
            Query(
                max_length=64,
                description="Only of this laboratory's name, or of an order whose id begins so (4 characters "
                "or more).",
            ),
        ] = None,
        assignee: Annotated[
            PersonName | Literal[""] | None, Query(description="Only taken by; empty: by nobody.")
        ] = None,
        mine: Annotated[bool, Query(description="Only taken by who asks.")] = False,
        needs_review: Annotated[
            bool, Query(description="Only with cells that wait for a person, neither signed nor cancelled.")
        ] = False,
        sort: Annotated[
            SpecimenSort,
            Query(
                description="By the time of the order, by how many cells wait for a person, or by state "
                "(analysed, running, waiting, signed, cancelled); with a minus downwards."
            ),
        ] = "-created",
        if_none_match: IfNoneMatch = None,
    ) -> DifferentialPage | Response:
        """List differentials, the newest first: all, or those that are looked for."""
        person = acting_person(request)
        search = SpecimenSearch(
            specimen_id,
            state,
            _in_utc("created_from", created_from),
            _in_utc("created_before", created_before),
            text,
            person if mine else assignee,
            needs_review,
        )
        summaries, following = await self._specimens.page(limit, cursor, search, sort)
        page = DifferentialPage(
            items=[DifferentialSummary.model_validate(summary) for summary in summaries],
            next_cursor=following,
            person=person,
        )
        etag = hashlib.sha256(page.model_dump_json().encode()).hexdigest()[:32]
        if _is_known(if_none_match, etag):
            return _unchanged(etag)
        response.headers["ETag"] = f'"{etag}"'
        return page

    async def labels(self) -> LabelList:
        """What a person may call a cell: the model's five classes, the words beside them, and a site's own.

        The model tells its five classes apart and no other: the rest is for people.
        """
        return LabelList.model_validate({"labels": list(self._specimens.labels)})

    async def get(
        self,
        response: Response,
        differential_id: DifferentialIdPath,
        cells: WithCells = True,
        if_none_match: IfNoneMatch = None,
    ) -> DifferentialResult | Response:
        """Get the differential as it is now.

        Counts, percentages with exact 95 % intervals, flags, the list of cells to review, and what limits
        them.
        """
        if if_none_match is not None:
            etag = await self._specimens.etag(differential_id)
            if _is_known(if_none_match, etag):
                return _unchanged(etag)
        return _told(await self._specimens.get(differential_id), response, cells)

    async def events(
        self, differential_id: DifferentialIdPath, last_event_id: LastEventId = None
    ) -> Response:
        """Progress as server-sent events.

        `progress` where the analysis stands, at once and after each change; `done` when all cells are
        analysed or the order is cancelled; then the stream ends, and who reconnects with the id of `done`
        gets a 204. A stream also ends, without `done`, after some minutes (`WBC_DIFFERENTIAL__MAX_STREAM_S`):
        an `EventSource` reconnects by itself.
        """
        now = Progress.of((await self._specimens.get(differential_id)).specimen)
        if now.ended and last_event_id == _event_id(now):
            return Response(status_code=204)
        if self._streams >= MAX_STREAMS:
            raise errors.Overloaded(f"{self._streams} streams of progress are open.", BUSY_RETRY_S)
        longest_s = self._limits.max_stream_s
        return EventStream(self._events(differential_id, longest_s), longest_s + STALLED_S)

    async def cancel(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
    ) -> DifferentialResult:
        """End an order unfinished; what is analysed stays, and nothing is analysed any more."""
        person, seen = acting_person(request), _seen(request, if_match)
        differential = await self._specimens.cancel(differential_id, person, seen)
        return _told(differential, response, cells)

    async def add_cell(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        field_id: CellIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
        timeout_ms: TimeoutMs = None,
    ) -> DifferentialResult:
        """Add a white cell that was missed in a field.

        The cell in the box is analysed, and joins the specimen with the next number, its `place` saying who
        added it; the answer is the differential that follows. It needs the image of the field: the service
        has it where it keeps images. Of what is no white cell decide `Artefact` instead.
        """
        async with within(self._deadlines.seconds(timeout_ms)):
            box = Box(**(await read_json(request, AddedCellBody)).model_dump())
            differential = await self._specimens.add_cell(
                differential_id, field_id, box, acting_person(request), _seen(request, if_match)
            )
        return _told(differential, response, cells)

    async def decide(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cell_id: CellIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
    ) -> DifferentialResult:
        """Accept or reclassify a cell; the answer is the differential that follows from it."""
        decision = await read_json(request, DecisionBody)
        differential = await self._specimens.decide(
            differential_id, cell_id, decision.label, acting_person(request), _seen(request, if_match)
        )
        return _told(differential, response, cells)

    async def undecide(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cell_id: CellIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
    ) -> DifferentialResult:
        """Take a decision about a cell back."""
        differential = await self._specimens.undecide(
            differential_id, cell_id, acting_person(request), _seen(request, if_match)
        )
        return _told(differential, response, cells)

    async def assign(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cells: WithCells = True,
    ) -> DifferentialResult:
        """Take a specimen to review it, hand it over, or give it back.

        It tells others who is at it, and keeps nobody from deciding and signing.
        """
        said = await read_json(request, AssignmentBody)
        differential = await self._specimens.assign(
            differential_id, said.assignee, acting_person(request), said.instead_of
        )
        return _told(differential, response, cells)

    async def comment(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
    ) -> DifferentialResult:
        """Write something about the specimen, or about one of its cells, before the signature."""
        said, person = await read_json(request, CommentBody), acting_person(request)
        differential = await self._specimens.comment(
            differential_id, said.text, person, said.cell_id, _seen(request, if_match)
        )
        return _told(differential, response, cells)

    async def add(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
    ) -> DifferentialResult:
        """Add to a signed differential; what was signed stays as it is."""
        said, person = await read_json(request, AddendumBody), acting_person(request)
        differential = await self._specimens.add(differential_id, said.text, person, _seen(request, if_match))
        return _told(differential, response, cells)

    async def sign(
        self,
        request: Request,
        response: Response,
        differential_id: DifferentialIdPath,
        cells: WithCells = True,
        if_match: IfMatch = None,
    ) -> DifferentialResult:
        """Sign, which closes the differential: no decision changes it any more."""
        person, seen = acting_person(request), _seen(request, if_match)
        differential = await self._specimens.sign(differential_id, person, seen)
        return _told(differential, response, cells)

    async def image(self, differential_id: DifferentialIdPath, cell_id: CellIdPath) -> Response:
        """The image of a cell as it was sent, where the service keeps images; of DICOM its pixels, as PNG."""
        payload = await self._specimens.image(differential_id, cell_id)
        if payload is None:
            raise errors.ImageNotKept("Images are not kept here, or not any more.")
        return await image_response(payload)

    async def audit(self, differential_id: DifferentialIdPath) -> AuditTrail:
        """Who did what with this specimen, the earliest first."""
        return AuditTrail.model_validate({"entries": await self._specimens.audit(differential_id)})

    async def _images(self, uploads: Uploads, kind: ImageKind) -> Spooled:
        """Of the form, or of the one archive in it."""
        files = cast("Spooled", uploads.files)
        if not any(is_archive(files.start(number, len(ZIP_SIGNATURE))) for number in range(len(files))):
            return files
        if len(files) > 1:
            raise MalformedUpload("Send either images or one zip archive of them, not both.")
        limits = replace(self._uploads, max_file_bytes=max_image_bytes(kind, self._services))
        return await asyncio.to_thread(unpack, files.opened(0), limits)

    async def _events(self, differential_id: str, longest_s: float) -> AsyncGenerator[bytes]:
        self._streams += 1
        try:
            async with aclosing(self._specimens.progress(differential_id, longest_s=longest_s)) as told:
                async for progress in told:
                    if progress is None:
                        yield KEEPALIVE_COMMENT
                        continue
                    yield format_sse_event(
                        data_str=ProgressEvent.model_validate(progress).model_dump_json(),
                        event="done" if progress.ended else "progress",
                        id=_event_id(progress),
                        retry=_RECONNECT_MS,
                    )
        except Exception as error:  # the status is sent: all that is left is to say so
            yield format_sse_event(data_str=problems.document_of(error), event="error")
        finally:
            self._streams -= 1


def _in_utc(field: str, time: datetime | None) -> datetime | None:
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError as error:
        raise InvalidParameter(FieldProblem(field, "there is no such time")) from error


def _seen(request: Request, if_match: str | None) -> Collection[str] | None:
    """Of all lines of the header, which are one list (RFC 9110, 5.3)."""
    return None if if_match is None else seen_of(",".join(request.headers.getlist("If-Match")))


def seen_of(if_match: str | None) -> Collection[str] | None:
    """The names of states in an ``If-Match`` (RFC 9110, 13.1.1), of which weak ones match nothing; None where
    any state will do.

    Raises :class:`~orchestrator.errors.InvalidParameter` where it is not such a list.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [
        part.strip() for part in if_match.split(",") if part.strip()
    ]  # empty ones count for nothing (5.6.1)
    if not tags or not all(map(_ENTITY_TAG.fullmatch, tags)):
        raise InvalidParameter(FieldProblem("If-Match", 'expected entity tags such as "17", or *'))
    return [tag.strip('"') for tag in tags if not tag.startswith("W/")]


def _is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether it names this state (RFC 9110, 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return not tags.isdisjoint({f'"{etag}"', "*"})


def _unchanged(etag: str) -> Response:
    return Response(status_code=304, headers={"ETag": f'"{etag}"'})


def _told(differential: Differential, response: Response, cells: bool) -> DifferentialResult:
    response.headers["ETag"] = f'"{differential.specimen.etag}"'
    return DifferentialResult.of(differential, cells=cells)


def _event_id(progress: Progress) -> str:
    return f"{progress.state}-{progress.analysed + progress.failed}"


_UNCHANGED: Final[Mapping[int | str, Mapping[str, str]]] = {
    304: {"description": "It is still as the caller has it."}
}
_READ_PROBLEMS: Final = (errors.UnknownDifferential, InvalidParameter, errors.StoreUnavailable)
_CHECKED_PROBLEMS: Final = (*_READ_PROBLEMS, errors.RecordAltered)
_CHANGE_PROBLEMS: Final = (*_CHECKED_PROBLEMS, errors.SpecimenClosed)
_DECISION_PROBLEMS: Final = (*_CHANGE_PROBLEMS, errors.ChangedMeanwhile)
_ADDING_PROBLEMS: Final = (
    errors.UnknownCell,
    errors.ImageNotKept,
    errors.CountedAlready,
    errors.NotReady,
    errors.UnknownProfile,
    UploadTooLarge,
    errors.Overloaded,
    errors.DeadlineExceeded,
    errors.ModelServerUnavailable,
    errors.ModelServerTimeout,
    errors.ModelServerError,
)
_COMMENT_PROBLEMS: Final = (
    *_DECISION_PROBLEMS,
    errors.NotReady,
    errors.TooManyComments,
    UploadTooLarge,
)
_ORDER_PROBLEMS: Final = (
    MalformedUpload,
    UploadTimeout,
    errors.ImageTooLarge,
    UploadTooLarge,
    UnsupportedBody,
    InvalidParameter,
    errors.IdempotencyConflict,
    errors.RecordAltered,
    errors.Overloaded,
    errors.StoreUnavailable,
)


def differential_routes(
    specimens: Specimens,
    services: Services,
    limits: OrderLimits = OrderLimits(),
    deadlines: Deadlines = Deadlines(),
) -> list[Endpoint]:
    """The routes, for the application's list."""
    api = DifferentialsApi(specimens, services, limits, deadlines)
    one, cell = _ONE, _CELL
    route = partial(Endpoint, tags=["differentials"])
    return [
        route(
            "POST",
            PATH,
            api.order,
            UPLOAD,
            name="order_differential",
            refusals=_ORDER_PROBLEMS,
            status_code=202,
            response_description="The order is kept; its cells wait to be analysed.",
            responses={202: {"headers": LOCATION}},
            openapi_extra={"requestBody": order_form()},
        ),
        route(
            "GET",
            PATH,
            api.page,
            READ,
            name="list_differentials",
            refusals=_READ_PROBLEMS,
            response_model=DifferentialPage,
            responses=_UNCHANGED,
        ),
        route("GET", LABELS_PATH, api.labels, READ, name="list_labels"),
        route(
            "GET",
            one,
            api.get,
            READ,
            name="get_differential",
            refusals=_CHECKED_PROBLEMS,
            response_model=DifferentialResult,
            responses=_UNCHANGED,
        ),
        route(
            "GET",
            f"{one}/events",
            api.events,
            READ,
            name="follow_differential",
            refusals=(*_CHECKED_PROBLEMS, errors.Overloaded),
            response_class=Response,
            responses={200: EVENTS, 204: {"description": "The last event is known already."}},
        ),
        route(
            "POST",
            f"{one}/cancel",
            api.cancel,
            ORDER,
            name="cancel_differential",
            refusals=_DECISION_PROBLEMS,
        ),
        route(
            "POST",
            f"{one}/fields/{{field_id}}/cells",
            api.add_cell,
            REVIEW,
            name="add_cell",
            refusals=(*_DECISION_PROBLEMS, *_ADDING_PROBLEMS),
            openapi_extra={"requestBody": json_schema(AddedCellBody)},
        ),
        route(
            "POST",
            f"{cell}/decision",
            api.decide,
            REVIEW,
            name="decide_cell",
            refusals=(*_DECISION_PROBLEMS, errors.UnknownCell, errors.CountedAlready, UploadTooLarge),
            openapi_extra={"requestBody": json_schema(DecisionBody)},
        ),
        route(
            "DELETE",
            f"{cell}/decision",
            api.undecide,
            REVIEW,
            name="undecide_cell",
            refusals=(*_DECISION_PROBLEMS, errors.UnknownCell),
        ),
        route(
            "POST",
            f"{one}/assign",
            api.assign,
            REVIEW,
            name="assign_differential",
            refusals=(*_DECISION_PROBLEMS, UploadTooLarge),
            openapi_extra={"requestBody": json_schema(AssignmentBody)},
        ),
        route(
            "POST",
            f"{one}/comments",
            api.comment,
            REVIEW,
            name="comment_on_differential",
            refusals=(*_COMMENT_PROBLEMS, errors.UnknownCell),
            openapi_extra={"requestBody": json_schema(CommentBody)},
        ),
        route(
            "POST",
            f"{one}/addenda",
            api.add,
            SIGN,
            name="add_to_differential",
            refusals=_COMMENT_PROBLEMS,
            openapi_extra={"requestBody": json_schema(AddendumBody)},
        ),
        route(
            "POST",
            f"{one}/sign",
            api.sign,
            SIGN,
            name="sign_differential",
            refusals=(*_DECISION_PROBLEMS, errors.NotReady),
        ),
        route(
            "GET",
            f"{cell}/image",
            api.image,
            READ,
            name="cell_image",
            refusals=(*_CHECKED_PROBLEMS, errors.UnknownCell, errors.ImageNotKept),
            response_class=Response,
            responses={200: {"description": "The file.", "content": {"image/*": {}}}},
        ),
        route("GET", f"{one}/audit", api.audit, ADMIN, name="differential_audit", refusals=_READ_PROBLEMS),
    ]


def without_store(route: Endpoint) -> Endpoint:
    """The same route where nothing is kept: it says how that is changed."""
    return Endpoint(route.method, route.path, _store_off, route.needs, include_in_schema=False)


async def _store_off(_: Request) -> Response:
    raise errors.StoreOff("Differentials need a store, and this service has none: set WBC_STORE__URL.")
