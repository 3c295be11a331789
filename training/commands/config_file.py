"""``--config FILE.toml``: values for the options of a command, which the command line overrides.

Keys are the names of the options without the dashes in front (``batch-size = 32``). Given to the parser as
its defaults, so that they are converted and checked as if they had been typed.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

import typer

from orchestrator.errors import ConfigurationError

CONFIGS: Final = Path(__file__).resolve().parent.parent / "configs"

TABLES: Final = ("augmentation",)
"""Tables that a file may hold besides the options; a command finds them in its context's ``meta``."""

_META: Final = "training.config_file"


def read_config_file(context: typer.Context, name: str | None) -> str | None:
    """Callback of the option ``--config``, which must be eager: it reads before other options are looked up.

    ``name`` is a path, or the name of a file in ``training/configs`` (``reference``, ``shipped``).

    Raises:
        ConfigurationError: there is no such file, it is no TOML, or it has a key that is no option.
    """
    if name is None or context.resilient_parsing:
        return name
    path = _find(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    context.meta[_META] = {table: content.pop(table, {}) for table in TABLES}
    parameters = {
        option.lstrip("-"): parameter
        for parameter in context.command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        parameter = parameters.get(key.replace("_", "-"))
        if parameter is None or parameter.name in (None, "config", "help"):
            raise ConfigurationError(f"{path}: expected names of options, received {key!r}")
        defaults[str(parameter.name)] = _as_typed(value, multiple=getattr(parameter, "multiple", False))
    context.default_map = {**(context.default_map or {}), **defaults}
    return name


def config_table(context: typer.Context, table: str) -> dict[str, Any]:
    """A table of the file that ``--config`` has read; empty without one."""
    content: dict[str, Any] = context.meta.get(_META, {}).get(table, {})
    return content


def _find(name: str) -> Path:
    for path in (Path(name), CONFIGS / f"{name}.toml"):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
    raise ConfigurationError(f"expected a TOML file or one of {shipped} for --config, received {name!r}")


def _as_typed(value: Any, *, multiple: bool) -> Any:
    """What the parser expects: a list for an option that may be repeated, else a list joined by commas."""
    if multiple:
        return value if isinstance(value, list) else [value]
    return ",".join(map(str, value)) if isinstance(value, list) else value
