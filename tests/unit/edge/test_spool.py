"""Files that lie together in one."""

import errno
import os
from tempfile import SpooledTemporaryFile

import pytest

from orchestrator.edge.spool import Growing, Span, Spool, Spooled
from orchestrator.errors import StoreUnavailable


def spooled(*contents: bytes, memory_bytes: int) -> Spooled:
    spool = Spool(memory_bytes)
    files = [Growing(spool) for _ in contents]
    for file, content in zip(files, contents, strict=True):
        for start in range(0, len(content), 3):
            file.write(content[start : start + 3])
    return Spooled(files)


@pytest.mark.parametrize("memory_bytes", [0, 5, 1000])
def test_each_file_reads_back_whole_in_any_order_and_in_pieces(memory_bytes):
    files = spooled(b"first", b"", b"the second", memory_bytes=memory_bytes)
    assert list(files) == [b"first", b"", b"the second"]
    assert (files[-1], files[0], list(files[1:])) == (b"the second", b"first", [b"", b"the second"])
    assert files.sizes() == [5, 0, 10]
    assert [files.start(number, 3) for number in range(3)] == [b"fir", b"", b"the"]
    opened = files.opened(2)
    assert (opened.seek(-6, os.SEEK_END), opened.read(100), opened.read()) == (4, b"second", b"")
    assert (opened.seek(0), opened.read(3)) == (0, b"the")


def test_beyond_the_memory_they_are_in_a_file_of_the_disk_without_a_name():
    spool = Spool(10)
    spool.append(bytes(10))
    assert not spool._file._rolled
    spool.append(bytes(1))
    assert spool._file._rolled
    assert os.fstat(spool._file.fileno()).st_nlink == 0


def test_a_full_disk_is_said_so():
    class Full(SpooledTemporaryFile[bytes]):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool(1)
    spool._file.close()
    spool._file = Full()
    with pytest.raises(StoreUnavailable, match="TMPDIR"):
        spool.append(b"x")
    assert spool.read(Span(0, 1)) == b""
