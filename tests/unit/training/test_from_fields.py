"""Options that follow from the fields of a dataclass."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from orchestrator.errors import ConfigurationError
from training.commands.from_fields import options_of
from training.options import option, share


@dataclass(frozen=True)
class Inner:
    chance: Annotated[float, share("How often.", "Panel")] = 0.5
    reach: tuple[float, float] = (1.0, 2.0)


@dataclass(frozen=True)
class Settings:
    count: Annotated[int, option("How many.", "Panel", min=2)] = 3
    kind: Annotated[Literal["one", "other"], option("Which.", "Panel")] = "one"
    weights: Annotated[tuple[float, ...], option("Of each.", "Panel")] = (1.0, 2.5)
    folders: Annotated[tuple[Path, ...], option("Where.", "Panel", "--folder")] = ()
    inner: Inner = field(default_factory=Inner)
    fixed: int = 7


def run(*arguments, names=()):
    """What a command with these options, and one of its own, is called with."""
    seen = []
    app = typer.Typer()

    @app.command()
    @options_of(Settings, *names)
    def command(
        settings: Settings,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> None:
        """What it does."""
        seen.append((settings, loud))

    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    return (result, seen[0] if seen else None)


def test_without_options_the_settings_have_their_own_defaults():
    assert run()[1] == (Settings(), False)


def test_every_kind_of_field_is_read_from_the_command_line():
    arguments = ["--count", "4", "--kind", "other", "--weights", "3,4", "--folder", "a", "--folder", "b"]

    _, called = run(*arguments, "--chance", "0.25", "--loud")

    expected = Settings(4, "other", (3.0, 4.0), (Path("a"), Path("b")), Inner(chance=0.25))
    assert called == (expected, True)


@pytest.mark.parametrize(
    "arguments", [("--count", "1"), ("--chance", "1.5"), ("--kind", "third"), ("--fixed", "8")]
)
def test_what_the_field_does_not_admit_is_refused(arguments):
    result, called = run(*arguments)

    assert (result.exit_code, called) == (2, None)


def test_numbers_that_are_none_are_refused_by_the_name_of_their_option():
    result, _ = run("--weights", "1,many")

    assert isinstance(result.exception, ConfigurationError)
    assert "--weights: expected numbers with commas, received '1,many'" in str(result.exception)


def test_the_help_tells_name_help_default_and_bounds_of_each_field():
    text = " ".join(run("--help")[0].output.split())

    for told in ("What it does.", "--count", "How many.", "default: 3", "x>=2", "one|other", "1.0,2.5"):
        assert told in text
    assert "--chance" in text
    assert "--loud" in text
    assert "--fixed" not in text


def test_a_command_may_take_some_of_the_fields_alone():
    _, called = run("--count", "5", names=("count",))

    assert called == (Settings(count=5), False)
    assert run("--kind", "other", names=("count",))[0].exit_code == 2
