"""Uvicorn's HTTP protocol, with bounds on time and size that it has none for.

Uvicorn on httptools waits for the headers of a request, and for a client to read an answer, as long as the
client likes; it keeps header lines of any length while they arrive, and takes as many connections as come.
Its own limits are of its other parser (``h11_max_incomplete_event_size``), or refuse probes as well
(``limit_concurrency``).
"""

import asyncio
import re
from typing import Any, Final
from urllib.parse import urlsplit

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from orchestrator.domain import DISCLAIMER

MAX_HEADER_BYTES: Final = 32 * 2**10
"""Of the request line and all headers; of trailers, and of what frames the chunks of a body, likewise."""

MAX_HEADERS: Final = 100
MAX_PIPELINED: Final = 8

_TOO_LARGE: Final = (431, "Request Header Fields Too Large", "The headers of the request are too large.")
_TOO_SLOW: Final = (408, "Request Timeout", "The request did not arrive in time.")
_UNKNOWN_CODING: Final = (501, "Not Implemented", "This transfer coding is not known here; chunked is.")
_MALFORMED: Final = (400, "Bad Request", "This is not HTTP that can be read.")

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+;=%-]*)(:[0-9]*)?")
"""A name or an address, and a port (RFC 3986, 3.2.2); no list, which RFC 3986 would take for one name."""

_SINGLE: Final = frozenset(
    {
        *(b"host", b"authorization", b"x-api-key", b"content-type", b"content-encoding"),
        *(b"idempotency-key", b"x-request-timeout-ms", b"inference-header-content-length"),
    }
)
"""Headers that say one thing: of two another part of the way might have taken the other."""

Refusal = tuple[int, str, str]


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    While a request is being answered nothing here ends it: its own deadline does. Between requests, and while
    one arrives whose answer is not awaited, a clock runs for ``header_timeout_s``. A client who does not read
    what is sent to them is cut off when nothing has moved for ``send_timeout_s``.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        header_timeout_s: float = 10.0,
        send_timeout_s: float = 30.0,
        max_connections: int = 900,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timeout_s = header_timeout_s
        self._send_timeout_s = send_timeout_s
        self._max_connections = max_connections
        self._sending: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_message = False
        """Whether the headers of a request are complete and its body is not."""
        self._unaccounted_bytes = 0
        """Received since something was understood: since then they are headers, or trailers, or nothing."""
        self._header_bytes = 0
        self._single: dict[bytes, bytes] = {}
        self._codings: list[bytes] = []
        self._refusal = _MALFORMED

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock, or turn one connection too many away."""
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            transport.abort()
            return
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        if self._sending is not None:
            self._sending.cancel()
        self._disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless it is too much that means nothing."""
        if not self._in_message or self._is_answered():
            self._start_clock()
        self._unaccounted_bytes += len(data)
        super().data_received(data)
        if self._unaccounted_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request line begins."""
        super().on_message_begin()
        self._header_bytes = 0
        self._single, self._codings = {}, []

    def on_url(self, url: bytes) -> None:
        """Part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count(len(name) + len(value) + 4)
        if self._in_message:
            return  # a trailer: uvicorn would add it to the headers of a request that is being answered
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = _TOO_LARGE
            raise ValueError("too many headers")
        if (known := name.lower()) in _SINGLE:
            if known in self._single:
                raise ValueError("a header twice")
            self._single[known] = value.strip()
        elif known == b"transfer-encoding":
            self._codings += [coding.strip().lower() for coding in value.split(b",")]
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the request's own deadline counts."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")
        self._check_host()
        self._check_framing()
        self._stop_clock()
        self._in_message = True
        self._unaccounted_bytes = self._header_bytes = 0
        super().on_headers_complete()

    def _check_host(self) -> None:
        """RFC 9112, 3.2."""
        host = self._single.get(b"host")
        if host is None and self._is_http_1_1():
            raise ValueError("no Host")
        host = host or b""
        if not _HOST.fullmatch(host):
            raise ValueError("a Host that is no name")
        # The absolute form has the name once more, and there it is the one that counts (3.2.2).
        if self.url[:1] not in (b"/", b"*") and urlsplit(self.url).netloc.lower() != host.lower():
            raise ValueError("another name than Host")

    def _check_framing(self) -> None:
        """RFC 9112, 6.1 and 6.3: where a body ends that is not chunked nobody knows."""
        if not self._codings:
            return
        if self._codings[-1] != b"chunked" or not self._is_http_1_1():
            raise ValueError("no end of the body")
        if len(self._codings) > 1:
            self._refusal = _UNKNOWN_CODING
            raise ValueError("unknown transfer coding")

    def _is_http_1_1(self) -> bool:
        return bool(self.parser.get_http_version() == "1.1")

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._unaccounted_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._stop_clock()
        self._in_message = False
        self._unaccounted_bytes = self._header_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._watch_sending()

    def on_response_complete(self) -> None:
        """The answer is written, but perhaps not sent."""
        super().on_response_complete()
        self._watch_sending()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _abort(self) -> None:
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Tell the request that is being answered; uvicorn tells the last of the pipelined ones alone."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _watch_sending(self) -> None:
        if self._sending is None and (unsent := self.transport.get_write_buffer_size()):
            self._unsent_bytes = unsent
            self._sending = self.loop.call_later(self._send_timeout_s, self._look_at_sending)

    def _look_at_sending(self) -> None:
        self._sending = None
        if self.transport.get_write_buffer_size() >= self._unsent_bytes:
            self._abort()  # closing would wait for the client to read
        else:
            self._watch_sending()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's signature)
        """Answer what cannot be parsed; uvicorn's text would say nothing more."""
        self._refuse(self._refusal)

    def _count(self, received_bytes: int) -> None:
        self._header_bytes += received_bytes
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refusal = _TOO_LARGE
            raise ValueError("headers too large")

    def _is_answered(self) -> bool:
        """Whether nobody waits for what still arrives."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def _start_clock(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._header_timeout_s, self._out_of_time)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _out_of_time(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if not self._is_answered():  # a further request drips in behind one that is being answered
            self._start_clock()
        elif self._in_message:  # answered already; the rest of the body is of no use to anybody
            self._abort()
        else:
            self._refuse(_TOO_SLOW)

    def _refuse(self, refusal: Refusal) -> None:
        """A last answer, before there is a request that could be answered; then the end of the connection."""
        self._stop_clock()
        if not self._is_answered():
            self._abort()  # between the bytes of another answer this one would be part of it
            return
        status, title, detail = refusal
        document = (
            f'{{"type": "about:blank", "title": "{title}", "status": {status}, "detail": "{detail}", '
            f'"disclaimer": "{DISCLAIMER}"}}'
        )
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(document)}\r\ncache-control: no-store\r\n"
            "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write((head + document).encode("ascii"))
        self.transport.close()
        self._watch_sending()
