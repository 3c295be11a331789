"""How the door of every edge is kept: who asks, whether he may, and not too often."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from orchestrator.edge.needs import Needs
from orchestrator.edge.rate_limits import RateLimits, Standing
from orchestrator.edge.security import (
    AccessDenied,
    AuthenticationUnavailable,
    Authenticator,
    Forbidden,
    Principal,
    RateLimited,
    Unauthenticated,
)
from orchestrator.telemetry import ACCESS_REFUSED

REASONS: Final[Mapping[type[Exception], str]] = {
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    RateLimited: "rate_limited",
    AuthenticationUnavailable: "authentication_unavailable",
}


@dataclass(frozen=True, slots=True)
class AccessRules:
    """How the door is kept.

    ``open_on_loopback``: nobody is asked who he is because only programs of this machine reach the service;
    then a page of the web must not reach it through the browser of this machine either. ``origins``: pages
    elsewhere that may ask.
    """

    authenticator: Authenticator = field(default_factory=Authenticator)
    rate_limits: RateLimits | None = None
    protect_metrics: bool = False
    open_on_loopback: bool = False
    origins: frozenset[str] = frozenset()

    async def admitted(
        self, headers: Iterable[tuple[str, str]], peer: str, needs: Needs | None
    ) -> tuple[Principal, Standing | None]:
        """Who asks, and what he has left where there are limits.

        Args:
            headers: of his request, or its metadata.
            peer: where he asks from; see :func:`~orchestrator.edge.rate_limits.peer_name`.
            needs: of what he asks for; None where there is nothing to guard.

        Raises:
            AccessDenied: he is not known, may not, or asks too often.
            AuthenticationUnavailable: that cannot be found out now.
        """
        limits = self.rate_limits
        try:
            principal = await self.authenticator.authenticate(headers)
        except Unauthenticated:
            if limits:  # whoever guesses, guesses slowly
                limits.take(peer)
            raise
        # Before the roles: a caller who asks for what he may not have also asks.
        name = principal.name if self.authenticator.asks else peer
        standing = limits.take(name) if limits else None
        if needs is not None:
            principal.require(*needs.roles)
        return principal, standing


@contextmanager
def refusals_counted() -> Iterator[None]:
    """Count who is refused within, by the reason."""
    try:
        yield
    except (AccessDenied, AuthenticationUnavailable) as error:
        ACCESS_REFUSED.labels(REASONS[type(error)]).inc()
        raise
