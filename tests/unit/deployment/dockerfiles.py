"""Dockerfiles, as far as the tests look into them: stages and their instructions."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One ``FROM`` and what follows it; instructions in order, continuation lines joined."""

    base: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, keyword: str) -> list[str]:
        """The arguments of every instruction of this kind."""
        return [value for name, value in self.instructions if name == keyword]

    def command(self) -> list[str]:
        """ENTRYPOINT and CMD, both in the form that starts no shell."""
        parts: list[str] = []
        for keyword in ("ENTRYPOINT", "CMD"):
            for value in self.values(keyword):
                parts += json.loads(value)
        return parts


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        keyword, _, value = line.partition(" ")
        if keyword == "FROM":
            base, _, name = value.partition(" AS ")
            stages.append(Stage(base, name or None))
        else:
            stages[-1].instructions.append((keyword, value.strip()))
    return stages


def copied(stage: Stage) -> list[str]:
    """What a stage copies from the build context (not from other stages)."""
    sources: list[str] = []
    for value in stage.values("COPY"):
        words = shlex.split(value)
        if not any(word.startswith("--from") for word in words):
            sources += [word for word in words if not word.startswith("--")][:-1]
    return sources
