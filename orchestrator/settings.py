"""Typed settings from the environment: prefix ``WBC_``, nested names joined by ``__``.

``WBC_HTTP__PORT=9000`` sets ``settings.http.port``.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.domain import Language

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(_Section):
    """Where the HTTP edge listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    drain_timeout_s: int = Field(default=20, ge=0, description="Time for open requests to end at a stop.")


class ImageSettings(_Section):
    """What an uploaded image may measure; checked before its pixels are decoded."""

    max_bytes: int = Field(default=10 * 2**20, ge=1)
    max_pixels: int = Field(default=25_000_000, ge=1)


class EmbeddedSettings(_Section):
    """The model server inside this process."""

    precision: Literal["f32", "bf16", "f16"] = "f32"
    threads: int | None = Field(default=None, ge=1, description="CPU threads; all cores where unset.")
    cache_dir: Path | None = Field(
        default=None,
        description="Keeps the compiled network for faster starts; writable by this service's user alone.",
    )
    max_queue_rows: int = Field(default=256, ge=8)
    batch_window_ms: float = Field(default=2.0, ge=0, le=1000)


class Settings(BaseSettings):
    """All settings of the service; frozen after start."""

    model_config = SettingsConfigDict(
        env_prefix="WBC_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    http: HttpSettings = HttpSettings()
    images: ImageSettings = ImageSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    model_repository: Path = PROJECT_ROOT / "model_repository"
    model_version: int | None = Field(default=None, ge=1, description="The newest where unset.")
    profiles_dir: Path | None = Field(default=None, description="A site's own device profiles.")
    profile: str = Field(default="default", description="Profile of requests that name none.")
    language: Language = Field(default="en", description="Language of requests that name none.")
