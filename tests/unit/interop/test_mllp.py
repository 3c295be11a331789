"""The client against the listener, over real sockets, and against peers that behave badly."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.emulator.examples import examples
from orchestrator.emulator.lis import Answer, EmulatedLis, Received
from orchestrator.errors import (
    MalformedMessage,
    PeerRefused,
    PeerRejected,
    PeerUnavailable,
    PeerUnconfirmed,
)
from orchestrator.interop.hl7v2 import message
from orchestrator.interop.hl7v2_check import own_problems
from orchestrator.interop.hl7v2_text import read
from orchestrator.interop.mllp import MllpClient, RetryPolicy, client_tls
from orchestrator.interop.mllp_frames import frame
from orchestrator.interop.mllp_listener import ListenerLimits, MllpListener
from tests.waiting import LONGEST_S, becomes, time_passes

ORU = message(examples()["final"].differential, "oru", detail=False)
OUL = message(examples()["preliminary"].differential, "oul", detail=False)
CONTROL_ID = read(ORU).value("MSH", 10)

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def lis_that(
    answers: Sequence[Answer] = ("accept",), tell: Callable[[Received], None] = lambda _: None
) -> EmulatedLis:
    """One that does without the slow rules of the standard."""
    return EmulatedLis(answers, tell, own_problems)


class Waits:
    """Takes the place of sleeping between attempts, and remembers how long they would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client(
    port: int,
    *,
    attempts: int = 3,
    wait_s: float = 0.3,
    waits: Waits | None = None,
    after_rejection: int = 0,
) -> MllpClient:
    patience = RetryPolicy(
        connect_s=2, acknowledgement_s=wait_s, attempts=attempts, after_rejection=after_rejection
    )
    return MllpClient("127.0.0.1", port, retries=patience, sleep=waits or Waits())


@asynccontextmanager
async def peer(converse: Conversation) -> AsyncIterator[int]:
    """A server of the test's own making, one conversation for each connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await converse(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def answer(code: str, control_id: str = CONTROL_ID, text: str = "") -> bytes:
    header = "MSH|^~\\&|LIS||WBC||20260101000000||ACK^R01^ACK|9|T|2.5.1"
    return frame(f"{header}\rMSA|{code}|{control_id}|{text}\r".encode())


async def test_a_message_is_accepted_and_the_connection_used_again():
    seen: list[Received] = []
    lis = lis_that(tell=seen.append)
    async with MllpListener(lis) as listener, client(listener.port) as sender:
        first, second = await sender.send(ORU), await sender.send(OUL)
    assert (first.code, first.control_id) == ("AA", CONTROL_ID)
    assert second.control_id == read(OUL).value("MSH", 10)
    assert list(lis.stored.values()) == [ORU, OUL]
    assert [received.problems for received in seen] == [(), ()]


async def test_messages_sent_at_once_wait_for_each_other():
    seen: list[Received] = []
    async with MllpListener(lis_that(tell=seen.append)) as listener, client(listener.port) as sender:
        await asyncio.gather(*(sender.send(data) for data in (ORU, OUL, ORU, OUL)))
    assert sorted(received.data for received in seen) == sorted([ORU, ORU, OUL, OUL])


@pytest.mark.parametrize("trouble", ["silence", "hang-up", "cut"])
async def test_a_lost_acknowledgement_repeats_the_same_message_and_doubles_nothing(trouble):
    seen: list[Received] = []
    lis = lis_that([trouble, trouble, "accept"], seen.append)
    async with MllpListener(lis) as listener, client(listener.port) as sender:
        assert (await sender.send(ORU)).code == "AA"
    assert [received.data for received in seen] == [ORU] * 3
    assert [received.is_repeated for received in seen] == [False, True, True]
    assert list(lis.stored) == [CONTROL_ID]


async def test_an_error_is_not_repeated_and_its_reason_is_told():
    seen: list[Received] = []
    async with MllpListener(lis_that(["error"], seen.append)) as listener, client(listener.port) as sender:
        with pytest.raises(PeerRefused, match="AE: as the emulator was told to"):
            await sender.send(ORU)
    assert len(seen) == 1


async def test_a_rejection_is_repeated_as_often_as_the_site_wants():
    seen: list[Received] = []
    waits = Waits()
    lis = lis_that(["reject", "reject", "accept"], seen.append)
    async with (
        MllpListener(lis) as listener,
        client(listener.port, waits=waits, after_rejection=2) as sender,
    ):
        await sender.send(ORU)
    assert len(seen) == 3
    assert 0.25 <= waits.seconds[0] <= 0.5 <= waits.seconds[1] <= 1


@pytest.mark.parametrize(("after_rejection", "deliveries"), [(0, 1), (1, 2), (9, 3)])
async def test_a_rejection_ends_the_attempts_and_the_message_may_be_sent_again(after_rejection, deliveries):
    seen: list[Received] = []
    lis = lis_that(["reject"], seen.append)
    async with (
        MllpListener(lis) as listener,
        client(listener.port, after_rejection=after_rejection) as sender,
    ):
        with pytest.raises(PeerRejected, match=r"AR.*may be sent again: as the emulator"):
            await sender.send(ORU)
    assert len(seen) == deliveries


def lis_saying(*answers: bytes, deliveries: list[bytes] | None = None, closes: bool = False) -> Conversation:
    """A receiver that says this, frame after frame, to every message."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got = await reader.readuntil(b"\x1c\r")
            if deliveries is not None:
                deliveries.append(got)
            for one in answers:
                writer.write(one)
                await writer.drain()
            if closes:
                return

    return converse


def raw(charset: str = "", text: str = "", codec: str = "utf-8", code: str = "AA", more: str = "") -> bytes:
    named = f"||||||{charset}" if charset else ""
    header = f"MSH|^~\\&|LIS||WBC||20260101000000||ACK^R01^ACK|9|T|2.5.1{named}"
    return f"{header}\rMSA|{code}|{CONTROL_ID}|{text}\r{more}".encode(codec)


TURKISH = "Sonuç kaydedildi: İşlem tamam"
ACCEPTANCES = {
    "Latin 5 by its name": (raw("8859/9", TURKISH, "iso8859-9"), TURKISH),
    "a set that is not known": (raw("GB 18030-2000"), ""),
    "a name that is not in the table": (raw("UTF-8", "İyi"), "İyi"),
    "UNICODE": (raw("UNICODE", "ok"), "ok"),
    "Latin 1 without a name": (raw("", "Befund übernommen", "latin-1"), "Befund \ufffdbernommen"),
    "UTF-8 under another name": (raw("ASCII", "übernommen"), "übernommen"),
    "a line before MSH": (b"\r\n" + raw(), ""),
    "a byte order mark": (b"\xef\xbb\xbf" + raw(), ""),
    "UTF-16": (raw("UNICODE UTF-16", "übernommen", "utf-16-le"), "übernommen"),
    "line feeds": (raw().replace(b"\r", b"\n"), ""),
    "a line that is no segment": (raw(more="what is this?\rZ\r"), ""),
    "delimiters that are none": (raw().replace(b"|^~\\&|", b"||"), ""),
    "fields that no version has": (raw("", "ok|||||||more|and more", more="ZZZ|1\r"), "ok"),
    "one about another message before it": (raw().replace(b"MSA|", b"MSA|AE|8|bad\rMSA|", 1), ""),
    "one about another message after it": (raw(more="MSA|AR|8|bad\r"), ""),
    "the same said twice": (raw(more=f"MSA|AA|{CONTROL_ID}|\r"), ""),
    "spaces around its values": (raw().replace(b"|AA|", b"| aa |"), ""),
    "zeros behind its values": (raw().replace(CONTROL_ID.encode(), CONTROL_ID.encode() + b"\0\0"), ""),
    "MSA before MSH": (b"\r".join([*reversed(raw().split(b"\r")[:2]), b""]), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTANCES)
async def test_one_acceptance_is_one_delivery_whatever_else_the_answer_looks_like(name):
    data, text = ACCEPTANCES[name]
    deliveries: list[bytes] = []
    async with peer(lis_saying(frame(data), deliveries=deliveries)) as port, client(port) as sender:
        answer = await sender.send(ORU)
    assert (answer.code, answer.control_id, answer.text) == ("AA", CONTROL_ID, text)
    assert len(deliveries) == 1


FRAMINGS = {
    "no start": (raw() + b"\x1c\r", False),
    "no start, behind a line": (b"220 ready\r\n" + raw() + b"\x1c\r", False),
    "no carriage return behind the end": (b"\x0b" + raw() + b"\x1c", False),
    "no end, and then no more": (b"\x0b" + raw(), True),
    "no end, and then silence": (b"\x0b" + raw(), False),
    "neither start nor end": (raw(), True),
    "the end within a line": (b"\x0b" + raw(more="ZZZ|1|cut in the mid"), True),
    "two answers in one frame": (frame(raw().replace(CONTROL_ID.encode(), b"8") + raw()), False),
}


@pytest.mark.parametrize("name", FRAMINGS)
async def test_one_acceptance_is_one_delivery_however_it_is_framed(name):
    said, closes = FRAMINGS[name]
    deliveries: list[bytes] = []
    converse = lis_saying(said, deliveries=deliveries, closes=closes)
    async with peer(converse) as port, client(port) as sender:
        assert (await sender.send(ORU)).code == "AA"
    assert len(deliveries) == 1


@pytest.mark.parametrize(
    "said",
    [raw().split(b"\r")[0] + f"\rMSA|AA|{CONTROL_ID}".encode(), raw().replace(CONTROL_ID.encode(), b"")],
)
async def test_half_an_answer_that_may_be_another_messages_confirms_nothing(said):
    converse = lis_saying(b"\x0b" + said, closes=True)
    async with peer(converse) as port, client(port, attempts=2) as sender:
        with pytest.raises(PeerUnavailable, match="without an acknowledgement"):
            await sender.send(ORU)


@pytest.mark.parametrize("code", ["AE", "AA"])
async def test_after_a_commit_the_applications_word_counts_in_a_frame_without_an_end_too(code):
    converse = lis_saying(answer("CA"), b"\x0b" + raw(code=code), closes=True)
    async with peer(converse) as port, client(port) as sender:
        if code == "AA":
            assert (await sender.send(ORU)).code == "AA"
        else:
            with pytest.raises(PeerRefused, match="AE"):
                await sender.send(ORU)


async def test_an_answer_that_names_no_message_is_taken_for_this_ones_and_can_be_told():
    deliveries: list[bytes] = []
    converse = lis_saying(answer("AA", ""), deliveries=deliveries)
    async with peer(converse) as port, client(port) as sender:
        assert (await sender.send(ORU)).control_id == ""
    assert len(deliveries) == 1


REASONS = {
    "MSA-3": (raw("", "Unknown specimen"), "Unknown specimen"),
    "MSA-3 that cannot be decoded": (raw("", "Numune bulunamadı", "cp1254"), "Numune bulunamad\ufffd"),
    "MSA-6": (raw("", "|||207^Internal^HL70357"), "Internal"),
    "ERR-3 and ERR-8": (
        raw(more="ERR||OBR^1^2|101^Required field missing^HL70357|E|||OBR-2 is required|Send it\r"),
        "Send it; OBR-2 is required; Required field missing",
    ),
    "ERR-3 that is a code alone": (raw(more="ERR|||101\r"), "101"),
    "ERR-1 of older versions": (
        raw(more="ERR|PID^1^3^204&Unknown key identifier&HL70357~PID^1^5^101\r"),
        "Unknown key identifier; 101",
    ),
    "several": (raw(more="ERR|||||||a\rERR|||||||b\rERR|||||||a\r"), "a; b"),
    "none": (raw(), "no reason was given"),
}


@pytest.mark.parametrize("name", REASONS)
async def test_an_error_ends_it_at_once_with_the_reason_wherever_that_stands(name):
    data, reason = REASONS[name]
    deliveries: list[bytes] = []
    refusing = frame(data.replace(b"MSA|AA", b"MSA|AE"))
    async with peer(lis_saying(refusing, deliveries=deliveries)) as port, client(port) as sender:
        with pytest.raises(PeerRefused) as raised:
            await sender.send(ORU)
    assert str(raised.value).endswith(f"with AE: {reason}")
    assert len(deliveries) == 1


@pytest.mark.parametrize("first", [True, False])
async def test_of_an_answer_that_accepts_and_refuses_the_refusal_decides(first):
    refusal, acceptance = f"MSA|AE|{CONTROL_ID}|No such order\r", f"MSA|AA|{CONTROL_ID}\r"
    header = raw().split(b"\r")[0].decode() + "\r"
    said = header + (refusal + acceptance if first else acceptance + refusal)
    async with peer(lis_saying(frame(said.encode()))) as port, client(port) as sender:
        with pytest.raises(PeerRefused, match="No such order"):
            await sender.send(ORU)


async def test_an_error_without_an_acknowledgement_confirms_nothing_and_is_told():
    deliveries: list[bytes] = []
    said = raw().split(b"\r")[0] + b"\rERR|||207^Internal error^HL70357|E|||The queue is down\r"
    async with peer(lis_saying(frame(said), deliveries=deliveries)) as port, client(port) as sender:
        with pytest.raises(PeerUnconfirmed, match="The queue is down; Internal error"):
            await sender.send(ORU)
    assert len(deliveries) == 1


@pytest.mark.parametrize("message", [ORU, OUL])
@pytest.mark.parametrize(("code", "error"), [("AA", None), ("AE", PeerRefused), ("AR", PeerRejected)])
async def test_after_a_commit_the_applications_acknowledgement_decides(code, error, message):
    control_id = read(message).value("MSH", 10)
    deliveries: list[bytes] = []
    said = [answer("CA", control_id), answer("CA", control_id), answer(code, control_id, "because")]
    converse = lis_saying(*said, deliveries=deliveries)
    async with peer(converse) as port, client(port, wait_s=5, after_rejection=3) as sender:
        if error is None:
            assert (await sender.send(message)).code == "AA"
        else:
            with pytest.raises(error, match="because"):
                await sender.send(message)
    assert len(deliveries) == 1


@pytest.mark.parametrize("closes", [False, True])
async def test_a_commit_alone_is_told_as_not_yet_accepted_and_never_sent_again(closes):
    deliveries: list[bytes] = []
    converse = lis_saying(answer("CA"), deliveries=deliveries, closes=closes)
    async with peer(converse) as port, client(port) as sender:
        with pytest.raises(PeerUnconfirmed, match="committed, not yet accepted"):
            await sender.send(ORU)
    assert len(deliveries) == 1


async def test_a_commit_suffices_where_the_message_asks_for_no_other_acknowledgement():
    asks_for_none = OUL.replace(b"|NE|AL|", b"|AL|NE|")
    control_id = read(OUL).value("MSH", 10)
    async with peer(lis_saying(answer("CA", control_id))) as port, client(port) as sender:
        assert (await sender.send(asks_for_none)).code == "CA"


@pytest.mark.parametrize(("code", "error"), [("CE", PeerRefused), ("CR", PeerRejected)])
async def test_a_message_that_cannot_be_committed_is_told(code, error):
    async with peer(lis_saying(answer(code))) as port, client(port) as sender:
        with pytest.raises(error, match=code):
            await sender.send(ORU)


@pytest.mark.parametrize("nonsense", [b"no message", b"MSH|^~\\&|A\r", raw().replace(b"|AA|", b"|OK|"), b""])
async def test_an_answer_that_is_no_acknowledgement_is_shown_and_not_taken_for_silence(nonsense):
    deliveries: list[bytes] = []
    converse = lis_saying(frame(nonsense), deliveries=deliveries)
    async with peer(converse) as port, client(port) as sender:
        with pytest.raises(PeerUnconfirmed, match="did not confirm") as raised:
            await sender.send(ORU)
    assert nonsense.split(b"\r")[0].decode()[:20] in str(raised.value)
    assert len(deliveries) == 1


async def test_a_peer_that_never_answers_is_unavailable_after_all_attempts():
    seen: list[Received] = []

    def tell(message: Received) -> None:
        seen.append(message)
        time_passes(30)

    async with (
        MllpListener(lis_that(["silence"], tell)) as listener,
        client(listener.port, wait_s=30) as sender,
    ):
        with pytest.raises(PeerUnavailable, match=r"3 attempts .*no answer in time"):
            await sender.send(ORU)
    assert len(seen) == 3


async def test_nobody_listening_is_unavailable():
    async with MllpListener(lis_that()) as listener:
        port = listener.port
    with pytest.raises(PeerUnavailable, match="refused"):
        await client(port, attempts=2).send(ORU)


async def test_a_peer_that_was_restarted_gets_the_next_message():
    lis = lis_that()
    async with MllpListener(lis) as listener:
        port = listener.port
        sender = client(port)
        await sender.send(ORU)
    async with MllpListener(lis, port=port):
        await sender.send(OUL)
    await sender.close()
    assert list(lis.stored.values()) == [ORU, OUL]


async def test_an_answer_to_another_message_is_not_taken_for_this_ones():
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        writer.write(answer("AE", "SOMEBODY-ELSES") + answer("AA"))

    async with peer(converse) as port, client(port, attempts=1) as sender:
        assert (await sender.send(ORU)).code == "AA"


async def test_a_late_answer_on_a_connection_given_up_reaches_no_later_message():
    connections = 0
    comes_again = asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\x1c\r")
        if connections == 1:
            time_passes(30)  # as long as the client waits
            await comes_again.wait()
            writer.write(answer("AE"))
        else:
            comes_again.set()
            writer.write(answer("AA"))
        await writer.drain()

    async with peer(converse) as port, client(port, wait_s=30) as sender:
        assert (await sender.send(ORU)).code == "AA"
    assert connections == 2


@pytest.mark.parametrize(
    "nonsense",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x0b" * 50],
)
async def test_a_peer_that_does_not_speak_hl7_is_unavailable(nonsense):
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        writer.write(nonsense)
        await writer.drain()

    async with peer(converse) as port, client(port, attempts=2) as sender:
        with pytest.raises(PeerUnavailable, match="HTTP" if nonsense.startswith(b"HTTP") else "without"):
            await sender.send(ORU)


async def test_an_acknowledgement_in_single_bytes_is_understood():
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        for byte in b"garbage" + answer("AA"):
            writer.write(bytes([byte]))
            await writer.drain()

    async with peer(converse) as port, client(port, attempts=1) as sender:
        assert (await sender.send(ORU)).code == "AA"


async def test_what_has_no_control_id_is_not_sent():
    sender = client(1)
    with pytest.raises(MalformedMessage, match="MSH-10"):
        await sender.send(ORU.replace(CONTROL_ID.encode(), b""))
    for wrong in (b"PID|1", ORU + b"\x1c"):
        with pytest.raises(MalformedMessage):
            await sender.send(wrong)


async def test_a_cancelled_sender_leaves_no_connection_behind():
    seen: list[Received] = []
    async with MllpListener(lis_that(["silence", "accept"], seen.append)) as listener:
        sender = client(listener.port, wait_s=30)
        task = asyncio.create_task(sender.send(ORU))
        await becomes(lambda: len(seen) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await sender.send(OUL)).control_id == read(OUL).value("MSH", 10)
        await sender.close()


async def test_the_listener_ends_a_connection_that_sends_too_much_and_serves_the_next():
    async with MllpListener(lis_that(), limits=ListenerLimits(max_bytes=20_000)) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"\x0b" + b"x" * 30_000)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        async with client(listener.port) as sender:
            assert (await sender.send(ORU)).code == "AA"


async def test_the_listener_ends_a_silent_connection_and_refuses_one_too_many():
    limits = ListenerLimits(idle_s=0.1, connections=1)
    async with MllpListener(lis_that(), limits=limits) as listener:
        first, first_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await asyncio.sleep(0.02)
        second, second_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await second.readexactly(1)
        assert await asyncio.wait_for(first.read(), LONGEST_S) == b""
        first_writer.close()
        second_writer.close()


async def test_a_wrong_message_is_answered_with_an_error_that_says_why():
    wrong = ORU.replace(b"|T|2.5.1", b"|T|2.3")
    async with MllpListener(lis_that()) as listener, client(listener.port) as sender:
        with pytest.raises(PeerRefused, match=r"MSH-12: expected 2\.5\.1"):
            await sender.send(wrong)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    return certificate, key


async def test_tls_protects_the_line_and_a_stranger_is_not_trusted(certificate):
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*certificate)
    patience = RetryPolicy(connect_s=2, acknowledgement_s=2, attempts=1)
    async with MllpListener(lis_that(), tls=server_side) as listener:
        knows = client_tls(certificate[0])
        async with MllpClient("127.0.0.1", listener.port, tls=knows, retries=patience) as sender:
            assert (await sender.send(ORU)).code == "AA"
        stranger = MllpClient("127.0.0.1", listener.port, tls=client_tls(), retries=patience)
        with pytest.raises(PeerUnavailable, match="TLS failed"):
            await stranger.send(ORU)
