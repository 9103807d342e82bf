"""Whatever a server sends, as completions: the one place that knows the shapes of replies.

Read are plain JSON and streams of server-sent events; content as a text, a list of parts, null or not there at all;
thoughts in a field of their own or between tags; error objects under any status; counts of tokens that are left out or
cannot be true. What is missing is never guessed: a reply without a completion is an error with the server's own words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.llm.budget import TEMPLATE_TOKENS, TOKENS_PER_MESSAGE, estimate_prompt, estimate_tokens
from counterpoise.llm.chat import ChatRequest, Completion, Usage
from counterpoise.llm.structured import parse_reply, read_letter, score_letters
from counterpoise.llm.thoughts import begins_thoughts, split_thoughts

LOWEST_LOGPROB = -9999.0
"""What stands for minus infinity in replies that have no number for it."""

HIDDEN_PROMPT_TOKENS = 32_768
"""Tokens of instructions that a gateway may put before a prompt without showing them; what goes beyond is no count."""

MOST_HIDDEN_THOUGHTS = 131_072
"""Tokens of thoughts that a server may count without showing them."""

LONGEST_SENTENCE = 400
"""Characters of a server's own words that are passed on."""

SURENESS = 0.9
"""What a written letter counts for where there are no log-probabilities."""

_THOUGHT_FIELDS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "reasoning_details",
    "thinking_blocks",
)
_THOUGHT_PARTS = (
    "thinking",
    "reasoning",
    "redacted_thinking",
    "reasoning_text",
    "reasoning.text",
    "reasoning.summary",
)
_FINISHED = {
    **dict.fromkeys(
        ("max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit"), "length"
    ),
    **dict.fromkeys(
        ("eos", "eos_token", "end_turn", "stop_sequence", "end_of_turn", "completed", "done"), "stop"
    ),
}
_TRANSIENT = (
    "overload",
    "rate limit",
    "rate_limit",
    "timed out",
    "timeout",
    "unavailable",
    "try again",
    "busy",
    "loading",
)
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class ServedError:
    """What a server says went wrong.

    Args:
        said: in its own words, one line.
        status: the status it names, 0 where it names none.
        is_transient: asking again may help.
    """

    said: str
    status: int = 0
    is_transient: bool = False


def read_body(content: bytes) -> Any:
    """The JSON of a reply, or of the stream of events that it is, put together.

    Raises:
        ValueError: it is neither, or a stream that broke off.
    """
    begin = content.lstrip()[:16]
    if begin.startswith((b"data:", b"event:", b"id:", b":")):
        return _join_events(_list_events(content))
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError:
        lines = content.split(b"\n")
        if begin.startswith(b"{") and sum(line.strip().startswith(b"{") for line in lines) > 1:
            return _join_events(json.loads(line) for line in lines if line.strip())
        raise


def find_error(reply: Any) -> ServedError | None:
    """The error that a reply is, whatever its status; None where it holds completions."""
    if isinstance(reply, Mapping):
        for holder in (reply, *_list_choices(reply)):
            if error := holder.get("error"):
                return _read_error(error)
        if _list_choices(reply):
            return None
        for name in ("detail", "message", "msg", "errors", "error_message"):
            if reply.get(name) and not isinstance(reply.get("choices"), list):
                return _read_error(reply)
    return None


def quote_error(content: bytes) -> str:
    """The server's own sentence in the body of a refusal, one line."""
    try:
        reply = read_body(content)
    except ValueError:
        return _cut(content[: 4 * LONGEST_SENTENCE].decode("utf-8", "replace"))
    return _read_error(reply.get("error") or reply if isinstance(reply, Mapping) else reply).said


def read_completions(reply: Any, request: ChatRequest) -> list[Completion]:
    """The completions of a reply: as many as were asked for, or fewer where the server gave fewer.

    A completion that ends inside thoughts has no text and the finish reason `length`. A letter choice has its
    `logprobs` from the table of the first token or from the letter that was written; without either it has none, and
    says so in `problem`.

    Raises:
        ValueError: there is no completion in it.
    """
    choices = _list_choices(reply)[: request.n]
    if not choices:
        raise ValueError("it holds no completion")
    parts = [_read_choice(choice, request) for choice in choices]
    lengths = [_Said(part.text, part.thoughts) for part in parts]
    usages, counted = _read_usage(reply.get("usage"), request, lengths)
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


def estimate_usage(request: ChatRequest, texts: Sequence[str]) -> tuple[int, int]:
    """Tokens of prompt and completions where a server counts none, so that a budget holds all the same."""
    n_completion = min(estimate_tokens(texts), len(texts) * request.most_tokens)
    return estimate_prompt(request), n_completion


def correct_count(n_completion: int, texts: Sequence[str], max_tokens: int) -> int:
    """Completion tokens of all completions together.

    llama.cpp reports those of the first completion only. Text has fewer than seven bytes a token; where the report
    would need more, four bytes a token are counted instead, as in English text, and never more than were allowed.
    """
    n_bytes = sum(_count_bytes(text) for text in texts)
    if len(texts) == 1 or n_completion * 7 >= n_bytes:
        return n_completion
    return min(-(-n_bytes // 4), len(texts) * max_tokens)


def split_usage(n_prompt: int, n_completion: int, texts: Sequence[str]) -> list[Usage]:
    """Shares of a reply's tokens, summing to what was reported: equal for the prompt, else by length."""
    n = len(texts)
    if n == 1:
        return [Usage(n_prompt, n_completion)]
    weights = [len(text) + 1 for text in texts]
    total = sum(weights)
    shares = []
    seen = 0
    for index, weight in enumerate(weights):
        prompt = n_prompt * (index + 1) // n - n_prompt * index // n
        completion = n_completion * (seen + weight) // total - n_completion * seen // total
        seen += weight
        shares.append(Usage(prompt, completion))
    return shares


def choose_letter(
    text: str, request: ChatRequest, table: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Probabilities of a request's letters: from the table where it is about letters, else from the letter written.

    Args:
        text: the answer.
        request: with `choices`.
        table: token -> log-probability of the first token; None or empty where there is none.

    Returns:
        None where neither tells.
    """
    if table and not begins_thoughts(max(table, key=table.__getitem__)):
        return score_letters(table, request.choices)
    letter = read_letter(text, request.choices)
    if not letter:
        return None
    rest = (1.0 - SURENESS) / max(1, len(request.choices) - 1)
    return {choice: SURENESS if choice == letter else rest for choice in request.choices}


def read_table(logprobs: Any) -> dict[str, float]:
    """Log-probabilities of the first token, from either form: a list of tokens, or a table a position."""
    if not isinstance(logprobs, Mapping):
        return {}
    entries: list[tuple[Any, Any]] = []
    content, tables = logprobs.get("content"), logprobs.get("top_logprobs")
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        listed = content[0].get("top_logprobs")
        rows = listed if isinstance(listed, list) else []
        entries = [(row.get("token"), row.get("logprob")) for row in rows if isinstance(row, Mapping)]
    elif isinstance(tables, list) and tables and isinstance(tables[0], Mapping):
        entries = list(tables[0].items())
    table: dict[str, float] = {}
    for token, logprob in entries:
        value = LOWEST_LOGPROB if logprob is None else _as_number(logprob)
        if isinstance(token, str) and value is not None and value <= 1e-3:  # a probability is not above one
            table[token] = max(value, LOWEST_LOGPROB, table.get(token, LOWEST_LOGPROB))
    return table


def has_table(reply: Any) -> bool:
    """Whether a reply gives log-probabilities."""
    return any(read_table(choice.get("logprobs")) for choice in _list_choices(reply))


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    thoughts: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class _Said:
    text: str
    thoughts: str

    @property
    def whole(self) -> str:
        return self.thoughts + self.text


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
    text, thoughts = _join(message.get("content"))
    if not text and choice.get("text"):
        text = _join(choice["text"])[0]
    for name in _THOUGHT_FIELDS:
        if message.get(name):
            thoughts += "".join(_join(message[name]))
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
            return "".join(_join(function.get("arguments")))
    return ""


def _find_answer(thoughts: str, reason: str, request: ChatRequest) -> str:
    """A JSON answer that a server has put among the thoughts, because its schema held there already."""
    if not thoughts or reason == "length" or request.schema is None:
        return ""
    _, problem = parse_reply(thoughts, request.schema)
    return "" if problem else thoughts


def _join(content: Any, depth: int = 0) -> tuple[str, str]:
    """Text and thoughts of a content, whatever its shape."""
    if isinstance(content, str):
        return content, ""
    if content is None or depth > _DEEPEST:
        return "", ""
    if isinstance(content, list):
        parts = [_join(part, depth + 1) for part in content]
        return "".join(text for text, _ in parts), "".join(thoughts for _, thoughts in parts)
    if isinstance(content, Mapping):
        names = ("text", "content", "thinking", "reasoning", "summary", "value")
        inside = next((content[name] for name in names if content.get(name) is not None), None)
        if inside is None:
            is_part = "type" in content or not content
            return ("", "") if is_part else (json.dumps(content, ensure_ascii=False), "")
        if str(content.get("type", "")) in _THOUGHT_PARTS:
            return "", "".join(_join(inside, depth + 1))
        known = {*names, "type", "annotations", "index", "id", "signature", "format"}
        if set(content) <= known:
            return _join(inside, depth + 1)
        return json.dumps(content, ensure_ascii=False), ""
    return json.dumps(content), ""


def _list_choices(reply: Any) -> list[Mapping[str, Any]]:
    """The choices of a reply, by index; a lone message counts as one."""
    if isinstance(reply, list) and reply and isinstance(reply[0], Mapping) and "generated_text" in reply[0]:
        return [reply[0]]
    if not isinstance(reply, Mapping):
        return []
    choices = reply.get("choices")
    if isinstance(choices, Mapping):
        choices = [choices]
    if isinstance(choices, list):
        listed = [choice for choice in choices if isinstance(choice, Mapping)]
        return sorted(listed, key=lambda choice: _as_count(choice.get("index")) or 0)
    message = reply.get("message")
    return [reply] if isinstance(message, Mapping) and "content" in message else []


def _read_usage(usage: Any, request: ChatRequest, said: Sequence[_Said]) -> tuple[list[Usage], list[int]]:
    """Tokens of each completion, and those of its thoughts. What cannot be true is estimated instead.

    A text has no more tokens than bytes, and a server writes no more than it was allowed to, unless it shows what it
    wrote or says that it has thought in secret.
    """
    given = usage if isinstance(usage, Mapping) else {}
    details = given.get("completion_tokens_details") or given.get("output_tokens_details")
    hidden = _as_count(details.get("reasoning_tokens")) if isinstance(details, Mapping) else None
    hidden = None if hidden is None or hidden > MOST_HIDDEN_THOUGHTS else hidden
    n_prompt = _as_count(given.get("prompt_tokens", given.get("input_tokens")))
    n_completion = _as_count(given.get("completion_tokens", given.get("output_tokens")))
    wholes = [one.whole for one in said]
    n_shown = sum(_count_bytes(whole) for whole in wholes)
    prompt_bytes = _count_bytes(request.prompt) + sum(_count_bytes(turn.content) for turn in request.messages)
    marks = TEMPLATE_TOKENS + TOKENS_PER_MESSAGE * len(request.messages)
    if n_prompt is not None and n_prompt > prompt_bytes + marks + HIDDEN_PROMPT_TOKENS:
        n_prompt = None
    allowed = max(len(said) * request.most_tokens, n_shown) + (hidden or 0) + TEMPLATE_TOKENS
    if n_completion is not None and n_completion > allowed:
        n_completion = None
    estimates = estimate_usage(request, wholes)
    if not n_prompt and not n_completion:
        n_prompt, n_completion = estimates
    n_prompt = estimates[0] if n_prompt is None else n_prompt
    n_completion = estimates[1] if n_completion is None else n_completion
    n_completion = correct_count(n_completion, wholes, request.most_tokens)
    usages = split_usage(n_prompt, n_completion, wholes)
    return usages, [
        _count_thoughts(one, share, hidden, len(said)) for one, share in zip(said, usages, strict=True)
    ]


def _count_thoughts(said: _Said, usage: Usage, hidden: int | None, n: int) -> int:
    """Tokens of a completion's thoughts: as counted, else their share of the text, at least one where there are any."""
    if hidden:
        return min(hidden // n or 1, max(1, usage.completion_tokens))
    if not said.thoughts.strip():
        return 0
    n_bytes = _count_bytes(said.thoughts)
    counted = round(n_bytes / max(1, _count_bytes(said.whole)) * usage.completion_tokens)
    # Where the server counts fewer than there can be, what it wrote says how long it thinks.
    return max(1, counted if counted * 7 >= n_bytes else n_bytes // 4)


def _read_error(error: Any) -> ServedError:
    said, code = error, None
    for _ in range(_DEEPEST):
        if not isinstance(said, Mapping):
            break
        code = next((said[name] for name in ("code", "status", "status_code") if said.get(name)), code)
        inside = next(
            (
                said[name]
                for name in (
                    "message",
                    "error",
                    "detail",
                    "msg",
                    "error_message",
                    "errors",
                    "error_description",
                )
                if said.get(name)
            ),
            None,
        )
        if inside is None:
            said = said.get("type") or said.get("code") or json.dumps(said, ensure_ascii=False, default=str)
            break
        said = inside
    if isinstance(said, list):
        said = "; ".join(_read_detail(one) for one in said)
    said = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    status = _as_count(code) or 0
    status = status if 400 <= status < 600 else 0
    words = f"{said} {code}".casefold()
    is_transient = (
        status in (408, 429) or status >= 500 or (not status and any(word in words for word in _TRANSIENT))
    )
    return ServedError(_cut(said), status, is_transient)


def _read_detail(detail: Any) -> str:
    """One entry of the list that FastAPI refuses with: the place, and what is wrong there."""
    if isinstance(detail, Mapping):
        place = detail.get("loc")
        where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
        said = str(detail.get("msg") or detail.get("message") or detail)
        return f"{where}: {said}" if where else said
    return str(detail)


def _list_events(content: bytes) -> Iterator[Any]:
    for line in content.splitlines():
        field, _, value = line.partition(b":")
        value = value.strip()
        if field.strip() == b"data" and value:
            yield None if value == b"[DONE]" else json.loads(value)


def _join_events(events: Iterator[Any]) -> dict[str, Any]:
    """One reply from the pieces of a stream.

    Raises:
        ValueError: it broke off.
    """
    choices: dict[int, dict[str, Any]] = {}
    reply: dict[str, Any] = {}
    is_whole = False
    for event in events:
        if event is None:
            is_whole = True
            continue
        if not isinstance(event, Mapping):
            continue
        reply |= {name: event[name] for name in ("error", "usage", "model") if event.get(name)}
        for piece in _list_choices(event):
            index = _as_count(piece.get("index")) or 0
            choice = choices.setdefault(index, {"index": index, "message": {"content": ""}})
            delta = piece.get("delta") or piece.get("message") or {"content": piece.get("text")}
            if isinstance(delta, Mapping):
                _add_piece(choice["message"], delta)
            if isinstance(logprobs := piece.get("logprobs"), Mapping) and "logprobs" not in choice:
                choice["logprobs"] = logprobs  # those of the first token, which alone are looked at
            if reason := piece.get("finish_reason") or piece.get("done_reason"):
                choice["finish_reason"] = reason
                is_whole = True
    if "error" not in reply and not is_whole:
        raise ValueError("its stream broke off")
    return {**reply, "choices": [choices[index] for index in sorted(choices)]}


def _add_piece(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    text, thoughts = _join(delta.get("content"))
    message["content"] += text
    for name in _THOUGHT_FIELDS:
        if delta.get(name):
            thoughts += "".join(_join(delta[name]))
            break
    if thoughts:
        message["reasoning_content"] = message.get("reasoning_content", "") + thoughts


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _as_count(value: Any) -> int | None:
    """A whole number from 0; None for anything else."""
    number = _as_number(value)
    return int(number) if number is not None and 0 <= number < 2**53 else None


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SENTENCE else line[: LONGEST_SENTENCE - 1] + "…"
