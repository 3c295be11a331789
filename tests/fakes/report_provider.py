"""A provider of language models on 127.0.0.1, which speaks OpenAI's or Google's protocol and does as told.

Left alone it answers honestly: a text in the language asked for, from the facts that it was sent.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

Protocol = Literal["openai", "gemini"]
Behaviour = Callable[[dict[str, Any]], Response | str]
"""From the facts to a response, or to the text that the model answers with."""

KEY = "a-key-of-the-tests"
SERVED_MODEL = "gpt-served-2026"
PROMPT_TOKENS, COMPLETION_TOKENS = 700, 90


_PATHS: dict[Protocol, re.Pattern[str]] = {
    "openai": re.compile("/v1/chat/completions"),
    "gemini": re.compile(r"/v1(beta)?/models/[^/]+:generateContent"),
}


@dataclass
class ReportProvider:
    """``base_url`` is where it listens; ``asked`` are the requests that it got, ``facts`` what they held."""

    protocol: Protocol
    base_url: str = ""
    behave: Behaviour = field(default_factory=lambda: honest)
    asked: list[Request] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def forget(self) -> None:
        """Begin anew, honestly."""
        self.behave = honest
        self.released = threading.Event()
        for kept in (self.asked, self.bodies, self.facts):
            kept.clear()

    def handle(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        sent = (
            body["messages"][-1]["content"]
            if self.protocol == "openai"
            else body["contents"][0]["parts"][0]["text"]
        )
        facts = json.loads(sent)
        self.asked.append(request)
        self.bodies.append(body)
        self.facts.append(facts)
        answer = self.behave(facts)
        return answer if isinstance(answer, Response) else self.completion(answer)

    def completion(self, text: str) -> Response:
        """``text`` as the model's answer, in the provider's envelope."""
        envelope: dict[str, Any]
        if self.protocol == "openai":
            envelope = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": SERVED_MODEL,
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}],
                "usage": {
                    "prompt_tokens": PROMPT_TOKENS,
                    "completion_tokens": COMPLETION_TOKENS,
                    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
                },
            }
        else:
            envelope = {
                "candidates": [
                    {
                        "index": 0,
                        "finishReason": "STOP",
                        "content": {"role": "model", "parts": [{"text": text}]},
                    }
                ],
                "modelVersion": SERVED_MODEL,
                "usageMetadata": {
                    "promptTokenCount": PROMPT_TOKENS,
                    "candidatesTokenCount": COMPLETION_TOKENS,
                    "totalTokenCount": PROMPT_TOKENS + COMPLETION_TOKENS,
                },
            }
        return Response(json.dumps(envelope), mimetype="application/json")

    def status(self, code: int, retry_after: str | None = None) -> Behaviour:
        """An error, in words that repeat what was sent, as providers do."""

        def behave(facts: dict[str, Any]) -> Response:
            body = {"error": {"code": code, "message": f"no: {facts}", "status": "ERROR"}}
            headers = {} if retry_after is None else {"Retry-After": retry_after}
            return Response(json.dumps(body), code, headers, mimetype="application/json")

        return behave

    def hang(self, facts: dict[str, Any]) -> Response:
        """No answer until the end of the test."""
        self.released.wait(30)
        return self.completion(honest(facts))

    def drip(self, facts: dict[str, Any]) -> Response:
        """An answer a byte at a time, so that no wait for a byte is ever long."""
        whole = self.completion(honest(facts)).get_data()

        def bytes_of_it() -> Iterator[bytes]:
            for value in whole:
                yield bytes([value])
                if self.released.wait(0.05):
                    return

        return Response(bytes_of_it(), mimetype="application/json")


@contextmanager
def report_provider(protocol: Protocol) -> Iterator[ReportProvider]:
    """A provider that listens, until the end of the block."""
    provider = ReportProvider(protocol)
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        server.expect_request(_PATHS[protocol]).respond_with_handler(provider.handle)
        provider.base_url = server.url_for("/v1" if protocol == "openai" else "")
        try:
            yield provider
        finally:
            provider.released.set()


def honest_document(facts: dict[str, Any]) -> dict[str, Any]:
    """What a good model answers."""
    decided = facts["decided"]
    return {
        "class": decided["class_name"],
        "confidence_percent": float(decided["percent"]),
        "region": facts["region"],
        "focus": facts["heatmap"]["measured_focus"] if facts["heatmap"] else "doubtful",
        "text": _english(facts) if facts["language"] == "en" else _turkish(facts),
    }


def honest(facts: dict[str, Any]) -> str:
    """The same as JSON."""
    return json.dumps(honest_document(facts), ensure_ascii=False)


def answering(**changes: Any) -> Behaviour:
    """An honest answer but for these fields."""
    return lambda facts: json.dumps({**honest_document(facts), **changes}, ensure_ascii=False)


def _english(facts: dict[str, Any]) -> str:
    decided, heat = facts["decided"], facts["heatmap"]
    text = (
        f"The classifier's answer for this cell is {decided['label']}, with {facts['confidence']} "
        f"({decided['percent']} %)."
    )
    if heat:
        text += (
            f" Of the heatmap {heat['nucleus']} % lies on the nucleus, {heat['cytoplasm']} % on the "
            f"cytoplasm and {heat['background']} % on the background; for this class one looks for "
            f"{facts['looked_for'][0]}."
        )
    elif facts["region"] != "none":
        text += " The position of the heatmap cannot be judged here."
    if facts["second"]:
        text += f" The second class is {facts['second']['label']} ({facts['second']['percent']} %)."
    if facts["review"]:
        text += f" Please review this result: {facts['review'][0]}."
    return text


def _turkish(facts: dict[str, Any]) -> str:
    decided, heat = facts["decided"], facts["heatmap"]
    percent = decided["percent"].replace(".", ",")
    text = (
        f"Sınıflandırıcının bu hücre için yanıtı {decided['label']} olarak verildi, {facts['confidence']} "
        f"(%{percent})."
    )
    if heat:
        text += (
            f" Isı haritasının %{heat['nucleus']} kadarı çekirdek, %{heat['cytoplasm']} kadarı sitoplazma ve "
            f"%{heat['background']} kadarı arka plan üzerindedir; bu sınıf için {facts['looked_for'][0]} "
            "aranır."
        )
    elif facts["region"] != "none":
        text += " Isı haritasının konumu bu hücre için değerlendirilemez."
    if facts["second"]:
        second = facts["second"]
        text += f" İkinci sınıf {second['label']} (%{second['percent'].replace('.', ',')})."
    if facts["review"]:
        text += f" Lütfen bu sonucu gözden geçirin: {facts['review'][0]}."
    return text
