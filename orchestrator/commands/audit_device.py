"""``wbc audit-device``: the audit of a microscope, from the plan to the verdict and the samples after it."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.bootstrap.services import build_services, profile_of
from orchestrator.commands.image_files import ImageFile, image_files, progress_of
from orchestrator.commands.terminal_text import print_failed, shown
from orchestrator.common.whole_file import write_whole
from orchestrator.device_audits.audit import (
    LABELS,
    MAX_FILE_BYTES,
    MIN_SPECIMENS,
    Audit,
    AuditCell,
    AuditedModel,
    AuditFile,
    AuditPlan,
    AuditSample,
    SealedAnswer,
    cells_needed,
)
from orchestrator.device_audits.labels import labels_form, read_labels
from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.errors import ConfigurationError, WbcError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import load_settings

CONCURRENCY: Final = 4
KEPT_EVERY: Final = 100
"""Cells after which the file is written meanwhile; what a Ctrl-C interrupts is written in any case."""

SHOWN_ERRORS: Final = 5
"""Numbers of errors that a plan says the cells of."""

audit_device_app = typer.Typer(
    help=f"""Audit a microscope: may answers for its images go without a person? {DISCLAIMER}

A plan is frozen, fresh cells of at least {MIN_SPECIMENS} specimens are answered, a person labels them without
seeing the answers, and all is judged once:

    wbc audit-device plan --profile my-scope --output audit.json --threshold Eosinophil=0.9

    wbc audit-device add --audit audit.json --specimen S-1 images/S-1

    wbc audit-device export-labels --audit audit.json --output labels.csv

    wbc audit-device import-labels --audit audit.json labels.csv

    wbc audit-device judge --audit audit.json

The service then reads the file from the folder WBC_AUDITS_DIR.""",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_out = Console(emoji=False)
_err = Console(stderr=True, emoji=False)

_AuditPath = Annotated[Path, typer.Option("--audit", metavar="FILE", help="The audit, as `plan` began it.")]


@audit_device_app.command()
def plan(
    profile: Annotated[str, typer.Option(help="The microscope's profile; see `wbc check`.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The audit's file, such as audit.json.")],
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=CONFIDENCE",
            help="A class to release and its least confidence, such as Eosinophil=0.9. Repeat for more; all "
            "classes at the profile's review threshold where absent.",
        ),
    ] = None,
    cells_per_class: Annotated[
        int,
        typer.Option(
            help="Cells that the service answers with each class to release: 99 bear no error, 157 one, 208 "
            "two."
        ),
    ] = cells_needed(0),
    fitting_images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMAGE",
            help="Images, or folders of them, that the thresholds were found on: none may be a cell. "
            "Repeat for more.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of order and samples; random where absent.")
    ] = None,
) -> None:
    """Freeze what is audited, before the first cell. Nothing in it can be changed afterwards.

    Find the thresholds on other cells, and say which with --fitting-images. For example:

        wbc audit-device plan --profile my-scope --output audit.json
        --threshold Eosinophil=0.9 --threshold Neutrophil=0.8 --cells-per-class 157
    """
    settings = load_settings()
    services = build_services(settings)
    chosen = profile_of(services, profile)
    if chosen.device == "unknown":
        raise ConfigurationError(
            f"profile {profile!r} is no device's, and no audit can release answers by it: make one of "
            "your microscope with `wbc-train profile`"
        )
    thresholds = _thresholds(threshold) or dict.fromkeys(CLASS_NAMES, chosen.routing.review_threshold)
    fitting = {_sha256_of(path) for path in image_files(fitting_images)} if fitting_images else set()
    try:
        frozen = AuditPlan(
            profile=profile,
            profile_sha256=chosen.sha256,
            model=AuditedModel.of(asyncio.run(_identity(services)), settings.embedded.precision),
            thresholds=thresholds,
            cells_per_class=cells_per_class,
            seed=secrets.randbits(63) if seed is None else seed,
            planned_at=datetime.now(UTC),
            fitting_images=tuple(sorted(fitting)),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("thresholds", "threshold").replace("_", "-")
        raise ConfigurationError(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None
    AuditFile(output).create(Audit.of(frozen))
    _print_plan(frozen)
    _out.print(
        f"Next: wbc audit-device add --audit {shown(str(output))} --specimen ID IMAGE...", soft_wrap=True
    )
    _out.print(DISCLAIMER)


@audit_device_app.command()
def add(
    audit: _AuditPath,
    specimen: Annotated[str, typer.Option(help="The laboratory's own name of the specimen.")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files of it, or folders or zip archives of them.", metavar="IMAGE..."),
    ],
) -> None:
    """Let the service answer cells, and seal the answers: nobody is shown one before the verdict.

    Give whole folders, not image by image. No more are taken when all that was planned is there. Ctrl-C keeps
    what is done; the same command then does the rest, and names what is there already. Exit code 1 where an
    image failed or may not be used; the others are added all the same. For example:

        wbc audit-device add --audit audit.json --specimen S-1 images/S-1
    """
    specimen = _writable(specimen)
    if not 0 < len(specimen) <= 200:
        raise ConfigurationError(f"--specimen: expected 1 to 200 characters, received {len(specimen)}")
    paths = image_files(images)
    settings = load_settings()
    services = build_services(settings)
    file = AuditFile(audit)
    with file.held():
        adding = Adding(file, specimen, services, settings.embedded.precision)
        asyncio.run(adding.run(paths, progress_of(len(paths), _err)))
    _out.print(f"{adding.added} cells added", highlight=False)
    if adding.unneeded:
        _out.print(
            f"{adding.unneeded} images were not needed: all cells that were planned are there",
            highlight=False,
        )
    _print_progress(adding.audit)
    _out.print(DISCLAIMER)
    for path, why in adding.refused:
        print_failed(_err, f"{path}: {why}")
    if adding.refused:
        raise typer.Exit(1)


@audit_device_app.command(name="export-labels")
def export_labels(
    audit: _AuditPath,
    output: Annotated[Path, typer.Option(metavar="CSV", help="The table to fill in; must not exist yet.")],
) -> None:
    """Write the table in which a person labels the cells: names of images in an order that tells nothing.

    The column `label` takes one of the five classes, or `other` for what is none of them: an immature cell,
    an erythroblast, an artefact. No cell may stay without a label.
    """
    form = labels_form(AuditFile(audit).read())
    if output.exists():
        raise ConfigurationError(f"{output}: is there already and may hold labels; name another file")
    try:
        write_whole(output, form)
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written ({error.strerror})") from error
    _out.print(f"Fill in the column label: {', '.join(LABELS)}.", highlight=False)
    _out.print(DISCLAIMER)


@audit_device_app.command(name="import-labels")
def import_labels(
    audit: _AuditPath,
    table: Annotated[Path, typer.Argument(metavar="CSV", help="The table, filled in; rows may wait.")],
) -> None:
    """Take over a person's labels, all of the table or none. Until the verdict a later one replaces an
    earlier one."""
    try:
        with table.open("rb") as filled:
            content = filled.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{table}: cannot be read ({error.strerror})") from error
    file = AuditFile(audit)
    with file.held():
        try:
            labels = read_labels(content)
            after = file.read().with_labels(labels)
        except ConfigurationError as error:
            raise ConfigurationError(f"{table}: {error}") from error
        file.write(after)
    _out.print(f"{len(labels)} labels taken over", highlight=False)
    _print_progress(after)
    _out.print(DISCLAIMER)


@audit_device_app.command()
def judge(audit: _AuditPath) -> None:
    """Judge once, when all that was planned is there. More cells need a new audit.

    Each class has a verdict of its own: it is released where the lower limit of its accuracy (one-sided 95 %,
    Clopper and Pearson) reaches the target.
    """
    file = AuditFile(audit)
    with file.held():
        judged = file.read().judged(datetime.now(UTC))
        file.write(judged)
    _print_verdict(judged)
    _out.print(DISCLAIMER)


@audit_device_app.command()
def show(audit: _AuditPath) -> None:
    """Show the plan, how far the audit is, and the verdict; no answer before it."""
    found = AuditFile(audit).read()
    _print_plan(found.plan)
    if found.verdict is None:
        _print_progress(found)
    else:
        _print_verdict(found)
    _out.print(DISCLAIMER)


@audit_device_app.command()
def sample(
    audit: _AuditPath,
    image_sha: Annotated[str, typer.Option(metavar="SHA256", help="Of the image file; hex.")],
    class_name: Annotated[str, typer.Option("--class", help="What the service answered.")],
    correct: Annotated[bool, typer.Option("--correct/--wrong", help="What a person says of that.")],
) -> None:
    """Count what a person said of a released answer that was sampled (review reason `audit_sample`).

    The newest 300 of a class show whether it is still as good. Where it is proven worse, the audit is
    suspended.
    """
    file = AuditFile(audit)
    with file.held():
        try:
            said = AuditSample(image_sha256=image_sha, class_name=class_name, correct=correct)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            option = {"image_sha256": "image-sha", "class_name": "class"}[str(first["loc"][0])]
            raise ConfigurationError(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None
        after = file.read().with_sample(said)
        file.write(after)
    _print_suspension(after)
    _out.print(DISCLAIMER)


class Adding:
    """One run of ``add`` on a file that is held; ``refused`` are the images that became no cells, and why,
    ``unneeded`` counts those that came when all that was planned was there.

    Raises ``ConfigurationError`` where nothing may be added.
    """

    def __init__(self, file: AuditFile, specimen: str, services: Services, precision: str) -> None:
        self.audit = file.read()
        self.refused: list[tuple[ImageFile, str]] = []
        self.added = self.unneeded = 0
        self._file = file
        self._specimen = specimen
        self._services = services
        self._precision = precision
        if self.audit.verdict is not None:
            raise ConfigurationError("this audit is judged, and judged once; begin a new one")
        known = self.audit.plan.profile in services.profiles
        self._require_the_profile(services.profile(self.audit.plan.profile).sha256 if known else None)

    async def run(
        self, paths: Sequence[ImageFile], progress: AbstractContextManager[Callable[[], None]]
    ) -> None:
        """Answer the images and write the file, also where this is interrupted."""
        async with self._services.running():
            self._require_the_model(await self._services.model_server.identity())
            with progress as advance:
                try:
                    for first in range(0, len(paths), CONCURRENCY):
                        if self.audit.is_filled:
                            self.unneeded += len(paths) - first
                            break
                        some = paths[first : first + CONCURRENCY]
                        outcomes = await asyncio.gather(*(self._answer(path) for path in some))
                        for path, outcome in zip(some, outcomes, strict=True):
                            self._take(path, outcome)
                            advance()
                        if (first + CONCURRENCY) % KEPT_EVERY == 0:
                            self._file.write(self.audit)
                finally:
                    self._file.write(self.audit)

    async def _answer(self, path: ImageFile) -> tuple[AuditCell, SealedAnswer] | str:
        """The cell and the answer, or why there is none."""
        try:
            payload = await asyncio.to_thread(path.read_bytes)
            image_sha256 = hashlib.sha256(payload).hexdigest()
            if why := self.audit.refusal(image_sha256):
                return why
            options = AnalysisOptions(
                profile=self.audit.plan.profile, heatmap=False, report=False, canary=False
            )
            analysis = await analyse(payload, self._services, options)
            self._require_the_model(analysis.model)
            self._require_the_profile(analysis.profile_sha256)
        except OSError as error:
            return error.strerror or type(error).__name__
        except WbcError as error:
            return str(error)
        finding = analysis.finding
        name = _writable(str(path))[-1000:]
        return (
            AuditCell(image_sha256=image_sha256, specimen=self._specimen, image=name),
            SealedAnswer(class_name=finding.class_name, probabilities=finding.probabilities),
        )

    def _take(self, path: ImageFile, outcome: tuple[AuditCell, SealedAnswer] | str) -> None:
        if isinstance(outcome, str):
            self.refused.append((path, outcome))
        elif self.audit.is_filled:
            self.unneeded += 1
        elif why := self.audit.refusal(outcome[0].image_sha256):  # the same image twice at a time
            self.refused.append((path, why))
        else:
            self.audit = self.audit.with_cell(*outcome)
            self.added += 1

    def _require_the_profile(self, sha256: str | None) -> None:
        if sha256 != self.audit.plan.profile_sha256:
            raise ConfigurationError(
                f"the profile {self.audit.plan.profile!r} is not what it was when planned; begin a new audit"
            )

    def _require_the_model(self, model: ModelIdentity) -> None:
        if not self.audit.plan.model.is_that(model, self._precision):
            raise ConfigurationError(
                "the model is not the one of the plan, or runs in another way; begin a new audit, or set the "
                "service's model, precision and server as they were"
            )


async def _identity(services: Services) -> ModelIdentity:
    async with services.running():
        return await services.model_server.identity()


def _writable(text: str) -> str:
    """What of a name is no UTF-8, as its escapes."""
    return text.encode(errors="backslashreplace").decode()


def _thresholds(given: Sequence[str] | None) -> dict[str, float]:
    thresholds: dict[str, float] = {}
    for text in given or ():
        name, _, value = text.partition("=")
        try:
            if thresholds.setdefault(name, number := float(value)) != number:
                raise ConfigurationError(f"--threshold: two values for {name}")
        except ValueError as error:
            raise ConfigurationError(
                f"--threshold: expected CLASS=CONFIDENCE such as Eosinophil=0.9, received {text!r}"
            ) from error
    return thresholds


def _sha256_of(path: ImageFile) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"--fitting-images: cannot read {path} ({error.strerror})") from error


def _table(*columns: str, title: str) -> Table:
    return Table(*columns, title=title, box=box.SIMPLE)


def _print_plan(frozen: AuditPlan) -> None:
    model = frozen.model
    run = f"{model.server}, {model.precision}" if model.precision else model.server
    hashed = model.sha256[:12] if model.sha256 else "tells no hash: its version stands for it"
    _out.print(f"Profile {frozen.profile} ({frozen.profile_sha256[:12]})", highlight=False)
    _out.print(f"Model {shown(model.name)} {model.version} ({hashed}), {shown(run)}", highlight=False)
    _out.print(f"Plan {frozen.sha256}", highlight=False, soft_wrap=True)
    classes = _table("class", "from confidence", "cells to label", title="To release")
    for name, value in frozen.thresholds.items():
        classes.add_row(name, f"{value:g}", str(frozen.cells_per_class))
    _out.print(classes)
    sizes = _table("errors", "cells needed", title=f"To show {frozen.target:.0%} of a class")
    for errors in range(SHOWN_ERRORS + 1):
        sizes.add_row(str(errors), str(cells_needed(errors, frozen.target, frozen.confidence)))
    _out.print(sizes)


def _print_progress(of: Audit) -> None:
    needed = of.plan.cells_per_class
    for name, so_far in of.progress().items():
        specimens = f"of {so_far.specimens} specimens (at least {MIN_SPECIMENS})"
        _out.print(f"{name}: {so_far.cells} of {needed} labelled cells, {specimens}", highlight=False)
    waiting = len(of.cells) - len(of.labels)
    _out.print(f"{len(of.cells)} cells in all, {waiting} wait for a label", highlight=False)
    if not of.missing():
        _out.print("All is there; next: wbc audit-device judge", highlight=False)


def _print_verdict(of: Audit) -> None:
    verdict = of.verdict
    if verdict is None:
        return
    classes = _table("class", "from", "cells", "errors", "accuracy at least", "", title="Verdict")
    for one in verdict.classes:
        released = "[green]released[/]" if one.released else "[bold red]not released[/]"
        accuracy = f"{100 * one.accuracy_bound:.2f} %"
        classes.add_row(
            one.class_name, f"{one.threshold:g}", str(one.accepted), str(one.errors), accuracy, released
        )
    _out.print(classes)
    confusion = _table("answered", *(label[:5] for label in LABELS), title="All cells, by label")
    for answered, counts in verdict.confusion.items():
        confusion.add_row(answered, *(str(counts[label]) for label in LABELS))
    _out.print(confusion)
    specimens = ", ".join(f"{shown(name)} ({count})" for name, count in verdict.specimens.items())
    _out.print(f"Specimens: {specimens}", highlight=False)
    _out.print(f"Verdict {verdict.sha256}", highlight=False, soft_wrap=True)
    _print_suspension(of)


def _print_suspension(of: Audit) -> None:
    if of.is_suspended():
        _out.print("[bold red]suspended[/]: the samples prove it worse; begin a new audit", highlight=False)
    elif of.samples:
        _out.print(f"{len(of.samples)} samples; the audit holds", highlight=False)
