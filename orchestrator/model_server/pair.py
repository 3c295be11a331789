"""Two model servers that begin and end together, inside a wrapper that is one."""

from orchestrator.model_server.base import ModelServer


async def start_both(first: ModelServer, second: ModelServer) -> None:
    """Start ``first``, then ``second``; where one fails, neither is left running."""
    await first.start()
    try:
        await second.start()
    except BaseException:
        await first.close()
        raise


async def close_both(first: ModelServer, second: ModelServer) -> None:
    """Close ``first``, then ``second`` whatever the first says."""
    try:
        await first.close()
    finally:
        await second.close()
