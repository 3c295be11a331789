"""API keys: ``wbc_<id>_<secret>``, of which this service keeps the id, a name, roles, times and a hash.

A secret is 256 random bits, so that one round of SHA-256 is the right hash: what makes Argon2 or bcrypt
slow protects passwords, which can be guessed; a number of this size cannot be, at any speed, and a slow hash
for each request would be a way to keep the service busy. The prefix lets scanners of source code find keys
that leaked.

All here are values: a change of a :class:`KeyRing` is another one. Where they are kept is
:mod:`~orchestrator.edge.access.api_key_file`'s.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from orchestrator.edge.access.security import API_KEY_PREFIX, ROLES, Principal, Role, Unauthenticated
from orchestrator.errors import ConfigurationError

KeyState = Literal["active", "expired", "revoked"]

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

_KEY: Final = re.compile(API_KEY_PREFIX + r"([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

_NO_HASH: Final = "0" * 64
"""Compared with where there is no such key, so that the answer takes as long."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeySecret(_Value):
    """A secret that opens, until it expires; ``sha256`` is the hex hash of its characters."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    def opens(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


class ApiKey(_Value):
    """A caller, known by ``name`` for good; during a rotation they have two secrets."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: str = Field(pattern=rf"^{NAME_PATTERN}$")
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    created_at: AwareDatetime
    secrets: Annotated[tuple[KeySecret, ...], Field(min_length=1, max_length=16)]
    revoked_at: AwareDatetime | None = None

    def state(self, now: datetime) -> KeyState:
        """What is true of it at ``now``."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if any(secret.opens(now) for secret in self.secrets) else "expired"

    @property
    def expires_at(self) -> datetime | None:
        """Of its newest secret."""
        return self.secrets[-1].expires_at


class KeyRing(_Value):
    """All keys, revoked ones included: a name in the audit trail never comes to mean somebody else."""

    version: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what in ("id", "name"):
            if len({getattr(key, what) for key in self.keys}) != len(self.keys):
                raise ValueError(f"expected a different {what} for each key")
        return self

    def principal(self, credential: str, now: datetime) -> Principal:
        """Whose key this is.

        Raises :class:`Unauthenticated`, in the same words whether it is unknown, expired or revoked.
        """
        parts = _KEY.fullmatch(credential)
        key_id, secret = parts.groups() if parts else ("", "")
        shown = _hash(secret)
        known = next((key for key in self.keys if key.id == key_id), None)
        good = False
        for kept in known.secrets if known else ():
            # No short cut: how long this takes must not tell which of the secrets is near.
            good |= hmac.compare_digest(shown, kept.sha256) and kept.opens(now)
        if known is None:
            hmac.compare_digest(shown, _NO_HASH)
        if known is None or known.revoked_at is not None or not good:
            raise Unauthenticated("This API key is unknown, expired or revoked.")
        return Principal(f"key:{known.name}", frozenset(known.roles))

    def created(
        self, name: str, roles: Sequence[str], lifetime: timedelta | None, now: datetime
    ) -> tuple["KeyRing", str]:
        """With one more key, and that key: it is told now or never.

        Raises ``ConfigurationError`` for a name that is taken or no name, for no role or an unknown one.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise ConfigurationError(
                f"a key's name: expected letters, digits, '.', '_' and '-', received {name!r}"
            )
        if any(key.name == name for key in self.keys):
            raise ConfigurationError(f"there is, or was, a key of the name {name!r}; choose another")
        if not roles or not set(roles) <= set(ROLES):
            received = ", ".join(sorted(set(roles) - set(ROLES))) or "none"
            raise ConfigurationError(
                f"a key's roles: expected some of {', '.join(ROLES)}, received {received}"
            )
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = ApiKey(
            id=key_id,
            name=name,
            roles=tuple(role for role in ROLES if role in roles),
            created_at=now,
            secrets=(_kept(secret, lifetime, now),),
        )
        return KeyRing(keys=(*self.keys, key)), f"{API_KEY_PREFIX}{key_id}_{secret}"

    def rotated(
        self, which: str, overlap: timedelta, lifetime: timedelta | None, now: datetime
    ) -> tuple["KeyRing", str]:
        """With a new secret for the key of this id or name; the old ones open for ``overlap`` more, at most.

        Raises ``ConfigurationError`` where there is no such key, or it is revoked.
        """
        key = self._find(which)
        if key.revoked_at is not None:
            raise ConfigurationError(f"the key {which!r} is revoked; create another")
        until = now + overlap
        ending = (
            old.model_copy(
                update={"expires_at": until if old.expires_at is None else min(old.expires_at, until)}
            )
            for old in key.secrets
        )
        secret = secrets.token_urlsafe(32)
        kept = (*(old for old in ending if old.opens(now)), _kept(secret, lifetime, now))
        changed = ApiKey.model_validate({**dict(key), "secrets": kept[-16:]})
        return self._with(changed), f"{API_KEY_PREFIX}{key.id}_{secret}"

    def revoked(self, which: str, now: datetime) -> "KeyRing":
        """With the key of this id or name closed for good; again without effect.

        Raises ``ConfigurationError`` where there is no such key.
        """
        key = self._find(which)
        return self._with(key.model_copy(update={"revoked_at": key.revoked_at or now}))

    def _find(self, which: str) -> ApiKey:
        found = next((key for key in self.keys if which in (key.id, key.name)), None)
        if found is None:
            raise ConfigurationError(f"there is no key of the id or name {which!r}")
        return found

    def _with(self, changed: ApiKey) -> "KeyRing":
        return KeyRing(keys=tuple(changed if key.id == changed.id else key for key in self.keys))


def _kept(secret: str, lifetime: timedelta | None, now: datetime) -> KeySecret:
    expires_at = None if lifetime is None else now + lifetime
    return KeySecret(sha256=_hash(secret), created_at=now, expires_at=expires_at)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
