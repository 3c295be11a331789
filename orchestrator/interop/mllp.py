"""Sends HL7 v2 messages over MLLP, until the receiver says that it has them.

The same bytes are sent in every attempt, and so the same MSH-10: a receiver that took a message whose
acknowledgement was lost knows the repetition. One message is under way at a time; a connection on which
anything went wrong is closed, so that a late acknowledgement cannot be taken for another message's.
"""

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator.errors import MalformedMessage, PeerRefused, PeerUnavailable
from orchestrator.interop.hl7v2_ack import ACCEPTED, REFUSED, Acknowledgement
from orchestrator.interop.hl7v2_text import read
from orchestrator.interop.mllp_frames import Framer, frame

_logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 2575
"""Registered for HL7 at IANA."""

_READ_BYTES: Final = 64 * 1024
_MAX_ACKNOWLEDGEMENT_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often a client tries; all times in seconds.

    Between attempts it waits ``backoff_s``, then twice that, up to ``longest_backoff_s``, each less a random
    part of up to half, so that many clients do not come back at one moment.
    """

    connect_s: float = 5.0
    acknowledgement_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 0.5
    longest_backoff_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, received {self.attempts}")

    def wait_s(self, attempt: int) -> float:
        """After the attempt of this number, from 1."""
        longest: float = min(self.backoff_s * 2.0 ** min(attempt - 1, 30), self.longest_backoff_s)
        return longest * random.uniform(0.5, 1.0)


class MllpClient:
    """A connection to one receiver, made when there is something to send and made anew when it breaks."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        retries: RetryPolicy = RetryPolicy(),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._retries = retries
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter, Framer] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; a later message opens another one."""
        if self._connection is None:
            return
        _, writer, _ = self._connection
        self._connection = None
        writer.close()
        try:
            async with asyncio.timeout(self._retries.connect_s):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()

    async def send(self, message: bytes) -> Acknowledgement:
        """Send one message; returns its acknowledgement, ``AA`` or ``CA``.

        Raises:
            PeerRefused: the receiver answered ``AE``, or ``AR`` to the last attempt.
            PeerUnavailable: no attempt reached the receiver, or none was answered in time.
            MalformedMessage: what is to be sent is no message, or has no MSH-10.
        """
        control_id = read(message).value("MSH", 10)
        if not control_id:
            raise MalformedMessage("The message has no control id (MSH-10).")
        try:
            framed = frame(message)
        except ValueError as error:
            raise MalformedMessage("The message holds a byte that ends a frame of MLLP.") from error
        async with self._lock:
            for attempt in range(1, self._retries.attempts + 1):
                is_last = attempt == self._retries.attempts
                try:
                    answer = await self._attempt(framed, control_id)
                except (OSError, EOFError, TimeoutError, MalformedMessage) as error:
                    if is_last:
                        raise PeerUnavailable(
                            f"The receiver did not confirm the message in {attempt} attempts "
                            f"(the last one: {_reason(error)})."
                        ) from error
                    _logger.warning("message %s: %s; again", control_id, _reason(error))
                else:
                    if answer.code in ACCEPTED:
                        return answer
                    if answer.code in REFUSED or is_last:
                        raise PeerRefused(
                            f"The receiver refused the message with {answer.code}: "
                            f"{answer.text or 'no reason was given'}"
                        )
                    _logger.warning("message %s: rejected with %s; again", control_id, answer.code)
                await self._sleep(self._retries.wait_s(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, framed: bytes, control_id: str) -> Acknowledgement:
        """One try. After any failure, and where it is cancelled, the connection is closed."""
        try:
            reader, writer, framer = await self._connected()
            async with asyncio.timeout(self._retries.acknowledgement_s):
                writer.write(framed)
                await writer.drain()
                while True:
                    data = await reader.read(_READ_BYTES)
                    if not data:
                        raise EOFError("the connection was closed without an acknowledgement")
                    for answer in framer.feed(data):
                        acknowledgement = Acknowledgement.of(read(answer))
                        if acknowledgement.control_id == control_id:
                            return acknowledgement
                        _logger.warning("message %s: an answer to another message, ignored", control_id)
        except BaseException:
            await self.close()
            raise

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Framer]:
        if self._connection is None:
            async with asyncio.timeout(self._retries.connect_s):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            self._connection = reader, writer, Framer(_MAX_ACKNOWLEDGEMENT_BYTES)
        return self._connection


def _reason(error: BaseException) -> str:
    """In words that hold nothing of a message."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else type(error).__name__
    return str(error) or type(error).__name__


def client_tls(
    ca_file: Path | None = None, certificate_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or newer, the receiver known by its certificate; one's own certificate makes it mutual.

    Raises ``OSError`` (``ssl.SSLError`` among it) where a file cannot be read or does not fit.
    """
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    return context
