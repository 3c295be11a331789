"""Servers of language models on 127.0.0.1, which speak OpenAI's or Google's protocol.

Left alone a :class:`ReportProvider` answers honestly: a text in the language asked for, from the facts that
it was sent, whole or as a stream. :data:`STAND_INS` are servers as they are met, each with one trait.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Literal

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

Protocol = Literal["openai", "gemini"]
Behaviour = Callable[[dict[str, Any]], Response | str]
"""From the facts to a response, or to the text that the model answers with."""

Refusal = Callable[[dict[str, Any]], Response | None]
"""From the body of a question to an error, before the model sees anything; None where there is none."""

KEY = "a-key-of-the-tests"
SERVED_MODEL = "gpt-served-2026"
PROMPT_TOKENS, COMPLETION_TOKENS = 700, 90


_PATHS: dict[Protocol, re.Pattern[str]] = {
    "openai": re.compile("/v1/chat/completions"),
    "gemini": re.compile(r"/v1(beta)?/models/[^/]+:(generateContent|streamGenerateContent)"),
}


@dataclass
class ReportProvider:
    """``base_url`` is where it listens; ``asked`` are the requests that it got, ``facts`` what they held."""

    protocol: Protocol
    base_url: str = ""
    behave: Behaviour = field(default_factory=lambda: honest)
    refuse: Refusal = field(default_factory=lambda: lambda _: None)
    asked: list[Request] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def forget(self) -> None:
        """Begin anew, honestly."""
        self.behave, self.refuse = honest, lambda _: None
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
        facts = json.loads(sent[sent.index('{"language"') :])
        self.asked.append(request)
        self.bodies.append(body)
        self.facts.append(facts)
        answer = self.refuse(body) or self.behave(facts)
        return answer if isinstance(answer, Response) else self.completion(answer)

    def completion(self, text: str | None, ended: str = "", thoughts: str = "", **message: Any) -> Response:
        """``text`` as the model's answer, in the provider's envelope, streamed where that was asked for.

        ``ended`` is the finish reason, ``thoughts`` what the model reasoned before, ``message`` further
        fields of OpenAI's message.
        """
        return self.envelope(
            _openai_envelope({"content": text, **message}, ended or "stop", thoughts)
            if self.protocol == "openai"
            else _gemini_envelope(text, ended or "STOP", thoughts)
        )

    def envelope(self, document: dict[str, Any]) -> Response:
        """A document of the protocol, whole or in two pieces of a stream."""
        if self.asked and self.is_streamed():
            return self.stream(document)
        return Response(json.dumps(document), mimetype="application/json")

    def is_streamed(self) -> bool:
        """Whether the latest question asks for a stream."""
        return bool(self.bodies[-1].get("stream")) or "streamGenerateContent" in self.asked[-1].path

    def stream(self, document: dict[str, Any]) -> Response:
        """The document as server-sent events."""
        pieces = (_openai_chunks if self.protocol == "openai" else _gemini_chunks)(document)

        def events() -> Iterator[str]:
            for piece in pieces:
                yield f"data: {json.dumps(piece)}\n\n"
            if self.protocol == "openai":
                yield "data: [DONE]\n\n"

        return Response(events(), mimetype="text/event-stream")

    def error(
        self, code: int, message: str, mark: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> Response:
        """An error as the protocol has it; ``mark`` is its code (OpenAI) or its status (Google)."""
        told = {"message": message, **more}
        told |= (
            {"type": "invalid_request_error", "code": mark or None}
            if self.protocol == "openai"
            else {"code": code, "status": mark or "INVALID_ARGUMENT"}
        )
        return Response(json.dumps({"error": told}), code, dict(headers or {}), mimetype="application/json")

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


def _openai_envelope(message: dict[str, Any], ended: str, thoughts: str) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": SERVED_MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": ended,
                "message": {
                    "role": "assistant",
                    **message,
                    **({"reasoning_content": thoughts} if thoughts else {}),
                },
            }
        ],
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        },
    }


def _gemini_envelope(text: str | None, ended: str, thoughts: str) -> dict[str, Any]:
    parts = [{"text": thoughts, "thought": True}] if thoughts else []
    parts += [{"text": text}] if text is not None else []
    return {
        "candidates": [{"index": 0, "finishReason": ended, "content": {"role": "model", "parts": parts}}],
        "modelVersion": SERVED_MODEL,
        "usageMetadata": {
            "promptTokenCount": PROMPT_TOKENS,
            "candidatesTokenCount": COMPLETION_TOKENS,
            "totalTokenCount": PROMPT_TOKENS + COMPLETION_TOKENS,
        },
    }


def _halves(text: str | None) -> list[str]:
    return [] if text is None else [text[: len(text) // 2], text[len(text) // 2 :]]


def _openai_chunks(document: dict[str, Any]) -> list[dict[str, Any]]:
    (choice,) = document["choices"]
    message = choice["message"]
    deltas = [{**message, "content": None}, *({"content": half} for half in _halves(message["content"]))]
    ends = [None] * (len(deltas) - 1) + [choice["finish_reason"]]
    return [
        {
            **document,
            "object": "chat.completion.chunk",
            "usage": None,
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
        }
        for delta, end in zip(deltas, ends, strict=True)
    ]


def _gemini_chunks(document: dict[str, Any]) -> list[dict[str, Any]]:
    if not document.get("candidates"):
        return [document]
    (candidate,) = document["candidates"]
    parts = candidate["content"]["parts"]
    first = {**document, "candidates": [{"index": 0, "content": {"role": "model", "parts": parts[:-1]}}]}
    halves = _halves(parts[-1]["text"]) if parts else []
    return [
        first,
        *(
            {
                **document,
                "candidates": [{**candidate, "content": {"role": "model", "parts": [{"text": half}]}}],
            }
            for half in halves
        ),
    ]


Trait = Callable[[ReportProvider], None]


@dataclass(frozen=True)
class StandIn:
    """A server as it is met. ``can_answer`` where a report can be had from it; else ``reason`` is why not,
    and ``says`` stands in its words for that."""

    name: str
    protocols: tuple[Protocol, ...]
    trait: Trait
    can_answer: bool = True
    reason: str = ""
    says: str = ""


def _refusing(knows_not: Callable[[dict[str, Any]], bool], message: str, status: int = 400) -> Trait:
    """Refuses the questions of which ``knows_not`` holds."""

    def trait(server: ReportProvider) -> None:
        server.refuse = lambda body: server.error(status, message) if knows_not(body) else None

    return trait


def _strict_422(*unknown: str) -> Trait:
    """As servers made with FastAPI refuse: a list of all that they do not know, with what was sent."""

    def refuse(body: dict[str, Any]) -> Response | None:
        found = [
            {
                "type": "extra_forbidden",
                "loc": ["body", name],
                "msg": "Extra inputs are not permitted",
                "input": body[name],
            }
            for name in unknown
            if name in body
        ]
        return Response(json.dumps({"detail": found}), 422, mimetype="application/json") if found else None

    def trait(server: ReportProvider) -> None:
        server.refuse = refuse

    return trait


def _format_of(body: dict[str, Any]) -> str | None:
    kind = (body.get("response_format") or {}).get("type")
    return str(kind) if kind else None


def _config(body: dict[str, Any]) -> dict[str, Any]:
    return dict(body.get("generationConfig", {}))


def _answering_with(wrap: Callable[[ReportProvider, str], Response]) -> Trait:
    """Has the honest answer, and wraps it in its own way."""

    def trait(server: ReportProvider) -> None:
        server.behave = lambda facts: wrap(server, honest(facts))

    return trait


def _saying(wrap: Callable[[str], str]) -> Trait:
    return _answering_with(lambda server, answer: server.completion(wrap(answer)))


def _failing(status: int, message: str, mark: str = "", **more: Any) -> Trait:
    return _answering_with(lambda server, _: server.error(status, message, mark, **more))


def _stream_only(server: ReportProvider) -> None:
    server.refuse = lambda _: (
        None if server.is_streamed() else server.error(400, "This model only supports stream=true.")
    )


def _slow_first_token(server: ReportProvider) -> None:
    def behave(facts: dict[str, Any]) -> str:
        time.sleep(0.4)
        return honest(facts)

    server.behave = behave


def _always_a_stream(server: ReportProvider) -> None:
    server.behave = lambda facts: server.stream(
        _openai_envelope({"content": honest(facts)}, "stop", "")
        if server.protocol == "openai"
        else _gemini_envelope(honest(facts), "STOP", "")
    )


def _thinks_until(limit: int) -> Trait:
    """Its thoughts take all of the room up to ``limit`` tokens."""

    def trait(server: ReportProvider) -> None:
        def behave(facts: dict[str, Any]) -> Response | str:
            body = server.bodies[-1]
            room = (
                body.get("max_completion_tokens")
                or body.get("max_tokens")
                or _config(body)["maxOutputTokens"]
            )
            if room > limit:
                return honest(facts)
            return server.completion(
                "" if server.protocol == "openai" else None,
                "length" if server.protocol == "openai" else "MAX_TOKENS",
                thoughts="Let me see.",
            )

        server.behave = behave

    return trait


def _no_more_room(server: ReportProvider) -> None:
    """Its thoughts take all of the room, and it has no more."""
    _thinks_until(1000)(server)
    server.refuse = lambda body: (
        server.error(400, "max_tokens is too large: this model has at most 1000 tokens.")
        if max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0)) > 1000
        or _config(body).get("maxOutputTokens", 0) > 1000
        else None
    )


def _cut_off(server: ReportProvider) -> None:
    """The first answer ends amidst the JSON, where the limit on tokens is."""

    def behave(facts: dict[str, Any]) -> Response | str:
        if len(server.asked) > 1:
            return honest(facts)
        return server.completion(
            honest(facts)[:60], "length" if server.protocol == "openai" else "MAX_TOKENS"
        )

    server.behave = behave


def _once(failure: Callable[[ReportProvider], Response]) -> Trait:
    """Fails the first time, and is honest from then on."""

    def trait(server: ReportProvider) -> None:
        server.behave = lambda facts: failure(server) if len(server.asked) == 1 else honest(facts)

    return trait


def _breaks_off(server: ReportProvider) -> None:
    """Knows streams alone, of which the first ends in an error."""
    _stream_only(server)
    begun_before: list[bool] = []

    def behave(facts: dict[str, Any]) -> Response | str:
        if begun_before:
            return honest(facts)
        begun_before.append(True)
        whole = server.completion(honest(facts)).get_data(as_text=True)
        begun = whole[: whole.rindex("data: {")]
        error = json.dumps({"error": {"message": "The engine died.", "code": 503, "status": "UNAVAILABLE"}})
        return Response(f"{begun}data: {error}\n\n", mimetype="text/event-stream")

    server.behave = behave


def _failed_choice(error: dict[str, Any]) -> dict[str, Any]:
    """As routers between many servers tell of one that failed."""
    document = _openai_envelope({"content": ""}, "error", "")
    document["choices"][0]["error"] = error
    return document


def _with_status_200(error: object) -> Callable[[ReportProvider], Response]:
    """An error that proxies and local servers send as if it were an answer."""
    return lambda _: Response(json.dumps({"error": error}), mimetype="application/json")


def _blocked(server: ReportProvider) -> Response:
    return server.envelope(
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": SERVED_MODEL}
    )


def _retry_info(server: ReportProvider) -> Response:
    """Google's way of saying when to come back."""
    told = "You exceeded your current quota, please check your plan and billing details."
    info = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.2s"}]
    return server.error(429, told, "RESOURCE_EXHAUSTED", details=info)


_BOTH: Final[tuple[Protocol, ...]] = ("openai", "gemini")
_OPENAI: Final[tuple[Protocol, ...]] = ("openai",)
_GEMINI: Final[tuple[Protocol, ...]] = ("gemini",)

_FILTERED: Final = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
)
_LOGIN_PAGE: Final = "<html><head><title>Sign in to the hospital network</title></head><body>..</body></html>"

STAND_INS: Final[tuple[StandIn, ...]] = (
    StandIn("honest", _BOTH, lambda _: None),
    # What a server does not know.
    StandIn(
        "no json_schema",
        _OPENAI,
        _refusing(
            lambda b: _format_of(b) == "json_schema", "response_format.type: 'json_schema' is not supported"
        ),
    ),
    StandIn(
        "no response_format",
        _OPENAI,
        _refusing(lambda b: _format_of(b) is not None, "unknown field response_format", 422),
    ),
    StandIn(
        "no response_format, no word of why",
        _OPENAI,
        _refusing(lambda b: _format_of(b) is not None, "Bad request"),
    ),
    StandIn(
        "no responseJsonSchema",
        _GEMINI,
        _refusing(
            lambda b: "responseJsonSchema" in _config(b),
            "Invalid JSON payload received. Unknown name \"responseJsonSchema\" at 'generation_config'.",
        ),
    ),
    StandIn(
        "no JSON mode",
        _GEMINI,
        _refusing(lambda b: "responseMimeType" in _config(b), "JSON mode is not enabled for this model"),
    ),
    StandIn("only max_tokens", _OPENAI, _strict_422("max_completion_tokens", "reasoning_effort")),
    StandIn(
        "only max_completion_tokens",
        _OPENAI,
        _refusing(
            lambda b: "max_tokens" in b,
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
        ),
    ),
    StandIn(
        "no reasoning",
        _OPENAI,
        _refusing(
            lambda b: "reasoning_effort" in b, "Unrecognized request argument supplied: reasoning_effort"
        ),
    ),
    StandIn(
        "no thinking level",
        _GEMINI,
        _refusing(
            lambda b: "thinkingConfig" in _config(b), "Thinking level is not supported for this model."
        ),
    ),
    StandIn(
        "no system role",
        _OPENAI,
        _refusing(lambda b: b["messages"][0]["role"] == "system", "System role not supported"),
    ),
    StandIn(
        "no developer instruction",
        _GEMINI,
        _refusing(lambda b: "systemInstruction" in b, "Developer instruction is not enabled for this model"),
    ),
    StandIn(
        "knows nothing of it all",
        _OPENAI,
        _strict_422("response_format", "max_completion_tokens", "reasoning_effort", "temperature"),
    ),
    StandIn("stream only", _BOTH, _stream_only),
    StandIn("always a stream", _BOTH, _always_a_stream),
    StandIn("slow first token", _BOTH, _slow_first_token),
    # How an answer looks.
    StandIn("fenced", _BOTH, _saying(lambda answer: f"Here it is:\n\n```json\n{answer}\n```\nGood luck!")),
    StandIn("among prose", _BOTH, _saying(lambda answer: f"Sure {{as asked}}. {answer} Is there more?")),
    StandIn(
        "thoughts in the text",
        _OPENAI,
        _saying(lambda answer: f'<think>Maybe {{"class": "Monocyte"}}? No.</think>\n{answer}'),
    ),
    StandIn(
        "thoughts without their opening tag",
        _OPENAI,
        _saying(lambda answer: f"A {{}} first.</think>{answer}"),
    ),
    StandIn(
        "content in parts",
        _OPENAI,
        _answering_with(
            lambda server, answer: server.envelope(
                _openai_envelope(
                    {
                        "content": [
                            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                            {"type": "text", "text": answer[:9]},
                            {"type": "text", "text": answer[9:]},
                        ]
                    },
                    "stop",
                    "",
                )
            )
        ),
    ),
    StandIn(
        "thoughts apart",
        _BOTH,
        _answering_with(lambda server, answer: server.completion(answer, thoughts="Hm.")),
    ),
    StandIn(
        "reasoning only",
        _OPENAI,
        _answering_with(
            lambda server, answer: server.completion(None, thoughts=f"So the answer is {answer}")
        ),
    ),
    StandIn("thoughts to the limit", _BOTH, _thinks_until(1000)),
    StandIn(
        "empty after its thoughts",
        _OPENAI,
        _once(lambda server: server.completion("<think>It is clear.</think>")),
    ),
    StandIn("cut off", _BOTH, _cut_off),
    # What passes.
    StandIn(
        "rate limit with Retry-After",
        _BOTH,
        _once(lambda server: server.error(429, "Slow down.", headers={"Retry-After": "0.2"})),
    ),
    StandIn("rate limit without Retry-After", _BOTH, _once(lambda server: server.error(429, "Slow down."))),
    StandIn("rate limit with RetryInfo", _GEMINI, _once(_retry_info)),
    StandIn(
        "rate limit with status 200",
        _BOTH,
        _once(_with_status_200({"message": "Slow down.", "code": 429})),
    ),
    StandIn(
        "back at a date",
        _BOTH,
        _once(
            lambda server: server.error(
                503, "Loading model", headers={"Retry-After": formatdate(time.time() + 1, usegmt=True)}
            )
        ),
    ),
    StandIn("a stream that breaks off", _BOTH, _breaks_off),
    StandIn(
        "an error in place of a choice",
        _OPENAI,
        _once(lambda server: server.envelope(_failed_choice({"code": 502, "message": "Upstream is down."}))),
    ),
    # What does not answer.
    StandIn(
        "refuses in a field",
        _OPENAI,
        _answering_with(lambda server, _: server.completion(None, refusal="I can't help with that.")),
        False,
        "declined",
        "I can't help with that.",
    ),
    StandIn(
        "refuses in prose",
        _BOTH,
        _saying(lambda _: "I'm sorry, but I can't help with that."),
        False,
        "malformed",
    ),
    StandIn(
        "filters the answer",
        _OPENAI,
        _answering_with(lambda server, _: server.completion("", "content_filter")),
        False,
        "declined",
        "content_filter",
    ),
    StandIn(
        "filters the prompt",
        _OPENAI,
        _failing(400, _FILTERED, "content_filter"),
        False,
        "declined",
        "content management policy",
    ),
    StandIn(
        "blocked",
        _GEMINI,
        _answering_with(lambda server, _: _blocked(server)),
        False,
        "declined",
        "PROHIBITED_CONTENT",
    ),
    StandIn(
        "SAFETY",
        _GEMINI,
        _answering_with(lambda server, _: server.completion(None, "SAFETY")),
        False,
        "declined",
        "SAFETY",
    ),
    StandIn("thoughts beyond any limit", _BOTH, _thinks_until(1_000_000), False, "empty", "ended by"),
    StandIn("no more room", _BOTH, _no_more_room, False, "empty", "at most"),
    StandIn(
        "quota",
        _OPENAI,
        _failing(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
        False,
        "quota",
        "insufficient_quota",
    ),
    StandIn(
        "quota of a day",
        _GEMINI,
        _failing(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "RESOURCE_EXHAUSTED",
        ),
        False,
        "quota",
        "RESOURCE_EXHAUSTED",
    ),
    StandIn(
        "invalid key",
        _OPENAI,
        _failing(401, "Incorrect API key provided.", "invalid_api_key"),
        False,
        "unauthorised",
        "Incorrect API key",
    ),
    StandIn(
        "invalid key",
        _GEMINI,
        _failing(
            400,
            "API key not valid. Please pass a valid API key.",
            details=[{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        ),
        False,
        "unauthorised",
        "API_KEY_INVALID",
    ),
    StandIn(
        "no such model",
        _OPENAI,
        _failing(400, "The model `a-model` does not exist", "model_not_found"),
        False,
        "not_found",
        "does not exist",
    ),
    StandIn(
        "no such model, 404",
        _BOTH,
        _failing(404, "The model `a-model` is not here.", "model_not_found"),
        False,
        "not_found",
        "is not here",
    ),
    StandIn(
        "no such model, 200",
        _BOTH,
        _answering_with(
            lambda server, _: _with_status_200({"message": "No such model", "code": "model_not_found"})(
                server
            )
        ),
        False,
        "not_found",
        "No such model",
    ),
    StandIn(
        "no such path, 200",
        _BOTH,
        _answering_with(lambda server, _: _with_status_200("Unexpected endpoint or method.")(server)),
        False,
        "refused",
        "Unexpected endpoint",
    ),
    StandIn("gone", _BOTH, _failing(410, "This service was retired.", "gone"), False, "gone", "retired"),
    StandIn(
        "sign-in page",
        _BOTH,
        _answering_with(lambda _s, _a: Response(_LOGIN_PAGE, mimetype="text/html")),
        False,
        "malformed",
        "Sign in to the hospital network",
    ),
)
