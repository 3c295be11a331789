"""A site's own labels of cells, from a TOML file; all but the name may be left out::

    [[label]]
    name = "Hairy cell"
    turkish = "Saçlı hücre"
    key = "y"
    denominator = "white_cells"    # or "per_100_white_cells", or "none"

    [[label]]
    name = "Hypersegmented"
    part_of = "Neutrophil"         # its cells count there too

A label that decisions were made with stays in the file: of one that is gone nobody knows what it was a share
of, and its cells count as white ones of none of the five classes.
"""

import tomllib
from pathlib import Path
from typing import Any, Final, get_args

from orchestrator.errors import ConfigurationError
from orchestrator.labels import Denominator, Label, Labels, SmudgeRule, labels_of

MAX_LABELS: Final = 50

_KEYS: Final = ("name", "turkish", "key", "denominator", "part_of")


def load_labels(path: Path | None, smudge: SmudgeRule) -> Labels:
    """The labels of a site: those of its file, if it has one, after those that came with the service.

    Raises :class:`~orchestrator.errors.ConfigurationError`, which names the key, what was expected and what
    was received.
    """
    try:
        return labels_of(() if path is None else _read(path), smudge)
    except ValueError as error:
        raise ConfigurationError(f"labels, {error}") from error


def _read(path: Path) -> list[Label]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"labels: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"labels: expected TOML in UTF-8, received {error}") from error
    listed = table.get("label")
    if set(table) != {"label"} or not isinstance(listed, list) or len(listed) > MAX_LABELS:
        raise ConfigurationError(f"labels: expected at most {MAX_LABELS} tables [[label]], and nothing else")
    return [_label(one) for one in listed]


def _label(table: Any) -> Label:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise ValueError("name: expected a text in each [[label]]")
    name: str = table["name"]
    said: dict[str, str] = {}
    for key, value in table.items():
        if key not in _KEYS:
            raise ValueError(f"{name}: expected the keys {', '.join(_KEYS)}, received {key!r}")
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ValueError(f"{name}, {key}: expected a text of one line, received {value!r}")
        said[key] = value
    if len(said.get("key", "")) > 1:
        raise ValueError(f"{name}, key: expected one character, received {said['key']!r}")
    denominator: Any = said.get("denominator", "white_cells")
    if denominator not in get_args(Denominator):
        known = ", ".join(get_args(Denominator))
        raise ValueError(f"{name}, denominator: expected one of {known}, received {denominator!r}")
    return Label(name, said.get("turkish", name), said.get("key", ""), denominator, said.get("part_of"))
