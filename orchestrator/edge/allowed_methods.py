"""What a path may be asked for, where it was asked for something else."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import Scope


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """The methods of all routes of the path in ``scope``, sorted.

    The framework's own answer 405 names those of the first one alone, though RFC 9110, section 10.2.1, asks
    for what the resource supports.
    """
    found: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found | {"HEAD"} if "GET" in found else found)
