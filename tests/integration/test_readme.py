"""What the README shows is what the service answers, and its figures are those of the model card."""

import json
import re

import httpx2
import pytest

from orchestrator.settings import Settings
from orchestrator.wiring import build_app


@pytest.fixture(scope="module")
def readme(project_root):
    return (project_root / "README.md").read_text(encoding="utf-8")


def between(text, marker):
    return re.search(rf"<!-- {marker} -->\n(.*)<!-- /{marker} -->", text, re.DOTALL).group(1)


async def test_the_example_is_what_the_service_answers(readme, project_root):
    shown = json.loads(re.search(r"```json\n(.*)```", between(readme, "example:predict"), re.DOTALL).group(1))
    app = build_app(Settings())
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as client,
    ):
        image = (project_root / "tests/golden/example.png").read_bytes()
        response = await client.post("/predict", files={"file": ("example.png", image)})

    answered = response.json()
    assert response.status_code == 200
    assert list(shown) == list(answered)
    assert shown["class"] == answered["class"]
    assert shown["confidence"] == pytest.approx(answered["confidence"], abs=0.02)
    assert shown["all_probabilities"] == pytest.approx(answered["all_probabilities"], abs=0.02)
    assert shown["model"] == answered["model"]
    assert shown["review_reasons"] == answered["review_reasons"]
    assert shown["disclaimer"] == answered["disclaimer"]


def test_the_figures_are_those_of_the_model_card(readme, project_root):
    card = (project_root / "model_repository/wbc/5/MODEL_CARD.md").read_text(encoding="utf-8")
    rows = [line for line in between(readme, "figures").splitlines() if line.startswith("| Test")]

    assert len(rows) >= 2
    for row in rows:
        assert row in card


def test_every_make_target_and_file_that_it_names_exists(readme, project_root):
    targets = set(re.findall(r"^(?:PORT=\d+ )?make (\w+)", readme, re.MULTILINE))
    makefile = (project_root / "Makefile").read_text()

    assert {"run", "test", "train", "export"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in re.findall(r"\]\(([\w/.-]+)\)", readme):
        assert (project_root / path).exists(), path
