"""The access rules of every edge: who asks, whether they may, and not too often."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from orchestrator.edge.access.needs import Needs
from orchestrator.edge.access.rate_limits import QuotaState, RateLimits
from orchestrator.edge.access.security import (
    NOBODY,
    AccessDenied,
    AuthenticationUnavailable,
    Authenticator,
    Forbidden,
    Principal,
    RateLimited,
    Unauthenticated,
)
from orchestrator.observability.metrics import ACCESS_REFUSED

REASONS: Final[Mapping[type[Exception], str]] = {
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    RateLimited: "rate_limited",
    AuthenticationUnavailable: "authentication_unavailable",
}


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules by which callers are let in.

    ``open_on_loopback``: nobody is asked who they are because only programs of this machine reach the
    service; then a page of the web must not reach it through the browser of this machine either. ``origins``:
    pages elsewhere that may ask.
    """

    authenticator: Authenticator = field(default_factory=Authenticator)
    rate_limits: RateLimits | None = None
    protect_metrics: bool = False
    open_on_loopback: bool = False
    origins: frozenset[str] = frozenset()

    async def admitted(
        self, headers: Iterable[tuple[str, str]], peer: str, needs: Needs | None
    ) -> tuple[Principal, QuotaState | None]:
        """Who asks, and what they have left where there are limits.

        Args:
            headers: of their request, or its metadata.
            peer: where they ask from; see :func:`~orchestrator.edge.access.rate_limits.peer_name`.
            needs: of what they ask for; None where there is nothing to guard.

        Raises:
            AccessDenied: they are not known, may not, or ask too often.
            AuthenticationUnavailable: that cannot be found out now.
        """
        if needs is not None and not needs.roles:
            return NOBODY, None
        limits = self.rate_limits
        try:
            principal = await self.authenticator.authenticate(headers)
        except Unauthenticated:
            if limits:  # whoever guesses, guesses slowly
                limits.take(peer)
            raise
        # Before the roles: a caller who asks for what they may not have also asks.
        name = principal.name if self.authenticator.asks else peer
        quota = limits.take(name) if limits else None
        if needs is not None:
            principal.require(*needs.roles)
        return principal, quota


@contextmanager
def refusals_counted() -> Iterator[None]:
    """Count who is refused within, by the reason."""
    try:
        yield
    except (AccessDenied, AuthenticationUnavailable) as error:
        ACCESS_REFUSED.labels(REASONS[type(error)]).inc()
        raise
