"""An HTTP server that answers what it was told to, for clients of other systems."""

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class SentRequest(NamedTuple):
    """What the server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answers = Sequence[tuple[int, dict[str, str], bytes]]


@contextmanager
def scripted(answers: Answers, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[SentRequest]]]:
    """A server that gives these answers, one each, and the requests that it got."""
    requests: list[SentRequest] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            requests.append(SentRequest(self.command, self.path, dict(self.headers), data))
            status, headers, body = left.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST  # noqa: N815 (the name that the base class wants)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/base", requests
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
