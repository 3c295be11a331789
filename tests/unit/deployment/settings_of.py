"""The settings that an orchestrator of the manifests starts with."""

from typing import Any

import pytest

from orchestrator.settings import Settings
from tests.unit.deployment.manifests import Manifest, environment, main_container, named


def orchestrator_settings(manifests: list[Manifest]) -> Settings:
    """The settings that the orchestrator of these manifests starts with."""
    return settings_of(manifests, main_container(named(manifests, "Deployment", "orchestrator")))


def settings_of(manifests: list[Manifest], container: Manifest) -> Settings:
    """The settings that a container starts with."""
    variables = environment(manifests, container)
    assert variables
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return Settings()


def longest_request_s(settings: Settings) -> float:
    """No request of the orchestrator, and so none to the model server, takes longer."""
    return settings.deadline.longest_s


def setting_exists(variable: str) -> bool:
    """Whether ``WBC_A__B`` is a field of the settings."""
    if not variable.startswith("WBC_"):
        return False
    model: Any = Settings
    for part in variable.removeprefix("WBC_").lower().split("__"):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        annotation = fields[part].annotation
        model = annotation if isinstance(annotation, type) else None
    return True
