"""Generated messages are what the .proto files say; ``make protos`` writes them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path("orchestrator") / "model_server" / "protos"


@pytest.fixture(scope="module")
def generated(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("protos")
    (root / PROTOS).mkdir(parents=True)
    sources = sorted((project_root / PROTOS).glob("*.proto"))
    for source in sources:
        shutil.copy(source, root / PROTOS)
    # A process of its own: the compiler and TensorFlow each bring a protobuf, and crash beside each other.
    command = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", "--python_out=.", "--pyi_out=."]
    names = [str(PROTOS / source.name) for source in sources]
    subprocess.run([*command, *names], cwd=root, check=True, timeout=60)
    return root / PROTOS


def without_generator_version(path: Path) -> str:
    """Python code without the version of the protobuf that generated it, which a newer tool changes."""
    text = path.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("# Protobuf Python Version")]
    begin = next((i for i, line in enumerate(lines) if "ValidateProtobufRuntimeVersion(" in line), None)
    if begin is not None:
        del lines[begin + 1 : begin + 6]
    return "\n".join(lines)


@pytest.mark.parametrize("name", ["tensor_pb2.py", "tensor_pb2.pyi", "serving_pb2.py", "serving_pb2.pyi"])
def test_committed_messages_are_fresh(project_root: Path, generated: Path, name: str):
    committed = project_root / PROTOS / name
    assert without_generator_version(committed) == without_generator_version(generated / name), "make protos"


def test_every_file_is_generated_and_none_is_left_over(project_root: Path, generated: Path):
    committed = {path.name for path in (project_root / PROTOS).glob("*_pb2*")}
    assert committed == {path.name for path in generated.glob("*_pb2*")}
