"""Device profiles: everything about the way from pixels to decision that depends on where images come from.

Camera, stain and framing differ between devices, and no preprocessing helps on all of them, so that a
site chooses a profile and every result states it. A profile is one TOML file; its name is the file's
name. The built-in ones lie beside this module; a site's own folder adds to them or overrides them::

    description = "What the device is."
    device = "profiled"          # optional: unknown | profiled; built-in ones also known (see DeviceState)
    tta = "light"                # none | light (8 views) | adaptive (1, or 8 where that one is not clear)
    adaptive_margin = 0.33       # optional: how clear; belongs to one model (wbc-train adaptive-margin)
    red_cell_px = 61.5           # optional: diameter of a red cell in a whole field; else as each field tells
    um_per_px = 0.10             # optional: micrometres per pixel, as the maker or a stage micrometer says;
                                 # sizes are told in micrometres, and no answer follows from it

    [preprocessing]
    version = "v1"               # v1 | v2 | v3 | v4 | v5 | v6
    crop_scale = 1.4             # side of the crop in cell sizes, or "whole-frame"

    [preprocessing.reinhard]     # optional: LAB reference, each value 0 to 255
    mean = [180.0, 140.0, 115.0]
    std = [40.0, 15.0, 10.0]

    [preprocessing.macenko]      # optional, only for v4
    first_stain = [0.56, 0.72, 0.41]
    second_stain = [0.22, 0.80, 0.56]
    max_concentrations = [1.97, 1.03]

    [routing]
    mode = "none"                # none | main | aux | prior
    temperature = 1.0            # optional
    review_threshold = 0.6
    review_margin = 0.15         # optional
    max_energy = -4.0            # optional: review above it (out of distribution); belongs to one model
    max_not_wbc = 0.5            # optional: review above it (none of the five classes); 1 for never
    # Only with mode = "prior", in the order of the class names: shares of the classes among the site's
    # cells, and among the images that the model was trained on.
    prior = [0.01, 0.03, 0.30, 0.06, 0.60]
    training_prior = [0.2, 0.2, 0.2, 0.2, 0.2]

    [quality]                    # optional, and each key: what is usual on the device, by wbc-train profile
    min_sharpness = 0.45         # below it an image is marked for review; without it a general limit holds
    min_background = 0.5         # the same
    min_nucleus_density = 0.9    # both or neither: without them a nucleus is compared with red cells
    min_nucleus_hue = 0.6

    [features]                   # optional: where the device's cells lie, by wbc-train features or profile
    model_version = 9            # of another model they say nothing
    means = [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], ...]  # by class
    limits = [2.0, 2.0, 2.0, 2.0, 2.0]                         # by class: the largest usual distance
"""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from orchestrator.cell_features import FeatureStatistics
from orchestrator.domain import Float32Array, MefVersion, RoutingMode
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.routing import RoutingPolicy
from orchestrator.site_head.head_file import SiteHead
from orchestrator.vision.field_cells import MIN_RED_CELL_PX
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.quality import GENERAL_LIMITS, QualityLimits
from orchestrator.vision.stain import LabStatistics, MacenkoReference
from orchestrator.vision.tta import TtaMode

DEFAULT_PROFILE: Final = "default"

ProfiledDevice = Literal["unknown", "profiled", "known"]
"""What a profile can say of its device; no profile says that an audit passed."""

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_UNDECISIVE: Final = ("name", "description", "head", "um_per_px")
_PREAMBLE: Final = re.compile(r"^\w+ should (be|have) ")  # of pydantic's messages


@dataclass(frozen=True, slots=True)
class Profile:
    """How images of one device are prepared, viewed and decided on.

    ``adaptive_margin`` in [0, 1] is the margin from which on the first view of ``adaptive`` test-time
    augmentation is enough. 1.0, where none was chosen, asks for all views of nearly every image.
    """

    name: str
    description: str
    recipe: Recipe
    tta: TtaMode
    routing: RoutingPolicy
    adaptive_margin: float = 1.0
    device: ProfiledDevice = "profiled"
    quality: QualityLimits = GENERAL_LIMITS
    features: FeatureStatistics | None = None
    head: SiteHead | None = None
    """The site's own head where one is switched on (:mod:`orchestrator.site_head`); no file of a profile
    names it."""
    red_cell_px: float | None = None
    """Diameter of a red cell in the device's whole fields, in pixels; None where each field is to tell."""
    um_per_px: float | None = None
    """Micrometres per pixel of the device's images as they are sent; None where nobody has said. Nothing is
    decided by it."""

    @property
    def sha256(self) -> str:
        """Hash of all that decides about a result, whatever the profile is called; hex."""
        return _sha256_of(self)

    @property
    def recipe_sha256(self) -> str:
        """Hash of how images are prepared, which a site's head belongs to; hex."""
        return _hash(asdict(self.recipe))

    @property
    def delta(self) -> Float32Array | None:
        """What the site's head adds to the model's, float32 ``[F + 1, 5]``; None without one."""
        return None if self.head is None else self.head.delta

    def with_head(self, head: SiteHead | None) -> Self:
        """The profile as it answers with a site's head; itself where None."""
        if head is None:
            return self
        policy = replace(
            self.routing,
            temperature=head.temperature,
            review_threshold=head.review_threshold,
            max_energy=None if self.routing.max_energy is None else head.max_energy,
        )
        return replace(self, head=head, routing=policy, features=head.features or self.features)


@lru_cache(maxsize=256)  # each result asks
def _sha256_of(profile: Profile) -> str:
    whole = asdict(replace(profile, head=None))
    decisive = {key: value for key, value in whole.items() if key not in _UNDECISIVE}
    if profile.red_cell_px is None:  # which says nothing, as before there was the key
        del decisive["red_cell_px"]
    if profile.head is not None:
        decisive["head"] = profile.head.sha256
    return _hash(decisive)


def _hash(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def load_profiles(extra_dir: Path | None = None) -> Mapping[str, Profile]:
    """The built-in profiles, then those of ``extra_dir``, which override by name; ordered by name.

    Which devices are known is the model's to say: a built-in profile may, one of ``extra_dir`` may not,
    unless that is the folder of the built-in ones.

    Raises :class:`~orchestrator.errors.ConfigurationError` for the first file with an unknown key, a
    wrong type or a value out of range; it names file, key, expected and received.
    """
    built_in = resources.files(__name__)
    profiles = _load_folder(built_in, get_args(ProfiledDevice))
    if extra_dir is not None and not (isinstance(built_in, Path) and built_in == extra_dir.resolve()):
        if not extra_dir.is_dir():
            raise ConfigurationError(
                f"profiles: expected a folder, received {extra_dir.name!r}, which is none"
            )
        profiles |= _load_folder(extra_dir, ("unknown", "profiled"))
    return MappingProxyType(dict(sorted(profiles.items())))


def _load_folder(folder: Traversable, devices: Collection[str]) -> dict[str, Profile]:
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    profiles = {file.name: _load(file) for file in files}
    for file_name, profile in profiles.items():
        if profile.device not in devices:
            raise ConfigurationError(
                f"profile {file_name}, device: expected {' or '.join(devices)} in a profile of a site's own, "
                f"received {profile.device!r}; which devices are known is the model's to say"
            )
    return {profile.name: profile for profile in profiles.values()}


def _load(file: Traversable) -> Profile:
    name = file.name.removesuffix(".toml")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"profile {file.name}: expected a name of lower-case letters, digits and single hyphens"
        )
    try:
        return _ProfileFile.model_validate(tomllib.loads(file.read_bytes().decode())).to_profile(name)
    except OSError as error:
        raise ConfigurationError(f"profile {file.name}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"profile {file.name}: expected TOML in UTF-8, received {error}") from error
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors(include_url=False))
        raise ConfigurationError(f"profile {file.name}, {problems}") from error
    except ConfigurationError as error:  # of RoutingPolicy, which knows its fields and not the file
        raise ConfigurationError(f"profile {file.name}, routing.{error}") from error


def _problem(error: ErrorDetails) -> str:
    """One problem as ``key: expected ..., received ...``."""
    key = ".".join(str(part) for part in error["loc"]) or "file"
    match error["type"]:
        case "missing":
            return f"{key}: expected a value, received none"
        case "extra_forbidden":
            return f"{key}: expected no such key, received {_shortened(error['input'])}"
        case "value_error":  # of a validator below, whose message says what was expected
            expected = error["msg"].removeprefix("Value error, ")
        case _:
            expected = _PREAMBLE.sub("", error["msg"])
    return f"{key}: expected {expected}, received {_shortened(error['input'])}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# The layout of a file. Strict: "1.4" is no number and true is none either. Arrays are lists here because
# TOML knows no tuples; ranges of the routing table are checked by RoutingPolicy itself.


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _crop_scale(value: object) -> float | None:
    if value == "whole-frame":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.5 <= value <= 10:
        return float(value)
    raise ValueError('"whole-frame" or a number of cell sizes from 0.5 to 10')


def _unit_vector(values: list[float]) -> list[float]:
    if abs(math.hypot(*values) - 1) > 0.02:  # two decimals of a unit vector are still accepted
        raise ValueError("a vector of length 1")
    return values


_LabMean = Annotated[float, Field(ge=0, le=255)]
# A standard deviation of 0 would paint every image in one flat colour.
_LabStd = Annotated[float, Field(gt=0, le=255)]
_Density = Annotated[float, Field(ge=0, le=1)]
_Stain = Annotated[list[_Density], Field(min_length=3, max_length=3), AfterValidator(_unit_vector)]
_Concentration = Annotated[float, Field(gt=0)]


class _Reinhard(_Table):
    mean: list[_LabMean] = Field(min_length=3, max_length=3)
    std: list[_LabStd] = Field(min_length=3, max_length=3)

    def to_statistics(self) -> LabStatistics:
        (l_mean, a_mean, b_mean), (l_std, a_std, b_std) = self.mean, self.std
        return LabStatistics((l_mean, a_mean, b_mean), (l_std, a_std, b_std))


class _Macenko(_Table):
    first_stain: _Stain
    second_stain: _Stain
    max_concentrations: list[_Concentration] = Field(min_length=2, max_length=2)

    def to_reference(self) -> MacenkoReference:
        (r1, g1, b1), (r2, g2, b2), (c1, c2) = self.first_stain, self.second_stain, self.max_concentrations
        return MacenkoReference((r1, g1, b1), (r2, g2, b2), (c1, c2))


class _Preprocessing(_Table):
    version: MefVersion
    # Required although the whole frame would be a default: a forgotten key must not change the scale.
    crop_scale: Annotated[float | None, PlainValidator(_crop_scale)]
    reinhard: _Reinhard | None = None
    macenko: _Macenko | None = None

    @field_validator("macenko")
    @classmethod
    def _belongs_to_v4(cls, value: _Macenko | None, info: ValidationInfo) -> _Macenko | None:
        if value is not None and info.data.get("version", "v4") != "v4":
            raise ValueError('this table only with version = "v4"')
        return value

    def to_recipe(self) -> Recipe:
        return Recipe(
            crop_scale=self.crop_scale,
            reinhard=self.reinhard.to_statistics() if self.reinhard else None,
            mef_version=self.version,
            macenko=self.macenko.to_reference() if self.macenko else None,
        )


class _Routing(_Table):
    mode: RoutingMode
    temperature: float = 1.0
    review_threshold: float
    review_margin: float = 0.15
    max_energy: float | None = None
    max_not_wbc: float = 0.5
    prior: list[float] | None = None
    training_prior: list[float] | None = None

    def to_policy(self) -> RoutingPolicy:
        return RoutingPolicy(
            self.mode,
            temperature=self.temperature,
            review_threshold=self.review_threshold,
            review_margin=self.review_margin,
            max_energy=self.max_energy,
            max_not_wbc=self.max_not_wbc,
            prior=None if self.prior is None else tuple(self.prior),
            training_prior=None if self.training_prior is None else tuple(self.training_prior),
        )


class _Quality(_Table):
    min_sharpness: float = Field(default=GENERAL_LIMITS.min_sharpness, ge=0)
    min_background: float = Field(default=GENERAL_LIMITS.min_background, ge=0, le=1)
    min_nucleus_density: float | None = Field(default=None, ge=0)
    min_nucleus_hue: float | None = None

    @model_validator(mode="after")
    def _stand_together(self) -> Self:
        if (self.min_nucleus_density is None) != (self.min_nucleus_hue is None):
            raise ValueError("min_nucleus_density and min_nucleus_hue together, or neither")
        return self

    def to_limits(self) -> QualityLimits:
        return QualityLimits(
            self.min_sharpness, self.min_background, self.min_nucleus_density, self.min_nucleus_hue
        )


class _Features(_Table):
    model_version: int = Field(ge=0)
    means: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        min_length=NUM_CLASSES, max_length=NUM_CLASSES
    )
    limits: list[Annotated[float, Field(gt=0)]] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)

    def to_statistics(self) -> FeatureStatistics:
        return FeatureStatistics(
            self.model_version, tuple(tuple(mean) for mean in self.means), tuple(self.limits)
        )


class _ProfileFile(_Table):
    description: str = Field(min_length=1, max_length=300)
    device: ProfiledDevice = "profiled"
    tta: TtaMode
    adaptive_margin: float = Field(default=1.0, ge=0, le=1)
    red_cell_px: float | None = Field(default=None, ge=MIN_RED_CELL_PX, le=1000)
    um_per_px: float | None = Field(default=None, ge=0.01, le=2)
    preprocessing: _Preprocessing
    routing: _Routing
    quality: _Quality = _Quality()
    features: _Features | None = None

    def to_profile(self, name: str) -> Profile:
        return Profile(
            name=name,
            description=self.description,
            recipe=self.preprocessing.to_recipe(),
            tta=self.tta,
            routing=self.routing.to_policy(),
            adaptive_margin=self.adaptive_margin,
            device=self.device,
            quality=self.quality.to_limits(),
            features=None if self.features is None else self.features.to_statistics(),
            red_cell_px=self.red_cell_px,
            um_per_px=self.um_per_px,
        )
