"""The door of the gRPC edge: the same callers, roles and limits as over HTTP."""

from starlette.datastructures import Headers

from orchestrator.edge.access_control import REASONS, AccessRules
from orchestrator.edge.needs import Needs
from orchestrator.edge.rate_limits import peer_name
from orchestrator.edge.security import (
    AccessDenied,
    AuthenticationUnavailable,
    Principal,
    Unauthenticated,
)
from orchestrator.telemetry import ACCESS_REFUSED


class GrpcAccess:
    """Lets in who has a role that his method needs; before anything of him is read."""

    def __init__(self, rules: AccessRules) -> None:
        self._rules = rules

    async def authorize(self, needs: Needs, metadata: Headers, address: str) -> Principal:
        """Who asks from ``address`` for what needs that.

        Raises:
            AccessDenied: it is not known, he may not, or he asks too often.
            AuthenticationUnavailable: that cannot be found out now.
        """
        try:
            return await self._admit(needs, metadata, peer_name(address))
        except (AccessDenied, AuthenticationUnavailable) as error:
            ACCESS_REFUSED.labels(REASONS[type(error)]).inc()
            raise

    async def _admit(self, needs: Needs, metadata: Headers, peer: str) -> Principal:
        limits, authenticator = self._rules.rate_limits, self._rules.authenticator
        try:
            principal = await authenticator.authenticate(metadata)
        except Unauthenticated:
            if limits:  # whoever guesses, guesses slowly
                limits.take(peer)
            raise
        if limits:
            limits.take(principal.name if authenticator.asks else peer)
        principal.require(*needs.roles)
        return principal
