"""What the documents show is what the service answers, and their figures are those of the model card."""

import json
import re

import httpx2
import pytest

from orchestrator.bootstrap.services import build_app
from orchestrator.settings import Settings


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
        chosen = dict(re.findall(r"-F (profile)=(\w+) localhost:8000/predict", readme))
        response = await client.post("/predict", files={"file": ("example.png", image)}, data=chosen)

    answered = response.json()
    assert response.status_code == 200
    assert list(shown) == list(answered)
    assert shown["class"] == answered["class"]
    assert shown["confidence"] == pytest.approx(answered["confidence"], abs=0.02)
    assert shown["all_probabilities"] == pytest.approx(answered["all_probabilities"], abs=0.02)
    assert shown["model"] == answered["model"]
    for name in ("needs_review", "review_reasons", "profile", "device_state"):
        assert shown[name] == answered[name]
    assert shown["disclaimer"] == answered["disclaimer"]


@pytest.fixture(scope="module")
def card(project_root):
    return (project_root / "model_repository/wbc/9/MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_model_card(card, project_root):
    accuracy = (project_root / "docs/accuracy.md").read_text(encoding="utf-8")
    rows = [
        line for line in between(accuracy, "figures").splitlines() if line.startswith(("| Test", "| val"))
    ]

    assert len(rows) >= 2
    for row in rows:
        assert row in card


def test_the_table_of_the_readme_repeats_them(readme, card):
    for split in ("TestA", "TestB"):
        (told,) = re.findall(rf"^\| {split}: .* \| (\d+) \| (0\.\d+ \(.*\)) \|$", readme, re.MULTILINE)
        row = "TestB without its 1 Basophil" if split == "TestB" else split
        assert f"| {row} | {told[0]} | {told[1]} |" in card


def test_every_make_target_that_a_document_names_exists(project_root):
    pages = [
        project_root / "README.md",
        project_root / "CONTRIBUTING.md",
        *(project_root / "docs").glob("*.md"),
    ]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    targets = set(re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*make ([\w-]+)", text, re.MULTILINE))
    makefile = (project_root / "Makefile").read_text()

    assert {"run", "test", "train", "export", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
