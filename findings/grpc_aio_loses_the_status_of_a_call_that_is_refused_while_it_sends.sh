#!/usr/bin/env bash
# Surprise: a server refuses a call (PERMISSION_DENIED) before it has read what is sent. A client of grpc.aio that is
#   still sending then often gets INTERNAL, "Internal error from Core", and call.code() says so too: the server's status
#   is gone. By call.write() it is mostly so, and it happens with an iterator of messages, too.
# Good guess: whatever a call was doing, it ends with the status that the server gave; INTERNAL is a fault of the peer.
# Date: 2026-11-29
# Hurts: clients that act by the status (log in again, wait, give up), and servers that refuse early to spare the rest:
#   they have to read on for a moment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
GRPC_VERBOSITY=NONE "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from collections import Counter

import grpc
from grpc import aio

print("grpcio", grpc.__version__)
MESSAGE, MESSAGES, CALLS = b"x" * 300_000, 20, 60


async def refuse(messages, context):
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


async def by_writing(channel):
    call = channel.stream_stream("/test.Service/Both")()
    try:
        for _ in range(MESSAGES):
            await call.write(MESSAGE)
        await call.done_writing()
        await call.read()
    except (aio.AioRpcError, asyncio.InvalidStateError):
        pass
    return (await call.code()).name


async def by_iterator(channel):
    async def messages():
        for _ in range(MESSAGES):
            yield MESSAGE

    try:
        await channel.stream_unary("/test.Service/In")(messages())
    except aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def main():
    server = aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {
        "Both": grpc.stream_stream_rpc_method_handler(refuse),
        "In": grpc.stream_unary_rpc_method_handler(refuse),
    }),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen = {}
    for way in (by_writing, by_iterator):
        seen[way] = Counter()
        for _ in range(CALLS):
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                seen[way][await way(channel)] += 1
        print(way.__name__, dict(seen[way]))
    await server.stop(0)
    assert set(seen[by_writing]) == {"PERMISSION_DENIED", "INTERNAL"}, seen
    assert seen[by_writing]["INTERNAL"] > CALLS / 10, seen


asyncio.run(main())
PYTHON
echo "seen as described"
