"""``wbc report``: write reports of stored results again, or check every writer on an evaluation set."""

import asyncio
import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer
from rich.console import Console

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.domain import DISCLAIMER, Language, Report, ReportRequest
from orchestrator.edge.http_schemas import Focus, WrittenReport
from orchestrator.edge.languages import LANGUAGES
from orchestrator.errors import ConfigurationError, InvalidImage
from orchestrator.report.base import ReportWriter
from orchestrator.report.evaluation import WriterScore, evaluate_writer, markdown_table
from orchestrator.report.focus_verdict import judge_focus
from orchestrator.report_wiring import build_report_writers
from orchestrator.settings import Settings, WritersSettings, load_settings
from orchestrator.stored_results import StoredResult, read_results
from orchestrator.wiring import build_services

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
        bool, typer.Option("--check", help="Have every configured writer write about an evaluation set.")
    ] = False,
    data_root: Annotated[
        Path, typer.Option(help="Of --check: a folder with TestA/ and TestB/, each with folders of images.")
    ] = Path("data/wbc"),
    cases: Annotated[int, typer.Option(min=1, help="Of --check: images, drawn evenly from both.")] = 50,
    seed: Annotated[int, typer.Option(help="Of --check: which images.")] = 42,
    language: Annotated[
        str | None, typer.Option(help="en or tr; the stored report's where absent, both with --check.")
    ] = None,
) -> None:
    """Write reports again, or check the writers.

    --replay prints the results with new reports by the configured writers, one JSON document a line.
    --check prints a table of the checks that reports pass, in Markdown; exit code 1 where the rule-based
    writer, which ends every chain, fails one.
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
    scores = asyncio.run(check_writers(draw_cases(data_root, cases, seed), settings, chosen))
    typer.echo(markdown_table(scores))
    typer.echo(f"\n{DISCLAIMER}")
    if any(score.good < score.cases for score in scores if score.writer == "rule-based"):
        raise typer.Exit(1)


def draw_cases(data_root: Path, cases: int, seed: int) -> list[Path]:
    """Image files of both splits, evenly, by lot; the same for the same files, number and seed.

    Raises :class:`ConfigurationError` where a split has no image.
    """
    lot = random.Random(seed)
    drawn: list[Path] = []
    for number, split in enumerate(SPLITS):
        files = sorted(p for p in (data_root / split).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise ConfigurationError(f"expected images in {data_root / split}, found none; see --data-root")
        wanted = (cases + 1 - number) // len(SPLITS)
        drawn += lot.sample(files, min(wanted, len(files)))
    return drawn


async def check_writers(
    images: Sequence[Path], settings: Settings, language: Language | None = None
) -> list[WriterScore]:
    """Analyse the images once, and have every writer of the settings write about all of them."""
    services = build_services(settings.model_copy(update={"writers": WritersSettings(order=())}))
    writers = build_report_writers(settings).single
    languages = (language,) if language else LANGUAGES
    try:
        requests = await _analysed(images, services)
        return [await evaluate_writer(writer, requests, one) for writer in writers for one in languages]
    finally:
        for writer in writers:
            await writer.close()


async def _analysed(images: Sequence[Path], services: Services) -> list[ReportRequest]:
    requests = []
    await services.model_server.start()
    try:
        for path in images:
            payload = await asyncio.to_thread(path.read_bytes)
            try:
                found = await analyse(payload, services, AnalysisOptions(report=False))
            except InvalidImage as error:
                raise ConfigurationError(
                    f"an image of the evaluation set cannot be analysed: {error}"
                ) from error
            requests.append(ReportRequest(found.finding, found.focus))
    finally:
        await services.model_server.close()
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
        document["report"] = _document(written)
        if request.focus is not None:
            verdict = judge_focus(request.finding, request.focus, written.focus_opinion)
            document["focus"] = Focus.of(request.focus, verdict).model_dump(mode="json")
    document["disclaimer"] = DISCLAIMER
    return json.dumps(document, ensure_ascii=False)


def _document(written: Report) -> dict[str, str | None]:
    return WrittenReport(
        text=written.text, writer=written.writer, language=written.language, model=written.model
    ).model_dump(mode="json")


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
