"""The gRPC edge on a free port of the loopback, beside the test, and channels to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from orchestrator.analyse import Services
from orchestrator.bootstrap.services import build_adaptations, build_services
from orchestrator.client import AsyncClient, Client, Connection
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.grpc.server import GrpcOptions, GrpcServer
from orchestrator.edge.http_app import running
from orchestrator.edge.inference_grpc import inference_service
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.request_frame import Deadlines
from orchestrator.model_server.base import ModelServer
from orchestrator.protos.wbc.v1 import wbc_pb2_grpc
from orchestrator.settings import Settings
from orchestrator.specimens.service import Specimens

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Edge:
    """A running edge, and what it shares with others."""

    server: GrpcServer
    services: Services
    admission: Admission
    draining: Draining
    specimens: Specimens | None
    channel: grpc.aio.Channel = field(init=False)
    stub: wbc_pb2_grpc.AnalyzerStub = field(init=False)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@asynccontextmanager
async def grpc_edge(
    model_server: ModelServer,
    *,
    settings: Settings | None = None,
    options: GrpcOptions | None = None,
    admission: Admission | None = None,
    deadlines: Deadlines | None = None,
    access: AccessRules | None = None,
    specimens: Specimens | None = None,
    order_limits: OrderLimits | None = None,
) -> AsyncIterator[Edge]:
    settings = settings or Settings()
    services = build_services(settings, model_server=model_server)
    admission, draining = admission or Admission(), Draining()
    deadlines = deadlines or Deadlines()
    server = GrpcServer(
        options or GrpcOptions(port=0),
        services,
        admission=admission,
        deadlines=deadlines,
        draining=draining,
        access=access or AccessRules(),
        specimens=specimens,
        adaptations=build_adaptations(settings, services),
        order_limits=order_limits,
        others=(inference_service(services, admission, deadlines, draining),),
    )
    edge = Edge(server, services, admission, draining, specimens)
    async with running(services, specimens):
        await server.start()
        try:
            async with grpc.aio.insecure_channel(edge.target, LARGE) as channel:
                edge.channel, edge.stub = channel, wbc_pb2_grpc.AnalyzerStub(channel)
                yield edge
        finally:
            await server.stop(0)


async def using(kind: str, connection: Connection, method: str, *args: Any, **kwargs: Any) -> Any:
    """What a method of the client of this kind (``sync``, ``async``) answers; a list, of a stream."""
    if kind == "async":
        async with AsyncClient(connection) as client:
            call = getattr(client, method)(*args, **kwargs)
            return [result async for result in call] if method == "analyze_stream" else await call

    def ask() -> Any:
        with Client(connection) as client:
            answer = getattr(client, method)(*args, **kwargs)
            return list(answer) if method == "analyze_stream" else answer

    return await asyncio.to_thread(ask)
