"""Encryption at rest of images and of the laboratory's names of specimens.

Fernet (AES-128-CBC with HMAC-SHA256, https://github.com/fernet/spec) by the package ``cryptography``. Of
several keys the first writes and all read, so that a key can be replaced: put the new one before the old one.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from orchestrator.errors import ConfigurationError, StoreUnavailable

_NAMES: Final = b"wbc specimen names"
"""What the keys for names are derived for: a key of Fernet is for nothing else."""
_TOKEN_BEGINS: Final = b"gAAAAA"
"""Version 0x80 and the first bytes of a time, in base64; no image or name begins so and is as long."""
_SHORTEST_TOKEN: Final = 100


class Cipher:
    """Encrypts by the first key; passes everything through where there is none."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Raises :class:`~orchestrator.errors.ConfigurationError` where a key is none."""
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
            self._name_keys = [hmac.digest(key.encode(), _NAMES, "sha256") for key in keys]
        except ValueError as error:
            raise ConfigurationError(
                "WBC_STORE__ENCRYPTION_KEY: expected url-safe base64 of 32 bytes; `wbc store key` makes one"
            ) from error

    def encrypted(self, data: bytes) -> bytes:
        return data if self._fernet is None else self._fernet.encrypt(data)

    def decrypted(self, data: bytes) -> bytes:
        """Raises :class:`~orchestrator.errors.StoreUnavailable` where no key fits, or there is none for what
        is encrypted."""
        if self._fernet is None:
            if len(data) >= _SHORTEST_TOKEN and data.startswith(_TOKEN_BEGINS):
                raise StoreUnavailable("What is stored is encrypted: set WBC_STORE__ENCRYPTION_KEY.")
            return data
        try:
            return self._fernet.decrypt(data)
        except InvalidToken as error:
            raise StoreUnavailable("What is stored was encrypted by another key.") from error

    def encrypted_text(self, text: str) -> str:
        return text if self._fernet is None else self.encrypted(text.encode()).decode("ascii")

    def decrypted_text(self, text: str) -> str:
        return self.decrypted(text.encode()).decode()

    def name_keys(self, text: str) -> list[str]:
        """By what a text can be found that is kept encrypted: one for each key that it may have been kept
        under, that of the first key first (HMAC-SHA256, hex); without a key a plain hash."""
        data = text.encode()
        keyed = [hmac.digest(key, data, "sha256").hex() for key in self._name_keys]
        return [*keyed, hashlib.sha256(data).hexdigest()]


def new_key() -> str:
    """A fresh key."""
    return Fernet.generate_key().decode("ascii")
