"""What a whole field costs beside the image of one cell, and how much memory a field of 100 megapixels takes.

    python -m loadtests.fields [--rounds 9] [--output-dir runs/fields]

Starts a service with the embedded model. In each round it asks, in turn, for a ``/predict`` of one cell, for
the field from which that cell is cut, and for fields of as many pixels with 2, 4 and 8 cells; medians of all
rounds are compared. Then one field of 100 megapixels is sent while the resident memory of the service and its
processes is watched. Writes ``fields.md``. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import cv2
import httpx2
import numpy as np
import psutil

from loadtests.host import host_in_words, resident_mb
from loadtests.images import ImageFile, field_file
from orchestrator.domain import DISCLAIMER, UInt8Array
from tests.running_service import RunningService, running_service

MORE_CELLS: Final = (2, 4, 8)
CELL_FRAME: Final = 2.2
"""Side of the image of one cell, in sizes of its box."""

ONE_CELL_RATIO: Final = 1.6
FURTHER_CELL_RATIO: Final = 0.5
MEMORY_MB: Final = 1024.0
"""Wanted at most: a field with one cell and each further cell in times of a ``/predict``; resident memory."""

ONE_VIEW: Final = "?tta=none"
"""Else a cell that is less clear in its field asks for eight times the work."""

LARGE_SIDE: Final = 10_000
EACH: Final = 6
LARGEST_MS: Final = 600_000
_POLL_S: Final = 0.05


def send(client: httpx2.Client, path: str, file: ImageFile) -> tuple[float, dict[str, object]]:
    """Milliseconds until the answer, and the answer.

    Raises ``RuntimeError`` where it is refused.
    """
    begun_s = time.perf_counter()
    files = {"file": (file.name, file.data, file.media_type)}
    response = client.post(path, files=files, headers={"X-Request-Timeout-Ms": str(LARGEST_MS)})
    taken_ms = 1000 * (time.perf_counter() - begun_s)
    if response.status_code != 200:
        raise RuntimeError(f"{path}: expected 200, received {response.status_code}: {response.text}")
    return taken_ms, response.json()


def cell_of(client: httpx2.Client, field: ImageFile) -> ImageFile:
    """The image of the one cell of a field, cut out of it where the service finds it."""
    cells = send(client, "/v1/fields", field)[1]["cells"]
    if not isinstance(cells, list) or len(cells) != 1:
        raise RuntimeError(f"expected a field with one cell, received {cells}")
    box = cells[0]["box"]
    rgb = _pixels(field)
    half = CELL_FRAME / 2 * max(box["bottom"] - box["top"], box["right"] - box["left"])
    row, column = (box["top"] + box["bottom"]) / 2, (box["left"] + box["right"]) / 2
    part = rgb[
        max(0, round(row - half)) : round(row + half), max(0, round(column - half)) : round(column + half)
    ]
    _, data = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return ImageFile("cell.jpg", data.tobytes(), "image/jpeg")


def medians_ms(client: httpx2.Client, rounds: int) -> dict[int, float]:
    """By number of cells of a field its median time in milliseconds; 0 is ``/predict`` of one cell."""
    fields = {number: field_file(number) for number in (1, *MORE_CELLS)}
    asked = {0: (f"/predict{ONE_VIEW}", cell_of(client, fields[1]))}
    asked |= {number: (f"/v1/fields{ONE_VIEW}", file) for number, file in fields.items()}
    times: dict[int, list[float]] = {number: [] for number in asked}
    for number, (path, file) in asked.items():  # once before it counts
        answer = send(client, path, file)[1]
        found = answer.get("cells")
        if isinstance(found, list) and len(found) != number:
            raise RuntimeError(f"expected {number} cells, received {len(found)}")
    for _ in range(rounds):
        for number, (path, file) in asked.items():
            times[number].append(send(client, path, file)[0])
    return {number: median(taken) for number, taken in times.items()}


def slope_ms(medians: Mapping[int, float]) -> float:
    """What each further cell of a field costs: the slope of a straight line through all fields."""
    numbers = [number for number in medians if number > 0]
    return float(np.polyfit(numbers, [medians[number] for number in numbers], 1)[0])


def large_field() -> ImageFile:
    """A field of 100 megapixels, JPEG, of painted ones: four white cells in each sixth, else none."""
    with_cells, without = _pixels(field_file(4)), _pixels(field_file(0))
    across = -(-LARGE_SIDE // len(without))
    rows = [
        np.hstack([with_cells if (row + column) % EACH == 0 else without for column in range(across)])
        for row in range(across)
    ]
    whole = np.vstack(rows)[:LARGE_SIDE, :LARGE_SIDE]
    _, data = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return ImageFile("large.jpg", data.tobytes(), "image/jpeg")


def _pixels(file: ImageFile) -> UInt8Array:
    return np.asarray(cv2.imdecode(np.frombuffer(file.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@contextmanager
def watched(pid: int) -> Iterator[list[float]]:
    """What is resident of a process and its children meanwhile, in MB, every 50 ms."""
    seen: list[float] = [resident_mb(pid)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            try:
                seen.append(resident_mb(pid))
            except psutil.NoSuchProcess:  # a child of it has just ended
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def report(service: RunningService, rounds: int) -> tuple[str, bool]:
    """The figures as Markdown, and whether all targets are met."""
    with httpx2.Client(base_url=service.url, timeout=LARGEST_MS / 1000) as client:
        medians = medians_ms(client, rounds)
        large = large_field()
        with watched(service.process.pid) as seen_mb:
            taken_ms, answer = send(client, "/v1/fields", large)
    cells = answer["cells"]
    found = len(cells) if isinstance(cells, list) else 0
    ratio, further = medians[1] / medians[0], slope_ms(medians) / medians[0]
    targets = [
        (
            "field with one cell, times `/predict`",
            f"{ratio:.2f}",
            f"{ONE_CELL_RATIO}",
            ratio <= ONE_CELL_RATIO,
        ),
        (
            "each further cell, times `/predict`",
            f"{further:.2f}",
            f"{FURTHER_CELL_RATIO}",
            further <= FURTHER_CELL_RATIO,
        ),
        (
            "most resident at 100 megapixels, MB",
            f"{max(seen_mb):.0f}",
            f"{MEMORY_MB:.0f}",
            max(seen_mb) <= MEMORY_MB,
        ),
    ]
    lines = [
        f"{DISCLAIMER} {host_in_words()}; medians of {rounds} rounds.",
        "",
        "| asked | ms |",
        "| --- | --- |",
    ]
    lines += [
        f"| {'`/predict` of one cell' if n == 0 else f'field, cells: {n}'} | {ms:.0f} |"
        for n, ms in medians.items()
    ]
    lines += [
        f"| field of 100 megapixels, {len(large.data) / 2**20:.0f} MiB, cells: {found}; "
        f"{seen_mb[0]:.0f} MB resident before "
        f"| {taken_ms:.0f} |",
        "", "| figure | measured | wanted | |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [
        f"| {name} | {is_} | {most} | {'met' if met else 'missed'} |" for name, is_, most, met in targets
    ]
    return "\n".join(lines) + "\n", all(met for *_, met in targets)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit code is 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/fields"))
    options = parser.parse_args(arguments)
    with running_service(environment={"WBC_DEADLINE__LONGEST_S": str(LARGEST_MS / 1000)}) as service:
        text, is_met = report(service, options.rounds)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    (options.output_dir / "fields.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
