"""A language model behind an API that is compatible with OpenAI's: OpenAI, Azure, vLLM, Ollama, and others.

Import this module only where one is configured: the package ``openai`` costs a second and 40 MB.
"""

from typing import Any

import httpx2
import openai

from orchestrator.report.answer_text import text_of
from orchestrator.report.failures import (
    WriterFailed,
    failure_of_error,
    failure_of_status,
    failure_of_text,
)
from orchestrator.report.guard import ANSWER_SCHEMA
from orchestrator.report.language_model import Completion, Manner, ModelOptions, provider_client
from orchestrator.report.prompt import Prompt

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class OpenAiModel:
    """Asks ``POST {base_url}/chat/completions``; see :class:`~.language_model.LanguageModel`."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self._http = provider_client(options.timeout_s)
        # A server of one's own may want no key; the package wants one.
        self._client = openai.AsyncOpenAI(
            api_key=options.api_key or "none",
            base_url=options.base_url,
            timeout=options.timeout_s,
            max_retries=0,
            http_client=self._http,
        )

    async def ask(self, prompt: Prompt, manner: Manner) -> Completion:
        """Ask once; raises :class:`~.failures.WriterFailed`."""
        try:
            answer: Any = await self._client.chat.completions.create(**self._question(prompt, manner))
            return _completion(await _put_together(answer) if manner.streamed else answer)
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            raise WriterFailed("timeout") from error
        except openai.APIStatusError as error:
            after = error.response.headers.get("retry-after")
            raise failure_of_status(error.status_code, after, error.body) from error
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise WriterFailed("unreachable", said=str(error.__cause__ or error)) from error
        except openai.APIError as error:
            raise failure_of_error(error.body) from error
        except (openai.OpenAIError, ValueError, AttributeError, IndexError, TypeError) as error:
            # The package checks nothing of what it received.
            raise WriterFailed("malformed") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _question(self, prompt: Prompt, manner: Manner) -> dict[str, Any]:
        options = self.options
        question: dict[str, Any] = {
            "model": options.model,
            "messages": [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": prompt.facts},
            ]
            if manner.with_instructions_apart
            else [{"role": "user", "content": prompt.in_one}],
            manner.token_limit_field: manner.max_output_tokens,
        }
        if options.temperature is not None and manner.with_temperature:
            question["temperature"] = options.temperature
        if options.reasoning_effort is not None and manner.with_effort:
            question["reasoning_effort"] = options.reasoning_effort
        if manner.json_by == "schema":
            schema = {"name": "report", "strict": True, "schema": ANSWER_SCHEMA}
            question["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif manner.json_by == "object":
            question["response_format"] = {"type": "json_object"}
        if manner.streamed:
            question["stream"] = True
        return question


def _completion(answer: Any) -> Completion:
    """Of a ``ChatCompletion``, whose fields may be anything; raises what that leads to."""
    if isinstance(answer, str):  # whatever comes under another media type than JSON's
        raise failure_of_text(answer)
    if not answer.choices:
        raise failure_of_error((answer.model_extra or {}).get("error"))
    choice = answer.choices[0]
    if choice.finish_reason == "error":
        raise failure_of_error((choice.model_extra or {}).get("error"))
    message, ended, usage = choice.message, str(choice.finish_reason or ""), answer.usage
    if ended == "content_filter" or message.refusal:
        raise WriterFailed("declined", said=str(message.refusal or ended))
    details = getattr(usage, "completion_tokens_details", None)
    return Completion(
        text_of(message.content),
        str(answer.model),
        int(usage.prompt_tokens or 0) if usage else 0,
        int(usage.completion_tokens or 0) if usage else 0,
        reasoning=text_of(getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)),
        reasoning_tokens=int(getattr(details, "reasoning_tokens", 0) or 0),
        ended=ended,
        cut_off=ended == "length",
    )


async def _put_together(chunks: Any) -> Any:
    """A stream as the ``ChatCompletion`` that it would have been.

    Raises :class:`~.failures.WriterFailed` where nothing comes, as of an answer that is no stream.
    """
    message: dict[str, str] = {}
    is_empty = True
    whole: dict[str, Any] = {"model": "", "usage": None, "finish_reason": None}
    async for chunk in chunks:
        is_empty = False
        whole["model"] = chunk.model or whole["model"]
        whole["usage"] = chunk.usage or whole["usage"]
        for choice in chunk.choices[:1]:
            whole["finish_reason"] = choice.finish_reason or whole["finish_reason"]
            for name in ("content", "refusal", "reasoning_content", "reasoning"):
                if piece := text_of(getattr(choice.delta, name, None)):
                    message[name] = message.get(name, "") + piece
    if is_empty:
        raise WriterFailed("refused", said="a stream of nothing", of_the_manner=True)
    only: Any = {"index": 0, "finish_reason": whole.pop("finish_reason"), "message": message}
    return openai.types.chat.ChatCompletion.model_construct(None, choices=[only], **whole)
