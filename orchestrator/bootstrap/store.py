"""Makes the store from its settings."""

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigurationError
from orchestrator.settings import StoreSettings
from orchestrator.store.base import Store

if TYPE_CHECKING:
    from orchestrator.store.encryption import Cipher


def build_cipher(settings: StoreSettings) -> "Cipher | None":
    """What encrypts what is kept; None without a key.

    Raises :class:`~orchestrator.errors.ConfigurationError` where a key is none.
    """
    listed = settings.encryption_key.get_secret_value().split(",") if settings.encryption_key else []
    keys = [key.strip() for key in listed if key.strip()]
    if not keys:
        return None
    from orchestrator.store.encryption import Cipher  # imports cryptography

    return Cipher(keys)


def build_store(settings: StoreSettings) -> Store | None:
    """The store, not started yet; None where the settings name none.

    Raises :class:`~orchestrator.errors.ConfigurationError` for a wrong URL, key or address, and where images
    are to be kept without a key.
    """
    if settings.url is None:
        return None
    # Imports SQLAlchemy and cryptography: 40 MB that a service without a store does not pay for.
    from orchestrator.store.anchors import FileAnchor, SyslogAnchor
    from orchestrator.store.database import Database
    from orchestrator.store.sql_store import SqlStore

    cipher = build_cipher(settings)
    keep_images = settings.keep_images or ("never" if cipher is None else "until_signed")
    if keep_images != "never" and cipher is None:
        raise ConfigurationError(
            f"WBC_STORE__KEEP_IMAGES: expected WBC_STORE__ENCRYPTION_KEY with {keep_images}, as images are "
            "kept encrypted, received none; `wbc store key` makes one"
        )
    return SqlStore(
        Database(settings.url.get_secret_value(), settings.pool_size),
        cipher,
        keep_images=keep_images,
        retention=None if settings.retention_days is None else timedelta(days=settings.retention_days),
        anchors=[
            *([] if settings.anchor_file is None else [FileAnchor(settings.anchor_file)]),
            *([] if settings.anchor_syslog is None else [SyslogAnchor(settings.anchor_syslog)]),
        ],
    )
