"""Access at the gRPC edge: the same callers, roles and limits as over HTTP."""

from collections.abc import Sequence

from orchestrator.edge.access.needs import Needs
from orchestrator.edge.access.rate_limits import peer_name
from orchestrator.edge.access.rules import AccessRules, refusals_counted
from orchestrator.edge.access.security import Principal


class GrpcAccess:
    """Lets in who has a role that their method needs; before anything of them is read."""

    def __init__(self, rules: AccessRules) -> None:
        self._rules = rules

    async def authorize(self, needs: Needs, metadata: Sequence[tuple[str, str]], address: str) -> Principal:
        """Who asks from ``address`` for what needs that.

        Raises:
            AccessDenied: they are not known, may not, or ask too often.
            AuthenticationUnavailable: that cannot be found out now.
        """
        with refusals_counted():
            principal, _ = await self._rules.admitted(metadata, peer_name(address), needs)
        return principal
