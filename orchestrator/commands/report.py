"""``wbc report``: write reports of stored results again, or check every writer on an evaluation set."""

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer
from rich.console import Console

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.bootstrap.services import build_services
from orchestrator.commands.stored_results import StoredResult, read_results
from orchestrator.documents.analysis import Focus, WrittenReport
from orchestrator.domain import DISCLAIMER, Language, ReportRequest
from orchestrator.edge.http.languages import LANGUAGES
from orchestrator.errors import ConfigurationError, InvalidImage
from orchestrator.report.base import ReportWriter
from orchestrator.report.evaluation import WriterScore, evaluate_writer, markdown_table
from orchestrator.report.focus_verdict import judge_focus
from orchestrator.settings import Settings, WritersSettings, load_settings

SPLITS: Final = ("TestA", "TestB")
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

_err = Console(stderr=True)


def report(
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Results as `wbc analyse --json` prints them, one a line; - for stdin."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Have every configured writer write about the evaluation set.")
    ] = False,
    data_root: Annotated[
        Path, typer.Option(help="Of --check: a folder with TestA/ and TestB/, each with folders of images.")
    ] = Path("data/wbc"),
    cases: Annotated[
        int, typer.Option(min=1, help="Of --check: images, half of each split, its folders in turn.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Of --check: which images of each folder.")] = 42,
    language: Annotated[
        str | None, typer.Option(help="en or tr; the stored report's where absent, both with --check.")
    ] = None,
) -> None:
    """Write reports of stored results again, or check what each writer is worth.

    The writers are those of the settings: language models in the order of WBC_WRITERS__ORDER (or by
    GEMINI_API_KEY), and always the rules, which need neither key nor network. A language
    model is sent the facts of a result and never an image, a file name or an identifier.

    **Another writer for old results**, which prints each with its new report, one JSON document a line:

        wbc analyse --json cells/ > results.jsonl

        wbc report --replay results.jsonl --language tr > again.jsonl

    **Is this model good enough?** The same 50 images are analysed, each writer writes about all of them in
    both languages, and a table in Markdown counts the answers that pass each check:

        WBC_WRITERS__ORDER='[{"provider": "openai", "model": "llama3", "base_url": "http://ollama.lab/v1"}]'
        wbc report --check --data-root data/wbc

    The checks: *length* (8 to 80 words), *markup* (plain whole sentences), *language*, *class* (the one
    decided on, and no other), *number* (each figure beside what it measures), *region* (where the heatmap
    lies), *diagnosis* and *treatment* (none), *claim* (nothing said to be seen). *Usable* answers pass all of
    them, and their JSON agrees with the facts; for all others the service lets the next writer speak. An
    answer later than WBC_WRITERS__DEADLINE_S is none.

    Exit code 1 where the rules, which end every chain, fail a check.
    """
    if (replay is None) == (not check):
        raise typer.BadParameter("choose one of --replay and --check")
    if language is not None and language not in LANGUAGES:
        raise typer.BadParameter(f"expected en or tr, received {language!r}", param_hint="--language")
    chosen: Language | None = next((one for one in LANGUAGES if one == language), None)
    settings = load_settings()
    if replay is not None:
        with _opened(replay) as lines:
            stored = list(read_results(lines, chosen))
        for line in asyncio.run(_rewritten(stored, settings)):
            typer.echo(line)
        return
    images = [path.read_bytes() for path in draw_cases(data_root, cases, seed)]
    scores = asyncio.run(check_writers(images, settings, chosen))
    typer.echo(markdown_table(scores))
    typer.echo(f"\n{len(images)} images, seed {seed}, set {set_digest(images)}. {DISCLAIMER}")
    if any(score.usable < score.cases for score in scores if score.writer == "rule-based"):
        raise typer.Exit(1)


def draw_cases(data_root: Path, cases: int, seed: int) -> list[Path]:
    """Image files, half of each split, of its folders in turn so that rare classes have their part; by lot,
    and the same for the same files, number and seed.

    Raises :class:`ConfigurationError` where a split has no image.
    """
    lot = random.Random(seed)
    drawn: list[Path] = []
    for number, split in enumerate(SPLITS):
        folders: dict[Path, list[Path]] = {}
        for path in sorted((data_root / split).rglob("*"), key=lambda path: path.as_posix()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                folders.setdefault(path.parent, []).append(path)
        if not folders:
            raise ConfigurationError(f"expected images in {data_root / split}, found none; see --data-root")
        shuffled = [lot.sample(files, len(files)) for files in folders.values()]
        in_turn = [path for turn in zip_longest(*shuffled) for path in turn if path is not None]
        drawn += in_turn[: (cases + 1 - number) // len(SPLITS)]
    return drawn


def set_digest(images: Sequence[bytes]) -> str:
    """Tells whether two tables are about the same images: SHA-256 of their hashes, its first 12 digits."""
    hashes = b"".join(hashlib.sha256(image).digest() for image in images)
    return hashlib.sha256(hashes).hexdigest()[:12]


async def check_writers(
    images: Sequence[bytes], settings: Settings, language: Language | None = None
) -> list[WriterScore]:
    """Analyse the images once, and have every writer of the settings write about all of them."""
    services = build_services(settings.model_copy(update={"writers": WritersSettings(order=())}))
    writers = build_report_writers(settings).single
    limit_s = settings.writers.deadline_s
    scores = []
    try:
        requests = await _analysed(images, services)
        for writer in writers:
            for one in (language,) if language else LANGUAGES:
                _err.print(f"{writer.name}, {one}: {len(requests)} reports", highlight=False)
                scores.append(await evaluate_writer(writer, requests, one, limit_s))
    finally:
        for writer in writers:
            await writer.close()
    return scores


async def _analysed(images: Sequence[bytes], services: Services) -> list[ReportRequest]:
    requests = []
    async with services.running():
        for payload in images:
            try:
                found = await analyse(payload, services, AnalysisOptions(report=False))
            except InvalidImage as error:
                raise ConfigurationError(
                    f"an image of the evaluation set cannot be analysed: {error}"
                ) from error
            requests.append(ReportRequest(found.finding, found.focus))
    return requests


async def _rewritten(stored: Sequence[StoredResult], settings: Settings) -> list[str]:
    """The documents with new reports, as JSON."""
    writer = build_report_writers(settings).writer
    try:
        return [await _rewritten_one(one, writer) for one in stored]
    finally:
        await writer.close()


async def _rewritten_one(stored: StoredResult, writer: ReportWriter) -> str:
    document, request = dict(stored.document), stored.request
    if request is not None:
        written = await writer.write(request)
        document["report"] = WrittenReport.model_validate(written).model_dump(mode="json")
        if request.focus is not None:
            verdict = judge_focus(request.finding, request.focus, written.focus_opinion)
            judged = replace(request.focus, verdict=verdict)
            document["focus"] = Focus.model_validate(judged).model_dump(mode="json")
    document["disclaimer"] = DISCLAIMER
    return json.dumps(document, ensure_ascii=False)


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdin
        return
    try:
        with Path(name).open(encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise ConfigurationError(f"--replay: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError("--replay: expected a text file in UTF-8") from error
