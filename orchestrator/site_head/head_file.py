"""A site's head as a value, and as one file: JSON with the numbers in base64, a digest, and a MAC by the
site's key where there is one. Read strictly: nothing in it is run, and nothing is taken on trust."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.cell_features import FeatureStatistics
from orchestrator.common.whole_file import write_whole
from orchestrator.domain import DISCLAIMER, Float32Array, ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MAX_FEATURES, NUM_CLASSES
from orchestrator.site_head.trust import Decision, Trust

SUFFIX: Final = ".head"
FORMAT: Final = "wbc-site-head/1"
MAX_FILE_BYTES: Final = 2**18
LARGEST_WEIGHT: Final = 1e4
HEAD_NAME: Final = re.compile(r"(?P<profile>[a-z0-9]+(-[a-z0-9]+)*)\.(?P<number>[1-9]\d{0,4})")

_READABLE_BY_THE_SERVICE: Final = 0o644


@dataclass(frozen=True, slots=True, eq=False)
class SiteHead:
    """A head as it is used; equal to itself alone.

    ``name`` is the profile's, a full stop and the number of the version. It belongs to ``model`` (name,
    version, SHA-256 where known) and to images that were prepared as ``recipe_sha256`` says. ``delta`` is
    float32 ``[F + 1, 5]``; ``temperature``, ``review_threshold`` and ``max_energy`` stand in for the
    profile's, ``features`` too, where they are there. ``summary`` is what the trust view said, ``decision``
    among it. ``sha256`` is the digest of all that.
    """

    name: str
    model: ModelIdentity
    recipe_sha256: str
    delta: Float32Array
    temperature: float
    review_threshold: float
    max_energy: float
    features: FeatureStatistics | None
    made_at: datetime
    made_by: str
    decision: Decision
    summary: Mapping[str, Any]
    sha256: str

    @property
    def profile(self) -> str:
        """Name of the profile that it was made for."""
        return self.name.rpartition(".")[0]

    @property
    def number(self) -> int:
        """Of the version."""
        return int(self.name.rpartition(".")[2])

    @property
    def label(self) -> str:
        """How results name it: ``NAME:SHA256``."""
        return f"{self.name}:{self.sha256}"

    def belongs_to(self, model: ModelIdentity) -> bool:
        """Whether it is of this model; by name and version alone where a model server tells no hash."""
        mine = self.model
        return (model.name, model.version) == (mine.name, mine.version) and (
            None in (model.sha256, mine.sha256) or model.sha256 == mine.sha256
        )


def summary_of(trust: Trust) -> dict[str, Any]:
    """What of the trust view is kept with a head: no names of cells or specimens."""
    kept = ("why", "counts", "kept", "curve", "ten_more")
    found: dict[str, Any] = {key: getattr(trust, key) for key in kept}
    for key in ("left_out", "hold_out"):
        one = getattr(trust, key)
        found[key] = None if one is None else {slot: getattr(one, slot) for slot in one.__slots__}
    return dict(json.loads(json.dumps(found)))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Model(_Part):
    name: str = Field(min_length=1, max_length=100)
    version: int = Field(ge=1, strict=True)
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")


class _Features(_Part):
    means: list[list[float]] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    limits: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)


class _Content(_Part):
    format: str
    disclaimer: str
    name: str = Field(max_length=100)
    model: _Model
    recipe_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=2, le=MAX_FEATURES + 1, strict=True)
    delta: str = Field(max_length=MAX_FILE_BYTES)
    temperature: float = Field(ge=0.05, le=20)
    review_threshold: float = Field(ge=0, le=1)
    max_energy: float
    features: _Features | None
    made_at: AwareDatetime
    made_by: str = Field(min_length=1, max_length=200)
    decision: Decision
    summary: dict[str, Any]


class _File(_Part):
    content: _Content
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    mac: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


def made(**fields: Any) -> SiteHead:
    """A head of all fields but its digest.

    Raises :class:`~orchestrator.errors.ConfigurationError` as :func:`read_head`.
    """
    unsigned = SiteHead(**fields, sha256="0" * 64)
    return parsed(head_bytes(unsigned), None)


def head_bytes(head: SiteHead, key: bytes | None = None) -> bytes:
    """The file, with a MAC where there is a key."""
    content = _content(head)
    digest = _digest(content)
    file = {"content": content, "sha256": digest, "mac": None if key is None else _mac(digest, key)}
    return (json.dumps(file, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_head(path: Path, head: SiteHead, key: bytes | None = None) -> None:
    """Write the file as a whole. Raises :class:`~orchestrator.errors.ConfigurationError`."""
    try:
        write_whole(path, head_bytes(head, key).decode(), _READABLE_BY_THE_SERVICE)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: cannot be written ({error.strerror})") from error


def read_head(path: Path, key: bytes | None = None) -> SiteHead:
    """The head of a file.

    Raises :class:`~orchestrator.errors.ConfigurationError` where it cannot be read, is not whole, has numbers
    out of bounds or, with a key, no MAC by it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: cannot be read ({error.strerror})") from error
    try:
        return parsed(data, key)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


def parsed(data: bytes, key: bytes | None) -> SiteHead:
    """As :func:`read_head`, of bytes."""
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"no site head: it has over {MAX_FILE_BYTES} bytes")
    try:
        raw = json.loads(data)
        file = _File.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"no site head: {place}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise ConfigurationError("no site head: it is not JSON") from None
    content = file.content
    if content.format != FORMAT:
        raise ConfigurationError(f"no site head that this version reads: expected {FORMAT}")
    if HEAD_NAME.fullmatch(content.name) is None:
        raise ConfigurationError("no site head: expected a name such as my-scope.1")
    if not hmac.compare_digest(file.sha256, _digest(raw["content"])):
        raise ConfigurationError("the site head is not as it was written: its digest differs")
    if key is not None and not hmac.compare_digest(file.mac or "", _mac(file.sha256, key)):
        raise ConfigurationError(
            "the site head is not signed with this site's key (WBC_HEADS_KEY); import it with a reason"
            if file.mac is None
            else "the site head is signed with another key than this site's (WBC_HEADS_KEY)"
        )
    features = content.features
    return SiteHead(
        name=content.name,
        model=ModelIdentity(content.model.name, content.model.version, content.model.sha256),
        recipe_sha256=content.recipe_sha256,
        delta=_delta(content),
        temperature=content.temperature,
        review_threshold=content.review_threshold,
        max_energy=content.max_energy,
        features=None
        if features is None
        else FeatureStatistics(
            content.model.version, tuple(tuple(mean) for mean in features.means), tuple(features.limits)
        ),
        made_at=content.made_at,
        made_by=content.made_by,
        decision=content.decision,
        summary=content.summary,
        sha256=file.sha256,
    )


def _delta(content: _Content) -> Float32Array:
    try:
        data = base64.b64decode(content.delta, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError("no site head: delta: expected base64") from None
    if len(data) != content.rows * NUM_CLASSES * 4:
        raise ConfigurationError(f"no site head: delta: expected {content.rows} rows of {NUM_CLASSES}")
    delta = np.frombuffer(data, "<f4").reshape(content.rows, NUM_CLASSES).astype(np.float32)
    if not np.isfinite(delta).all() or np.abs(delta).max() > LARGEST_WEIGHT:
        raise ConfigurationError(f"no site head: delta: expected numbers up to {LARGEST_WEIGHT:g}")
    delta.flags.writeable = False
    return delta


def _content(head: SiteHead) -> dict[str, Any]:
    features = head.features
    return {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        "name": head.name,
        "model": {"name": head.model.name, "version": head.model.version, "sha256": head.model.sha256},
        "recipe_sha256": head.recipe_sha256,
        "rows": len(head.delta),
        "delta": base64.b64encode(head.delta.astype("<f4").tobytes()).decode(),
        "temperature": head.temperature,
        "review_threshold": head.review_threshold,
        "max_energy": head.max_energy,
        "features": None
        if features is None
        else {"means": [list(mean) for mean in features.means], "limits": list(features.limits)},
        "made_at": head.made_at.isoformat(),
        "made_by": head.made_by,
        "decision": head.decision,
        "summary": dict(head.summary),
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _mac(digest: str, key: bytes) -> str:
    return hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()
