"""A language model behind an API that is compatible with OpenAI's: OpenAI, Azure, vLLM, Ollama, and others.

Import this module only where one is configured: the package ``openai`` costs a second and 40 MB.
"""

from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletion

from orchestrator.report.failures import WriterFailed, failure_of_status
from orchestrator.report.guard import ANSWER_SCHEMA
from orchestrator.report.language_model import Completion, ModelOptions, provider_client
from orchestrator.report.prompt import Prompt

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class OpenAiModel:
    """Asks ``POST {base_url}/chat/completions``; see :class:`~.language_model.LanguageModel`."""

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._http = provider_client(options.timeout_s)
        # A server of one's own may want no key; the package wants one.
        self._client = openai.AsyncOpenAI(
            api_key=options.api_key or "none",
            base_url=options.base_url,
            timeout=options.timeout_s,
            max_retries=0,
            http_client=self._http,
        )

    async def complete(self, prompt: Prompt) -> Completion:
        """Ask once; raises :class:`~.failures.WriterFailed`."""
        try:
            answer = await self._client.chat.completions.create(
                model=self._options.model,
                messages=[
                    {"role": "system", "content": prompt.instructions},
                    {"role": "user", "content": prompt.facts},
                ],
                **self._choices(),
            )
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            raise WriterFailed("timeout") from error
        except openai.APIStatusError as error:
            raise failure_of_status(error.status_code, error.response.headers.get("retry-after")) from error
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise WriterFailed("unreachable") from error
        except (openai.OpenAIError, ValueError) as error:
            raise WriterFailed("malformed") from error
        return _completion(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _choices(self) -> dict[str, Any]:
        options = self._options
        choices: dict[str, Any] = {options.token_limit_field: options.max_output_tokens}
        if options.temperature is not None:
            choices["temperature"] = options.temperature
        if options.structured_output:
            schema = {"name": "report", "strict": True, "schema": ANSWER_SCHEMA}
            choices["response_format"] = {"type": "json_schema", "json_schema": schema}
        return choices


def _completion(answer: ChatCompletion) -> Completion:
    """The package checks nothing of what it received."""
    try:
        text = answer.choices[0].message.content or ""
        usage = answer.usage
        return Completion(
            str(text),
            str(answer.model),
            int(usage.prompt_tokens) if usage else 0,
            int(usage.completion_tokens) if usage else 0,
        )
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise WriterFailed("malformed") from error
