"""A differential of painted fields through a running service to its end, and out of it in every format.

    python -m loadtests.specimen_of_fields [--fields 100]

Starts a service with a store of its own, orders one specimen, waits for its analysis, decides what waits as
the service suggests, signs, and fetches FHIR, HL7 v2, DICOM and the table of cells. Prints seconds, cells and
bytes.
For research use only. Not for use in diagnostic procedures.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final

import cv2
import httpx2
import numpy as np

from loadtests.host import host_in_words
from loadtests.images import ImageFile, field_file
from orchestrator.domain import DISCLAIMER
from tests.running_service import running_service

CELLS: Final = (1, 2, 3, 4, 5)
VIEWS: Final = 8
"""Each painted field is also turned and mirrored, which makes other fields of it: painting takes longest."""

FORMATS: Final = ("fhir", "hl7", "dicom", "export.csv?table=cells")
_POLL_S: Final = 0.5
_TIMEOUT_S: Final = 600.0


def painted_fields(count: int) -> list[ImageFile]:
    """So many JPEG files of fields, no two of which show the same."""
    files: list[ImageFile] = []
    while len(files) < count:
        number = len(files) // VIEWS
        field = field_file(CELLS[number % len(CELLS)], seed=number)
        bgr = np.asarray(cv2.imdecode(np.frombuffer(field.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        for view in range(VIEWS):
            turned = np.rot90(bgr if view < VIEWS // 2 else np.fliplr(bgr), view % (VIEWS // 2))
            _, data = cv2.imencode(".jpg", np.ascontiguousarray(turned), [cv2.IMWRITE_JPEG_QUALITY, 95])
            files.append(ImageFile(f"field-{len(files)}.jpg", data.tobytes(), "image/jpeg"))
    return files[:count]


def finished(client: httpx2.Client, place: str) -> dict[str, Any]:
    """The differential there, once all of it is analysed."""
    while True:
        document: dict[str, Any] = client.get(place).raise_for_status().json()
        if document["state"] not in ("waiting", "running"):
            return document
        time.sleep(_POLL_S)


def run(client: httpx2.Client, fields: Sequence[ImageFile]) -> dict[str, str]:
    """The figures by what they are."""
    begun_s = time.monotonic()
    files = [("files", (file.name, file.data, file.media_type)) for file in fields]
    form = {"specimen_id": "S-fields", "kind": "field"}
    ordered = client.post("/v1/differentials", files=files, data=form).raise_for_status()
    place = f"/v1/differentials/{ordered.json()['id']}"
    ordered_s = time.monotonic()
    document = finished(client, place)
    analysed_s = time.monotonic()
    for cell in document["cells"]:
        if cell["needs_review"]:
            label = {"label": cell["result"]["class"]}
            client.post(f"{place}/cells/{cell['id']}/decision?cells=false", json=label).raise_for_status()
    signed = client.post(f"{place}/sign?cells=false").raise_for_status().json()
    decided_s = time.monotonic()
    told = {name: len(client.get(f"{place}/{name}").raise_for_status().content) for name in FORMATS}
    doubles = sum(cell["place"]["same_as"] is not None for cell in document["cells"] if cell["place"])
    return {
        "fields": f"{len(document['fields'])}, {sum(len(file.data) for file in fields)} bytes",
        "cells": f"{len(document['cells'])}, counted {signed['progress']['counted']}, found twice {doubles}, "
        f"failed {signed['progress']['failed']}",
        "seconds to order": f"{ordered_s - begun_s:.1f}",
        "seconds to analyse": f"{analysed_s - ordered_s:.1f}",
        "seconds to decide and sign": f"{decided_s - analysed_s:.1f}",
        "seconds to export": f"{time.monotonic() - decided_s:.1f}",
        **{name: f"{size} bytes" for name, size in told.items()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0, or an error of what the service did not do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=100)
    options = parser.parse_args(arguments)
    fields = painted_fields(options.fields)
    with tempfile.TemporaryDirectory() as folder:
        environment = {"WBC_STORE__URL": f"sqlite:///{folder}/wbc.db"}
        with (
            running_service(environment=environment) as service,
            httpx2.Client(base_url=service.url, timeout=_TIMEOUT_S) as client,
        ):
            for name, figure in run(client, fields).items():
                print(f"{name}: {figure}")
    print(f"{host_in_words()}. {DISCLAIMER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
