"""The choices of a reply as completions, whatever server sent them.

Read are content as a text, a list of parts, null or not there at all; thoughts in a field of their own or between tags;
answers among the thoughts or in the call of a tool. What is missing is never guessed: a reply without a completion is
an error with the server's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.llm.chat import ChatRequest, Completion, Usage
from counterpoise.llm.letters import choose_letter, read_table
from counterpoise.llm.reply_shapes import THOUGHT_FIELDS, join_content, list_choices
from counterpoise.llm.reply_usage import CompletionParts, read_usage
from counterpoise.llm.structured import parse_reply
from counterpoise.llm.thoughts import split_thoughts

_FINISHED = {
    **dict.fromkeys(
        ("max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit"), "length"
    ),
    **dict.fromkeys(
        ("eos", "eos_token", "end_turn", "stop_sequence", "end_of_turn", "completed", "done"), "stop"
    ),
}


def read_completions(reply: Any, request: ChatRequest) -> list[Completion]:
    """The completions of a reply: as many as were asked for, or fewer where the server gave fewer.

    A completion that ends inside thoughts has no text and the finish reason `length`. A letter choice has its
    `logprobs` from the table of the first token or from the letter that was written; without either it has none, and
    says so in `problem`.

    Raises:
        ValueError: there is no completion in it.
    """
    choices = list_choices(reply)[: request.n]
    if not choices:
        raise ValueError("it holds no completion")
    parts = [_read_choice(choice, request) for choice in choices]
    lengths = [CompletionParts(part.text, part.thoughts) for part in parts]
    usages, counted = read_usage(reply.get("usage"), request, lengths)
    return [
        _settle(part, usage, thoughts, choice, request)
        for part, usage, thoughts, choice in zip(parts, usages, counted, choices, strict=True)
    ]


def read_text(
    text: str, request: ChatRequest, *, thoughts: str = "", is_cut: bool = False
) -> tuple[str, str, str]:
    """Answer, thoughts and finish reason of a text as a model wrote it, the request's stop marks applied.

    Stop marks never end thoughts: they are looked for in what follows them.
    """
    split = split_thoughts(text)
    answer, thoughts = split.answer, thoughts or split.thoughts
    if thoughts:
        answer = answer.strip() if split.thoughts else answer.lstrip()
    finish_reason = "length" if is_cut or split.is_open else "stop"
    for mark in request.sampling.stop:
        head, found, _ = answer.partition(mark)
        if found:
            answer, finish_reason = head, "stop"
    return answer, thoughts, finish_reason


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    thoughts: str
    finish_reason: str


def _settle(
    part: _Part, usage: Usage, thought_tokens: int, choice: Mapping[str, Any], request: ChatRequest
) -> Completion:
    completion = Completion(
        part.text, usage=usage, finish_reason=part.finish_reason, thought_tokens=thought_tokens
    )
    if not request.choices:
        return completion
    table = {} if part.thoughts else read_table(choice.get("logprobs"))
    letters = choose_letter(part.text, request, table)
    problem = "" if letters else f"it chose {part.text[:40]!r}, which is none of the letters"
    return Completion(
        part.text, None, letters, usage, part.finish_reason, problem=problem, thought_tokens=thought_tokens
    )


def _read_choice(choice: Mapping[str, Any], request: ChatRequest) -> _Part:
    message = next(
        (choice[name] for name in ("message", "delta") if isinstance(choice.get(name), Mapping)), None
    )
    if message is None:
        said = choice.get("message")
        message = {"content": said if said is not None else choice.get("text", choice.get("generated_text"))}
    text, thoughts = join_content(message.get("content"))
    if not text and choice.get("text"):
        text = join_content(choice["text"])[0]
    for name in THOUGHT_FIELDS:
        if message.get(name):
            thoughts += "".join(join_content(message[name]))
            break
    if not text and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    given = choice.get("finish_reason") or choice.get("done_reason") or "stop"
    reason = _FINISHED.get(str(given).lower(), str(given).lower())
    if not text.strip() and request.schema is not None:
        text = _find_call(message) or _find_answer(thoughts, reason, request)
        thoughts = "" if text else thoughts
    answer, thoughts, found = read_text(text, request, thoughts=thoughts, is_cut=reason == "length")
    if reason not in ("stop", "length"):
        found = reason
    return _Part(answer, thoughts, found)


def _find_call(message: Mapping[str, Any]) -> str:
    """The arguments of a tool call: gateways answer with one where a schema was asked for."""
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls and isinstance(calls[0], Mapping):
        function = calls[0].get("function")
        if isinstance(function, Mapping):
            return "".join(join_content(function.get("arguments")))
    return ""


def _find_answer(thoughts: str, reason: str, request: ChatRequest) -> str:
    """A JSON answer that a server has put among the thoughts, because its schema held there already."""
    if not thoughts or reason == "length" or request.schema is None:
        return ""
    _, problem = parse_reply(thoughts, request.schema)
    return "" if problem else thoughts


def check_completion(request: ChatRequest, completion: Completion) -> Completion:
    """The completion without thoughts, with its parsed value or its problem.

    Thoughts are taken off whoever made the completion: an engine of the user's, or a store of earlier days.
    """
    answer, thoughts, reason = read_text(
        completion.text, request, is_cut=completion.finish_reason == "length"
    )
    if answer != completion.text:
        share = 1 - len(answer) / max(1, len(completion.text))
        tokens = max(1, round(share * completion.usage.completion_tokens)) if thoughts else 0
        completion = replace(
            completion, text=answer, finish_reason=reason, thought_tokens=completion.thought_tokens or tokens
        )
    if request.choices and completion.logprobs is None:
        return replace(completion, problem=f"it chose {answer[:40]!r}, which is none of the letters")
    if request.schema is None:
        return completion
    parsed, problem = parse_reply(completion.text, request.schema)
    if problem and completion.finish_reason == "length":
        problem += f" (cut off after {completion.usage.completion_tokens} tokens)"
    return replace(completion, parsed=parsed, problem=problem)
