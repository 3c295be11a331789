"""Archives, honest and made to harm."""

import io
import struct
import time
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.edge.http import zip_archive
from orchestrator.edge.http.uploads import UploadLimits
from orchestrator.edge.http.zip_archive import is_archive
from orchestrator.errors import ImageTooLarge, MalformedUpload, UploadTooLarge, WbcError

LIMITS = UploadLimits(max_file_bytes=100_000, max_total_bytes=1_000_000, max_files=20, archives=True)


def archive(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, content in files:
            made.writestr(name, content)
    return out.getvalue()


def unpack(data: bytes, limits: UploadLimits) -> tuple[bytes, ...]:
    return tuple(zip_archive.unpack(io.BytesIO(data), limits))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_files_come_out_in_their_order(method):
    files = [(f"cell-{n}.png", bytes([n]) * (n * 1000)) for n in (3, 1, 2)]
    data = archive(*files, method=method)
    assert is_archive(data)
    assert unpack(data, LIMITS) == tuple(content for _, content in files)


def test_folders_and_what_systems_add_are_left_out():
    data = archive(
        ("cells/", b""), ("cells/a.png", b"a"), ("__MACOSX/cells/._a.png", b"x"), ("cells/.DS_Store", b"x"),
        ("Thumbs.db", b"x"), ("./b.png", b"b"),
    )  # fmt: skip
    assert unpack(data, LIMITS) == (b"a", b"b")


def test_bytes_decide_what_is_a_cell_and_a_damaged_one_is_not_lost():
    jpeg, dicom = b"\xff\xd8\xff first", bytes(128) + b"DICM\2\0"
    data = archive(
        ("s/thumbs.db", jpeg), ("s/Desktop.INI", jpeg), ("__macosx/a.jpg", jpeg), ("s\\THUMBS.DB", jpeg),
        ("DICOMDIR", dicom), ("s/readme.txt", b"read me"), ("s/labels.csv", b"file,label"),
        ("PA000001/IM000001", dicom), ("cell", jpeg), ("phone", b"\0\0\0\x18ftypheic"),
        ("damaged.JPG", b"none"),
    )  # fmt: skip
    assert unpack(data, LIMITS) == (dicom, jpeg, b"\0\0\0\x18ftypheic", b"none")


def test_what_is_no_cell_counts_for_nothing():
    beside = [(f"{n}.txt", bytes(90_000)) for n in range(30)]
    assert unpack(archive(*beside, ("a.png", b"x")), LIMITS) == (b"x",)


@pytest.mark.parametrize("image", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"RIFF", b""])
def test_no_image_is_an_archive(image):
    assert not is_archive(image)


def test_a_bomb_is_refused_after_the_first_bytes_too_many():
    # 200 MB of zeros in 200 kB.
    bomb = archive(("a.png", bytes(200_000_000)))
    assert len(bomb) < 250_000
    tracemalloc.start()
    with pytest.raises(ImageTooLarge, match="100000 bytes"):
        unpack(bomb, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_bomb_of_many_files_is_refused_by_what_they_are_together():
    with pytest.raises(UploadTooLarge, match="together"):
        unpack(archive(*((f"{n}.png", bytes(90_000)) for n in range(12))), LIMITS)


def test_a_lie_about_sizes_is_not_believed():
    data = bytearray(archive(("a.png", bytes(200_000))))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(signature) + offset
        assert struct.unpack_from("<I", data, place) == (200_000,)
        struct.pack_into("<I", data, place, 10)
    with pytest.raises(MalformedUpload, match="damaged"):
        unpack(bytes(data), LIMITS)


def test_one_content_listed_many_times_counts_each_time():
    """Entries that overlap (Fifield 2019, "A better zip bomb")."""
    data = archive(("a.png", bytes(90_000)))
    start = data.index(b"PK\x01\x02")
    entry, end = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    many = 15
    directory = entry * many
    end = end[:8] + struct.pack("<HHII", many, many, len(directory), start) + end[20:]
    with pytest.raises((UploadTooLarge, MalformedUpload)):
        unpack(data[:start] + directory + end, LIMITS)


def test_a_list_of_a_million_entries_is_refused_unread():
    entry = b"PK\x01\x02" + bytes(42)
    many = 300_000
    data = b"PK\x03\x04" + entry * many + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 46 * many, 4, 0)
    started = time.thread_time()
    with pytest.raises(UploadTooLarge, match="more than 20 files"):
        unpack(data, LIMITS)
    assert time.thread_time() - started < 0.5


def test_too_many_files_are_refused():
    with pytest.raises(UploadTooLarge, match="more than 20 files"):
        unpack(archive(*((f"{n}.png", b"x") for n in range(21))), LIMITS)
    assert len(unpack(archive(*((f"{n}.png", b"x") for n in range(20))), LIMITS)) == 20


def encrypted() -> bytes:
    data = bytearray(archive(("a.png", b"x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encrypted(), "encrypted"),
        (archive(("a.png", b"x" * 100), method=zipfile.ZIP_LZMA), "not stored or deflated"),
        (archive(("a.png", b"x" * 100), method=zipfile.ZIP_BZIP2), "not stored or deflated"),
        (archive(), "damaged|no image"),
        (archive((".hidden", b"x")), "no image"),
        (archive(("a.png", b"x" * 5000))[:-30], "damaged"),
        (b"PK\x03\x04", "damaged"),
        (b"PK\x03\x04" + b"nothing else" * 100, "damaged"),
    ],
    # Not of the bytes: the time is in them, and each worker of pytest-xdist must collect the same.
    ids=["encrypted", "lzma", "bzip2", "empty", "hidden", "cut", "signature", "noise"],
)
def test_what_cannot_be_read_is_malformed_and_says_why(data, said):
    with pytest.raises(MalformedUpload, match=said):
        unpack(data, LIMITS)


def test_a_changed_byte_is_noticed():
    data = bytearray(archive(("a.png", b"cell" * 500), method=zipfile.ZIP_STORED))
    data[200] ^= 1
    with pytest.raises(MalformedUpload, match="damaged"):
        unpack(bytes(data), LIMITS)


VALID = archive(("a.png", b"cell" * 50), ("b.png", b"other" * 50))


@given(place=st.integers(0, len(VALID) - 1), value=st.integers(0, 255), cut=st.integers(0, len(VALID)))
def test_no_damage_raises_anything_but_our_own_errors(place, value, cut):
    data = bytearray(VALID)
    data[place] = value
    for damaged in (bytes(data), VALID[:cut]):
        try:
            files = unpack(damaged, LIMITS)
        except WbcError:
            continue
        assert 1 <= len(files) <= 2


def test_an_entry_without_a_name_is_a_file_like_others():  # found by tests/fuzz: is_dir() fails on it
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("x"), b"\xff\xd8\xff cell")
    nameless = bytearray(stream.getvalue())
    central = nameless.index(b"PK\x01\x02")
    for start, length_at in ((central, 28), (0, 26)):  # the later header first: what is before stays in place
        name_at = start + (46 if start else 30)
        nameless[start + length_at : start + length_at + 2] = bytes(2)
        del nameless[name_at]
    end = nameless.index(b"PK\x05\x06")
    nameless[end + 12 : end + 16] = (end - nameless.index(b"PK\x01\x02")).to_bytes(4, "little")
    nameless[end + 16 : end + 20] = nameless.index(b"PK\x01\x02").to_bytes(4, "little")
    assert unpack(bytes(nameless), LIMITS) == (b"\xff\xd8\xff cell",)
