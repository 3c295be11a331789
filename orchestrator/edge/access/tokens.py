"""Tokens of an OpenID Connect issuer: JWTs (RFC 7519), checked as RFC 8725 and RFC 9068 want it.

What the token says of how it is to be checked is only compared with what is allowed; the key comes from the
issuer of the settings, never from where the token points to (``jku``, ``x5u``, ``jwk``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from orchestrator.edge.access.security import ROLES, Principal, Unauthenticated
from orchestrator.edge.access.signing_keys import KEY_OF_ALGORITHM, SigningKeys

MAX_NAME_CHARACTERS: Final = 128

_REQUIRED: Final = ["exp", "iss", "aud"]


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say.

    ``roles_claim`` and ``name_claim`` are names of claims, or paths into nested ones, as in
    ``realm_access.roles``. Of the roles those count that begin with ``role_prefix``, without it. ``leeway_s``
    is how far clocks may be apart.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    roles_claim: str = "roles"
    role_prefix: str = ""
    name_claim: str = "sub"
    leeway_s: float = 30.0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.algorithms if name not in KEY_OF_ALGORITHM]:
            raise ValueError(f"expected algorithms with a public key, received {', '.join(unknown)}")
        if not self.issuer or not self.audience or not self.algorithms:
            raise ValueError("expected an issuer, an audience and an algorithm")


class TokenVerifier:
    """Knows the tokens of one issuer."""

    def __init__(self, rules: TokenRules, keys: SigningKeys) -> None:
        self._rules = rules
        self._keys = keys

    async def verify(self, credential: str) -> Principal:
        """See :class:`~orchestrator.edge.access.security.CredentialVerifier`."""
        key_id, algorithm = self._header(credential)
        key = await self._keys.find(key_id, algorithm)
        try:
            claims = jwt.decode(
                credential,
                key=key,
                algorithms=[algorithm],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=self._rules.leeway_s,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("The token has expired.") from error
        except jwt.InvalidAudienceError as error:
            raise Unauthenticated("The token is for another audience.") from error
        except jwt.InvalidIssuerError as error:
            raise Unauthenticated("The token is of another issuer.") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated("The token is not valid.") from error
        return Principal(self._name(claims), frozenset(self._roles(claims)))

    def _header(self, credential: str) -> tuple[str | None, str]:
        try:
            header = jwt.get_unverified_header(credential)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unauthenticated("This is neither an API key nor a token.") from error
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._rules.algorithms:
            raise Unauthenticated("The token is signed by an algorithm that is not accepted.")
        if key_id is not None and not isinstance(key_id, str):
            raise Unauthenticated("The token names its key in a way that is not valid.")
        return key_id, algorithm

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = _claim(claims, self._rules.name_claim)
        # It is kept in the audit trail, so that it must be one, and one line.
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
            raise Unauthenticated(f"The token has no usable claim {self._rules.name_claim!r}.")
        return f"oidc:{name}"

    def _roles(self, claims: Mapping[str, Any]) -> Sequence[str]:
        found = _claim(claims, self._rules.roles_claim)
        if isinstance(found, str):  # as scopes are
            found = found.split()
        if not isinstance(found, list):
            return ()
        return [role for role in ROLES if f"{self._rules.role_prefix}{role}" in found]


def _claim(claims: Mapping[str, Any], path: str) -> object:
    """The claim of this name, which may be an address with dots; or the one at the end of this path."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found
