"""A proposed device profile as a TOML file that the service reads.

What was measured and not switched on stands in the file as a comment, ready to be tried.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import load_profiles
from orchestrator.vision.quality import GENERAL_LIMITS, QualityLimits
from orchestrator.vision.stain import LabStatistics
from training.device_features import features_table
from training.device_profile import Proposal


def check_target(path: Path, *, force: bool = False) -> str:
    """The name of the profile that ``path`` stands for.

    Raises :class:`ConfigurationError` where the file is no ``.toml``, is there already (unless ``force``), or
    its folder is missing: all that can be known before hours of work on images.
    """
    if path.suffix != ".toml":
        raise ConfigurationError(f"expected a file named <profile>.toml, received {path.name}")
    if not path.parent.is_dir():
        raise ConfigurationError(f"expected the folder {path.parent} to be there")
    if path.exists() and not force:
        raise ConfigurationError(f"{path} is there already; choose another file, or --force")
    return path.stem


def write_profile(path: Path, proposal: Proposal, *, force: bool = False) -> Path:
    """Write the profile and return its path.

    It is first read back from another place by the loader that serves, so that no file is written that the
    service would refuse or understand otherwise.

    Raises :class:`ConfigurationError` as :func:`check_target`, and where the loader refuses the profile.
    """
    check_target(path, force=force)
    text = render_profile(proposal)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).write_text(text, encoding="utf-8")
        read_back = load_profiles(Path(folder))[path.stem]
    if read_back != proposal.profile:
        raise ConfigurationError(f"expected {proposal.profile}, the loader reads {read_back}")
    path.write_text(text, encoding="utf-8")
    return path


def render_profile(proposal: Proposal) -> str:
    """The file's text."""
    profile = proposal.profile
    recipe, routing = profile.recipe, profile.routing
    scale = '"whole-frame"' if recipe.crop_scale is None else repr(float(recipe.crop_scale))
    lines = [
        f"# {proposal.sources}. {DISCLAIMER}",
        *(f"# {change.setting}: {change.proposed} ({change.reason})" for change in proposal.changes),
        f"description = {json.dumps(profile.description, ensure_ascii=False)}",
        f'tta = "{profile.tta}"',
        f"adaptive_margin = {profile.adaptive_margin!r}",
        "",
        "[preprocessing]",
        f'version = "{recipe.mef_version}"',
        f"crop_scale = {scale}",
    ]
    if recipe.reinhard is not None:
        lines += ["", *_reinhard(recipe.reinhard)]
    if proposal.unused_reinhard is not None:
        lines += [
            "",
            "# Mean colours of the device. Reinhard normalisation has helped some devices and hurt others:",
            "# measure on labelled images before it is switched on.",
            *(f"# {line}" for line in _reinhard(proposal.unused_reinhard)),
        ]
    if recipe.macenko is not None:
        lines += [
            "",
            "[preprocessing.macenko]",
            f"first_stain = {_array(recipe.macenko.first_stain)}",
            f"second_stain = {_array(recipe.macenko.second_stain)}",
            f"max_concentrations = {_array(recipe.macenko.max_concentrations)}",
        ]
    lines += [
        "",
        "[routing]",
        f'mode = "{routing.mode}"',
        f"temperature = {routing.temperature!r}",
        f"review_threshold = {routing.review_threshold!r}",
        f"review_margin = {routing.review_margin!r}",
    ]
    if routing.max_energy is not None:
        lines += [f"max_energy = {routing.max_energy!r}"]
    if routing.prior is not None and routing.training_prior is not None:
        lines += [
            f"prior = {_array(routing.prior)}",
            f"training_prior = {_array(routing.training_prior)}",
        ]
    if proposal.unused_prior is not None:
        lines += [
            "",
            '# Shares of the classes among these cells. To decide by them, set mode = "prior" and use',
            f"# prior = {_array(proposal.unused_prior)}",
            f"# training_prior = {_array(proposal.training_prior)}",
        ]
    lines += _quality(profile.quality)
    if profile.features is not None:
        lines += ["", features_table(profile.features).rstrip()]
    return "\n".join(lines) + "\n"


def _quality(limits: QualityLimits) -> list[str]:
    """The table of what is unlike the general limits; nothing where all is alike."""
    general = asdict(GENERAL_LIMITS)
    own = [f"{key} = {value!r}" for key, value in asdict(limits).items() if value != general[key]]
    return ["", "[quality]", *own] if own else []


def _reinhard(statistics: LabStatistics) -> list[str]:
    return [
        "[preprocessing.reinhard]",
        f"mean = {_array(statistics.mean)}",
        f"std = {_array(statistics.std)}",
    ]


def _array(values: Sequence[float]) -> str:
    return f"[{', '.join(repr(float(value)) for value in values)}]"
