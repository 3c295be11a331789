"""Reads one TIFF directory (IFD), the structure that TIFF files and EXIF blocks share.

Nothing is trusted: every offset and count is held against the length of the data, so that reading
needs no more memory than the payload has bytes.

Reference: Adobe, *TIFF Revision 6.0* (1992), section 2; *The BigTIFF File Format* (libtiff), whose numbers
are twice as long; CIPA DC-008 (EXIF) for the orientation tag.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UndecodableImage

ORIENTATION: Final = 274

_VALUE_DTYPES: Final = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 16: "u8"}
"""BYTE, SHORT, LONG, UNDEFINED (of tables) and LONG8; no tag that matters to pixels has another."""

_LARGEST: Final = 2**61
"""What a larger value of eight bytes is taken for, so that two of them can be added."""

_MAX_ENTRIES: Final = 512
"""Baseline files have about 15 entries, the busiest microscope exports about 60."""


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """The entries of one directory, still in the bytes of the file.

    ``entries`` maps a tag to its raw bytes, 12 or in a BigTIFF 20; ``next_offset`` is where the next
    directory starts, 0 where there is none.
    """

    data: bytes
    byte_order: Literal["<", ">"]
    is_big: bool
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
        number, at = ("Q", 12) if self.is_big else ("I", 8)
        field_type, count = struct.unpack(self.byte_order + "H" + number, entry[2:at])
        if field_type not in _VALUE_DTYPES:
            raise UndecodableImage(f"TIFF tag {tag} has a value of an unexpected type.")
        dtype = np.dtype(self.byte_order + _VALUE_DTYPES[field_type])
        if count * dtype.itemsize <= len(entry) - at:
            return _as_int64(np.frombuffer(entry, dtype, count, offset=at))
        (start,) = struct.unpack(self.byte_order + number, entry[at:])
        if start + count * dtype.itemsize > len(self.data):
            raise UndecodableImage(f"The values of TIFF tag {tag} lie outside the file: it is truncated.")
        return _as_int64(np.frombuffer(self.data, dtype, count, offset=start))

    def integer(self, tag: int, default: int) -> int:
        """The first value of ``tag``, or ``default`` where the tag is absent or has no value."""
        values = self.integers(tag)
        return int(values[0]) if values.size else default


def _as_int64(values: NDArray[Any]) -> NDArray[np.int64]:
    return (
        np.minimum(values, _LARGEST).astype(np.int64)
        if values.dtype.itemsize == 8
        else values.astype(np.int64)
    )


def read_directory(data: bytes, offset: int | None = None) -> TiffDirectory:
    """Read the directory at ``offset``, by default the first one, of ``data``, which starts with a TIFF
    header.

    Raises:
        UndecodableImage: there is no TIFF header, or the directory is truncated or contradicts itself.
    """
    byte_order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
    is_big = data[:8] in (b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
    header_bytes, entry_bytes, number, counter = (16, 20, "Q", "Q") if is_big else (8, 12, "I", "H")
    if len(data) < header_bytes or not (is_big or data[:4] in (b"II*\0", b"MM\0*")):
        raise UndecodableImage("The TIFF header is truncated or corrupt.")
    if offset is None:
        (offset,) = struct.unpack_from(byte_order + number, data, header_bytes // 2)
    entries_at = offset + struct.calcsize(counter)
    if offset < 8 or entries_at > len(data):
        raise UndecodableImage("The TIFF directory lies outside the file: it is truncated.")
    (count,) = struct.unpack_from(byte_order + counter, data, offset)
    if not 0 < count <= _MAX_ENTRIES:
        raise UndecodableImage(f"The TIFF directory has {count} entries; expected 1 to {_MAX_ENTRIES}.")
    end = entries_at + count * entry_bytes
    if end + struct.calcsize(number) > len(data):
        raise UndecodableImage("The TIFF directory is truncated.")
    entries: dict[int, bytes] = {}
    for start in range(entries_at, end, entry_bytes):
        entry = data[start : start + entry_bytes]
        (tag,) = struct.unpack_from(byte_order + "H", entry)
        if tag in entries:  # Readers differ in which of two they believe; nobody can know what was meant.
            raise UndecodableImage(f"TIFF tag {tag} occurs twice.")
        entries[tag] = entry
    (next_offset,) = struct.unpack_from(byte_order + number, data, end)
    return TiffDirectory(data, byte_order, is_big, entries, next_offset)


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
