"""Reads one TIFF directory (IFD), the structure that TIFF files and EXIF blocks share.

Nothing is trusted: every offset and count is held against the length of the data, so that reading
needs no more memory than the payload has bytes.

Reference: Adobe, *TIFF Revision 6.0* (1992), section 2; CIPA DC-008 (EXIF) for the orientation tag.
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UndecodableImage

ORIENTATION: Final = 274

_VALUE_DTYPES: Final = {1: "u1", 3: "u2", 4: "u4"}
"""The three unsigned field types (BYTE, SHORT, LONG); no tag that matters to pixels has another."""

_ENTRY_BYTES: Final = 12
_MAX_ENTRIES: Final = 512
"""Baseline files have about 15 entries, the busiest microscope exports about 60."""


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """The entries of one directory, still in the bytes of the file.

    ``entries`` maps a tag to its 12 raw bytes; ``offset`` is where the directory starts; ``next_offset``
    is where the next one starts, 0 where there is none.
    """

    data: bytes
    byte_order: Literal["<", ">"]
    offset: int
    entries: dict[int, bytes]
    next_offset: int

    def integers(self, tag: int) -> NDArray[np.int64]:
        """The values of ``tag`` as int64 ``[count]``; empty where the tag is absent.

        Raises:
            UndecodableImage: the values lie outside the data or are not unsigned integers.
        """
        entry = self.entries.get(tag)
        if entry is None:
            return np.empty(0, np.int64)
        field_type, count = struct.unpack(self.byte_order + "HI", entry[2:8])
        if field_type not in _VALUE_DTYPES:
            raise UndecodableImage(f"TIFF tag {tag} has a value of an unexpected type.")
        dtype = np.dtype(self.byte_order + _VALUE_DTYPES[field_type])
        if count * dtype.itemsize <= 4:
            return np.frombuffer(entry, dtype, count, offset=8).astype(np.int64)
        (start,) = struct.unpack(self.byte_order + "I", entry[8:12])
        if start + count * dtype.itemsize > len(self.data):
            raise UndecodableImage(f"The values of TIFF tag {tag} lie outside the file: it is truncated.")
        return np.frombuffer(self.data, dtype, count, offset=start).astype(np.int64)

    def integer(self, tag: int, default: int) -> int:
        """The first value of ``tag``, or ``default`` where the tag is absent or has no value."""
        values = self.integers(tag)
        return int(values[0]) if values.size else default

    def reduced_to(self, tags: frozenset[int]) -> bytes:
        """The same file with this directory cut down to ``tags`` and made the only one.

        The shorter directory takes the place of the old one, so no other offset changes.
        """
        kept = [entry for tag, entry in sorted(self.entries.items()) if tag in tags]
        directory = struct.pack(self.byte_order + "H", len(kept)) + b"".join(kept) + bytes(4)
        return self.data[: self.offset] + directory + self.data[self.offset + len(directory) :]


def read_directory(data: bytes) -> TiffDirectory:
    """Read the first directory of ``data``, which starts with a TIFF header.

    Raises:
        UndecodableImage: there is no TIFF header, or the directory is truncated or contradicts itself.
    """
    if len(data) < 8 or data[:4] not in (b"II*\0", b"MM\0*"):
        raise UndecodableImage("The TIFF header is truncated or corrupt.")
    byte_order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(byte_order + "I", data, 4)
    if offset < 8 or offset + 2 > len(data):
        raise UndecodableImage("The TIFF directory lies outside the file: it is truncated.")
    (count,) = struct.unpack_from(byte_order + "H", data, offset)
    if not 0 < count <= _MAX_ENTRIES:
        raise UndecodableImage(f"The TIFF directory has {count} entries; expected 1 to {_MAX_ENTRIES}.")
    end = offset + 2 + count * _ENTRY_BYTES
    if end + 4 > len(data):
        raise UndecodableImage("The TIFF directory is truncated.")
    entries: dict[int, bytes] = {}
    for start in range(offset + 2, end, _ENTRY_BYTES):
        entry = data[start : start + _ENTRY_BYTES]
        (tag,) = struct.unpack_from(byte_order + "H", entry)
        if tag in entries:  # Readers differ in which of two they believe; nobody can know what was meant.
            raise UndecodableImage(f"TIFF tag {tag} occurs twice.")
        entries[tag] = entry
    (next_offset,) = struct.unpack_from(byte_order + "I", data, end)
    return TiffDirectory(data, byte_order, offset, entries, next_offset)


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block gives; 1 where it gives none or is damaged.

    ``exif`` is the block with or without the prefix that JPEG puts before it. Damaged metadata is no
    reason to refuse a readable image, so this never raises.
    """
    try:
        orientation = read_directory(exif.removeprefix(b"Exif\0\0")).integer(ORIENTATION, 1)
    except UndecodableImage:
        return 1
    return orientation if 1 <= orientation <= 8 else 1
