"""The port to a language model, and what is common to all of them: options and the way to the network."""

import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, Protocol

import httpx2

from orchestrator.report.prompt import Prompt

USER_AGENT: Final = "wbc-analyzer"

_TELLTALE_HEADERS: Final = ("x-stainless-", "x-goog-api-client")
"""What the makers' packages tell of this machine: its system, processor and versions."""


TokenLimitField = Literal["max_completion_tokens", "max_tokens"]
ReasoningEffort = Literal["minimal", "low", "medium", "high"]
JsonBy = Literal["schema", "object", "words"]
"""How JSON is asked for: by its schema, as any JSON object, or in the instructions alone."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A provider's answer: its text, the model that it says has answered, and the tokens that it counted.

    ``reasoning`` is what it wrote before, where that is told apart, and ``reasoning_tokens`` how much that
    was; ``ended`` is the provider's word for why it stopped, and ``cut_off`` says that it was the limit on
    tokens.
    """

    text: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning: str = ""
    reasoning_tokens: int = 0
    ended: str = ""
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server is asked; what it cannot do is left out, see :mod:`~.learning_model`."""

    json_by: JsonBy = "schema"
    token_limit_field: TokenLimitField = "max_completion_tokens"
    max_output_tokens: int = 1000
    with_effort: bool = True
    with_temperature: bool = True
    with_instructions_apart: bool = True
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model is asked, where and how; ``manner`` is how it is asked at first.

    ``temperature`` is the provider's own where None; some models take no other. ``reasoning_effort`` is the
    provider's own where None; ``thinking_budget``, in tokens, stands in its place for models of Google that
    know no effort. ``timeout_s`` bounds every wait on the network; the whole answer is bounded by who calls.
    """

    model: str
    base_url: str
    api_key: str = field(repr=False)
    timeout_s: float = 8.0
    temperature: float | None = None
    reasoning_effort: ReasoningEffort | None = "low"
    thinking_budget: int | None = None
    manner: Manner = Manner()


class LanguageModel(Protocol):
    """Answers prompts, from many tasks of one event loop at once; never asks twice by itself."""

    @property
    def options(self) -> ModelOptions:
        """With which it was made."""
        ...

    async def ask(self, prompt: Prompt, manner: Manner) -> Completion:
        """Ask once.

        Raises :class:`~orchestrator.report.failures.WriterFailed`.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""


@cache
def trusted_authorities() -> ssl.SSLContext:
    """Whose certificates are believed; SSL_CERT_FILE and SSL_CERT_DIR count. One for all providers, as each
    holds megabytes."""
    return httpx2.create_ssl_context()


def provider_client(timeout_s: float) -> httpx2.AsyncClient:
    """The HTTP client that a provider's package is given.

    It follows no redirect, so that facts and key go to the host of the settings and to no other; and it sends
    nothing of what the package would tell of this machine.
    """
    return httpx2.AsyncClient(
        verify=trusted_authorities(),
        timeout=timeout_s,
        follow_redirects=False,
        event_hooks={"request": [_without_telltales]},
    )


async def _without_telltales(request: Any) -> None:
    for name in [name for name in request.headers if name.lower().startswith(_TELLTALE_HEADERS)]:
        del request.headers[name]
    request.headers["User-Agent"] = USER_AGENT
