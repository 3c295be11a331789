"""A form with many files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.edge.http.uploads import (
    FORM_OVERHEAD_BYTES,
    PART_OVERHEAD_BYTES,
    UploadLimits,
    Uploads,
    read_uploads,
)
from orchestrator.edge.spool import Spooled
from orchestrator.errors import ImageTooLarge, MalformedUpload, UploadTooLarge
from tests.multipart_forms import CONTENT_TYPE, form, part
from tests.unit.edge.http.test_uploads import Sender, request_of

LIMITS = UploadLimits(
    max_file_bytes=1000, max_total_bytes=5000, max_files=8, file_field="files", archives=True
)


async def uploads_of(body: bytes, limits: UploadLimits = LIMITS, chunk_bytes: int = 700) -> Uploads:
    chunks = [body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]
    return await read_uploads(request_of(Sender(chunks), CONTENT_TYPE), limits, timeout_s=5)


@given(files=st.lists(st.binary(max_size=80), min_size=1, max_size=8), chunk_bytes=st.integers(1, 97))
async def test_files_arrive_in_their_order_byte_for_byte(files, chunk_bytes):
    parts = [part("files", data, f"{n}.png") for n, data in enumerate(files)]
    body = form(part("specimen_id", b"S-1"), *parts, part("total_wbc", b"6.2"))
    uploads = await uploads_of(body, chunk_bytes=chunk_bytes)
    assert uploads.files == tuple(files)
    assert uploads.fields == {"specimen_id": "S-1", "total_wbc": "6.2"}


async def test_one_file_more_than_allowed_is_refused():
    await uploads_of(form(*[part("files", b"x", "a.png")] * 8))
    with pytest.raises(UploadTooLarge, match="more than 8 files"):
        await uploads_of(form(*[part("files", b"x", "a.png")] * 9))


async def test_each_file_is_limited_and_all_together():
    with pytest.raises(ImageTooLarge, match="1000 bytes"):
        await uploads_of(form(part("files", b"x" * 1001, "a.png")))
    with pytest.raises(UploadTooLarge, match="5000 bytes"):
        await uploads_of(form(*[part("files", b"x" * 900, "a.png")] * 6))


async def test_an_archive_may_be_as_large_as_all_together_and_no_larger():
    zipped = b"PK\x03\x04" + b"x" * 4000
    assert (await uploads_of(form(part("files", zipped, "a.zip")), chunk_bytes=3)).files == (zipped,)
    with pytest.raises(UploadTooLarge):
        await uploads_of(form(part("files", zipped + b"x" * 1000, "a.zip")))
    without = UploadLimits(1000, 5000, 8, "files", archives=False)
    with pytest.raises(ImageTooLarge):
        await uploads_of(form(part("files", zipped, "a.zip")), without)


async def test_an_endless_body_is_stopped_at_the_limit():
    sender = Sender([b"--cell-boundary--\r\n", *[b"e" * 10_000] * 100])
    with pytest.raises(UploadTooLarge):
        await read_uploads(request_of(sender, CONTENT_TYPE), LIMITS, timeout_s=5)
    assert sender.taken_bytes <= 5000 + FORM_OVERHEAD_BYTES + 7 * PART_OVERHEAD_BYTES + 10_000


async def test_a_declared_length_over_the_limit_is_refused_unread():
    sender = Sender([b"never read"])
    with pytest.raises(UploadTooLarge):
        await read_uploads(request_of(sender, CONTENT_TYPE, 10**9), LIMITS, timeout_s=5)
    assert sender.taken_bytes == 0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (form(part("specimen_id", b"S-1")), "no field 'files'"),
        (form(part("file", b"x", "a.png")), "must be in the field 'files'"),
        (form(part("files", b"x", "a.png"))[:-6], "incomplete"),
    ],
)
async def test_a_malformed_form_is_refused_and_says_why(body, told):
    with pytest.raises(MalformedUpload, match=told):
        await uploads_of(body)


async def test_no_file_name_is_kept():
    uploads = await uploads_of(form(part("files", b"x", "Yilmaz_Ayse_1984.png")))
    assert "Yilmaz" not in repr(uploads)


async def test_files_beyond_the_memory_lie_on_the_disk_and_read_back_whole():
    spooled = UploadLimits(1000, 5000, 8, "files", archives=True, memory_bytes=10)
    files = [b"", b"one" * 300, b"", b"\r\n--cell-bound" * 10, b"PK\x03\x04" + b"x" * 2000, b""]
    body = form(*[part("files", data, f"{n}.png") for n, data in enumerate(files)])
    for chunk_bytes in (7, 10**6):  # in pieces, and many files in one
        uploads = await uploads_of(body, spooled, chunk_bytes=chunk_bytes)
        assert isinstance(uploads.files, Spooled)
        assert list(uploads.files) == files
        assert uploads.files.opened(4).read() == files[4]
    with pytest.raises(ImageTooLarge, match="1000 bytes"):
        await uploads_of(form(part("files", b"x" * 1001, "a.png")), spooled)
