"""Asks a language model as its server can be asked, which it learns from what the server refuses.

Servers with one and the same API differ in what they know of it: JSON by schema, the name of the limit on
tokens, an effort of reasoning, a role for instructions, whole answers or only streams. Which one it is stands
in the answer 400 or 422; so that is left out or exchanged, and the question put again.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Final

from orchestrator.report.answer_text import object_in, without_thoughts
from orchestrator.report.failures import WriterFailed
from orchestrator.report.language_model import Completion, LanguageModel, Manner
from orchestrator.report.prompt import Prompt
from orchestrator.report.server_words import tellable

MORE_ROOM: Final = 4
"""So many times max_output_tokens for a model whose reasoning leaves no room for its answer."""

_LOGGER = logging.getLogger(__name__)


def _less_json(manner: Manner) -> Manner:
    return replace(manner, json_by="object" if manner.json_by == "schema" else "words")


def _other_token_limit(manner: Manner) -> Manner:
    older = manner.token_limit_field == "max_completion_tokens"
    return replace(manner, token_limit_field="max_tokens" if older else "max_completion_tokens")


_Step = Callable[[Manner], Manner]

_STEPS: Final[tuple[tuple[re.Pattern[str], _Step], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), step)
    for pattern, step in (
        (r"response.?_?format|json(?! payload)|schema|mime.?_?type", _less_json),
        (r"reasoning|thinking|effort", lambda manner: replace(manner, with_effort=False)),
        (r"max_(completion_)?tokens", _other_token_limit),
        (r"temperature", lambda manner: replace(manner, with_temperature=False)),
        (
            r"system.?(_?instruction|role|message|prompt)|developer.?(instruction|role|message)",
            lambda manner: replace(manner, with_instructions_apart=False),
        ),
        (r"stream", lambda manner: replace(manner, streamed=not manner.streamed)),
    )
)
"""What a server names, and how to ask without it."""

_GUESSES: Final = (_less_json, *(step for _, step in _STEPS))
"""What is tried, each once, with a server that names nothing; JSON in words takes two steps."""


class LearningModel:
    """Asks ``model``; what it has learnt of it holds for the process, and is logged once.

    Args:
        name: of the writer, for the log.
        spent: told of every answer, also of those that are of no use: all are paid for.
    """

    def __init__(self, name: str, model: LanguageModel, spent: Callable[[Completion], None]) -> None:
        self._name = name
        self._model = model
        self._spent = spent
        options = model.options
        self._manner = replace(
            options.manner,
            with_temperature=options.temperature is not None,
            with_effort=options.reasoning_effort is not None or options.thinking_budget is not None,
        )
        self._has_answered = False
        self._room = MORE_ROOM * options.manner.max_output_tokens

    async def complete(self, prompt: Prompt) -> Completion:
        """The answer, of which ``text`` is the JSON object where there is one.

        A second time, and with more room, where the model's reasoning left none for an answer. Raises
        :class:`~.failures.WriterFailed`, with what may be told of the server's words.
        """
        try:
            answer = _read(await self._asked(prompt))
            if _wants_room(answer) and self._makes_room(answer.ended):
                answer = await self._with_room(prompt)
            if not answer.text.strip():
                raise WriterFailed("empty", said=f"ended by {answer.ended or 'nothing'}")
        except WriterFailed as failure:
            failure.words = tellable(failure.said, prompt.facts, self._model.options.api_key)
            raise
        return answer

    async def close(self) -> None:
        """Close the model."""
        await self._model.close()

    async def _asked(self, prompt: Prompt) -> Completion:
        before = manner = self._manner
        tried, guesses = {manner}, iter(_GUESSES)
        unexplained: WriterFailed | None = None
        while True:
            try:
                answer = await self._model.ask(prompt, manner)
                break
            except WriterFailed as failure:
                if not failure.of_the_manner:
                    raise
                named = _first_new(manner, _named(failure.said), tried)
                if named is None:
                    unexplained = unexplained or failure
                # What a server that has answered before does not like, and does not name, is in this prompt.
                other = named or (None if self._has_answered else _first_new(manner, guesses, tried))
                if other is None:
                    self._manner = before  # what was left out was not why
                    raise (unexplained or failure) from None
                words = tellable(failure.said, prompt.facts, self._model.options.api_key)
            manner = other
            tried.add(manner)
            if unexplained is None:
                self._learn(manner, words)
        self._has_answered = True
        self._spent(answer)
        if unexplained is not None:
            self._learn(manner, words)
        return answer

    def _makes_room(self, ended: str) -> bool:
        """Whether there is more to be had."""
        if self._manner.max_output_tokens >= self._room:
            return False
        self._learn(replace(self._manner, max_output_tokens=self._room), f"ended by {ended or 'nothing'}")
        return True

    async def _with_room(self, prompt: Prompt) -> Completion:
        try:
            return _read(await self._asked(prompt))
        except WriterFailed as failure:
            if not failure.of_the_manner:
                raise
            self._room = self._model.options.manner.max_output_tokens  # the server has no more
            self._manner = replace(self._manner, max_output_tokens=self._room)
            raise WriterFailed("empty", said=failure.said) from failure

    def _learn(self, manner: Manner, words: str) -> None:
        changes = [
            f"{one.name}={getattr(manner, one.name)}"
            for one in fields(Manner)
            if getattr(manner, one.name) != getattr(self._manner, one.name)
        ]
        if changes:
            self._manner = manner
            _LOGGER.warning(
                "writer %s is asked with %s from now on: %r", self._name, ", ".join(changes), words
            )


def _named(said: str) -> Iterator[_Step]:
    """What else to try by the server's words: first what it names first."""
    places = [(match.start(), step) for pattern, step in _STEPS if (match := pattern.search(said))]
    return (step for _, step in sorted(places, key=lambda place: place[0]))


def _first_new(manner: Manner, steps: Iterator[_Step], tried: set[Manner]) -> Manner | None:
    return next((other for step in steps if (other := step(manner)) not in tried), None)


def _read(answer: Completion) -> Completion:
    """With the object alone for its text; from the reasoning where that is all that came."""
    found = object_in(answer.text) or (None if answer.text.strip() else object_in(answer.reasoning))
    if found is not None:
        return replace(answer, text=found)
    if without_thoughts(answer.text).strip():
        return answer
    return replace(answer, text="", reasoning=answer.reasoning or answer.text)


def _wants_room(answer: Completion) -> bool:
    has_object = answer.text.startswith("{") and answer.text.endswith("}")
    return not has_object and (
        answer.cut_off or (not answer.text and bool(answer.reasoning or answer.reasoning_tokens))
    )
