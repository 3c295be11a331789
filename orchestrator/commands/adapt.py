"""``wbc adapt``: a site's own head, from labelled images to the switch."""

import asyncio
import csv
import getpass
import io
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.adaptation.cells import FailedImage, LabelledImage
from orchestrator.adaptation.service import (
    Adaptations,
    CanaryOfProfile,
    HeadsOfProfile,
    Learning,
    Suggestion,
)
from orchestrator.analyse import Services
from orchestrator.bootstrap.services import build_services, heads_of, kept_cells_of, key_of_heads, profile_of
from orchestrator.bootstrap.store import build_store
from orchestrator.commands.image_files import ImageFile, image_files, progress_of
from orchestrator.commands.terminal_text import print_failed, reason_of, shown
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import load_settings
from orchestrator.site_head.examples import MIN_CELLS
from orchestrator.site_head.head_file import read_head, write_head
from orchestrator.site_head.registry import MAX_SHARE, USUAL_SHARE
from orchestrator.site_head.trust import Comparison, Trust
from orchestrator.store.base import Store

Done = TypeVar("Done")

SHOWN: Final = 10
"""Names in a list of cells."""

BAR: Final = 40
"""Characters of a bar of the learning curve."""

MAX_TABLE_BYTES: Final = 2**22

_BY_LOWER: Final = {name.lower(): index for index, name in enumerate(CLASS_NAMES)}
# In a file or a pipe nothing is cut off for want of width.
_out = Console(emoji=False, width=None if sys.stdout.isatty() else 200)
_err = Console(stderr=True, emoji=False)


def _image_of(file: ImageFile, class_index: int | None, group: str | None) -> LabelledImage:
    return LabelledImage(partial(asyncio.to_thread, file.read_bytes), class_index, group, str(file))


def adapt_command(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGES...",
            help="Folders with a folder for each class (DIR/Neutrophil/1.png is one specimen, "
            "DIR/SPECIMEN/Neutrophil/1.png tells specimens apart), or CSV tables of file, label "
            "and, where known, specimen. With --suggest images without labels.",
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="The microscope's profile; see `wbc check`.")] = "",
    signed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="A signed differential of the store, whose images were kept. Repeat for more."
        ),
    ] = None,
    holdout: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMAGES", help="Labelled images that are scored and never learnt from. Repeat for more."
        ),
    ] = None,
    suggest_count: Annotated[
        int | None,
        typer.Option("--suggest", min=1, help="Say which images to label next, this many; learn nothing."),
    ] = None,
    labelled: Annotated[
        list[Path] | None,
        typer.Option(metavar="IMAGES", help="With --suggest: what is labelled already. Repeat for more."),
    ] = None,
    cells_of: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION",
            min=1,
            help="Learn from the cells of that version too, which were kept with it.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Say whether trail, heads and kept cells are as they were written."),
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate", help="Switch the new head on; alone: the newest one.")
    ] = False,
    version: Annotated[
        int | None, typer.Option("--head", min=1, help="With --activate or --export: that version.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why; needed to switch on a head that was not shown to be better.")
    ] = "",
    roll_back: Annotated[
        bool,
        typer.Option("--roll-back", help="Let the head before this one answer again, or the model's own."),
    ] = False,
    canary: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Let that version answer for a share (--share) in place of the one that is on: the same "
            "images and specimens each time. `none` ends it.",
        ),
    ] = None,
    share: Annotated[
        float, typer.Option(help=f"With --canary: of images and specimens, at most {MAX_SHARE}.")
    ] = USUAL_SHARE,
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Let that version run beside the one that answers, and answer nobody: the service counts "
            "how often they agree. `none` ends it.",
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write a head as one file to pass on.")
    ] = None,
    import_from: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Keep another site's head as a version; it stays off."),
    ] = None,
) -> None:
    """Learn a microscope from a few labelled cells: about ten of each class, of two specimens or more.

    The model itself is not changed: a head of its own for your profile is learnt in seconds, judged on the
    specimens that it was not learnt from, and kept in WBC_HEADS_DIR. It answers only once you switch it on,
    and every result then names it. For example:

        wbc adapt --profile my-scope --suggest 20 images/

        wbc adapt --profile my-scope labelled/ --holdout later/

        wbc adapt --profile my-scope more/ --cells-of 1

        wbc adapt --profile my-scope --activate

        wbc adapt --profile my-scope --shadow 2

        wbc adapt --profile my-scope --canary 2 --share 0.1

        wbc adapt --profile my-scope --roll-back --reason "new stain lot"

    Alone with --profile it shows the versions and who did what. Exit code 1 where an image failed. See
    docs/adapt.md.
    """
    if not profile:
        raise ConfigurationError("--profile: name the microscope's profile; `wbc check` lists them")
    if cells_of is not None and (suggest_count is not None or not (images or signed)):
        raise ConfigurationError("--cells-of: give labelled images or --signed to learn from, too")
    settings = load_settings()
    services = build_services(settings)
    chosen = profile_of(services, profile).name
    store = build_store(settings.store) if signed else None
    registry = heads_of(settings)
    adaptations = Adaptations(services, registry, store, kept=kept_cells_of(settings, registry))
    if suggest_count is not None:
        _suggest(images or [], labelled or [], suggest_count, adaptations, services, chosen)
        return
    who = getpass.getuser()
    if verify:
        _verify(adaptations, chosen)
    elif roll_back:
        _changed(adaptations, services, chosen, adaptations.roll_back(chosen, who, reason))
    elif canary is not None:
        number = _version_or_none("--canary", canary)
        _changed(adaptations, services, chosen, adaptations.try_out(chosen, number, who, share, reason))
    elif shadow is not None:
        number = _version_or_none("--shadow", shadow)
        _changed(adaptations, services, chosen, adaptations.run_in_shadow(chosen, number, who, reason))
    elif import_from is not None:
        _import(import_from, adaptations, services, chosen, who, reason)
    elif images or signed:
        learning = _learn(
            images or [], signed or [], holdout or [], cells_of, adaptations, services, store, chosen, who
        )
        if activate:
            _switch_on(adaptations, services, chosen, learning.head.number, who, reason)
        _out.print(DISCLAIMER)
        if learning.failed:
            raise typer.Exit(1)
        return
    elif activate:
        _switch_on(adaptations, services, chosen, version, who, reason)
    elif export is None:
        _print_versions(asyncio.run(_with_model(services, adaptations.heads(chosen))))
    if export is not None:
        head = adaptations.head(chosen, version)
        if export.exists():
            raise ConfigurationError(f"{export}: is there already; name another file")
        write_head(export, head, key_of_heads(settings))
        _out.print(f"{head.name} written to {shown(str(export))}", highlight=False, soft_wrap=True)
    _out.print(DISCLAIMER)


def _learn(
    images: Sequence[Path],
    signed: Sequence[str],
    holdout: Sequence[Path],
    cells_of: int | None,
    adaptations: Adaptations,
    services: Services,
    store: Store | None,
    profile: str,
    who: str,
) -> Learning:
    files = labelled_files(images) if images else []
    held = labelled_files(holdout) if holdout else []

    async def run() -> Learning:
        async with services.running(), _opened(store):
            known = [*files, *await adaptations.signed(signed)]
            with progress_of(len(known) + len(held), _err) as advance:
                return await adaptations.learn(profile, who, known, held, cells_of=cells_of, looked=advance)

    learning = asyncio.run(run())
    print_trust(learning.trust, learning.head.name)
    _print_failed(learning.failed)
    return learning


@asynccontextmanager
async def _opened(store: Store | None) -> AsyncIterator[None]:
    if store is None:
        yield
        return
    await store.open()
    try:
        yield
    finally:
        await store.close()


def _print_failed(failed: Sequence[FailedImage]) -> None:
    for one in failed:
        print_failed(_err, f"{one.name}: {reason_of(one.error)}")


def labelled_files(given: Sequence[Path]) -> list[LabelledImage]:
    """The labelled images of folders and tables.

    Raises :class:`~orchestrator.errors.ConfigurationError` where there is none, or a label is unknown.
    """
    found: list[LabelledImage] = []
    for path in given:
        found += _of_table(path) if path.suffix.lower() == ".csv" else _of_folder(path)
    if not found:
        raise ConfigurationError(
            f"no labelled image was found: expected folders named {', '.join(CLASS_NAMES)}, or a CSV table "
            "with the columns file and label"
        )
    return found


def _of_folder(folder: Path) -> list[LabelledImage]:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: expected a folder of folders named for classes, or a .csv table")
    found = []
    for file in image_files([folder]):
        parent = file.path.parent
        if (class_index := _BY_LOWER.get(parent.name.lower())) is None:
            raise ConfigurationError(
                f"{file}: lies in {parent.name!r}, which is no class; expected a folder named one of "
                f"{', '.join(CLASS_NAMES)}"
            )
        found.append(_image_of(file, class_index, str(parent.parent.resolve())))
    return found


def _of_table(path: Path) -> list[LabelledImage]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TABLE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: expected CSV in UTF-8; choose that when you save it") from error
    if len(content) > MAX_TABLE_BYTES:
        raise ConfigurationError(f"{path}: has over {MAX_TABLE_BYTES} bytes")
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",")
    if not {"file", "label"} <= set(rows.fieldnames or ()):
        raise ConfigurationError(f"{path}: expected the columns file and label in the first row")
    found = []
    for row in rows:
        said = (row["label"] or "").strip()
        if not said:
            continue
        if (class_index := _BY_LOWER.get(said.lower())) is None:
            raise ConfigurationError(
                f"{path}: row {rows.line_num}: expected one of {', '.join(CLASS_NAMES)} or nothing, received "
                f"{said[:60]!r}"
            )
        specimen = (row.get("specimen") or "").strip()
        image = path.parent / (row["file"] or "").strip()
        found.append(_image_of(ImageFile(image), class_index, specimen or None))
    return found


def _suggest(
    images: Sequence[Path],
    labelled: Sequence[Path],
    wanted: int,
    adaptations: Adaptations,
    services: Services,
    profile: str,
) -> None:
    known = labelled_files(labelled) if labelled else []
    files = [*(_image_of(file, None, None) for file in image_files(images)), *known]

    async def run() -> tuple[tuple[Suggestion, ...], tuple[FailedImage, ...]]:
        async with services.running():
            with progress_of(len(files), _err) as advance:
                return await adaptations.suggest(profile, files, wanted, looked=advance)

    chosen, failed = asyncio.run(run())
    table = Table("label next", "looks like", caption=DISCLAIMER)
    for one in chosen:
        table.add_row(shown(files[one.place].name), CLASS_NAMES[one.class_index])
    _out.print(table)
    _print_failed(failed)
    if failed:
        raise typer.Exit(1)


def _import(
    path: Path, adaptations: Adaptations, services: Services, profile: str, who: str, reason: str
) -> None:
    given = read_head(path)
    kept = asyncio.run(_with_model(services, adaptations.keep_foreign(profile, given, who, reason)))
    _out.print(
        f"{kept.name} kept; it is off. Another site's figures are not yours: --activate wants a --reason.",
        highlight=False,
    )


async def _with_model(services: Services, act: Coroutine[Any, Any, Done]) -> Done:
    """What has to know which model answers."""
    with closing(act):
        await services.model_server.start()
        try:
            return await act
        finally:
            await services.model_server.close()


def _changed(
    adaptations: Adaptations, services: Services, profile: str, act: Coroutine[Any, Any, object]
) -> None:
    async def run() -> HeadsOfProfile:
        await act
        return await adaptations.heads(profile)

    with closing(act):
        _print_answer(asyncio.run(_with_model(services, run())))


def _verify(adaptations: Adaptations, profile: str) -> None:
    """Exit code 1 where something does not hold."""
    troubles = asyncio.run(adaptations.verify(profile))
    for trouble in troubles:
        _out.print(f"[red]{shown(trouble)}[/]", highlight=False, soft_wrap=True)
    if troubles:
        _out.print(DISCLAIMER)
        raise typer.Exit(1)
    _out.print(
        f"profile {profile}: the trail, the heads and the cells kept with them are as they were written",
        highlight=False,
    )


def _version_or_none(option: str, said: str) -> int | None:
    if said == "none":
        return None
    if not (said.isascii() and said.isdigit()):
        raise ConfigurationError(f"{option}: expected the number of a version or none, received {said!r}")
    return int(said)


def _switch_on(
    adaptations: Adaptations, services: Services, profile: str, number: int | None, who: str, reason: str
) -> None:
    head = asyncio.run(_with_model(services, adaptations.switch_on(profile, number, who, reason)))
    _out.print(
        f"[bold]{head.name} answers for profile {head.profile} from now on[/]; back with --roll-back. An "
        "audit of this profile holds no more: begin a new one.",
        highlight=False,
    )


def _print_answer(heads: HeadsOfProfile) -> None:
    answers = "the model's own head" if heads.active is None else heads.active.name
    _out.print(f"profile {heads.profile}: {answers} answers", highlight=False)
    if heads.unused is not None:
        _out.print(f"[yellow]The head that is switched on is not used[/]: {heads.unused}", highlight=False)
    if (canary := heads.canary) is not None:
        _print_canary(canary, heads.profile)
    if (shadow := heads.shadow) is None:
        return
    if shadow.unused is not None:
        _out.print(f"[yellow]The head in the shadow is not compared[/]: {shadow.unused}", highlight=False)
        return
    _out.print(
        f"{shadow.head.name} runs beside it and answers nobody. Each process of the service counts how often "
        f"they agree: GET /v1/profiles/{heads.profile}/adaptations, wbc_head_shadow_comparisons_total",
        highlight=False,
        soft_wrap=True,
    )


def _print_canary(canary: CanaryOfProfile, profile: str) -> None:
    if canary.unused is not None:
        _out.print(f"[yellow]The canary does not answer[/]: {canary.unused}", highlight=False)
        return
    _out.print(
        f"{canary.head.name} answers for {100 * canary.share:g}% in its place. Each process of the service "
        f"counts what both answered: GET /v1/profiles/{profile}/adaptations, wbc_head_canary_answers_total",
        highlight=False,
        soft_wrap=True,
    )


def _print_versions(heads: HeadsOfProfile) -> None:
    _print_answer(heads)
    for why in heads.broken:
        _err.print(f"[yellow]Left out[/]: {shown(why)}", highlight=False)
    if not heads.trail:
        _out.print(
            f"No head yet. Label {MIN_CELLS} to 10 cells of each class, of two specimens or more, and give "
            "them to this command.",
            highlight=False,
        )
        return
    table = Table("when", "who", "what", "head", "reason")
    for entry in heads.trail:
        table.add_row(
            entry.at,
            shown(entry.who),
            entry.act if entry.share is None else f"{entry.act}, {100 * entry.share:g}%",
            entry.head or "the model's own",
            shown(entry.reason),
        )
    _out.print(table)


def print_trust(trust: Trust, name: str) -> None:
    """What a person must see before the switch."""
    _out.print(_comparison("specimens left out", trust.left_out))
    if trust.hold_out is not None:
        _out.print(_comparison("hold-out", trust.hold_out))
    else:
        _out.print("No hold-out: give cells of a further specimen with --holdout.", highlight=False)
    if trust.kept:
        _out.print(
            f"As the model has them, with under {MIN_CELLS} cells to learn from: {', '.join(trust.kept)}",
            highlight=False,
        )
    _out.print("\nBalanced accuracy on specimens left out, by cells learnt of each class:", highlight=False)
    for cells, accuracy in trust.curve:
        _out.print(f"{cells:>5} {'█' * round(BAR * accuracy)} {accuracy:.3f}", highlight=False)
    gains = [
        f"{class_name} {gain:+.3f}"
        for class_name, gain in zip(CLASS_NAMES, trust.ten_more, strict=True)
        if gain > 0
    ]
    if gains:
        _out.print(f"Ten more of a class would bring about: {', '.join(gains)}", highlight=False)
    _cells("Look at these labels again; all else speaks against them", trust.likely_label_errors)
    _cells("Still wrong when their specimen is left out", trust.wrong)
    colour = "green" if trust.decision == "recommended" else "yellow"
    _out.print(f"\n[bold {colour}]{name}: {trust.decision}[/]: {shown(trust.why)}", highlight=False)


def _comparison(what: str, found: Comparison) -> Table:
    low, high = found.after_interval
    table = Table(
        "",
        "before",
        "with the head",
        title=f"{found.cells} cells, {what} ({found.groups})",
        caption=f"95 % interval {low:.3f} to {high:.3f}; gain {found.gain:+.3f} "
        f"({found.gain_interval[0]:+.3f} to {found.gain_interval[1]:+.3f})",
    )
    table.add_row("balanced accuracy", f"{found.before:.3f}", f"{found.after:.3f}")
    for name, before, after in zip(CLASS_NAMES, found.recalls_before, found.recalls_after, strict=True):
        if before is not None and after is not None:
            table.add_row(name, f"{before:.2f}", f"{after:.2f}")
    return table


def _cells(what: str, ids: Sequence[str]) -> None:
    if ids:
        more = f", and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        listed = ", ".join(shown(one) for one in ids[:SHOWN])
        _out.print(f"{what}: {listed}{more}", highlight=False, soft_wrap=True)
