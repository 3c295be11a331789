"""The server of the gRPC edge: health, reflection, TLS, its port, and how it ends."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx2
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.bootstrap.grpc_edge import grpc_options
from orchestrator.bootstrap.process import serve
from orchestrator.bootstrap.services import build_services
from orchestrator.client import AnalyzerError, Client, Connection, TlsFiles
from orchestrator.edge.grpc.health import REMEMBER_S
from orchestrator.edge.grpc.server import GrpcOptions
from orchestrator.edge.tls.renewed_files import CertificateFiles
from orchestrator.errors import ConfigurationError, ModelServerUnavailable
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.settings import GrpcSettings, GrpcTlsSettings, HttpSettings, ImageSettings, Settings
from tests.certificates import issued
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.grpc_edge import Edge, grpc_edge
from tests.running_service import free_port, running_service

SERVING, NOT_SERVING, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with grpc_edge(FakeModelServer()) as edge:
        yield edge


async def health_of(edge: Edge, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(edge.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


# Health


@pytest.mark.parametrize("service", ["", "wbc.v1.Analyzer"])
async def test_a_ready_process_is_serving(edge, service):
    assert await health_of(edge, service) == SERVING


async def test_health_lists_every_service(edge):
    stub = health_pb2_grpc.HealthStub(edge.channel)
    listed = await stub.List(health_pb2.HealthListRequest())
    assert {name: of.status for name, of in listed.statuses.items()} == {
        "": SERVING,
        "wbc.v1.Analyzer": SERVING,
        "inference.GRPCInferenceService": SERVING,
    }


async def test_health_of_another_service_is_not_known(edge):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await health_of(edge, "wbc.v2.Analyzer")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    stub = health_pb2_grpc.HealthStub(edge.channel)
    call = stub.Watch(health_pb2.HealthCheckRequest(service="wbc.v2.Analyzer"))
    assert (await call.read()).status == UNKNOWN
    call.cancel()


async def test_health_follows_the_model_server():
    model_server = ScriptedModelServer()
    async with grpc_edge(model_server) as edge:
        assert await health_of(edge) == SERVING
        await model_server.close()
        await asyncio.sleep(REMEMBER_S + 0.1)
        assert await health_of(edge) == NOT_SERVING


async def test_a_watcher_is_told_of_the_drain_at_once_and_let_go_at_the_stop(edge):
    watching = health_pb2_grpc.HealthStub(edge.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watching.read()).status == SERVING
    edge.draining.begin()
    assert await health_of(edge) == NOT_SERVING
    begun_s = time.monotonic()
    assert (await watching.read()).status == NOT_SERVING
    assert time.monotonic() - begun_s < 0.9
    await asyncio.wait_for(edge.server.stop(10), 3)
    assert await watching.read() is grpc.aio.EOF


async def test_calls_are_answered_while_the_process_drains(edge, cell):
    edge.draining.begin()
    assert (await edge.stub.Analyze(pb.AnalyzeRequest(image=cell))).analysis.views >= 1


# Reflection


async def ask_reflection(edge: Edge, **question: str) -> reflection_pb2.ServerReflectionResponse:
    call = reflection_pb2_grpc.ServerReflectionStub(edge.channel).ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(**question)])
    )
    (answer,) = [answer async for answer in call]
    return answer


async def test_reflection_tells_the_services_and_their_protos(edge):
    services = (await ask_reflection(edge, list_services="")).list_services_response.service
    assert {service.name for service in services} == {
        "wbc.v1.Analyzer",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    answer = await ask_reflection(edge, file_containing_symbol="wbc.v1.Analyzer")
    files = [FileDescriptorProto.FromString(d) for d in answer.file_descriptor_response.file_descriptor_proto]
    (file,) = (file for file in files if file.name == "wbc/v1/wbc.proto")
    methods = {m.name: (m.client_streaming, m.server_streaming) for m in file.service[0].method}
    assert methods["Analyze"] == (False, False), "although the server reads it as a stream"
    assert methods["AnalyzeStream"] == (True, True)


async def test_reflection_of_v1_answers_as_that_of_v1alpha_and_tells_its_own_protos(edge):
    ask = edge.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    name = "grpc.reflection.v1.ServerReflection"
    questions = [{"list_services": ""}, {"file_containing_symbol": name}]
    call = ask(iter([reflection_pb2.ServerReflectionRequest(**question) for question in questions]))
    listed, own = [answer async for answer in call]
    assert (
        listed.list_services_response == (await ask_reflection(edge, list_services="")).list_services_response
    )
    (file,) = own.file_descriptor_response.file_descriptor_proto
    described = FileDescriptorProto.FromString(file)
    assert described.package == "grpc.reflection.v1"
    assert described.service[0].method[0].input_type == ".grpc.reflection.v1.ServerReflectionRequest"
    assert b"v1alpha" not in file


async def test_reflection_may_be_off():
    async with grpc_edge(FakeModelServer(), options=GrpcOptions(port=0, reflection=False)) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask_reflection(edge, list_services="")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


# TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = issued(folder, "authority")
    issued(folder, "server", authority)
    issued(folder, "caller", authority)
    issued(folder, "stranger")
    return folder


@pytest.mark.parametrize(("own", "let_in"), [("caller", True), ("stranger", False), (None, False)])
async def test_with_mutual_tls_only_callers_with_a_certificate_are_let_in(files, own, let_in):
    tls = CertificateFiles(files / "server.pem", files / "server.key", files / "authority.pem")
    async with grpc_edge(FakeModelServer(), options=GrpcOptions(port=0, tls=tls)) as edge:
        shown = TlsFiles(
            files / "authority.pem",
            own and files / f"{own}.pem",
            own and files / f"{own}.key",
        )
        connection = Connection(f"localhost:{edge.server.port}", tls=shown, max_attempts=1)

        def ask() -> str:
            with Client(connection) as client:
                try:
                    return client.model(timeout_s=10).model.name
                except AnalyzerError as error:
                    return error.code.name

        assert await asyncio.to_thread(ask) == ("wbc" if let_in else "UNAVAILABLE")


async def test_missing_files_of_tls_are_named(tmp_path):
    tls = CertificateFiles(tmp_path / "no.pem", tmp_path / "no.key")
    with pytest.raises(ConfigurationError, match="WBC_GRPC__TLS__KEY_FILE: the file cannot be read"):
        async with grpc_edge(FakeModelServer(), options=GrpcOptions(port=0, tls=tls)):
            pass


# Its port and its settings


async def test_a_port_in_use_is_named(edge):
    with pytest.raises(ConfigurationError, match=f"port {edge.server.port}.*WBC_GRPC__PORT"):
        async with grpc_edge(FakeModelServer(), options=GrpcOptions(port=edge.server.port)):
            pass


def test_settings_become_options(tmp_path):
    settings = Settings(
        grpc=GrpcSettings(
            host="::1",
            port=9000,
            max_streams=3,
            stream_window=5,
            stream_idle_s=7,
            tls=GrpcTlsSettings(certificate_file=tmp_path / "c", key_file=tmp_path / "k"),
        ),
        images=ImageSettings(processes=0, max_bytes=1_000_000),
    )
    options = grpc_options(settings)
    assert (options.host, options.port) == ("::1", 9000)
    assert (options.streams.max_streams, options.streams.window, options.streams.idle_s) == (3, 5, 7)
    assert options.max_message_bytes == 1_000_000 + 64 * 2**10
    assert options.tls == CertificateFiles(tmp_path / "c", tmp_path / "k", None)


# The process


def test_one_process_serves_both_edges_and_drains_both(cell):
    port = free_port()
    environment = {"WBC_GRPC__PORT": str(port), "WBC_HTTP__DRAIN_DELAY_S": "1", "WBC_LOG_REQUESTS": "true"}
    with (
        running_service(environment=environment) as service,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        assert f"127.0.0.1:{port} (wbc.v1.Analyzer)" in service.announcement
        health = health_pb2_grpc.HealthStub(channel)
        with Client(Connection(f"127.0.0.1:{port}")) as client:
            analysis = client.analyze(cell)
            form = {"files": {"file": cell}, "timeout": 30}
            over_http = httpx2.post(f"{service.url}/v1/analyses", **form).json()
            assert dict(analysis.probabilities) == over_http["probabilities"]
            assert health.Check(health_pb2.HealthCheckRequest()).status == SERVING

            service.process.send_signal(signal.SIGTERM)
            watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=10)
            assert any(answer.status == NOT_SERVING for answer in watching)
            begun_s = time.monotonic()
            code, _, err = service.stop()
        assert (code, time.monotonic() - begun_s < 20) == (0, True)
        assert "grpc.Analyze ended: ok" in err


def test_a_start_ends_where_the_grpc_port_is_taken():
    services = build_services(Settings(), model_server=FakeModelServer())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(http=HttpSettings(port=free_port()), grpc=GrpcSettings(port=port))
        with pytest.raises(ConfigurationError, match=f"port {port}.*WBC_GRPC__PORT"):
            serve(settings, services)


def test_without_authentication_there_is_no_grpc_edge_for_other_machines():
    settings = Settings(grpc=GrpcSettings(host="0.0.0.0", port=free_port()))
    services = build_services(settings, model_server=FakeModelServer())
    with pytest.raises(ConfigurationError, match=r"WBC_GRPC__HOST=0\.0\.0\.0"):
        serve(settings, services)


def test_a_start_whose_model_cannot_be_loaded_leaves_no_port_taken():
    port = free_port()
    services = build_services(
        Settings(), model_server=ScriptedModelServer(start_failure=ModelServerUnavailable("no model"))
    )
    settings = Settings(http=HttpSettings(port=free_port()), grpc=GrpcSettings(port=port))
    with pytest.raises(ModelServerUnavailable, match="no model"):
        serve(settings, services)
    with socket.create_server(("127.0.0.1", port)):
        pass
