"""The client for threads, made of the one for an event loop: ``python -m tests.sync_client`` writes it."""

import re
import subprocess
import sys
from typing import Final

from orchestrator.settings import PROJECT_ROOT

SOURCE: Final = PROJECT_ROOT / "orchestrator" / "client" / "aio.py"
MADE: Final = PROJECT_ROOT / "orchestrator" / "client" / "client.py"

INSTEAD: Final = (
    (
        r"\A.*?\n",
        '"""The client for programs with threads; made of aio.py by ``python -m tests.sync_client``."""\n',
    ),
    (r"import asyncio\n", ""),
    (r"AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable", "Callable, Generator, Iterable"),
    (
        r"Asks a service, on the event loop that runs when it is made\. Every",
        "Asks a service. Safe for threads. Every",
    ),
    (r" \| AsyncIterable\[tuple\[Key, bytes\]\]", ""),
    (r"AsyncGenerator\[(.*), None\]", r"Generator[\1, None, None]"),
    (r"Awaitable\[T\]", "T"),
    (r"``images`` is read only", "``images`` is read in a thread of its own, only"),
    (r"AsyncClient", "Client"),
    (r"\.feeder_aio", ".feeder"),
    (r"grpc\.aio\.", "grpc."),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"asyncio\.sleep", "time.sleep"),
    (r"\basync (?=def|for|with)", ""),
    (r"\bawait ", ""),
)
"""What stands in the one, and what in the other; in this order."""


def sync_client() -> str:
    """The module for threads, as it is to be."""
    text = SOURCE.read_text()
    for pattern, instead in INSTEAD:
        text = re.sub(pattern, instead, text)
    command = [sys.executable, "-m", "ruff", "format", f"--stdin-filename={MADE}", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60).stdout


if __name__ == "__main__":
    MADE.write_text(sync_client())
