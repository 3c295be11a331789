"""The changelog, by the rules of Keep a Changelog, and the version that it ends with."""

import re
from datetime import date
from pathlib import Path

from orchestrator import __version__

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_newest_version_is_the_one_that_runs_and_dates_descend(project_root: Path):
    text = (project_root / "CHANGELOG.md").read_text()
    unreleased, *released = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert unreleased == "[Unreleased]"
    found = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in released]
    cuts = [(tuple(map(int, match.groups()[:3])), date.fromisoformat(match[4])) for match in found if match]
    assert len(cuts) == len(released) > 0
    assert released[0].startswith(f"[{__version__}] ")
    assert [version for version, _ in cuts] == sorted({version for version, _ in cuts}, reverse=True)
    assert [day for _, day in cuts] == sorted((day for _, day in cuts), reverse=True)


def test_every_version_tells_changes_by_their_kind_each_kind_once(project_root: Path):
    text = (project_root / "CHANGELOG.md").read_text()
    for section in text.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert set(kinds) <= KINDS
        assert len(kinds) == len(set(kinds))
        assert kinds or section.startswith("[Unreleased]")
