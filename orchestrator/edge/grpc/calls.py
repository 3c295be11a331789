"""What every gRPC call goes through, whatever it asks for: its name, its trace, its access, and its errors.

All methods are bound as methods that receive a stream. On the wire a single request is a stream of one, and
so a call reads its request when it wants it: one that is refused holds no image.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from orchestrator.edge.access.needs import Needs
from orchestrator.edge.access.rate_limits import peer_name
from orchestrator.edge.access.rules import AccessRules, refusals_counted
from orchestrator.edge.access.security import Principal
from orchestrator.edge.grpc.problems import Refusal
from orchestrator.edge.request_identity import REQUEST_ID_HEADER, adopt_request_id
from orchestrator.errors import MalformedUpload
from orchestrator.observability.tracing import TRACEPARENT, call_span

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

Metadata = Sequence[tuple[str, str]]
"""What a caller sends with a call, by names in lower case, which may repeat."""

SERVICE: Final = "wbc.v1.Analyzer"

LINGER_S: Final = 2.0
LINGER_QUIET_S: Final = 0.5
"""How long the rest of a refused stream is read and dropped, and how long a silence ends that."""

_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
"""Codes of errors that the caller is not to blame for."""


class _Incoming:
    """The messages of one call, as bytes."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._reading = self._ended = False

    async def read(self) -> bytes | None:
        """The next one; None where there are no more. Once it is cancelled, it must not be called again."""
        self._reading = True
        data = await self._context.read()
        self._reading = False
        self._ended = data is grpc.aio.EOF
        return None if self._ended else data

    async def linger(self) -> None:
        """Read on, and drop what comes, for a moment.

        grpc.aio loses the status of a call that ends while it is sending. So who is refused may end their
        message first, as web servers let them (nginx's ``lingering_close``).
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not (self._reading or self._ended):
                    async with asyncio.timeout(LINGER_QUIET_S):
                        await self.read()


@dataclass(frozen=True, slots=True)
class Call(Generic[Request, Response]):
    """One call: who asks, and what they send and get."""

    principal: Principal
    request_id: str
    _incoming: _Incoming
    _context: Any
    _request_type: type[Request]

    def remaining_s(self) -> float | None:
        """Seconds until the deadline that the caller set; None where they set none."""
        remaining: float | None = self._context.time_remaining()
        return remaining

    async def receive(self) -> Request | None:
        """The next message; None where there are no more. Once it is cancelled, it must not be called again.

        Raises:
            MalformedUpload: it cannot be read.
        """
        data = await self._incoming.read()
        if data is None:
            return None
        message: Request = self._request_type()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            package = self._request_type.DESCRIPTOR.file.package
            raise MalformedUpload(f"The message is none of {package}.") from error
        return message

    async def receive_one(self) -> Request:
        """The only message. Raises ``MalformedUpload`` where there is none, or it cannot be read."""
        message = await self.receive()
        if message is None:
            raise MalformedUpload("There is no message.")
        return message

    async def send(self, response: Response) -> None:
        """Send one of several answers; waits while the caller does not read."""
        await self._context.write(response.SerializeToString())


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One method of the service, as it stands in the protos.

    ``answer`` gives its only answer; None where it is one that ``sends_several``, and has sent them.
    """

    name: str
    request_type: type[Request]
    needs: Needs
    answer: Callable[[Call[Request, Response]], Awaitable[Response | None]]
    receives_several: bool = False
    sends_several: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A service beside the product's own: its full name, and its methods."""

    name: str
    methods: Sequence[Method[Any, Any]]


class Calls:
    """Frames the calls of a service, and lets in whom ``access`` admits."""

    def __init__(self, access: AccessRules) -> None:
        self._access = access

    def handlers(self, service: str, methods: Sequence[Method[Any, Any]]) -> grpc.GenericRpcHandler:
        """What a server needs to answer the methods of a service, by its full name."""
        bound: Mapping[str, grpc.RpcMethodHandler] = {
            method.name: self._bound(f"/{service}/{method.name}", method) for method in methods
        }
        return grpc.method_handlers_generic_handler(service, bound)

    def _bound(self, path: str, method: Method[Any, Any]) -> grpc.RpcMethodHandler:
        async def handle(_: Any, context: Any) -> bytes | None:
            return await self._handle(path, method, context)

        # Without (de)serialisers: what cannot be read is then our error, and said in our words.
        if method.sends_several:
            return grpc.stream_stream_rpc_method_handler(handle)
        return grpc.stream_unary_rpc_method_handler(handle)

    async def _handle(self, path: str, method: Method[Any, Any], context: Any) -> bytes | None:
        metadata = _metadata(context.invocation_metadata())
        first = dict(reversed(metadata))
        request_id = adopt_request_id(first.get(REQUEST_ID_HEADER.lower()))
        # In the trailer: once it has seen the head of an answer, a client library may not repeat a call.
        named = ((REQUEST_ID_HEADER.lower(), request_id),)
        context.set_trailing_metadata(named)
        incoming = _Incoming(context)
        with call_span(path, first.get(TRACEPARENT)) as span:
            try:
                peer = peer_name(_address(context.peer()))
                with refusals_counted():
                    principal, _ = await self._access.admitted(metadata, peer, method.needs)
                call: Call[Any, Any] = Call(principal, request_id, incoming, context, method.request_type)
                response = await method.answer(call)
            except Exception as error:
                if context.done() or context.cancelled():  # nobody listens any more
                    raise asyncio.CancelledError from error
                refusal = Refusal.of(error)
                span.answered(refusal.code.value[0], failed=refusal.code in _FAULTS)
            else:
                span.answered(0, failed=False)
                return None if response is None else response.SerializeToString()
        if method.receives_several:
            await incoming.linger()
        status = refusal.rich_status()
        await context.abort(status.code, status.details, (*status.trailing_metadata, *named))
        return None


def _metadata(sent: Any) -> Metadata:
    """What the caller sent as text; binary metadata are not looked at."""
    return [(key.lower(), value) for key, value in sent or () if isinstance(value, str)]


def _address(peer: str) -> str:
    """The address alone of ``ipv4:127.0.0.1:5`` or ``ipv6:%5B::1%5D:5``; empty for other peers."""
    scheme, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if scheme in ("ipv4", "ipv6") else ""
