"""A result's fields as the table of docs/integrate.md: ``python -m tests.result_table`` writes it there."""

import re
from typing import Final, get_args

from pydantic.fields import FieldInfo

from orchestrator.documents.fields import RESULT, AnalysisFormat, SpecimenFormat, told
from orchestrator.settings import PROJECT_ROOT

PAGE: Final = PROJECT_ROOT / "docs" / "integrate.md"
MARKERS: Final = re.compile(r"(?<=<!-- result -->\n).*(?=<!-- /result -->)", re.DOTALL)


def result_table() -> str:
    """Markdown: a row for each field, with where it is left out and why."""
    lines = ["| field | unit | what | left out by |", "|---|---|---|---|"]
    for name, kind in RESULT.items():
        described = [
            one.description for one in get_args(kind) if isinstance(one, FieldInfo) and one.description
        ]
        what = (described or [""])[-1].replace("\n", " ")
        lines.append(f"| `{name}` | {told(name).unit or ''} | {what} | {_left_out(name)} |")
    return "\n".join(lines) + "\n"


def _left_out(name: str) -> str:
    reasons: dict[str, list[str]] = {}
    for of, reason in told(name).left_out.items():
        reasons.setdefault(reason, []).append(of)
    every = {get_args(AnalysisFormat): "all of one image", get_args(SpecimenFormat): "all of a specimen"}
    return "; ".join(f"{every.get(tuple(of), ', '.join(of))}: {reason}" for reason, of in reasons.items())


def with_result_table(text: str) -> str:
    """The page with the table of today."""
    return MARKERS.sub(lambda _: result_table(), text)


if __name__ == "__main__":
    PAGE.write_text(with_result_table(PAGE.read_text()))
