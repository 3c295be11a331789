"""The door of the gRPC edge: the same callers, roles and limits as over HTTP."""

from collections.abc import Sequence

from orchestrator.edge.access_rules import AccessRules, refusals_counted
from orchestrator.edge.needs import Needs
from orchestrator.edge.rate_limits import peer_name
from orchestrator.edge.security import Principal


class GrpcAccess:
    """Lets in who has a role that his method needs; before anything of him is read."""

    def __init__(self, rules: AccessRules) -> None:
        self._rules = rules

    async def authorize(self, needs: Needs, metadata: Sequence[tuple[str, str]], address: str) -> Principal:
        """Who asks from ``address`` for what needs that.

        Raises:
            AccessDenied: he is not known, may not, or asks too often.
            AuthenticationUnavailable: that cannot be found out now.
        """
        with refusals_counted():
            principal, _ = await self._rules.admitted(metadata, peer_name(address), needs)
        return principal
