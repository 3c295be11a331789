"""Reads uploaded images, one or many, from a multipart form, in memory and within limits.

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

from orchestrator.errors import (
    ImageTooLarge,
    MalformedUpload,
    UnsupportedBody,
    UploadTimeout,
    UploadTooLarge,
    WbcError,
)

FILE_FIELD: Final = "file"
FILES_FIELD: Final = "files"

FORM_OVERHEAD_BYTES: Final = 64 * 2**10
"""What a form may hold beside the file: boundaries, part headers and text fields."""

MAX_TEXT_FIELDS: Final = 16
MAX_TEXT_FIELD_BYTES: Final = 1024
MAX_PART_HEADERS: Final = 8

PART_OVERHEAD_BYTES: Final = 1024
"""What each further file of a form may bring beside its bytes."""

ZIP_SIGNATURE: Final = b"PK\x03\x04"
"""How every archive that holds something begins (APPNOTE.TXT of PKWARE, 4.3.7)."""

UPLOAD_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Upload:
    """The file's bytes and the form's text fields, each of which occurs once."""

    payload: bytes = field(repr=False)
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Uploads:
    """The bytes of the files in the order in which they came, and the text fields."""

    files: tuple[bytes, ...] = field(repr=False)
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What a form may hold: at most ``max_files`` files in the field ``file_field``, each of at most
    ``max_file_bytes``, together ``max_total_bytes``. With ``archives`` a file that begins as a zip does may
    be as large as all together; what is in it is for others to limit."""

    max_file_bytes: int
    max_total_bytes: int
    max_files: int = 1
    file_field: str = FILE_FIELD
    archives: bool = False

    @property
    def max_body_bytes(self) -> int:
        return self.max_total_bytes + FORM_OVERHEAD_BYTES + (self.max_files - 1) * PART_OVERHEAD_BYTES

    def body_too_large(self) -> WbcError:
        if self.max_files == 1:
            return _too_large(self.max_file_bytes)
        return UploadTooLarge(
            f"The files together are too large; at most {self.max_total_bytes} bytes are accepted."
        )


async def read_upload(request: Request, max_file_bytes: int, timeout_s: float = UPLOAD_TIMEOUT_S) -> Upload:
    """Read the form of a request with one file.

    Raises:
        UnsupportedBody: the body is no form.
        MalformedUpload: no file, several files, a file in another field, or a broken or incomplete form.
        ImageTooLarge: more than ``max_file_bytes`` in the file, or far more than that in the form.
        UploadTimeout: the body did not arrive within ``timeout_s`` seconds.
        ClientDisconnect: the sender went away.
    """
    uploads = await read_uploads(request, UploadLimits(max_file_bytes, max_file_bytes), timeout_s)
    return Upload(uploads.files[0], uploads.fields)


async def read_uploads(request: Request, limits: UploadLimits, timeout_s: float) -> Uploads:
    """Read the form of a request with at least one file.

    Raises as :func:`read_upload`, and :class:`UploadTooLarge` where there are too many files, or too many
    bytes in all of several.
    """
    form = _Form(_boundary(request.headers.get("content-type"), limits.file_field), limits)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_body_bytes:
        raise limits.body_too_large()
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += len(chunk)
                if received > limits.max_body_bytes:
                    raise limits.body_too_large()
                form.feed(chunk)
    except TimeoutError as error:
        raise UploadTimeout(f"The upload did not arrive within {timeout_s:.3g} seconds.") from error
    return form.finish()


def _boundary(content_type: str | None, file_field: str) -> bytes:
    media_type, parameters = parse_options_header(content_type)
    if media_type in (b"", b"application/x-www-form-urlencoded"):  # what a form without a file is sent as
        raise MalformedUpload(f"There is no file: send multipart/form-data with a field {file_field!r}.")
    if media_type != b"multipart/form-data":
        raise UnsupportedBody(f"Expected multipart/form-data with the image in the field {file_field!r}.")
    if not (boundary := parameters.get(b"boundary")):
        raise MalformedUpload("The Content-Type of the form names no boundary.")
    return boundary


def _too_large(max_file_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"The file is too large; at most {max_file_bytes} bytes are accepted.")


class _Form:
    """Collects the parts of a form from the parser's callbacks."""

    def __init__(self, boundary: bytes, limits: UploadLimits) -> None:
        self._limits = limits
        self._files: list[bytes] = []
        self._file_bytes = 0
        self._in_file = False
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
                    "on_part_end": self._close_part,
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

    def finish(self) -> Uploads:
        # The parser does not mind a form that just stops; the image in it would be cut.
        if not self._complete:
            raise MalformedUpload("The form is incomplete: its last boundary is missing.")
        if not self._files:
            raise MalformedUpload(f"There is no file: the form has no field {self._limits.file_field!r}.")
        try:
            fields = {name: value.decode() for name, value in self._fields.items()}
        except UnicodeDecodeError as error:
            raise MalformedUpload("Text fields must be UTF-8.") from error
        return Uploads(tuple(self._files), fields)

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
        limits = self._limits
        self._part = bytearray()
        self._in_file = name == limits.file_field  # with or without a file name
        if self._in_file:
            if len(self._files) == limits.max_files == 1:
                raise MalformedUpload("There are several files: send one image per request.")
            if len(self._files) == limits.max_files:
                raise UploadTooLarge(f"There are more than {limits.max_files} files.")
        elif b"filename" in options:
            only = ", and be the only one" if limits.max_files == 1 else ""
            raise MalformedUpload(f"The file must be in the field {limits.file_field!r}{only}.")
        elif name in self._fields:
            raise MalformedUpload("A text field occurs twice.")
        elif len(self._fields) == MAX_TEXT_FIELDS:
            raise MalformedUpload(f"There are more than {MAX_TEXT_FIELDS} text fields.")
        else:
            self._fields[name] = self._part

    def _extend_part(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._check_file(data, start, end)
        elif len(self._part) + end - start > MAX_TEXT_FIELD_BYTES:
            raise MalformedUpload(f"A text field has more than {MAX_TEXT_FIELD_BYTES} bytes.")
        self._part += data[start:end]

    def _check_file(self, data: bytes, start: int, end: int) -> None:
        limits = self._limits
        self._file_bytes += end - start
        if self._file_bytes > limits.max_total_bytes:
            raise limits.body_too_large()
        if len(self._part) + end - start <= limits.max_file_bytes:
            return
        beginning = bytes(self._part[:4]) + data[start : start + 4]
        if not (limits.archives and beginning.startswith(ZIP_SIGNATURE)):
            raise _too_large(limits.max_file_bytes)

    def _close_part(self) -> None:
        if self._in_file:
            self._files.append(bytes(self._part))
            self._part = bytearray()
            self._in_file = False

    def _end(self) -> None:
        self._complete = True
