"""Words of others, such as file names, as a terminal may show them."""

from rich.markup import escape


def shown(text: str) -> str:
    """``text`` as markup of rich that shows each character.

    Control characters and those that turn the direction of reading are shown as their escapes: a file's name
    could else colour or clear the screen, or pass for another one.
    """
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
