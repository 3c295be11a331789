"""``wbc model``: the files that a server of the model serves, and whether it answers."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from orchestrator.bootstrap.model_servers import one_model_server
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError, ContractViolation, ModelServerError, Overloaded
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.fingerprint import model_sha256
from orchestrator.settings import load_settings

PATIENCE_S: Final = 5.0
"""How long the reading of a request may take, and the start of one question."""

model_app = typer.Typer(
    help=f"The files that a server of the model serves, and whether it answers. {DISCLAIMER}",
    no_args_is_help=True,
)
_out = Console()
_LOGGER = logging.getLogger(__name__)


@model_app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="What a TensorFlow Serving serves, a folder a version.")],
) -> None:
    """Check that each version in FOLDER has the files that WBC_TF_SERVING__SHA256 says; else exit code 2.

    Before a TensorFlow Serving starts, which itself tells nothing of its files.
    """
    known = load_settings().tf_serving.sha256 or {}
    versions = [(version, path) for path in folder.glob("*") if (version := _version_of(path)) is not None]
    if not versions:
        raise ConfigurationError(f"{folder}: expected a folder for each version of the model, received none")
    for version, path in sorted(versions):
        if version not in known:
            raise ConfigurationError(
                f"{path}: WBC_TF_SERVING__SHA256 names no version {version}; add the hash of its card"
            )
        try:
            found = model_sha256(path)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
        if found != known[version]:
            raise ConfigurationError(
                f"{path}: expected SHA-256 {known[version]}, received {found}; deliver the model anew"
            )
        _out.print(f"version {version}: {found}", highlight=False, soft_wrap=True)


def _version_of(path: Path) -> int | None:
    """The version of a folder, read no more strictly than the server does, for which ``08`` is 8, too."""
    try:
        return int(path.name)
    except ValueError:
        return None


@model_app.command()
def probe(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8503,
) -> None:
    """Answer GET with 200 where WBC_TF_SERVING__TARGET answers one row in its time, else with 503.

    Beside a server of the model: its status says that it is well also where its GPU hangs. One that has too
    much to do, or another model, answers.
    """
    settings = load_settings()
    if settings.tf_serving.target is None:
        raise ConfigurationError("WBC_TF_SERVING__TARGET: expected the server to ask, received none")
    patient = settings.tf_serving.model_copy(update={"start_timeout_s": PATIENCE_S, "max_attempts": 1})
    server = one_model_server(settings.model_copy(update={"tf_serving": patient}))
    asyncio.run(_listen(server, host, port))


async def _listen(server: ModelServer, host: str, port: int) -> None:
    """Until SIGTERM."""
    one_at_a_time, stopped = asyncio.Lock(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await reader.readuntil(b"\r\n\r\n")
            async with one_at_a_time:
                status = b"200 OK" if await _answers(server) else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            return  # whoever asked is gone, or spoke no HTTP
        finally:
            writer.close()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with await asyncio.start_server(answer, host, port):
        _out.print(f"asks one row for each request on {host} port {port}. {DISCLAIMER}", soft_wrap=True)
        await stopped.wait()


async def _answers(server: ModelServer) -> bool:
    from orchestrator.model_server.remote import ONE_ROW  # imports gRPC

    try:
        await server.start()
        await server.classify(ONE_ROW)
    except (Overloaded, ContractViolation):
        return True
    except ModelServerError as error:
        _LOGGER.warning("the model server does not answer: %s", error)
        return False
    finally:
        await server.close()
    return True
