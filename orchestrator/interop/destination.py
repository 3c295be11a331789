"""Where a message is sent to, as one address: ``mllp://lis:2575``, ``mllps://…``, ``https://server/fhir``."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from orchestrator.errors import ConfigurationError
from orchestrator.interop.mllp import DEFAULT_PORT

Scheme = Literal["mllp", "mllps", "http", "https"]


@dataclass(frozen=True, slots=True)
class Destination:
    """An address that was understood: ``url`` is the whole of it, for HTTP."""

    scheme: Scheme
    host: str
    port: int
    url: str


def parse_destination(address: str) -> Destination:
    """Understand an address.

    Raises :class:`~orchestrator.errors.ConfigurationError` where it is none of the four, or holds a password:
    command lines are seen by every user of a machine.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError("the address to send to has no valid port") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("expected an address without a user: name a file with a token instead")
    for scheme, usual_port in _PORTS:
        if parts.scheme == scheme and parts.hostname:
            return Destination(scheme, parts.hostname, port or usual_port, address)
    raise ConfigurationError("expected mllp://host:port, mllps://host:port, http://host/path or https://…")


_PORTS: tuple[tuple[Scheme, int], ...] = (
    ("mllp", DEFAULT_PORT),
    ("mllps", DEFAULT_PORT),
    ("http", 80),
    ("https", 443),
)
