"""Identifiers of a laboratory, as they are typed on a command line."""

import re

import typer

from orchestrator.specimen import IDENTIFIER


def printable(identifier: str | None) -> str | None:
    """The identifier, where a laboratory could print it; raises ``BadParameter``."""
    if identifier is not None and re.fullmatch(IDENTIFIER, identifier) is None:
        raise typer.BadParameter("expected text of one line without characters that are not printed")
    return identifier
