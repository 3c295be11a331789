from pathlib import Path

import pytest

from orchestrator.model_server.fingerprint import model_sha256
from training.metrics import Interval, SplitScores
from training.model_card import ModelCardFacts, write_model_card

FACTS = ModelCardFacts(
    training={"epochs": 40, "augmentation": "flip|rotate"},
    results={
        "TestA": SplitScores(
            n=213,
            balanced_accuracy=Interval(0.871, 0.82, 0.91),
            macro_f1=Interval(0.865, 0.81, 0.905),
            accuracy=Interval(0.88, 0.835, 0.92),
        )
    },
    environment={"tensorflow": "2.21.0"},
    procedure="Trained from random initialisation.",
    notes=("One run, one seed.",),
)


@pytest.fixture
def version_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "3"
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"graph")
    (directory / "variables" / "variables.index").write_bytes(b"index")
    return directory


def test_card_states_version_hash_figures_and_settings(version_dir: Path) -> None:
    card = write_model_card(version_dir, FACTS).read_text()

    assert card.startswith("# wbc, version 3\n")
    assert f"`{model_sha256(version_dir)}`" in card
    assert (
        "| TestA | 213 | 0.871 (0.820 to 0.910) | 0.865 (0.810 to 0.905) | 0.880 (0.835 to 0.920) |" in card
    )
    assert "| epochs | `40` |" in card
    assert "| tensorflow | 2.21.0 |" in card
    assert "Trained from random initialisation." in card
    assert "- One run, one seed." in card


def test_card_cites_its_data_and_says_what_it_is_not_for(version_dir: Path) -> None:
    card = write_model_card(version_dir, FACTS).read_text()

    assert "For research use only. Not for use in diagnostic procedures." in card
    for source in (
        "Kouzehkanan et al. 2022",
        "Acevedo et al. 2020",
        "Zheng et al. 2018",
        "Tsutsui et al. 2023",
    ):
        assert source in card


def test_a_bar_in_a_setting_does_not_end_its_cell(version_dir: Path) -> None:
    assert "| augmentation | `flip\\|rotate` |" in write_model_card(version_dir, FACTS).read_text()


def test_the_card_does_not_change_the_hash_it_states(version_dir: Path) -> None:
    before = model_sha256(version_dir)

    write_model_card(version_dir, FACTS)

    assert model_sha256(version_dir) == before


def test_a_directory_without_a_model_gets_no_card(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_model_card(tmp_path, FACTS)
    assert list(tmp_path.iterdir()) == []
