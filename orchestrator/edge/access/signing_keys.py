"""The public keys that an OpenID Connect issuer signs with: fetched, kept, fetched again when they change.

An issuer announces its keys as a JWK set (RFC 7517), at an address that stands in its discovery document
(OpenID Connect Discovery 1.0) or in the settings. It may be slow, or away: a request waits for it only where
a token is signed by a key that is not known, at most ``timeout_s``; and however many tokens name keys that do
not exist, it is asked at most once in ``min_interval_s``.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from orchestrator.common.deadline import Clock
from orchestrator.edge.access.security import AuthenticationUnavailable, Unauthenticated, is_loopback

Jwk = Mapping[str, Any]

MAX_DOCUMENT_BYTES: Final = 256 * 2**10
MAX_KEYS: Final = 100

KEY_OF_ALGORITHM: Final[Mapping[str, tuple[str, str | None]]] = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Key type and curve of each algorithm that is ever accepted. Not ``none``; and no HMAC, for which the public
key would be the secret."""

_logger = logging.getLogger(__name__)


class IssuerUnavailable(Exception):
    """The issuer did not tell its keys; the message is for the log."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where an issuer tells its keys: ``jwks_url``, or where None what its discovery document says."""

    url: str
    jwks_url: str | None
    timeout_s: float

    async def fetch(self) -> Sequence[Jwk]:
        """The keys of its JWK set.

        Raises :class:`IssuerUnavailable`, also where it takes longer than ``timeout_s`` in all.
        """
        try:
            async with asyncio.timeout(self.timeout_s), httpx2.AsyncClient(timeout=self.timeout_s) as client:
                document = await _fetched(client, self.jwks_url or await self._discovered(client))
        except TimeoutError as error:
            raise IssuerUnavailable(f"no answer in {self.timeout_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise IssuerUnavailable(type(error).__name__) from error
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise IssuerUnavailable("expected a JWK set, received something else")
        return [key for key in keys if isinstance(key, dict)][:MAX_KEYS]

    async def _discovered(self, client: httpx2.AsyncClient) -> str:
        document = await _fetched(client, f"{self.url.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self.url:
            raise IssuerUnavailable("the discovery document is of another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not is_safe_url(url):
            raise IssuerUnavailable("the discovery document names no https address of keys")
        return url


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way can exchange what is fetched: https, or this machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


async def _fetched(client: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    content = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
        if response.status_code != 200:  # a redirection is not followed: it could lead anywhere
            raise IssuerUnavailable(f"status {response.status_code}")
        async for part in response.aiter_bytes():
            content += part
            if len(content) > MAX_DOCUMENT_BYTES:
                raise IssuerUnavailable(f"more than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IssuerUnavailable("no JSON") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable("expected a JSON object, received something else")
    return document


class SigningKeys:
    """The keys of one issuer.

    Args:
        fetch: asks the issuer.
        refresh_s: age from which on they are fetched again, in the background.
        min_interval_s: between two questions to the issuer.
        max_age_s: how long they are good for while the issuer is away.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[Jwk]]],
        *,
        refresh_s: float,
        min_interval_s: float,
        max_age_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._refresh_s = refresh_s
        self._min_interval_s = min_interval_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._keys: Sequence[Jwk] = ()
        self._fetched_at_s = self._asked_at_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._answered = False

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK:
        """The key of this id for this algorithm; without an id, the only one that the issuer has for it.

        Raises:
            Unauthenticated: the issuer has no such key, or several and the token does not say which.
            AuthenticationUnavailable: the issuer cannot be asked.
        """
        if key := self._known(key_id, algorithm):
            if self._clock() - self._fetched_at_s > self._refresh_s:
                self._ask()
            return key
        if asking := self._ask():
            await asyncio.shield(asking)  # others wait for the same answer
            if key := self._known(key_id, algorithm):
                return key
        if not self._answered:
            raise AuthenticationUnavailable("The issuer of the token does not tell its keys at the moment.")
        raise Unauthenticated("The token is not signed by a key of its issuer.")

    def _known(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        if self._clock() - self._fetched_at_s > self._max_age_s:
            return None
        fitting = [key for key in self._keys if _fits(key, algorithm) and key_id in (None, key.get("kid"))]
        if len(fitting) != 1:
            return None
        try:
            return PyJWK(dict(fitting[0]), algorithm)
        except PyJWTError:
            return None

    def _ask(self) -> "asyncio.Task[None] | None":
        """The question that is under way, or a new one; None where it is too early for one."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        if self._clock() - self._asked_at_s < self._min_interval_s:
            return None
        self._asked_at_s = self._clock()
        self._asking = asyncio.create_task(self._update(), name="asking the issuer for its keys")
        return self._asking

    async def _update(self) -> None:
        try:
            self._keys = await self._fetch()
        except IssuerUnavailable as error:
            self._answered = False
            _logger.warning("the issuer of tokens does not tell its keys: %s", error)
        else:
            self._answered = True
            self._fetched_at_s = self._clock()


def _fits(key: Jwk, algorithm: str) -> bool:
    key_type, curve = KEY_OF_ALGORITHM[algorithm]
    return (
        key.get("kty") == key_type
        and (curve is None or key.get("crv") == curve)
        and key.get("alg") in (None, algorithm)
        and key.get("use") in (None, "sig")
    )
