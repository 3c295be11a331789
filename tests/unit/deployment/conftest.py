from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.unit.deployment.manifests import OVERLAYS, SERVED, Manifest, WithComponent, render, renderer


@pytest.fixture(scope="session")
def kustomize() -> None:
    """Skips where nothing can render a kustomization with components."""
    if renderer() is None:
        pytest.skip("needs kubectl 1.24 or kustomize (kubectl 1.20 of Debian 12 knows no components)")


@pytest.fixture(scope="session")
def overlays(kustomize: None, project_root: Path) -> dict[str, list[Manifest]]:  # noqa: ARG001
    """Every overlay, rendered."""
    return {name: render(project_root / "k8s" / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, overlays: dict[str, list[Manifest]]) -> list[Manifest]:
    """One overlay after the other."""
    return overlays[request.param]


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest, overlays: dict[str, list[Manifest]]) -> list[Manifest]:
    """One overlay with TensorFlow Serving after the other."""
    return overlays[request.param]


@pytest.fixture(scope="session")
def training(kustomize: None, project_root: Path) -> list[Manifest]:  # noqa: ARG001
    """The training Job by itself, rendered."""
    return render(project_root / "k8s" / "training")


@pytest.fixture
def with_component(kustomize: None, project_root: Path, tmp_path: Path) -> WithComponent:  # noqa: ARG001
    """Renders the base with components, and tags for all images."""
    # kustomize takes folders by relative path alone.
    k8s = "/".join([".."] * len(tmp_path.resolve().parts[1:])) + str(project_root / "k8s")
    images = ("wbc-orchestrator", "tensorflow/serving", "wbc-model", "wbc-model-copier", "wbc-training")

    def rendered(*components: str) -> list[Manifest]:
        content = {
            "namespace": "wbc",
            "resources": [f"{k8s}/base"],
            "components": [f"{k8s}/components/{component}" for component in components],
            "images": [{"name": name, "newTag": "1"} for name in images],
        }
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return render(tmp_path)

    return rendered
