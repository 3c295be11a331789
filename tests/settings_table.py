"""All settings as the tables of docs/api.md: ``python -m tests.settings_table`` writes them there."""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from orchestrator.settings import PROJECT_ROOT, Settings, WriterSettings

PAGE: Final = PROJECT_ROOT / "docs" / "api.md"
MARKERS: Final = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- /settings -->)", re.DOTALL)


def settings_tables() -> str:
    """Markdown: a table for each section of the settings, and one for the keys of a writer."""
    sections = {name: field for name, field in Settings.model_fields.items() if _section(field) is not None}
    of_none = {name: field for name, field in Settings.model_fields.items() if name not in sections}
    parts = [_table("General", "", of_none, "WBC_")]
    for name, field in sections.items():
        section = _section(field)
        assert section is not None
        parts.append(_table(_heading(name), _about(section), section.model_fields, f"WBC_{name.upper()}__"))
    about = f"{_about(WriterSettings)} `WBC_WRITERS__ORDER` is a JSON list of objects with these keys."
    parts.append(_table("A writer", about, WriterSettings.model_fields, ""))
    return "\n".join(parts)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _heading(name: str) -> str:
    return f"`WBC_{name.upper()}__…`"


def _about(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").replace("``", "`").split())


def _table(heading: str, about: str, fields: dict[str, FieldInfo], prefix: str) -> str:
    lines = [f"### {heading}", "", *([about, ""] if about else [])]
    lines += ["| variable | type | default | meaning |" if prefix else "| key | type | default | meaning |"]
    lines += ["|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(fields, prefix)]
    return "\n".join(lines) + "\n"


def _rows(fields: dict[str, FieldInfo], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in fields.items():
        if (section := _section(field)) is not None:
            yield from _rows(section.model_fields, f"{prefix}{name.upper()}__")
            continue
        own_name = field.validation_alias if isinstance(field.validation_alias, str) else None
        variable = own_name or (f"{prefix}{name.upper()}" if prefix else name)
        meaning = (field.description or "").replace("|", "\\|").replace("<", "&lt;")
        yield f"`{variable}`", _type(field.annotation), _default(field), meaning


def _type(kind: Any) -> str:
    """A type in the words of who sets a variable."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type(part) for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (tuple, dict):
        return "JSON list" if get_origin(kind) is tuple else "JSON object"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    words = {
        bool: "true, false",
        int: "integer",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
    }
    return words[kind]


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "unset"
    if value in ("", (), {}):
        return "empty"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT_ROOT)}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in value) + "]`"
    return f"`{value}`"


def with_fresh_tables(page: str) -> str:
    """The page with the tables between its markers made anew."""
    made, places = MARKERS.subn(lambda _: settings_tables(), page)
    assert places == 1, "expected one pair of markers <!-- settings -->"
    return made


if __name__ == "__main__":
    PAGE.write_text(with_fresh_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
