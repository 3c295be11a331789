"""Walks over the elements of a DICOM data set, hands out those asked for and steps over all others unread.

A data set begins with who the patient is. Stepping over a value means to add its length to a position, so
that nothing of it is ever looked at. Nothing is trusted: lengths are held against the data, and nesting is
walked with a stack of bounded height, not by recursion.
"""

import struct
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import UndecodableImage

UNDEFINED_LENGTH: Final = 0xFFFFFFFF

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD

_SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Value representations whose length has two bytes; all others have four, behind two reserved ones."""

_LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_MAX_ELEMENTS: Final = 100_000
"""A microscope's image has about 200. Each step costs about a microsecond."""

_MAX_NESTING: Final = 64
"""Of sequences and their items together; the deepest that the standard's modules define is about 10."""


@dataclass(frozen=True, slots=True)
class Element:
    """The header of an element: its tag (group and element as one number), its value representation (empty
    where the transfer syntax does not tell it), the length of its value, and where that begins."""

    tag: int
    vr: bytes
    length: int
    value_at: int


def read_elements(
    data: bytes, start: int, *, explicit: bool, wanted: Container[int], until: int
) -> tuple[Mapping[int, bytes], Element | None]:
    """Walk from ``start`` to the first element whose tag is at least ``until``.

    ``explicit`` says whether value representations are written down; the byte order is little endian.

    Returns the values of the ``wanted`` tags on the way, and that first element; None where the data ends.

    Raises:
        UndecodableImage: truncated or corrupt, a wanted tag occurs twice, or nested or long beyond reason.
    """
    values: dict[int, bytes] = {}
    walk = _Walk(data)
    position = start
    while position < len(data):
        element = walk.element(position, explicit)
        if element.tag >= until:
            return values, element
        if element.length == UNDEFINED_LENGTH:
            position = walk.past_sequence(element, explicit)
            continue
        position = walk.past(element)
        if element.tag in wanted:
            if element.tag in values:  # Readers differ in which of two they believe.
                raise UndecodableImage("An element of the DICOM data set occurs twice.")
            values[element.tag] = data[element.value_at : position]
    return values, None


def read_fragments(data: bytes, element: Element, at_most: int) -> list[bytes]:
    """The items of encapsulated pixel data, without the first, which is the table of offsets.

    Raises:
        UndecodableImage: truncated or corrupt, or more than ``at_most`` items.
    """
    walk = _Walk(data)
    fragments: list[bytes] = []
    position = element.value_at
    while True:
        item = walk.element(position, explicit=False)
        if item.tag == SEQUENCE_END:
            return fragments[1:]
        if item.tag != ITEM or item.length == UNDEFINED_LENGTH or len(fragments) > at_most:
            raise UndecodableImage("The encapsulated pixel data of the DICOM is corrupt.")
        position = walk.past(item)
        fragments.append(data[item.value_at : position])


class _Walk:
    """Steps over elements, and counts the steps."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._steps = 0

    def element(self, position: int, explicit: bool) -> Element:
        self._steps += 1
        if self._steps > _MAX_ELEMENTS:
            raise UndecodableImage(f"The DICOM has more than {_MAX_ELEMENTS} elements before its pixels.")
        if position + 8 > len(self._data):
            raise UndecodableImage("The DICOM data set ends within an element: the file is truncated.")
        group, number = struct.unpack_from("<HH", self._data, position)
        tag = group << 16 | number
        if not explicit or group == 0xFFFE:  # items and their ends never have a value representation
            (length,) = struct.unpack_from("<I", self._data, position + 4)
            return Element(tag, b"", length, position + 8)
        vr = self._data[position + 4 : position + 6]
        if vr in _SHORT_VRS:
            (length,) = struct.unpack_from("<H", self._data, position + 6)
            return Element(tag, vr, length, position + 8)
        if vr not in _LONG_VRS:
            raise UndecodableImage("The DICOM data set is corrupt: a value representation is unknown.")
        if position + 12 > len(self._data):
            raise UndecodableImage("The DICOM data set ends within an element: the file is truncated.")
        (length,) = struct.unpack_from("<I", self._data, position + 8)
        return Element(tag, vr, length, position + 12)

    def past(self, element: Element) -> int:
        end = element.value_at + element.length
        if end > len(self._data):
            raise UndecodableImage("An element of the DICOM is longer than the file: it is truncated.")
        return end

    def past_sequence(self, element: Element, explicit: bool) -> int:
        """The position behind a sequence of undefined length."""
        stack = [(True, _is_explicit_within(element, explicit))]  # (whether in a sequence or in an item, …)
        position = element.value_at
        while stack:
            if len(stack) > _MAX_NESTING:
                raise UndecodableImage("The sequences of the DICOM are nested too deeply.")
            in_sequence, explicit = stack[-1]
            inner = self.element(position, explicit)
            position = inner.value_at
            if inner.tag == (SEQUENCE_END if in_sequence else ITEM_END):
                stack.pop()
            elif in_sequence and inner.tag != ITEM:
                raise UndecodableImage("A sequence of the DICOM holds something that is no item.")
            elif inner.length != UNDEFINED_LENGTH:
                position = self.past(inner)
            elif in_sequence:
                stack.append((False, explicit))
            else:
                stack.append((True, _is_explicit_within(inner, explicit)))
        return position


def _is_explicit_within(element: Element, explicit: bool) -> bool:
    """How the items of a sequence are written: one of unknown representation is always implicit (6.2.2)."""
    if explicit and element.vr not in (b"SQ", b"UN"):
        raise UndecodableImage("An element of the DICOM has no length, and is no sequence.")
    return explicit and element.vr == b"SQ"
