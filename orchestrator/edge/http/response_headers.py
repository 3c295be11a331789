"""The headers of every answer that tell a browser what it must not do with it.

A page sets a policy of its own; what is no page may load, run and be framed nowhere.
"""

from typing import Final

from starlette.datastructures import MutableHeaders

SECURITY_HEADERS: Final = {
    # Results are health data: kept by nobody on the way.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers older than frame-ancestors
}

HSTS: Final = "max-age=31536000"
"""A year, RFC 6797. Not for subdomains: what runs there is not this service's to say."""

CORS_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

CORS_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout-Ms",
    "traceparent",
)

CORS_ANSWER_HEADERS: Final = (
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)


_RAW: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_RAW_WITH_TLS: Final = [*_RAW, (b"strict-transport-security", HSTS.encode())]


def harden(headers: MutableHeaders, scheme: str) -> None:
    """Add what is not set; ``scheme`` is how the caller has reached this service."""
    is_set = {name for name, _ in headers.raw}
    # A browser that hears of HSTS without TLS must ignore it.
    wanted = _RAW_WITH_TLS if scheme == "https" else _RAW
    headers.raw.extend([header for header in wanted if header[0] not in is_set])
