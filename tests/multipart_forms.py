"""Multipart bodies as bytes, right and wrong ones, independent of any client library."""

BOUNDARY = b"cell-boundary"
CONTENT_TYPE = "multipart/form-data; boundary=cell-boundary"


def part(name: str, content: bytes, filename: str | None = None, headers: tuple[bytes, ...] = ()) -> bytes:
    """One part of a form, from its boundary to the end of its content."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    lines = (b"--" + BOUNDARY, b"Content-Disposition: " + disposition.encode(), *headers, b"", content)
    return b"\r\n".join(lines)


def form(*parts: bytes) -> bytes:
    """A whole form of these parts."""
    return b"\r\n".join((*parts, b"--" + BOUNDARY + b"--\r\n"))
