"""Who asks, and what they may do: the same for every edge.

A caller shows an API key (:mod:`~orchestrator.edge.access.api_keys`) or a token of an OpenID Connect issuer
(:mod:`~orchestrator.edge.access.tokens`). Either makes them a :class:`Principal`: a name, which the audit
trail keeps, and roles, which are no steps of a ladder: who administers does not therefore sign.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Literal, Protocol, get_args

from orchestrator.errors import ConfigurationError, ProblemType, WbcError

Role = Literal["analyse", "review", "sign", "admin"]
"""``analyse``: send images and order differentials; ``review``: decide about cells; ``sign``: close a
differential; ``admin``: read the audit trail, and the metrics where these are protected."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

API_KEY_PREFIX: Final = "wbc_"

SECURITY_SCHEMES: Final = {
    "api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "Of `wbc keys create`.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."},
}
"""As OpenAPI describes them. Either, or none where the service asks nobody who they are."""

REALM: Final = 'Bearer realm="wbc"'

MAX_CREDENTIAL_CHARACTERS: Final = 8192


class AccessDenied(WbcError):
    """The caller is not let in. ``headers`` are those that HTTP wants in the answer."""

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class Unauthenticated(AccessDenied):
    """It is not known who asks: no credential, or none that is good."""

    kind = ProblemType(
        "unauthenticated",
        HTTPStatus.UNAUTHORIZED,
        "It is not known who asks",
        "Show an API key or a token: 'Authorization: Bearer ...', or an API key in 'X-API-Key'.",
    )

    def __init__(self, message: str, *, shown: bool = True) -> None:
        # RFC 6750, section 3.1: no error code for a caller who has shown no credential at all.
        super().__init__(message, {"WWW-Authenticate": f'{REALM}, error="invalid_token"' if shown else REALM})


class Forbidden(AccessDenied):
    """It is known who asks, and they may not."""

    kind = ProblemType(
        "forbidden",
        HTTPStatus.FORBIDDEN,
        "The caller may not do this",
        "This needs the role sign; yours: analyse.",
    )

    def __init__(self, message: str, scope: str | None = None) -> None:
        challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'
        super().__init__(message, {"WWW-Authenticate": challenge} if scope else None)


class RateLimited(AccessDenied):
    """This caller has asked too often; ``headers`` say when to ask again."""

    kind = ProblemType(
        "rate-limited",
        HTTPStatus.TOO_MANY_REQUESTS,
        "The caller asks too often",
        "You asked more than 100 times in 60 seconds; ask again in 3 seconds.",
    )


class AuthenticationUnavailable(WbcError):
    """Whether a credential is good cannot be found out now: the file of keys or the issuer is away."""

    kind = ProblemType(
        "authentication-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Who asks cannot be found out now",
        "The issuer of the token does not tell its keys at the moment.",
        retry_after_s=30,
    )


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. ``name`` says how they are known: ``key:NAME``, ``oidc:SUBJECT`` or ``anonymous``."""

    name: str
    roles: frozenset[str]

    def require(self, *one_of: Role) -> None:
        """Raise :class:`Forbidden` unless the caller has one of these roles."""
        if self.roles.isdisjoint(one_of):
            has = ", ".join(role for role in ROLES if role in self.roles) or "none"
            wanted = " or ".join(one_of)
            raise Forbidden(f"This needs the role {wanted}; yours: {has}.", " ".join(one_of))


LOCAL: Final = Principal("local", frozenset(ROLES))
"""Everybody, where only programs of this machine reach the service and nobody is asked who they are."""

ANONYMOUS: Final = Principal("anonymous", frozenset(ROLES))
"""Everybody, where others reach it and nobody is asked, because the settings say so."""

NOBODY: Final = Principal("anonymous", frozenset())
"""Who asks for what is open to everybody."""


class CredentialVerifier(Protocol):
    """Knows one kind of credential."""

    async def verify(self, credential: str) -> Principal:
        """Whose it is.

        Raises:
            Unauthenticated: it is not good.
            AuthenticationUnavailable: that cannot be found out now.
        """


class Authenticator:
    """Finds out who asks, from the headers of HTTP or the metadata of gRPC."""

    def __init__(
        self,
        *,
        api_keys: CredentialVerifier | None = None,
        tokens: CredentialVerifier | None = None,
        otherwise: Principal = LOCAL,
    ) -> None:
        self._api_keys = api_keys
        self._tokens = tokens
        self._otherwise = otherwise

    @property
    def asks(self) -> bool:
        """Whether anybody is asked who they are; if not, all are one principal, :data:`LOCAL` by default."""
        return self._api_keys is not None or self._tokens is not None

    async def authenticate(self, headers: Iterable[tuple[str, str]]) -> Principal:
        """Who sent these headers (names in any case): ``Authorization: Bearer CREDENTIAL`` or ``X-API-Key``.

        Raises:
            Unauthenticated: no credential, two, or one that is not good.
            AuthenticationUnavailable: whether it is good cannot be found out now.
        """
        if not self.asks:
            return self._otherwise
        credential = _credential(headers)
        verifier = self._api_keys if credential.startswith(API_KEY_PREFIX) else self._tokens
        if verifier is None:
            raise Unauthenticated("Credentials of this kind are not accepted here.")
        return await verifier.verify(credential)


def _credential(headers: Iterable[tuple[str, str]]) -> str:
    shown = [
        (name.lower(), value) for name, value in headers if name.lower() in ("authorization", "x-api-key")
    ]
    if not shown:
        raise Unauthenticated(
            "Show an API key or a token: 'Authorization: Bearer ...', or an API key in 'X-API-Key'.",
            shown=False,
        )
    if len(shown) > 1:  # two readers of one request must not take it for two callers'
        raise Unauthenticated("There are several credentials: show one.")
    ((name, value),) = shown
    if name == "authorization":
        scheme, _, value = value.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Expected 'Authorization: Bearer ...'.")
    credential = value.strip()
    if not credential or len(credential) > MAX_CREDENTIAL_CHARACTERS or not credential.isascii():
        raise Unauthenticated("This is neither an API key nor a token.")
    return credential


def refuse_open_address(host: str, variable: str, *, asks: bool, allowed: bool) -> None:
    """Raise ``ConfigurationError`` where other machines reach ``host`` and nobody is asked who they are.

    Args:
        host: the address to listen on.
        variable: the setting that holds it.
        asks: whether callers are asked who they are.
        allowed: whether the settings say that it may be so.
    """
    if asks or allowed or is_loopback(host):
        return
    raise ConfigurationError(
        f"{variable}={host} can be reached from other machines, and nobody would be asked who they are. "
        "Set WBC_SECURITY__API_KEYS_FILE (`wbc keys create` makes keys) or WBC_SECURITY__OIDC__ISSUER; or "
        "WBC_SECURITY__ALLOW_UNAUTHENTICATED=true where something in front of this service asks instead"
    )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether this name or address of the service is for programs of its own machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:  # another name: where it leads is for others to say
        return False
