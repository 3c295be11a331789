"""The documents of the project: their code blocks, and how these are run as a reader would; their links."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NOT_RUN: Final = frozenset(
    {
        "downloads",
        "runs until it is stopped",
        "measures the machine",
        "takes minutes",
        "takes hours",
        "needs a cluster",
        "needs a container engine",
        "needs accelerators",
        "needs a language model",
        "needs labelled images",
        "needs other machines",
        "needs a store with signatures",
    }
)
"""Why a block is not run; stands after ``not-run:`` behind the language of its fence."""

RUN: Final = frozenset({"sh", "python"})
SHOWN: Final = frozenset({"mermaid", "json", "text", "toml", "sql"})

_MAIN: Final = "from {}.cli import main; main()"
_FENCE: Final = re.compile(r"^ {0,3}```(?P<language>[\w+-]*) *(?P<rest>.*)$")
_LINK: Final = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A code block; ``where`` is ``page:line`` of its fence, ``not_run`` why it is left out."""

    where: str
    language: str
    code: str
    not_run: str | None = None


def tracked_files(root: Path, *patterns: str) -> list[Path]:
    """The files of the checkout that git knows, relative to ``root``, as far as they are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    return [Path(name) for name in listed.split("\0") if name and (root / name).is_file()]


def blocks_of(text: str, page: str) -> list[Block]:
    """The code blocks of a page in Markdown.

    Raises ``ValueError`` for a fence without a language that is run or shown, for a mark that is none of
    :data:`NOT_RUN`, and for one that is not closed.
    """
    found: list[Block] = []
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if (fence := _FENCE.match(line)) is None:
            continue
        where, language = f"{page}:{number}", fence["language"]
        if language not in RUN | SHOWN:
            raise ValueError(
                f"{where}: expected one of {', '.join(sorted(RUN | SHOWN))}, received {language!r}"
            )
        code = list(_until_the_end(lines, where))
        found.append(Block(where, language, "\n".join(code) + "\n", _reason(fence["rest"].strip(), where)))
    return found


def _until_the_end(lines: Iterator[tuple[int, str]], where: str) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == "```":
            return
        yield line
    raise ValueError(f"{where}: the block is not closed")


def _reason(rest: str, where: str) -> str | None:
    if not rest:
        return None
    mark, _, reason = rest.partition(":")
    if mark != "not-run" or reason.strip() not in NOT_RUN:
        raise ValueError(
            f"{where}: expected not-run: and one of {', '.join(sorted(NOT_RUN))}, received {rest!r}"
        )
    return reason.strip()


def script_of(blocks: Sequence[Block], ports: Mapping[int, int]) -> str:
    """One shell script of the blocks that are run, in their order; each port of ``ports`` stands for its key.

    It ends with the first command that fails, and says in which block. Variables and background jobs of a
    block are there for the next one, as they are for a reader.
    """
    lines = ["set -eEu -o pipefail", """trap 'echo "failed: $where" >&2' ERR"""]
    for block in blocks:
        if block.language not in RUN or block.not_run is not None:
            continue
        lines.append(f"where={shlex.quote(block.where)}")
        if block.language == "python":
            lines.append(f".venv/run/bin/python - <<'END OF BLOCK'\n{_moved(block.code, ports)}END OF BLOCK")
        else:
            lines.append(_moved(block.code, ports))
    return "\n".join(lines) + "\n"


def _moved(code: str, ports: Mapping[int, int]) -> str:
    if not ports:
        return code
    known = "|".join(map(str, ports))
    return re.sub(rf"(?<![\d.])({known})(?!\d)", lambda found: str(ports[int(found[1])]), code)


def fresh_clone(root: Path, folder: Path) -> Path:
    """What a clone of ``root`` holds, in ``folder``; the commands of its environments run by this Python."""
    for path in tracked_files(root):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, folder / path)
    python = shlex.quote(sys.executable)
    wbc = f"{python} -c '{_MAIN.format('orchestrator.commands')}'"
    commands = {"python": python, "python3": python, "wbc": wbc}
    training = {"wbc-train": f"{python} -c '{_MAIN.format('training')}'"}
    for environment, its_commands in (("run", commands), ("dev", commands | training)):
        place = folder / ".venv" / environment / "bin"
        place.mkdir(parents=True)
        for name, command in its_commands.items():
            (place / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (place / name).chmod(0o755)
    return folder


def run_script(
    script: str, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, str]:
    """The script's exit code and all that it said; whatever it left in the background ends with it."""
    output = folder / "output-of-the-documents.txt"
    with output.open("w") as written:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    said = "\n".join(line[:500] for line in lines)  # an image in an answer is long
    return code, said if code != -1 else f"{said}\nnot done after {timeout_s:.0f} s"


def _without_blocks(text: str) -> list[str]:
    """The lines outside of code blocks."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            lines.append(line)
    return lines


def links_of(text: str) -> list[str]:
    """Where a page's links and pictures lead, code left out."""
    prose = "\n".join(re.sub(r"`[^`]*`", "code", line) for line in _without_blocks(text))
    return _LINK.findall(prose)


def anchors_of(text: str) -> set[str]:
    """The anchors that a code host gives to a page's headings."""
    anchors: set[str] = set()
    for line in _without_blocks(text):
        if (heading := re.match(r"#{1,6} +(.*?) *#*$", line)) is None:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        anchor = name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again = 0
        while name in anchors:
            again += 1
            name = f"{anchor}-{again}"
        anchors.add(name)
    return anchors


def _has_anchor(page: Path, anchor: str) -> bool:
    return page.suffix == ".md" and anchor in anchors_of(page.read_text(encoding="utf-8"))


def broken_links(root: Path, pages: Sequence[Path]) -> list[str]:
    """The relative links of these pages to what is not there, as ``page: link``."""
    broken: list[str] = []
    for page in pages:
        for link in links_of((root / page).read_text(encoding="utf-8")):
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (root / page.parent / path) if path else root / page
            if not target.exists() or (anchor and not _has_anchor(target, anchor)):
                broken.append(f"{page}: {link}")
    return broken
