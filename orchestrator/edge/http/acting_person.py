"""Who acts: the name that decisions and signatures are kept under."""

from typing import Final

from starlette.requests import HTTPConnection

LOCAL: Final = "local"
"""Where nobody is asked for a name; the service then listens to its own machine."""


def acting_person(request: HTTPConnection) -> str:
    """The name of the authenticated principal that the security layer found, else ``local``."""
    principal = request.scope.get("wbc_principal")
    return LOCAL if principal is None else str(principal.name)
