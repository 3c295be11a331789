"""How often one caller may ask: a token bucket for each, in bounded memory.

A bucket holds ``requests`` tokens and fills at ``requests / window_s`` a second; a request takes one. What a
caller has left they are told by the fields of draft-ietf-httpapi-ratelimit-headers (revisions 10 and 11):
``RateLimit-Policy`` with the quota ``q`` and its window ``w``, ``RateLimit`` with the remainder ``r`` and the
seconds ``t`` until the bucket is full again.

Each process counts for itself: of two replicas a caller may ask twice as often.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from orchestrator.common.deadline import Clock
from orchestrator.edge.access.security import RateLimited

POLICY: Final = "default"

IPV6_NETWORK_BITS: Final = 64
"""What one subscriber has: more than 10^19 addresses, from which they must not ask as many callers."""


@dataclass(frozen=True, slots=True)
class QuotaState:
    """What one caller has left: whole requests; seconds until the bucket is full, and to the next token."""

    remaining: int
    full_in_s: float
    next_in_s: float


class RateLimits:
    """Lets each caller ask ``requests`` times in ``window_s`` seconds, and that often at once.

    At most ``max_callers`` are remembered. The one who asked longest ago is forgotten first: usually their
    bucket has filled again, and then nothing is lost by it.
    """

    def __init__(
        self,
        requests: int,
        window_s: float = 60.0,
        *,
        max_callers: int = 10_000,
        clock: Clock = time.monotonic,
    ) -> None:
        if requests < 1 or window_s <= 0 or max_callers < 1:
            raise ValueError(f"expected positive numbers, received {requests}, {window_s} and {max_callers}")
        self._requests = requests
        self._window_s = window_s
        self._max_callers = max_callers
        self._clock = clock
        # When each bucket will be full: the one number from which its level follows.
        self._full_at_s: OrderedDict[str, float] = OrderedDict()
        self.policy = f'"{POLICY}";q={requests};w={math.ceil(window_s)}'

    def take(self, caller: str) -> QuotaState:
        """Take a token of this caller's.

        Raises :class:`RateLimited` where there is none.
        """
        now_s, each_s = self._clock(), self._window_s / self._requests
        full_at_s = max(self._full_at_s.get(caller, now_s), now_s)
        quota = self._quota(full_at_s + each_s - now_s)
        # A hair's breadth, so that a caller who waits exactly as long as they were told is let in.
        if full_at_s + each_s - now_s > self._window_s + 1e-9:
            refused = self._quota(full_at_s - now_s)
            wait_s = max(1, math.ceil(refused.next_in_s))
            raise RateLimited(
                f"You asked more than {self._requests} times in {self._window_s:g} seconds; "
                f"ask again in {wait_s} seconds.",
                {**self.fields(refused), "Retry-After": str(wait_s)},
            )
        self._full_at_s[caller] = full_at_s + each_s
        self._full_at_s.move_to_end(caller)
        while len(self._full_at_s) > self._max_callers:
            self._full_at_s.popitem(last=False)
        return quota

    def fields(self, quota: QuotaState) -> dict[str, str]:
        """The header fields that tell a caller where they stand."""
        state = f'"{POLICY}";r={quota.remaining};t={math.ceil(quota.full_in_s)}'
        return {"RateLimit-Policy": self.policy, "RateLimit": state}

    def _quota(self, full_in_s: float) -> QuotaState:
        each_s = self._window_s / self._requests
        remaining = max(0, math.floor((self._window_s - full_in_s) / each_s + 1e-9))
        next_in_s = max(0.0, full_in_s - (self._window_s - each_s * (remaining + 1)))
        return QuotaState(remaining, max(0.0, full_in_s), next_in_s)


def peer_name(address: str | None) -> str:
    """Who asks from this address; one name for all addresses of a subscriber's IPv6 network."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "peer:unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return f"peer:{ip.ipv4_mapped}"
        return f"peer:{ipaddress.ip_network((ip, IPV6_NETWORK_BITS), strict=False)}"
    return f"peer:{ip}"
