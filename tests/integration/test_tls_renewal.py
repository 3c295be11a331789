"""Certificates that are renewed while the service runs, as by cert-manager: both edges, over real sockets."""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from orchestrator.client import AnalyzerError, Client, Connection, TlsFiles
from orchestrator.edge.grpc.server import GrpcOptions
from orchestrator.edge.tls.grpc import server_credentials
from orchestrator.edge.tls.http import ServerTls, renewed_context
from orchestrator.edge.tls.renewed_files import CertificateFiles
from orchestrator.errors import ConfigurationError
from tests.certificates import Issued, issued
from tests.fakes.model_server import FakeModelServer
from tests.grpc_edge import grpc_edge
from tests.integration.test_serving_process import fake_service
from tests.running_service import free_port, running_service
from tests.waiting import LONGEST_S, becomes_meanwhile

FILES = ("tls.crt", "tls.key", "ca.crt")


class Volume:
    """A Kubernetes volume of a Secret: files are links into a folder that is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = 0
        for name in FILES:
            (folder / name).symlink_to(Path("..data") / name)

    def __getitem__(self, name: str) -> Path:
        return self._folder / name

    def put(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._version += 1
        version = self._folder / f"..{self._version}"
        version.mkdir()
        for name, source in zip(FILES, (certificate, key, client_ca), strict=True):
            if source:
                (version / name).write_bytes(source.read_bytes())
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    (tmp_path / "volume").mkdir()
    return Volume(tmp_path / "volume")


def shown(port: int) -> str:
    """The certificate that somebody sees who connects now."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


def model_over_grpc(port: int, trusted: Path, own: tuple[Path, Path] | None = None) -> str:
    """The name of the model, or the code of the error."""
    tls = TlsFiles(trusted, *own) if own else TlsFiles(trusted)
    with Client(Connection(f"localhost:{port}", tls=tls, max_attempts=1)) as client:
        try:
            return client.model(timeout_s=10).model.name
        except AnalyzerError as error:
            return error.code.name


def test_the_running_service_shows_a_renewed_certificate_and_keeps_the_old_one_where_it_is_wrong(
    tmp_path, volume
):
    first, second, third = (issued(tmp_path, name) for name in ("first", "second", "third"))
    volume.put(*first.files)
    grpc_port = free_port()
    environment = {
        f"WBC_{edge}__TLS__{name}_FILE": str(volume[file])
        for edge in ("SECURITY", "GRPC")
        for name, file in (("CERTIFICATE", "tls.crt"), ("KEY", "tls.key"))
    }
    with running_service(
        fake_service("FakeModelServer"),
        {**environment, "WBC_GRPC__PORT": str(grpc_port), "WBC_LOG_FORMAT": "json"},
    ) as service:
        ports = (int(service.url.rpartition(":")[2]), grpc_port)

        def both_show(expected: Issued) -> bool:
            return all(shown(port) == expected.files[0].read_text() for port in ports)

        def refused(trusted: Issued) -> set[str]:
            lines = httpx2.get(
                f"{service.url.replace('http:', 'https:')}/metrics",
                verify=ssl.create_default_context(cafile=str(trusted.files[0])),
                timeout=10,
            ).text.splitlines()
            return {line for line in lines if line.startswith("wbc_tls_files_refused{")}

        assert both_show(first)
        with connected(ports[0], first) as before:
            volume.put(*second.files)
            becomes_meanwhile(lambda: both_show(second))
            assert model_over_grpc(grpc_port, second.files[0]) == "wbc"
            assert refused(second) == {f'wbc_tls_files_refused{{edge="{e}"}} 0.0' for e in ("http", "grpc")}
            before.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert before.recv(100).startswith(b"HTTP/1.1 200")  # nobody has lost their connection

        volume.put(third.files[0], second.files[1])  # a key of another certificate
        both_refuse = {f'wbc_tls_files_refused{{edge="{e}"}} 1.0' for e in ("http", "grpc")}
        becomes_meanwhile(lambda: both_show(second) and refused(second) == both_refuse)
        assert model_over_grpc(grpc_port, second.files[0]) == "wbc"

        volume.put(*third.files)
        becomes_meanwhile(lambda: both_show(third))
        for port in ports:
            speak_wrongly(port)
        code, _, err = service.stop()
    assert code == 0
    messages = [json.loads(line)["message"] for line in err.splitlines()]  # of nothing but our own words
    for edge in ("http", "grpc"):
        refusals = [m for m in messages if m.startswith(f"TLS of {edge}: the new files are not used: ")]
        assert len(refusals) == 1
    assert str(tmp_path) not in err
    assert "yilmaz" not in err.lower()


def speak_wrongly(port: int) -> None:
    """No TLS at all; and a server name that names a patient."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /Yilmaz HTTP/1.1\r\n\r\n")
        with suppress(OSError):
            connection.recv(1000)
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(connection, server_hostname="yilmaz.example")


@contextmanager
def connected(port: int, trusted: Issued) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(trusted.files[0]))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        yield connection


async def test_renewed_authorities_decide_over_http_who_is_let_in(tmp_path, volume):
    server, old, new = (issued(tmp_path, name) for name in ("server", "old", "new"))
    volume.put(*server.files, old.files[0])
    context = renewed_context(ServerTls(volume["tls.crt"], volume["tls.key"], volume["ca.crt"]))

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"in")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]

    async def let_in(who: Issued) -> bool:
        own = ssl.create_default_context(cafile=str(server.files[0]))
        own.load_cert_chain(*who.files)
        try:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=own)
            with_answer = await reader.read(2) == b"in"
            writer.close()
        except OSError:  # ssl.SSLError, and a connection that was reset
            return False
        return with_answer

    async with listening:
        assert [await let_in(old), await let_in(new)] == [True, False]
        volume.put(*server.files, new.files[0])
        async with asyncio.timeout(LONGEST_S):
            while not await let_in(new):
                await asyncio.sleep(0.1)
        assert not await let_in(old)


async def test_renewed_authorities_decide_over_grpc_who_is_let_in(tmp_path, volume):
    server, old, new = (issued(tmp_path, name) for name in ("server", "old", "new"))
    volume.put(*server.files, old.files[0])
    tls = CertificateFiles(volume["tls.crt"], volume["tls.key"], volume["ca.crt"])
    async with grpc_edge(FakeModelServer(), options=GrpcOptions(port=0, tls=tls)) as edge:

        async def asks(who: Issued) -> str:
            return await asyncio.to_thread(model_over_grpc, edge.server.port, server.files[0], who.files)

        assert [await asks(old), await asks(new)] == ["wbc", "UNAVAILABLE"]
        volume.put(*server.files, new.files[0])
        async with asyncio.timeout(LONGEST_S):
            while await asks(new) != "wbc":
                await asyncio.sleep(0.1)
        assert await asks(old) == "UNAVAILABLE"


def test_files_of_grpc_that_do_not_fit_are_a_configuration_error_without_their_paths(tmp_path):
    own, other = issued(tmp_path, "own"), issued(tmp_path, "other")
    wrong = [
        CertificateFiles(own.files[0], other.files[1]),
        CertificateFiles(own.files[1], own.files[0]),
        CertificateFiles(*own.files, client_ca=own.files[1]),
        CertificateFiles(own.files[0], tmp_path / "missing"),
    ]
    for tls in wrong:
        with pytest.raises(ConfigurationError, match="WBC_GRPC__TLS") as raised:
            server_credentials(tls)
        assert str(tmp_path) not in str(raised.value)
