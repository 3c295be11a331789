"""The ways into the service that the load takes: REST. gRPC is one more class with the same methods."""

from http import HTTPStatus
from typing import Final, Protocol

from locust.contrib.fasthttp import FastHttpSession

from loadtests.images import ImageFile

REFUSALS: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
)
BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
DEFAULT_PAUSE_S: Final = 1.0


class Edge(Protocol):
    """Sends a file and tells Locust, under the name of ``kind``, whether the answer was the right one."""

    def analyse(self, kind: str, file: ImageFile, *, full: bool) -> float:
        """Send a cell; with heatmap and report where ``full``. The seconds that a busy service asks for."""

    def find(self, kind: str, file: ImageFile) -> float:
        """Send a whole field with white cells. The seconds that a busy service asks for."""

    def refuse(self, kind: str, file: ImageFile) -> None:
        """Send what is no image; a refusal is the right answer."""


class RestEdge:
    """``POST /predict``, ``POST /v1/analyses`` where neither heatmap nor report is wanted, and
    ``POST /v1/fields``."""

    def __init__(self, client: FastHttpSession) -> None:
        self._client = client

    def analyse(self, kind: str, file: ImageFile, *, full: bool) -> float:
        """See :class:`Edge`."""
        if full:
            return self._answered("/predict", kind, file, "gradcam_image")
        return self._answered("/v1/analyses?heatmap=false&report=none", kind, file, "decision")

    def find(self, kind: str, file: ImageFile) -> float:
        """See :class:`Edge`."""
        return self._answered("/v1/fields", kind, file, "cells")

    def _answered(self, path: str, kind: str, file: ImageFile, expected: str) -> float:
        """Post a file; ``expected`` is what the answer must hold, and not empty."""
        with self._client.post(path, name=kind, files=_form(file), catch_response=True) as response:
            if response.status_code in BUSY:
                response.failure(f"busy ({response.status_code})")
                return _retry_after_s(response.headers.get("Retry-After"))
            if response.status_code != HTTPStatus.OK:
                response.failure(f"expected 200, received {response.status_code}: {response.text}")
            elif not response.json()[expected]:
                response.failure(f"expected {expected}, received none")
        return 0.0

    def refuse(self, kind: str, file: ImageFile) -> None:
        """See :class:`Edge`."""
        with self._client.post("/predict", name=kind, files=_form(file), catch_response=True) as response:
            if response.status_code in REFUSALS:
                response.success()
            else:
                response.failure(f"{file.name}: expected 400, 413 or 415, received {response.status_code}")


def _form(file: ImageFile) -> dict[str, tuple[str, bytes, str]]:
    return {"file": (file.name, file.data, file.media_type)}


def _retry_after_s(value: str | None) -> float:
    try:
        return float(value or DEFAULT_PAUSE_S)
    except ValueError:  # a date, which this service never sends
        return DEFAULT_PAUSE_S
