"""Options of a command that follow from the fields of a dataclass.

A field whose type is ``Annotated[..., typer.Option(...)]`` is an option: name, type, default, bounds and help
stand there and nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from orchestrator.errors import ConfigurationError
from training.commands.config_file import config_table

Command = Callable[..., None]


def options_of(kind: type[Any], *names: str) -> Callable[[Command], Command]:
    """Give a command an option for each field of ``kind`` that is one, or for those of ``names`` alone.

    The command is called with a ``kind`` of these values, and with its own options by name. Options of a
    field that is itself a dataclass are the command's as well; what else that dataclass has is read from the
    table of the field's name in the configuration file. ``tuple[float, ...]`` is given as numbers with
    commas, any other ``tuple[..., ...]`` by an option that may be repeated.
    """
    lent = [
        parameter
        for field, hint in _fields(kind)
        if not names or field.name in names
        for parameter in _parameters(field, hint)
    ]

    def decorate(command: Command) -> Command:
        own = list(signature(command).parameters.values())[1:]

        @wraps(command)
        def run(context: typer.Context, **values: Any) -> None:
            rest = {parameter.name: values.pop(parameter.name) for parameter in own}
            command(_build(kind, values, context), **rest)

        asked = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in (*own, *lent)]
        run.__signature__ = Signature([asked, *parameters])  # type: ignore[attr-defined]  # what Typer reads
        run.__annotations__ = {p.name: p.annotation for p in (asked, *parameters)}
        return run

    return decorate


def _fields(kind: type[Any]) -> Iterator[tuple[Field[Any], Any]]:
    """The fields of a dataclass, each with its type."""
    hints = get_type_hints(kind, include_extras=True)
    return ((field, hints[field.name]) for field in fields(kind))


def _parameters(field: Field[Any], hint: Any) -> Iterator[Parameter]:
    """The options of a field: none, its own, or those of the dataclass that it is."""
    if is_dataclass(hint):
        for inner, inner_hint in _fields(hint):  # type: ignore[arg-type]
            yield from _parameters(inner, inner_hint)
    elif get_origin(hint) is Annotated:
        default: Any = field.default
        given, option = get_args(hint)
        if given == tuple[float, ...]:
            given, default = str, ",".join(map(str, default))
        elif get_origin(given) is tuple:
            given, default = list[get_args(given)[0]] | None, None  # type: ignore[misc]
        yield Parameter(
            field.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[given, option]
        )


def _build(kind: type[Any], values: Mapping[str, Any], context: typer.Context) -> Any:
    arguments = {}
    for field, hint in _fields(kind):
        if is_dataclass(hint):
            arguments[field.name] = _nested(hint, field.name, values, context)
        elif field.name in values:
            arguments[field.name] = _typed(field.name, hint, values[field.name])
    return kind(**arguments)


def _nested(kind: Any, name: str, values: Mapping[str, Any], context: typer.Context) -> Any:
    """The dataclass of a field: what are options from ``values``, the others from the table ``name``."""
    options = {field.name: values[field.name] for field, _ in _fields(kind) if field.name in values}
    table = config_table(context, name)
    known = {field.name for field in fields(kind)} - {
        field.name for field, hint in _fields(kind) if get_origin(hint) is Annotated
    }
    if wrong := sorted(table.keys() - known):
        raise ConfigurationError(
            f"[{name}]: expected {', '.join(sorted(known))}, received {', '.join(wrong)}"
        )
    return kind(**options, **{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})


def _typed(name: str, hint: Any, value: Any) -> Any:
    given = get_args(hint)[0]
    if get_origin(given) is not tuple:
        return value
    if given != tuple[float, ...]:
        return tuple(value or ())
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError as error:
        option = "--" + name.replace("_", "-")
        raise ConfigurationError(f"{option}: expected numbers with commas, received {value!r}") from error
