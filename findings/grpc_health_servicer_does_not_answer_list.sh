#!/usr/bin/env bash
# Surprise: grpcio-health-checking 1.85.1 brings Health.List in its proto, its messages and its stub, and registers a
#   handler for it; but neither of its own servicers (health.HealthServicer, health.aio.HealthServicer) has the method,
#   so that List ends with UNIMPLEMENTED while Check of the same servicer says SERVING.
# Good guess: the ready-made servicer of the package answers every method of the service that the package brings.
# Date: 2026-11-30
# Hurts: who watches all services of a server by one List, and who adds the servicer and believes the protocol served.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    grpcio==1.85.1 grpcio-health-checking==1.85.1 protobuf==7.35.1
GRPC_VERBOSITY=NONE "$folder/venv/bin/python" - <<'PYTHON'
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

for package in ("grpcio", "grpcio-health-checking"):
    print(package, version(package))
methods = [method.name for method in health_pb2.DESCRIPTOR.services_by_name["Health"].methods]
print("methods of the proto:", *methods)
own = {kind.__module__: [name for name in methods if name in vars(kind)] for kind in (health.HealthServicer, health.aio.HealthServicer)}
print("methods of the servicers:", own)

servicer = health.HealthServicer()
servicer.set("lab.Service", health_pb2.HealthCheckResponse.SERVING)
server = grpc.server(ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    stub = health_pb2_grpc.HealthStub(channel)
    status = stub.Check(health_pb2.HealthCheckRequest(service="lab.Service"), timeout=10).status
    print("Check:", health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    try:
        stub.List(health_pb2.HealthListRequest(), timeout=10)
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
    print("List:", code)
server.stop(None)
if "List" not in methods or status != health_pb2.HealthCheckResponse.SERVING or code != "UNIMPLEMENTED":
    raise SystemExit("this has changed")
PYTHON
