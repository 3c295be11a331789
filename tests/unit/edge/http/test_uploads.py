import asyncio
import contextlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from orchestrator.edge.http.uploads import (
    FORM_OVERHEAD_BYTES,
    MAX_TEXT_FIELD_BYTES,
    MAX_TEXT_FIELDS,
    UploadLimits,
    Uploads,
    read_uploads,
)
from orchestrator.errors import CompressedBody, ImageTooLarge, MalformedUpload, UnsupportedBody, UploadTimeout
from tests.multipart_forms import CONTENT_TYPE, form, part

LIMIT = 100_000
ONE = UploadLimits(LIMIT, LIMIT)


class Sender:
    """Sends a body in chunks and knows how much of it was taken."""

    def __init__(self, chunks: Sequence[bytes], *, then: str = "end") -> None:
        self._chunks = list(chunks)
        self._then = then
        self.taken_bytes = 0

    async def receive(self) -> dict[str, Any]:
        if self._chunks:
            chunk = self._chunks.pop(0)
            self.taken_bytes += len(chunk)
            return {"type": "http.request", "body": chunk, "more_body": True}
        if self._then == "stall":
            await asyncio.sleep(60)
        if self._then == "disconnect":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}


def request_of(sender: Sender, content_type: str | None, content_length: int | None = None) -> Request:
    headers = []
    if content_type is not None:
        headers.append((b"content-type", content_type.encode("latin-1")))
    if content_length is not None:
        headers.append((b"content-length", str(content_length).encode()))
    return Request({"type": "http", "method": "POST", "headers": headers}, sender.receive)


async def upload_of(body: bytes, content_type: str | None = CONTENT_TYPE, chunk_bytes: int = 4096) -> Uploads:
    chunks = [body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]
    return await read_uploads(request_of(Sender(chunks), content_type), ONE, timeout_s=5)


@given(
    payload=st.binary(max_size=300).map(lambda data: data + b"\r\n--cell-boundar" + data),
    chunk_bytes=st.integers(1, 64),
)
async def test_the_file_arrives_byte_for_byte_however_it_is_cut(payload, chunk_bytes):
    body = form(part("profile", b"raabin"), part("file", payload, "cell.jpg"), part("language", b"tr"))
    uploads = await upload_of(body, chunk_bytes=chunk_bytes)
    assert uploads.files == (payload,)
    assert uploads.fields == {"profile": "raabin", "language": "tr"}


async def test_an_empty_file_is_left_to_the_decoder_to_refuse():
    assert (await upload_of(form(part("file", b"", "")))).files == (b"",)


async def test_a_large_file_is_not_written_to_the_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    body = form(part("file", b"x" * 3_000_000, "cell.tif"))
    chunks = [body[i : i + 65_536] for i in range(0, len(body), 65_536)]
    limits = UploadLimits(len(body), len(body))
    uploads = await read_uploads(request_of(Sender(chunks), CONTENT_TYPE), limits, timeout_s=5)
    assert len(uploads.files[0]) == 3_000_000


async def test_a_file_part_without_a_file_name_is_no_file():
    with pytest.raises(MalformedUpload, match="no field 'file'"):
        await upload_of(form(part("file", b"data")))


async def test_the_senders_file_name_is_not_kept():
    uploads = await upload_of(form(part("file", b"data", "Yilmaz_Ayse_1984.jpg")))
    assert "Yilmaz" not in repr(uploads)
    assert not any("Yilmaz" in value for value in uploads.fields.values())


async def test_what_follows_the_last_boundary_is_ignored():
    assert (await upload_of(form(part("file", b"data", "a.png")) + b"epilogue")).files == (b"data",)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096])
@pytest.mark.parametrize(
    "preamble",
    [
        b"\r\n",
        b"This is a message in MIME format.\r\n",
        b"no boundary: --cell-boundary\r\n",
        b"\r" * 99 + b"\r\n",
    ],
)
async def test_what_stands_before_the_first_boundary_is_ignored(preamble, chunk_bytes):
    body = preamble + form(part("file", b"data", "a.png"))
    assert (await upload_of(body, chunk_bytes=chunk_bytes)).files == (b"data",)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096])
@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b'Content-Type: image/png;\r\n name="x"', "folded over several lines"),
        (b'Content-Type: image/png;\r\n\tname="x"', "folded over several lines"),
        (b"Content Type: image/png", "name of a part's header holds a space"),
        (b"Content(Type: image/png", "invalid character 40 in header"),
    ],
)
async def test_a_header_that_cannot_be_read_is_refused_as_what_it_is(header, told, chunk_bytes):
    body = form(part("file", b"data", "a.png", headers=(header,)))
    with pytest.raises(MalformedUpload, match=told):
        await upload_of(body, chunk_bytes=chunk_bytes)


@pytest.mark.parametrize(("coding", "read"), [("gzip", False), ("br", False), ("Identity", True), ("", True)])
async def test_a_body_with_a_content_coding_is_refused_as_that(coding, read):
    request = request_of(Sender([form(part("file", b"data", "a.png"))]), CONTENT_TYPE)
    request.scope["headers"].append((b"content-encoding", coding.encode()))
    if read:
        assert (await read_uploads(request, ONE, timeout_s=5)).files == (b"data",)
    else:
        with pytest.raises(CompressedBody, match="Content-Encoding"):
            await read_uploads(request, ONE, timeout_s=5)


@pytest.mark.parametrize(("excess", "accepted"), [(0, True), (1, False)])
async def test_the_files_size_is_limited_to_the_byte(excess, accepted):
    body = form(part("file", b"x" * (LIMIT + excess), "cell.tif"))
    if accepted:
        assert len((await upload_of(body)).files[0]) == LIMIT
    else:
        with pytest.raises(ImageTooLarge, match=str(LIMIT)):
            await upload_of(body)


async def test_an_oversize_stream_without_a_length_is_stopped_at_the_limit():
    chunk = b"x" * 1000
    sender = Sender([part("file", b"", "cell.tif"), *[chunk] * 1000])
    with pytest.raises(ImageTooLarge):
        await read_uploads(request_of(sender, CONTENT_TYPE), ONE, timeout_s=5)
    assert sender.taken_bytes < LIMIT + FORM_OVERHEAD_BYTES + 2 * len(chunk)


async def test_bytes_outside_the_file_count_too():
    sender = Sender([b"--cell-boundary--\r\n", *[b"e" * 10_000] * 100])  # an endless epilogue
    with pytest.raises(ImageTooLarge):
        await read_uploads(request_of(sender, CONTENT_TYPE), ONE, timeout_s=5)
    assert sender.taken_bytes <= LIMIT + FORM_OVERHEAD_BYTES + 10_000


async def test_a_declared_length_over_the_limit_is_refused_unread():
    sender = Sender([b"never read"])
    with pytest.raises(ImageTooLarge):
        await read_uploads(
            request_of(sender, CONTENT_TYPE, LIMIT + FORM_OVERHEAD_BYTES + 1), ONE, timeout_s=5
        )
    assert sender.taken_bytes == 0


async def test_a_declared_length_is_not_believed():
    sender = Sender([part("file", b"", "cell.tif"), *[b"x" * 1000] * 1000])
    with pytest.raises(ImageTooLarge):
        await read_uploads(request_of(sender, CONTENT_TYPE, content_length=10), ONE, timeout_s=5)


FILE = part("file", b"data", "a.png")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(b"", "incomplete", id="no body"),
        pytest.param(form(), "no field 'file'", id="no parts"),
        pytest.param(b"not a form at all", "broken", id="no boundary in the body"),
        pytest.param(form(FILE)[:-6], "incomplete", id="last boundary missing"),
        pytest.param(form(FILE)[:-40], "incomplete", id="cut within the file"),
        pytest.param(form(part("profile", b"raabin")), "no field 'file'", id="no file"),
        pytest.param(form(part("image", b"data", "a.png")), "field 'file'", id="file in another field"),
        pytest.param(form(FILE, FILE), "several files", id="two files"),
        pytest.param(
            form(FILE, part("second", b"data", "b.png")), "several files", id="second file elsewhere"
        ),
        pytest.param(form(part("a", b"1"), part("a", b"2"), FILE), "twice", id="field twice"),
        pytest.param(
            form(*(part(f"f{i}", b"1") for i in range(MAX_TEXT_FIELDS + 1)), FILE),
            "Too many fields.* 16",
            id="too many fields",
        ),
        pytest.param(
            form(part("a", b"x" * (MAX_TEXT_FIELD_BYTES + 1)), FILE),
            "maximum size of 1KB",
            id="field too long",
        ),
        pytest.param(
            form(part("file", b"data", "a.png", (b"X-Pad: 1",) * 8)),
            "broken",
            id="too many part headers",
        ),
        pytest.param(
            form(part("file", b"data", "a.png", (b"X-Pad: " + b"x" * 20_000,))), "broken", id="long header"
        ),
        pytest.param(
            b"--cell-boundary\r\nContent-Type: image/png\r\n\r\ndata\r\n--cell-boundary--\r\n",
            '"name" must be provided',
            id="part without a name",
        ),
    ],
)
async def test_a_malformed_form_is_refused_and_says_why(body, told):
    with pytest.raises(MalformedUpload, match=told):
        await upload_of(body)


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        (None, MalformedUpload),
        ("application/x-www-form-urlencoded", MalformedUpload),
        ("multipart/form-data", MalformedUpload),
        ("multipart/form-data; boundary=", MalformedUpload),
        ("multipart/form-data; boundary=" + "b" * 300, MalformedUpload),
        ("application/json", UnsupportedBody),
        ("image/jpeg", UnsupportedBody),
        ("multipart/mixed; boundary=cell-boundary", UnsupportedBody),
    ],
)
async def test_a_body_that_is_no_form_is_refused(content_type, error):
    with pytest.raises(error):
        await upload_of(form(FILE), content_type)


# Of the multipart parsers that this edge stands on: each once took minutes, or memory without end.
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\r\n" * (LIMIT // 2), id="CVE-2024-53981: line ends before the first boundary"),
        pytest.param(
            form(FILE) + b"\r\n" * (LIMIT // 2), id="CVE-2026-40347: line ends after the last boundary"
        ),
        pytest.param(
            form(part("file", b"d", "a.png", (b"X: y",) * 10_000)), id="CVE-2026-42561: part headers"
        ),
        pytest.param(
            form(*[part("a" * 60, b"x" * 900)] * 90), id="CVE-2024-47874: fields without file names"
        ),
    ],
)
async def test_known_ways_to_exhaust_a_form_parser_are_answered_at_once(body):
    started = time.thread_time()
    with contextlib.suppress(MalformedUpload, ImageTooLarge):
        await upload_of(body)
    assert time.thread_time() - started < 2


async def test_an_upload_that_stalls_is_given_up():
    sender = Sender([part("file", b"begun", "a.png")], then="stall")
    with pytest.raises(UploadTimeout, match=r"0\.05 seconds"):
        await read_uploads(request_of(sender, CONTENT_TYPE), ONE, timeout_s=0.05)


async def test_a_sender_who_goes_away_is_no_malformed_upload():
    sender = Sender([part("file", b"begun", "a.png")], then="disconnect")
    with pytest.raises(ClientDisconnect):
        await read_uploads(request_of(sender, CONTENT_TYPE), ONE, timeout_s=5)
