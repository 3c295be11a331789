"""Google's Gemini, by the package ``google-genai``.

Import this module only where it is configured: the package costs two seconds and 65 MB.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import httpx2
from google import genai
from google.genai import errors, types

from orchestrator.report.failures import WriterFailed, failure_of_error, failure_of_status, failure_of_text
from orchestrator.report.guard import ANSWER_SCHEMA
from orchestrator.report.language_model import (
    Completion,
    Manner,
    ModelOptions,
    provider_client,
    trusted_authorities,
)
from orchestrator.report.prompt import Prompt

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"

API_VERSION: Final = "v1beta"
"""Whatever the package's default and the environment say. Google's reference describes every field that is
sent here (instructions, schema, thinking) for v1beta, and names such as gemini-flash-latest exist there
alone; v1, the package's default since 3.0, has lacked one or another of them."""

_DECLINED: Final = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION"}
)


class GeminiModel:
    """Asks ``models.generate_content``; see :class:`~.language_model.LanguageModel`."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self._http = provider_client(options.timeout_s)
        self._http.event_hooks = {**self._http.event_hooks, "response": [_refuse_error]}
        self._client = genai.Client(
            enterprise=False,  # whatever the environment says: the key is one of the public API
            api_key=options.api_key,
            http_options=types.HttpOptions(
                base_url=options.base_url,
                api_version=API_VERSION,
                timeout=round(options.timeout_s * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=self._http,
                client_args={"verify": trusted_authorities()},  # of a client that is made and not used
            ),
        )

    async def ask(self, prompt: Prompt, manner: Manner) -> Completion:
        """Ask once; raises :class:`~.failures.WriterFailed`."""
        models = self._client.aio.models
        question: dict[str, Any] = {
            "model": self.options.model,
            "contents": prompt.facts if manner.with_instructions_apart else prompt.in_one,
            "config": self._config(prompt, manner),
        }
        try:
            if manner.streamed:
                pieces = [piece async for piece in await models.generate_content_stream(**question)]
            else:
                pieces = [await models.generate_content(**question)]
            return _completion(pieces, self.options.model)
        except errors.APIError as error:
            raise failure_of_status(error.code, _retry_after(error), error.details) from error
        except httpx2.TimeoutException as error:
            raise WriterFailed("timeout") from error
        except httpx2.HTTPError as error:
            raise WriterFailed("unreachable", said=str(error)) from error
        except json.JSONDecodeError as error:
            raise failure_of_text(error.doc) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise WriterFailed("malformed") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._client.close()

    def _config(self, prompt: Prompt, manner: Manner) -> types.GenerateContentConfig:
        options = self.options
        thinking = None
        if manner.with_effort and options.thinking_budget is not None:
            thinking = types.ThinkingConfig(thinking_budget=options.thinking_budget)
        elif manner.with_effort and options.reasoning_effort is not None:
            thinking = types.ThinkingConfig(
                thinking_level=types.ThinkingLevel(options.reasoning_effort.upper())
            )
        return types.GenerateContentConfig(
            system_instruction=prompt.instructions if manner.with_instructions_apart else None,
            max_output_tokens=manner.max_output_tokens,
            temperature=options.temperature if manner.with_temperature else None,
            thinking_config=thinking,
            response_mime_type=None if manner.json_by == "words" else "application/json",
            response_json_schema=ANSWER_SCHEMA if manner.json_by == "schema" else None,
        )


async def _refuse_error(response: httpx2.Response) -> None:
    """An error that proxies send with status 200 would be an answer without candidates to the package."""
    if response.is_success and response.headers.get("content-type", "").startswith("application/json"):
        await response.aread()
        match response.json():
            case {"error": error} if error:
                raise failure_of_error(error)


def _completion(pieces: Sequence[types.GenerateContentResponse], asked: str) -> Completion:
    """Of the pieces of a stream, or of the one piece that a whole answer is."""
    texts: dict[bool, str] = {False: "", True: ""}  # by whether they are thoughts
    ended, model, usage = "", asked, None
    for piece in pieces:
        model, usage = piece.model_version or model, piece.usage_metadata or usage
        if piece.prompt_feedback is not None and piece.prompt_feedback.block_reason is not None:
            raise WriterFailed(
                "declined", said=f"the prompt is blocked: {piece.prompt_feedback.block_reason.value}"
            )
        for candidate in (piece.candidates or [])[:1]:
            ended = candidate.finish_reason.value if candidate.finish_reason else ended
            for part in (candidate.content.parts if candidate.content else None) or []:
                texts[bool(part.thought)] += part.text or ""
    if ended in _DECLINED:
        raise WriterFailed("declined", said=ended)
    thoughts = (usage.thoughts_token_count or 0) if usage else 0
    return Completion(
        texts[False],
        model,
        (usage.prompt_token_count or 0) if usage else 0,
        # Thoughts are paid for as the answer is.
        ((usage.candidates_token_count or 0) + thoughts) if usage else 0,
        reasoning=texts[True],
        reasoning_tokens=thoughts,
        ended=ended,
        cut_off=ended == "MAX_TOKENS",
    )


def _retry_after(error: errors.APIError) -> str | None:
    """Of the header, or of the ``RetryInfo`` that Google sends in the body instead ("38s")."""
    headers = getattr(error.response, "headers", None) or {}
    if header := headers.get("retry-after"):
        return str(header)
    body: Any = error.details
    try:
        details = body["error"]["details"]
        return next(str(d["retryDelay"]).removesuffix("s") for d in details if "retryDelay" in d)
    except (KeyError, TypeError, StopIteration):
        return None
