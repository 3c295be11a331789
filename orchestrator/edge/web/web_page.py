"""The page that a person uses: the files of ``web/``, read once, each with its type and its hash.

Every asset is local, and a policy forbids the browser to load or run anything else.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.edge.access.needs import OPEN
from orchestrator.edge.http.endpoint import Endpoint

_FOLDER: Final = Path(__file__).parent / "static"

_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def _read() -> dict[str, _File]:
    contents = {
        path.relative_to(_FOLDER).as_posix(): path.read_bytes()
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    # Named at once: else a browser asks for a module only when it has read the one that imports it.
    preloads = "".join(
        f'  <link rel="modulepreload" href="web/{name}">\n' for name in contents if name.endswith(".js")
    )
    head, foot = contents["index.html"].split(b"</head>")
    contents["index.html"] = head + preloads.encode() + b"</head>" + foot
    return {
        name: _File(content, _MEDIA_TYPES[Path(name).suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        for name, content in contents.items()
    }


def routes() -> list[Endpoint]:
    """``/`` and ``/web/…``."""
    files = _read()

    async def page(request: Request) -> Response:
        return _answer(files["index.html"], request)

    async def asset(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _answer(file, request)

    return [
        Endpoint("GET", "/", page, OPEN, include_in_schema=False),
        Endpoint("GET", "/web/{name:path}", asset, OPEN, include_in_schema=False),
    ]


def _answer(file: _File, request: Request) -> Response:
    # The browser asks each time whether its copy is the newest: no half of an old page after an update.
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "ETag": file.etag,
    }
    if request.headers.get("If-None-Match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
