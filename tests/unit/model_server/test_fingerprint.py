from pathlib import Path

import pytest

from orchestrator.model_server.fingerprint import model_sha256


def write_model(directory: Path, graph: bytes = b"graph", **variables: bytes) -> Path:
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(graph)
    for name, content in variables.items():
        (directory / "variables" / name).write_bytes(content)
    return directory


def test_is_the_same_for_the_same_content_anywhere(tmp_path: Path) -> None:
    first = model_sha256(write_model(tmp_path / "1", index=b"i", data=b"d"))
    second = model_sha256(write_model(tmp_path / "elsewhere" / "2", data=b"d", index=b"i"))

    assert first == second
    assert len(first) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"graph": b"graph2", "data": b"d", "index": b"i"},
        {"graph": b"graph", "data": b"d2", "index": b"i"},
        {"graph": b"graph", "data": b"d"},
        {"graph": b"graph", "data": b"i", "index": b"d"},
        {"graph": b"graph", "data": b"di", "index": b""},
    ],
)
def test_differs_for_any_other_content(tmp_path: Path, other: dict[str, bytes]) -> None:
    one = model_sha256(write_model(tmp_path / "1", data=b"d", index=b"i"))

    assert model_sha256(write_model(tmp_path / "2", **other)) != one


def test_what_lies_beside_the_model_does_not_count(tmp_path: Path) -> None:
    directory = write_model(tmp_path / "1", data=b"d")
    before = model_sha256(directory)

    (directory / "MODEL_CARD.md").write_text("card")
    (directory / "assets.extra").mkdir()
    (directory / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"records")

    assert model_sha256(directory) == before


def test_needs_a_graph(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        model_sha256(tmp_path)
