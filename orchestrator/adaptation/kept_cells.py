"""The labelled cells that a head was learnt from, kept for the next learning: features and labels, no image.

``PROFILE.NUMBER.cells`` beside ``PROFILE.NUMBER.head`` is encrypted by the keys of the store and by its code
(:mod:`orchestrator.store.encryption`); the trail of heads has the SHA-256 of what is in it. Without a key
nothing is kept, so that nothing of a cell ever lies there in the open. Of a key that is replaced the old one
stays among those that read, as for the store; a head that is learnt from kept cells has them by the new one.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

import numpy as np

from orchestrator.adaptation.cells import LabelledCell, SeenCell
from orchestrator.common.whole_file import OWNER_ALONE, write_whole
from orchestrator.errors import ConfigurationError, StoreUnavailable
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.site_head.examples import MOST_CELLS
from orchestrator.site_head.head_file import SiteHead
from orchestrator.site_head.registry import HeadRegistry

if TYPE_CHECKING:  # imports cryptography, which a site without a key does not pay for
    from orchestrator.store.encryption import Cipher

SUFFIX: Final = ".cells"
MAX_FILE_BYTES: Final = 2**28
"""Of :data:`~orchestrator.site_head.examples.MOST_CELLS` cells with eight views of 1,280 features, twice."""


class KeptCells:
    """Of one site's heads.

    Args:
        folder: that of the heads.
        registry: says what the file of a head must hold.
        cipher: encrypts by the store's first key and reads by all of them.
    """

    def __init__(self, folder: Path, registry: HeadRegistry, cipher: "Cipher") -> None:
        self._folder = folder
        self._registry = registry
        self._cipher = cipher

    def keep(self, cells: Sequence[LabelledCell], head: SiteHead) -> str:
        """Write the file of a head; the SHA-256 of what is in it, hex.

        Raises :class:`~orchestrator.errors.ConfigurationError` where it cannot be written.
        """
        data = packed(cells)
        token = self._cipher.encrypted(data).decode("ascii")
        try:
            write_whole(self._path(head.name), token, OWNER_ALONE)
        except OSError as error:
            raise ConfigurationError(f"{head.name}{SUFFIX}: cannot be written ({error.strerror})") from error
        return hashlib.sha256(data).hexdigest()

    def of(self, head: SiteHead) -> list[LabelledCell]:
        """The cells that a head was learnt from, as they were seen.

        Raises :class:`~orchestrator.errors.ConfigurationError` where they are not kept, no key reads them or
        they are not those of the trail.
        """
        return unpacked(self._read(head), head)

    def has(self, name: str) -> bool:
        """Whether there is a file of the head of this name."""
        return self._path(name).is_file()

    def _read(self, head: SiteHead) -> bytes:
        name = f"{head.name}{SUFFIX}"
        expected = self._registry.cells_sha256(head.name)
        if expected is None:
            raise ConfigurationError(
                f"{head.name}: its labelled cells were not kept, as no WBC_STORE__ENCRYPTION_KEY was set: "
                "give the images again"
            )
        try:
            with self._path(head.name).open("rb") as file:
                token = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise ConfigurationError(f"{name}: cannot be read ({error.strerror})") from error
        if len(token) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{name}: has over {MAX_FILE_BYTES} bytes")
        try:
            data = self._cipher.decrypted(token)
        except StoreUnavailable as error:
            raise ConfigurationError(f"{name}: {error}") from error
        if hashlib.sha256(data).hexdigest() != expected:
            raise ConfigurationError(f"{name}: is not what was kept when {head.name} was learnt")
        return data

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"


def packed(cells: Sequence[LabelledCell]) -> bytes:
    """Cells of one model as a document of arrays: ``features`` float32 ``[N, 8, F]``, ``logits`` float32
    ``[N, 8, 5]``, ``labels`` int64 ``[N]``, ``groups`` and ``images`` (SHA-256, hex) ``[N]``."""
    file = io.BytesIO()
    np.savez(
        file,
        features=np.stack([cell.seen.features for cell in cells]).astype(np.float32),
        logits=np.stack([cell.seen.logits for cell in cells]).astype(np.float32),
        labels=np.array([cell.class_index for cell in cells], np.int64),
        groups=np.array([cell.group for cell in cells]),
        images=np.array([cell.seen.image_sha256 for cell in cells]),
    )
    return file.getvalue()


def unpacked(data: bytes, head: SiteHead) -> list[LabelledCell]:
    """What :func:`packed` made, as the model of ``head`` saw it.

    Raises :class:`~orchestrator.errors.ConfigurationError` where it is something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            arrays = [kept[name] for name in ("features", "logits", "labels", "groups", "images")]
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ConfigurationError(f"{head.name}{SUFFIX}: holds no labelled cells ({error})") from error
    features, logits, labels, groups, images = arrays
    number = len(labels)
    if not 0 < number <= MOST_CELLS or not all(len(one) == number for one in arrays):
        raise ConfigurationError(f"{head.name}{SUFFIX}: holds no labelled cells (their numbers differ)")
    if features.shape[1:] != (*logits.shape[1:-1], len(head.delta) - 1) or logits.shape[-1] != NUM_CLASSES:
        raise ConfigurationError(f"{head.name}{SUFFIX}: holds cells of another model")
    return [
        LabelledCell(
            SeenCell(features[n], logits[n], str(images[n]), head.model),
            int(labels[n]),
            str(groups[n]),
            f"{head.name} cell {n + 1}",
        )
        for n in range(number)
    ]
