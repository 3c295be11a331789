"""Google's Gemini, by the package ``google-genai``.

Import this module only where it is configured: the package costs two seconds and 65 MB.
"""

from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

from orchestrator.report.failures import WriterFailed, failure_of_status
from orchestrator.report.guard import ANSWER_SCHEMA
from orchestrator.report.language_model import (
    Completion,
    ModelOptions,
    provider_client,
    trusted_authorities,
)
from orchestrator.report.prompt import Prompt

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"


class GeminiModel:
    """Asks ``models.generate_content``; see :class:`~.language_model.LanguageModel`."""

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._http = provider_client(options.timeout_s)
        self._client = genai.Client(
            enterprise=False,  # whatever the environment says: the key is one of the public API
            api_key=options.api_key,
            http_options=types.HttpOptions(
                base_url=options.base_url,
                timeout=round(options.timeout_s * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=self._http,
                client_args={"verify": trusted_authorities()},  # of a client that is made and not used
            ),
        )

    async def complete(self, prompt: Prompt) -> Completion:
        """Ask once; raises :class:`~.failures.WriterFailed`."""
        try:
            answer = await self._client.aio.models.generate_content(
                model=self._options.model,
                contents=prompt.facts,
                config=types.GenerateContentConfig(
                    system_instruction=prompt.instructions,
                    max_output_tokens=self._options.max_output_tokens,
                    temperature=self._options.temperature,
                    response_mime_type="application/json",
                    response_json_schema=ANSWER_SCHEMA if self._options.structured_output else None,
                ),
            )
            return _completion(answer, self._options.model)
        except errors.APIError as error:
            raise failure_of_status(error.code, _retry_after(error)) from error
        except httpx2.TimeoutException as error:
            raise WriterFailed("timeout") from error
        except httpx2.HTTPError as error:
            raise WriterFailed("unreachable") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise WriterFailed("malformed") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._client.close()


def _completion(answer: types.GenerateContentResponse, asked: str) -> Completion:
    usage = answer.usage_metadata
    return Completion(
        answer.text or "",
        answer.model_version or asked,
        (usage.prompt_token_count or 0) if usage else 0,
        # Thoughts are paid for as the answer is.
        ((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)) if usage else 0,
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
