"""The weights of content negotiation (RFC 9110, section 12.4.2)."""

from collections.abc import Iterator


def weight(parameter: str) -> float:
    """Of ``q=0.8``; 1 where there is none and 0, "not acceptable", where it is no number from 0 to 1."""
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        found = float(value)
    except ValueError:
        return 0.0
    return found if name.strip().lower() == "q" and 0 <= found <= 1 else 0.0


def acceptable(header: str) -> list[str]:
    """The entries of an ``Accept`` header but those that it rules out (``;q=0``)."""
    return [entry for entry, of in _entries(header) if of > 0]


def wants_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` header takes gzip, and weighs it no less than what is not compressed."""
    weights = {entry.partition(";")[0].strip().lower(): of for entry, of in _entries(header)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0 if weights.get("*") == 0 else gzip)


def _entries(header: str) -> Iterator[tuple[str, float]]:
    for entry in filter(None, (part.strip() for part in header.split(","))):
        parameters = (part.strip() for part in entry.split(";")[1:])
        yield entry, weight(next((of for of in parameters if of.lower().startswith("q=")), ""))
