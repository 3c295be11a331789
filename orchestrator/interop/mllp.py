"""Sends HL7 v2 messages over MLLP, until the receiver says that it has them.

The same bytes are sent in every attempt, and so the same MSH-10: a receiver that took a message whose
acknowledgement was lost knows the repetition. Any answer ends it: MSA-1 and MSA-2 decide, whatever the rest
looks like. After a commit (``CA``) nothing is sent again; the acknowledgement of the application decides,
unless MSH-16 asked for none (HL7 v2.5.1, 2.9.3). One message is under way at a time; a connection on which
anything went wrong is closed, so that a late acknowledgement cannot be taken for another message's.
"""

import asyncio
import logging
import os
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator.errors import (
    MalformedMessage,
    PeerRefused,
    PeerRejected,
    PeerUnavailable,
    PeerUnconfirmed,
)
from orchestrator.interop.hl7v2_ack import ACCEPTED, COMMITTED, REFUSED, REJECTED, Acknowledgement
from orchestrator.interop.hl7v2_text import read, read_leniently
from orchestrator.interop.http_answers import first_words
from orchestrator.interop.mllp_frames import Framer, frame

_logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 2575
"""Registered for HL7 at IANA."""

_READ_BYTES: Final = 64 * 1024
_MAX_ACKNOWLEDGEMENT_BYTES: Final = 2**20
_SHOWN_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often a client tries; all times in seconds.

    Between attempts it waits ``backoff_s``, then twice that, up to ``longest_backoff_s``, each less a random
    part of up to half, so that many clients do not come back at one moment. The acknowledgement of the
    application, after a commit, has ``acknowledgement_s`` once more. Of the attempts, ``after_rejection`` at
    most follow an ``AR`` or ``CR``.
    """

    connect_s: float = 5.0
    acknowledgement_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 0.5
    longest_backoff_s: float = 30.0
    after_rejection: int = 0

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
        self._frames: deque[bytes] = deque()

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
        self._frames.clear()
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
        """Send one message; returns the acknowledgement that decided, ``AA``, or ``CA`` where no other comes.

        Raises:
            PeerRefused: the receiver answered ``AE`` or ``CE``.
            PeerRejected: the receiver answered ``AR`` or ``CR``.
            PeerUnconfirmed: the receiver committed the message and did not accept it in time, or answered
                with something else than an acknowledgement.
            PeerUnavailable: no attempt reached the receiver, or none was answered in time.
            MalformedMessage: what is to be sent is no message, or has no MSH-10.
        """
        header = read(message)
        control_id = header.value("MSH", 10)
        if not control_id:
            raise MalformedMessage("The message has no control id (MSH-10).")
        try:
            framed = frame(message)
        except ValueError as error:
            raise MalformedMessage("The message holds a byte that ends a frame of MLLP.") from error
        commit_suffices = header.value("MSH", 16) == "NE"
        async with self._lock:
            answer = await self._settled(framed, control_id)
            if answer.code == COMMITTED and not commit_suffices:
                answer = await self._accepted(control_id)
        if answer.code in ACCEPTED:
            return answer
        reason = answer.text or "no reason was given"
        if answer.code in REFUSED:
            raise PeerRefused(f"The receiver refused the message with {answer.code}: {reason}")
        raise PeerRejected(
            f"The receiver rejected the message with {answer.code}, which is not about its content, so that "
            f"it may be sent again: {reason}"
        )

    async def _settled(self, framed: bytes, control_id: str) -> Acknowledgement:
        """Attempts until there is an answer; one that rejects is the last where no more are allowed."""
        rejections = 0
        for attempt in range(1, self._retries.attempts + 1):
            is_last = attempt == self._retries.attempts
            try:
                answer = await self._attempt(framed, control_id)
            except MalformedMessage as error:
                raise PeerUnconfirmed(f"The receiver did not confirm the message. {error}") from error
            except (OSError, EOFError, TimeoutError) as error:
                if is_last:
                    raise PeerUnavailable(
                        f"The receiver did not confirm the message in {attempt} attempts "
                        f"(the last one: {_reason(error)})."
                    ) from error
                _logger.warning("message %s: %s; again", control_id, _reason(error))
            else:
                if answer.code not in REJECTED or is_last or rejections == self._retries.after_rejection:
                    return answer
                rejections += 1
                _logger.warning("message %s: rejected with %s; again", control_id, answer.code)
            await self._sleep(self._retries.wait_s(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, framed: bytes, control_id: str) -> Acknowledgement:
        """One try. After any failure, and where it is cancelled, the connection is closed."""
        try:
            _, writer, _ = await self._connected()
            self._frames.clear()
            async with asyncio.timeout(self._retries.acknowledgement_s):
                writer.write(framed)
                await writer.drain()
                return await self._answer(control_id)
        except (OSError, EOFError):  # TimeoutError among them
            answer = self._unfinished(control_id)
            await self.close()
            if answer is None:
                raise
            return answer
        except BaseException:
            await self.close()
            raise

    async def _accepted(self, control_id: str) -> Acknowledgement:
        """What the application says of a message that was committed."""
        try:
            async with asyncio.timeout(self._retries.acknowledgement_s):
                while (answer := await self._answer(control_id)).code == COMMITTED:
                    pass  # said once more
            return answer
        except (OSError, EOFError, TimeoutError, MalformedMessage) as error:
            said = self._unfinished(control_id)
            await self.close()
            if said is not None and said.code != COMMITTED:
                return said
            raise PeerUnconfirmed(
                f"The message is committed, not yet accepted: the receiver has it (CA), and its application "
                f"did not acknowledge it ({_reason(error)})."
            ) from error
        except BaseException:
            await self.close()
            raise

    async def _answer(self, control_id: str) -> Acknowledgement:
        """The next acknowledgement of a message, or one that names none, which can only be of this one."""
        reader, _, framer = await self._connected()
        came = b""
        while True:
            while self._frames:
                answer = self._frames.popleft()
                acknowledgement = _acknowledgement(answer, control_id)
                if acknowledgement.control_id in ("", control_id):
                    return acknowledgement
                _logger.warning("message %s: an answer to another message, ignored", control_id)
            data = await reader.read(_READ_BYTES)
            if not data:
                raise EOFError(f"the connection was closed without an acknowledgement{_told(came)}")
            came = (came + data)[:_SHOWN_BYTES]
            self._frames += framer.feed(data)

    def _unfinished(self, control_id: str) -> Acknowledgement | None:
        """An acknowledgement whose frame never ended; None where none of this very message came."""
        if self._connection is None:
            return None
        came = self._connection[2].unfinished
        lines = max(came.rfind(b"\r"), came.rfind(b"\n"))  # the last line may be cut in the middle
        try:
            said = Acknowledgement.of(read_leniently(came[: lines + 1]), control_id)
        except MalformedMessage:
            return None
        return said if said.control_id == control_id else None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Framer]:
        if self._connection is None:
            async with asyncio.timeout(self._retries.connect_s):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            self._connection = reader, writer, Framer(_MAX_ACKNOWLEDGEMENT_BYTES, starts_may_lack=True)
        return self._connection


def _acknowledgement(answer: bytes, control_id: str) -> Acknowledgement:
    try:
        return Acknowledgement.of(read_leniently(answer), control_id)
    except MalformedMessage as error:
        raise MalformedMessage(f"{str(error).rstrip('.')}{_told(answer[:_SHOWN_BYTES])}.") from error


def _told(came: bytes) -> str:
    """The first words of what came instead."""
    words = first_words(came.decode("utf-8", errors="replace"))
    return f', after "{words}"' if words else ""


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
