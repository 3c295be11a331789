"""What a route needs of those who stand before it; declared with the route itself, for every edge.

Of the roles of a route one is enough. One without any is for everybody: probes, and the page and the
documentation, which hold nothing of anybody and are read before there is a credential to show.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator.edge.access.security import Role


@dataclass(frozen=True, slots=True)
class Needs:
    """The needs of one route.

    Args:
        roles: of which the caller must have one; none where anybody may ask.
        bounds_body: the route counts the bytes of its uploads itself; every other body is small, or refused.
        counted: each request is counted by its outcome.
        probe: programs ask it all the time. It reads no body, is no trace, and is over too soon to be broken
            off.
    """

    roles: tuple[Role, ...]
    bounds_body: bool = False
    counted: bool = False
    probe: bool = False


OPEN: Final = Needs(())
PROBE: Final = Needs((), probe=True)
READ: Final = Needs(("analyse", "review", "sign"))
ORDER: Final = Needs(("analyse",))
UPLOAD: Final = Needs(("analyse",), bounds_body=True)
ANALYSE: Final = Needs(("analyse",), bounds_body=True, counted=True)
REVIEW: Final = Needs(("review",))
TEACH: Final = Needs(("review",), bounds_body=True)
SIGN: Final = Needs(("sign",))
ADMIN: Final = Needs(("admin",))
