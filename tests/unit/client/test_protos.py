"""The protos are documented in full, and the committed stubs say the same; ``make protos`` writes them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests import sync_client

PROTOS = Path("orchestrator") / "protos"
SOURCE = Path("wbc") / "v1" / "wbc.proto"


@pytest.fixture(scope="module")
def generated(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("protos")
    (root / SOURCE).parent.mkdir(parents=True)
    shutil.copy(project_root / PROTOS / SOURCE, root / SOURCE)
    # A process of its own: the compiler and TensorFlow each bring a protobuf, and crash beside each other.
    command = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=."]
    outputs = ["--python_out=.", "--pyi_out=.", "--grpc_python_out=."]
    sources = ["--include_source_info", "--descriptor_set_out=wbc.binpb", str(SOURCE)]
    subprocess.run([*command, *outputs, *sources], cwd=root, check=True, timeout=60)
    return root


def comparable(path: Path) -> str:
    """Generated code without the versions of its generators, which newer tools change, and with the import
    that ``make protos`` mends."""
    text = path.read_text().replace("\nfrom wbc.v1 import ", "\nfrom . import ")
    versions = ("# Protobuf Python Version", "GRPC_GENERATED_VERSION =")
    lines = [line for line in text.splitlines() if not line.startswith(versions)]
    begin = next((i for i, line in enumerate(lines) if "ValidateProtobufRuntimeVersion(" in line), None)
    if begin is not None:
        del lines[begin + 1 : begin + 6]
    return "\n".join(lines)


@pytest.mark.parametrize("name", ["wbc_pb2.py", "wbc_pb2.pyi", "wbc_pb2_grpc.py"])
def test_committed_stubs_are_fresh(project_root: Path, generated: Path, name: str):
    committed = project_root / PROTOS / SOURCE.parent / name
    assert comparable(committed) == comparable(generated / SOURCE.parent / name), "make protos"


def test_the_committed_stub_finds_its_messages_under_any_name(project_root: Path):
    text = (project_root / PROTOS / SOURCE.parent / "wbc_pb2_grpc.py").read_text()
    assert "\nfrom . import wbc_pb2 as " in text
    assert "from wbc.v1" not in text


def test_every_element_has_a_comment(generated: Path):
    (file,) = FileDescriptorSet.FromString((generated / "wbc.binpb").read_bytes()).file
    told = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}
    elements = dict(_elements(file))
    assert len(elements) > 150
    assert {name for path, name in elements.items() if path not in told} == set()


def _elements(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Every message, field, enum, value, service and method, by its path in the descriptor."""
    for m, message in enumerate(file.message_type):
        yield (4, m), message.name
        for f, field in enumerate(message.field):
            yield (4, m, 2, f), f"{message.name}.{field.name}"
    for e, enum in enumerate(file.enum_type):
        yield (5, e), enum.name
        for v, value in enumerate(enum.value):
            yield (5, e, 2, v), value.name
    for s, service in enumerate(file.service):
        yield (6, s), service.name
        for m, method in enumerate(service.method):
            yield (6, s, 2, m), f"{service.name}.{method.name}"


def test_names_follow_the_style_guide(generated: Path):
    (file,) = FileDescriptorSet.FromString((generated / "wbc.binpb").read_bytes()).file
    assert file.package.replace(".", "/") == str(SOURCE.parent)
    for enum in file.enum_type:
        prefix = "".join(f"_{c}" if c.isupper() else c for c in enum.name).strip("_").upper()
        assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
        assert all(value.name.startswith(f"{prefix}_") for value in enum.value)
    for method in file.service[0].method:
        assert method.input_type == f".wbc.v1.{method.name}Request"
        assert method.output_type == f".wbc.v1.{method.name}Response"


def test_the_client_for_threads_is_made_of_the_one_for_an_event_loop():
    assert sync_client.MADE.read_text() == sync_client.sync_client(), "python -m tests.sync_client"
