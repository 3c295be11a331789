"""Reads uploaded images, one or many, from a multipart form, within limits.

Starlette's parser, which is fed no more bytes than the limits allow, whatever Content-Length says. What comes
is held in memory, or in one spool where the limits say so. The name that a file had on the sender's machine,
which may name a patient, is dropped.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from orchestrator.edge.http.bodies import bounded
from orchestrator.edge.spool import Growing, Spool, Spooled
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

PART_OVERHEAD_BYTES: Final = 1024
"""What each further file of a form may bring beside its bytes."""

ZIP_SIGNATURE: Final = b"PK\x03\x04"
"""How every archive that holds something begins (APPNOTE.TXT of PKWARE, 4.3.7)."""

UPLOAD_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Uploads:
    """The bytes of the files in the order in which they came, the fields that they came in, and the text
    fields, each once."""

    files: Sequence[bytes] = field(repr=False)
    fields: Mapping[str, str]
    file_fields: Sequence[str] = field(repr=False, default=())


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What a form may hold: at most ``max_files`` files in the field ``file_field``, each of at most
    ``max_file_bytes``, together ``max_total_bytes``. With ``archives`` a file that begins as a zip does may
    be as large as all together; what is in it is for others to limit. Beyond ``memory_bytes`` (0: without
    end) the files are on the disk, and ``Uploads.files`` reads each when it is asked for. Where the
    name of a field says something of its files, ``field_names`` are those there are, and ``file_field``
    tells how one looks."""

    max_file_bytes: int
    max_total_bytes: int
    max_files: int = 1
    file_field: str = FILE_FIELD
    archives: bool = False
    memory_bytes: int = 0
    field_names: re.Pattern[str] | None = None

    def takes(self, name: str) -> bool:
        """Whether files may be in the field of this name."""
        if self.field_names is None:
            return name == self.file_field
        return self.field_names.fullmatch(name) is not None

    @property
    def max_body_bytes(self) -> int:
        return self.max_total_bytes + FORM_OVERHEAD_BYTES + (self.max_files - 1) * PART_OVERHEAD_BYTES

    def body_too_large(self) -> WbcError:
        if self.max_files == 1:
            return self.file_too_large()
        return UploadTooLarge(
            f"The files together are too large; at most {self.max_total_bytes} bytes are accepted."
        )

    def file_too_large(self) -> WbcError:
        return ImageTooLarge(f"The file is too large; at most {self.max_file_bytes} bytes are accepted.")

    def too_many_files(self) -> WbcError:
        if self.max_files == 1:
            return MalformedUpload("There are several files: send one image per request.")
        return UploadTooLarge(f"There are more than {self.max_files} files.")


async def read_uploads(request: Request, limits: UploadLimits, timeout_s: float) -> Uploads:
    """Read the form of a request with at least one file.

    Raises:
        UnsupportedBody: the body is no form, or compressed.
        MalformedUpload: no file, a second one where one is allowed, a file in another field, or a broken or
            incomplete form.
        ImageTooLarge: one file is too large.
        UploadTooLarge: there are too many files, or too many bytes in all of several.
        UploadTimeout: the body did not arrive within ``timeout_s`` seconds.
        ClientDisconnect: the sender went away.
    """
    options = _form_options(request.headers.get("content-type"), limits.file_field)
    before = chunk = b""

    async def whole() -> AsyncGenerator[bytes, None]:
        nonlocal before, chunk
        body = bounded(request, limits.max_body_bytes, limits.body_too_large())
        async for chunk in _without_preamble(body, options.get(b"boundary", b"")):
            yield chunk
            before = chunk[-1:]
        if not parser.is_complete:  # which the parser does not mind; the image in it would be cut
            raise MalformedUpload("The form is incomplete: its last boundary is missing.")

    parser = _Parser(
        Spool(limits.memory_bytes),
        request.headers,
        whole(),
        max_files=limits.max_files,
        max_fields=MAX_TEXT_FIELDS,
        max_part_size=MAX_TEXT_FIELD_BYTES,
    )
    try:
        async with asyncio.timeout(timeout_s):
            form = await parser.parse()
    except TimeoutError as error:
        raise UploadTimeout(f"The upload did not arrive within {timeout_s:.3g} seconds.") from error
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise limits.too_many_files() from error
        raise MalformedUpload(f"The form is broken: {_fault(error, before, chunk)}") from error
    return _uploads(form, limits)


def _fault(error: MultiPartException, before: bytes, chunk: bytes) -> str:
    """What is wrong with a form, as far as its parser knows; ``chunk`` is what it read last, ``before`` the
    byte before that."""
    if not isinstance(error.__context__, MultipartParseError):
        return error.message
    at = error.__context__.offset
    if " in header" in str(error.__context__) and chunk[at : at + 1] in (b" ", b"\t"):
        if (before + chunk)[: at + len(before)].endswith(b"\n"):
            return "a header of a part is folded over several lines, which is not read here: write it on one."
        return "the name of a part's header holds a space."
    return f"{error.__context__}."


class _Parser(MultiPartParser):
    """Writes all files into one spool: a thousand of them are not a thousand open files."""

    is_complete = False

    def __init__(
        self, spool: Spool, headers: Headers, stream: AsyncGenerator[bytes, None], **limits: int
    ) -> None:
        super().__init__(headers, stream, **limits)
        self._spool = spool

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is not None:
            self._files_to_close_on_error.pop().close()  # the parser's own, which nothing was written to
            self._current_part.file = UploadFile(cast("BinaryIO", _Part(self._spool)))

    def on_end(self) -> None:
        self.is_complete = True


class _Part(Growing):
    """As far as the parser knows files."""

    @property
    def _rolled(self) -> bool:
        """Whether the parser leaves writing to a thread."""
        return not self.spool.in_memory

    def tell(self) -> int:
        return self.size

    def seek(self, _: int) -> None:
        """It is read by its span."""


async def _without_preamble(body: AsyncIterator[bytes], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """From the first boundary on; what stands before it is ignored (RFC 2046, 5.1.1)."""
    delimiter = b"\r\n--" + boundary
    seen = b"\r\n"  # as if before the body, where a boundary may stand at once
    async for chunk in body:
        seen += chunk
        at = seen.find(delimiter)
        if at >= 0:
            yield seen[at + 2 :]
            break
        seen = seen[-len(delimiter) :]
    else:
        if len(seen) > 2:
            raise MalformedUpload("The form is broken: its boundary is not in the body.")
    async for chunk in body:
        yield chunk


def _form_options(content_type: str | None, file_field: str) -> Mapping[bytes, bytes]:
    """The parameters of the form's media type."""
    media_type, options = parse_options_header(content_type)
    if media_type in (b"", b"application/x-www-form-urlencoded"):  # what a form without a file is sent as
        raise MalformedUpload(f"There is no file: send multipart/form-data with a field {file_field!r}.")
    if media_type != b"multipart/form-data":
        raise UnsupportedBody(f"Expected multipart/form-data with the image in the field {file_field!r}.")
    return options


def _uploads(form: FormData, limits: UploadLimits) -> Uploads:
    parts: list[Growing] = []
    names: list[str] = []
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if not limits.takes(name):
                raise MalformedUpload(f"The file must be in the field {limits.file_field!r}.")
            names.append(name)
            parts.append(cast("Growing", value.file))
        elif name in fields:
            raise MalformedUpload("A text field occurs twice.")
        else:
            fields[name] = value
    if not parts:
        raise MalformedUpload(f"There is no file: the form has no field {limits.file_field!r}.")
    files = Spooled(parts)
    for number, size in enumerate(files.sizes()):
        is_archive = limits.archives and files.start(number, len(ZIP_SIGNATURE)) == ZIP_SIGNATURE
        if size > limits.max_file_bytes and not is_archive:
            raise limits.file_too_large()
    if sum(files.sizes()) > limits.max_total_bytes:
        raise limits.body_too_large()
    return Uploads(files if limits.memory_bytes else tuple(files), fields, names)
