"""How the documents are read and run, and that what they link to and list is there."""

import re
import time
from pathlib import Path

import pytest

from orchestrator.documents.fields import RESULT
from tests import result_table
from tests.documents import anchors_of, blocks_of, broken_links, run_script, script_of, tracked_files
from tests.settings_table import PAGE, settings_tables, with_fresh_tables

MOST_WORDS_OF_THE_README = 900


def page(*fences: str) -> str:
    return "\n\nWords.\n\n".join(fences)


def outcome(text: str, folder: Path, ports: dict[int, int] | None = None) -> tuple[int, str]:
    return run_script(script_of(blocks_of(text, "page.md"), ports or {}), folder, {}, timeout_s=60)


def test_blocks_run_in_their_order_and_know_what_was_before(tmp_path):
    text = page("```sh\nWORD=there\n```", "```sh\necho $WORD\n```")

    assert outcome(text, tmp_path) == (0, "there")


@pytest.mark.parametrize(
    "broken",
    [
        "no-such-command-of-ours",
        "false\necho on",
        "false | cat",
        "echo $NOT_SET_ANYWHERE",
        "ID=$(echo '{}' | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"id\"])')",
    ],
)
def test_a_command_that_fails_fails_its_page_and_says_where(tmp_path, broken):
    code, said = outcome(page("```sh\ntrue\n```", f"```sh\n{broken}\n```", "```sh\necho done\n```"), tmp_path)

    assert code != 0
    assert "done" not in said
    assert "page.md:7" in said or "unbound variable" in said


def test_a_program_that_fails_fails_its_page(tmp_path):
    python = tmp_path / ".venv" / "run" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nexec python3 "$@"\n')
    python.chmod(0o755)

    assert outcome("```python\nprint('x')\n```", tmp_path) == (0, "x")
    assert outcome("```python\nassert 1 == 2\n```", tmp_path)[0] != 0


def test_what_a_page_left_in_the_background_ends_with_it(tmp_path):
    code, _ = outcome("```sh\n(sleep 1; touch late) &\n```", tmp_path)

    assert code == 0
    with pytest.raises(TimeoutError):
        wait_for(tmp_path / "late")


def wait_for(path: Path) -> None:
    end = time.monotonic() + 1.5
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def test_a_block_with_a_reason_is_not_run(tmp_path):
    assert outcome("```sh not-run: needs a cluster\nfalse\n```", tmp_path) == (0, "")


@pytest.mark.parametrize("mark", ["not-run:", "not-run: no time", "not-run", "needs a cluster"])
def test_a_block_is_left_out_for_a_known_reason_only(mark):
    with pytest.raises(ValueError, match=r"page.md:1: expected not-run"):
        blocks_of(f"```sh {mark}\nfalse\n```", "page.md")


@pytest.mark.parametrize("language", ["", "bash", "console"])
def test_a_fence_names_a_language_that_is_known_to_be_run_or_shown(language):
    with pytest.raises(ValueError, match=r"page.md:3: expected one of"):
        blocks_of(f"Words.\n\n```{language}\nfalse\n```", "page.md")


def test_a_block_that_is_not_closed_is_found():
    with pytest.raises(ValueError, match="not closed"):
        blocks_of("```sh\ntrue\n", "page.md")


def test_ports_are_moved_and_other_numbers_are_not(tmp_path):
    text = "```sh\necho localhost:8000/x 18000 8000.5 1.8000 PORT=8000\n```"

    assert outcome(text, tmp_path, {8000: 41}) == (0, "localhost:41/x 18000 41.5 1.8000 PORT=41")


def test_anchors_are_those_of_a_code_host():
    text = "# What leaves, and when?\n## `WBC_HTTP__…`\n## A [link](x.md)\n## Twice\n## Twice\n"
    text += "```sh\n# none\n```\n"

    assert anchors_of(text) == {"what-leaves-and-when", "wbc_http__", "a-link", "twice", "twice-1"}


def test_a_link_to_what_is_not_there_is_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(
        "# One\n[up](../b.md#two) ![p](p.png) [x](https://host/x) [on](#one) `[c](c)`\n"
    )
    (tmp_path / "b.md").write_text(
        "# Two\n[good](docs/a.md#one) [bad](docs/a.md#three)\n[gone](docs/gone.md)\n"
    )

    broken = broken_links(tmp_path, [Path("b.md"), Path("docs/a.md")])

    assert broken == ["b.md: docs/a.md#three", "b.md: docs/gone.md", "docs/a.md: p.png"]


@pytest.fixture(scope="module")
def pages(project_root: Path) -> list[Path]:
    if not (project_root / ".git").exists():
        pytest.skip("no git checkout: nothing says which files are tracked")
    return tracked_files(project_root, "*.md")


def test_every_relative_link_of_every_document_leads_somewhere(project_root, pages):
    assert broken_links(project_root, pages) == []


def test_every_page_can_be_reached_from_the_readme(project_root, pages):
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    for there in pages:
        if there.parent == Path("docs"):
            assert f"]({there.as_posix()})" in readme


def test_every_page_says_what_it_is_for(project_root, pages):
    for there in pages:
        if there.parent == Path("docs"):
            text = " ".join((project_root / there).read_text(encoding="utf-8").split())
            assert "For research use only. Not for use in diagnostic procedures." in text, there


def test_the_readme_is_short(project_root):
    assert len((project_root / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS_OF_THE_README


def test_the_tables_of_settings_are_fresh():
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_fresh_tables(text), "run `make docs`"


def test_every_setting_says_what_it_means():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", settings_tables(), re.MULTILINE)

    assert {"WBC_HTTP__PORT", "WBC_SECURITY__TLS__KEY_FILE", "GITHUB_TOKEN", "base_url"} <= {
        row[0] for row in rows
    }
    assert [name for name, meaning in rows if not meaning.strip()] == []


def test_the_table_of_a_results_fields_is_that_of_the_code():
    page = result_table.PAGE.read_text()
    assert page == result_table.with_result_table(page), "make docs"
    assert all(f"| `{name}` |" in page for name in RESULT)
