"""Unpacks the images of one zip archive into a spool, and trusts nothing that it says of itself.

What an archive claims about sizes, counts and names decides nothing: bytes are counted as they come out of
the decompressor, entries by their signatures before a list of them is made. Only the two compression methods
are read whose memory is bounded whatever the data says. Names are dropped, as those of uploaded files are.
"""

import struct
import zipfile
import zlib
from typing import BinaryIO, Final

from orchestrator.edge.http.uploads import ZIP_SIGNATURE, UploadLimits
from orchestrator.edge.spool import Growing, Spool, Spooled
from orchestrator.errors import ImageTooLarge, MalformedUpload, UploadTooLarge
from orchestrator.vision.image_names import START_BYTES, is_cell, is_of_a_system

_CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
_EMPTY: Final = b"PK\x05\x06"
"""How an archive begins that holds nothing."""

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1

_SPARE_ENTRIES: Final = 1000
"""Folders and the files that operating systems add, beside the images."""

_CHUNK_BYTES: Final = 256 * 2**10

_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, OSError,
)  # fmt: skip
"""What :mod:`zipfile` raises for archives that are damaged, or made to be."""


def is_archive(start: bytes) -> bool:
    """Whether an uploaded file is a zip, by its first bytes; no image format begins so."""
    return start.startswith((ZIP_SIGNATURE, _EMPTY))


def unpack(archive: BinaryIO, limits: UploadLimits) -> Spooled:
    """The images in the archive, in its order; folders, and what is no cell by
    :mod:`orchestrator.vision.image_names`, are left out.

    Takes up to seconds for a large archive: call it in a thread.

    Raises:
        MalformedUpload: damaged, encrypted, of a rare compression, or without an image.
        UploadTooLarge: too many entries, or too many bytes in all of them together.
        ImageTooLarge: one file is too large.
    """
    # Each entry of the list has this signature, so that it cannot be longer than the count says.
    if _count(archive, _CENTRAL_SIGNATURE) > limits.max_files + _SPARE_ENTRIES:
        raise _too_many(limits)
    files: list[Growing] = []
    spool, left = Spool(limits.memory_bytes), limits.max_total_bytes
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                # Not entry.is_dir(), which fails on a name of no characters.
                if entry.filename.endswith("/") or is_of_a_system(entry.filename):
                    continue
                if entry.flag_bits & _ENCRYPTED:
                    raise MalformedUpload("The zip archive is encrypted.")
                if entry.compress_type not in _METHODS:
                    raise MalformedUpload("The zip archive is not stored or deflated.")
                with opened.open(entry) as stream:
                    if not is_cell(entry.filename, stream.read(START_BYTES)):
                        continue
                if len(files) == limits.max_files:
                    raise _too_many(limits)
                files.append(_read(opened, entry, limits, left, spool))
                left -= files[-1].size
    except _DAMAGE as error:
        raise MalformedUpload("The zip archive is damaged.") from error
    if not files:
        raise MalformedUpload("There is no image in the zip archive.")
    return Spooled(files)


def _count(archive: BinaryIO, signature: bytes) -> int:
    number, seen = 0, b""
    archive.seek(0)
    while chunk := archive.read(_CHUNK_BYTES):
        seen += chunk
        number += seen.count(signature)
        seen = seen[1 - len(signature) :]
    return number


def _read(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: UploadLimits, left: int, spool: Spool
) -> Growing:
    content = Growing(spool)
    with opened.open(entry) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            if content.size + len(chunk) > limits.max_file_bytes:
                raise ImageTooLarge(
                    f"A file in the zip archive is too large; at most {limits.max_file_bytes} bytes are "
                    "accepted."
                )
            if content.size + len(chunk) > left:
                raise UploadTooLarge(
                    f"The files in the zip archive are too large together; at most {limits.max_total_bytes} "
                    "bytes are accepted."
                )
            content.write(chunk)
    return content


def _too_many(limits: UploadLimits) -> UploadTooLarge:
    return UploadTooLarge(f"There are more than {limits.max_files} files in the zip archive.")
