"""Reads one uploaded image from a multipart form, in memory and within limits.

Starlette's own form reading spools a file to disk and learns its size only when all of it is there. Here
bytes are counted as they arrive, whatever Content-Length says, and nothing touches the disk. The name that
a file had on the sender's machine, which may name a patient, is dropped unread.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from orchestrator.errors import ImageTooLarge, WbcError

FILE_FIELD: Final = "file"

FORM_OVERHEAD_BYTES: Final = 64 * 2**10
"""What a form may hold beside the file: boundaries, part headers and text fields."""

MAX_TEXT_FIELDS: Final = 16
MAX_TEXT_FIELD_BYTES: Final = 1024
MAX_PART_HEADERS: Final = 8
UPLOAD_TIMEOUT_S: Final = 60.0


class MalformedUpload(WbcError):
    """The body is not a form with exactly one file in the field ``file``."""


class UnsupportedBody(WbcError):
    """The body is of a kind that is never read, such as JSON."""


class UploadTimeout(WbcError):
    """The body did not arrive in time."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The file's bytes and the form's text fields, each of which occurs once."""

    payload: bytes = field(repr=False)
    fields: Mapping[str, str]


async def read_upload(request: Request, max_file_bytes: int, timeout_s: float = UPLOAD_TIMEOUT_S) -> Upload:
    """Read the form of a request.

    Raises:
        UnsupportedBody: the body is no form.
        MalformedUpload: no file, several files, a file in another field, or a broken or incomplete form.
        ImageTooLarge: more than ``max_file_bytes`` in the file, or far more than that in the form.
        UploadTimeout: the body did not arrive within ``timeout_s`` seconds.
        ClientDisconnect: the sender went away.
    """
    max_body_bytes = max_file_bytes + FORM_OVERHEAD_BYTES
    form = _Form(_boundary(request.headers.get("content-type")), max_file_bytes)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_body_bytes:
        raise _too_large(max_file_bytes)
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += len(chunk)
                if received > max_body_bytes:
                    raise _too_large(max_file_bytes)
                form.feed(chunk)
    except TimeoutError as error:
        raise UploadTimeout(f"The upload did not arrive within {timeout_s:.3g} seconds.") from error
    return form.finish()


def _boundary(content_type: str | None) -> bytes:
    media_type, parameters = parse_options_header(content_type)
    if media_type in (b"", b"application/x-www-form-urlencoded"):  # what a form without a file is sent as
        raise MalformedUpload(f"There is no file: send multipart/form-data with a field {FILE_FIELD!r}.")
    if media_type != b"multipart/form-data":
        raise UnsupportedBody(f"Expected multipart/form-data with the image in the field {FILE_FIELD!r}.")
    if not (boundary := parameters.get(b"boundary")):
        raise MalformedUpload("The Content-Type of the form names no boundary.")
    return boundary


def _too_large(max_file_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"The file is too large; at most {max_file_bytes} bytes are accepted.")


class _Form:
    """Collects the parts of a form from the parser's callbacks."""

    def __init__(self, boundary: bytes, max_file_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self._file: bytearray | None = None
        self._fields: dict[str, bytearray] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._part = bytearray()
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._extend_header_name,
                    "on_header_value": self._extend_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._extend_part,
                    "on_end": self._end,
                },
                max_header_count=MAX_PART_HEADERS,
            )
        except FormParserError as error:
            raise MalformedUpload("The boundary of the form is too long.") from error

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedUpload("The form is broken: it is not valid multipart/form-data.") from error

    def finish(self) -> Upload:
        # The parser does not mind a form that just stops; the image in it would be cut.
        if not self._complete:
            raise MalformedUpload("The form is incomplete: its last boundary is missing.")
        if self._file is None:
            raise MalformedUpload(f"There is no file: the form has no field {FILE_FIELD!r}.")
        try:
            fields = {name: value.decode() for name, value in self._fields.items()}
        except UnicodeDecodeError as error:
            raise MalformedUpload("Text fields must be UTF-8.") from error
        return Upload(bytes(self._file), fields)

    def _begin_part(self) -> None:
        self._disposition = b""

    def _extend_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _extend_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        try:
            name = options[b"name"].decode()
        except (KeyError, UnicodeDecodeError) as error:
            raise MalformedUpload("Every part of the form needs a name.") from error
        self._part = bytearray()
        if name == FILE_FIELD:  # with or without a file name
            if self._file is not None:
                raise MalformedUpload("There are several files: send one image per request.")
            self._file = self._part
        elif b"filename" in options:
            raise MalformedUpload(f"The file must be in the field {FILE_FIELD!r}, and be the only one.")
        elif name in self._fields:
            raise MalformedUpload("A text field occurs twice.")
        elif len(self._fields) == MAX_TEXT_FIELDS:
            raise MalformedUpload(f"There are more than {MAX_TEXT_FIELDS} text fields.")
        else:
            self._fields[name] = self._part

    def _extend_part(self, data: bytes, start: int, end: int) -> None:
        size = len(self._part) + end - start
        if self._part is self._file:
            if size > self._max_file_bytes:
                raise _too_large(self._max_file_bytes)
        elif size > MAX_TEXT_FIELD_BYTES:
            raise MalformedUpload(f"A text field has more than {MAX_TEXT_FIELD_BYTES} bytes.")
        self._part += data[start:end]

    def _end(self) -> None:
        self._complete = True
