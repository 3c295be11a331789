"""Servers that give a TLS handshake only so long.

Uvicorn has no setting for it, and event loops give a minute: in that time who connects and says nothing holds
a connection that no limit of the protocol has seen yet.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

if sys.platform == "win32":
    from asyncio import ProactorEventLoop as EventLoop
else:
    from uvloop import Loop as EventLoop


def loops_with_handshakes_of(timeout_s: float) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes event loops, as uvicorn's, whose TLS servers end a handshake after ``timeout_s`` seconds."""

    class Loop(EventLoop):
        async def create_server(self, *arguments: Any, **options: Any) -> Any:
            if options.get("ssl") is not None:
                options["ssl_handshake_timeout"] = timeout_s
            return await super().create_server(*arguments, **options)

    return Loop
