"""Words of others, such as file names, as a terminal may show them."""

from rich.console import Console
from rich.markup import escape


def shown(text: str) -> str:
    """``text`` as markup of rich that shows each character.

    Control characters and those that turn the direction of reading are shown as their escapes: a file's name
    could else colour or clear the screen, or pass for another one.
    """
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def reason_of(error: Exception) -> str:
    """Why a file failed, in one line."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def print_failed(console: Console, words: str) -> None:
    """Say which file failed, and why."""
    console.print(f"[bold red]failed:[/] {shown(words)}", highlight=False, soft_wrap=True)
