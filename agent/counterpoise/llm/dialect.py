"""What a server takes of the fields that a request may carry, learned from what it refuses.

A server that refuses a field says so each time, for no token, so a request that was refused is sent once more without
it, and the field is left out from then on. Whether a request was sent before or after that was known changes nothing:
what arrives in the end is the same. Values are told from fields: a server that wants no temperature of 0 takes a small
one, and a `top_p` of 1 says nothing that could be missed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.llm.chat import LETTER_TOKENS, ChatRequest

TOP_LOGPROBS = 20
"""Log-probabilities asked for; the most that servers give."""

FEW_LOGPROBS = 5
"""What servers give that refuse so many."""

NEARLY_ZERO = 0.01
"""A temperature for servers that refuse 0."""

SWITCHES: dict[str, Mapping[str, Any]] = {
    "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    "reasoning_effort": {"reasoning_effort": "none"},
    "thinking": {"thinking": {"type": "disabled"}},
    "enable_thinking": {"enable_thinking": False},
    "reasoning": {"reasoning": {"enabled": False, "effort": "none"}},
    "think": {"think": False},
    "no_think": {},
    "prefill": {},
}
"""Ways to switch thinking off, each tried where a model was seen to think.

Of vLLM, SGLang and llama.cpp; OpenAI and Ollama; DeepSeek and GLM; Qwen's API; OpenRouter; Ollama's own field; Qwen's
word at the end of a prompt; a turn of the model's own that begins with thoughts that have ended."""

SOFT_SWITCH = " /no_think"
ENDED_THOUGHTS = "<think>\n\n</think>\n\n"

_SCHEMA_LINE = "Answer with one JSON object that keeps to this JSON schema, and nothing else: "

_NAMES = {
    "n": r"['\"`]n['\"`]|\bn\b\s*(?:>|=|<|must|value|should|is\b|larger|parameter|\()"
    r"|(?:body|parameters?|fields?|arguments?)[.:\s'\"\[]+n\b|best_of"
    r"|only (?:one|1|a single) (?:completion|choice|candidate)"
    r"|(?:multiple|several|number of) (?:completion|choice|candidate)s?|\bn ?[=>]",
    "logprobs": r"log_?probs?\b|log[- ]probabilit",
    "response_format": r"response_?format|json_?schema|json schema|structured[_ ]outputs?|guided|grammar",
    "temperature": r"\btemperature\b",
    "top_p": r"\btop_?p\b",
    "stop": r"['\"`.]stop\b|\bstop['\"`]|\bstop (?:param|seq|is|are|string|words|field|argument)"
    r"|parameters?:? ?\[?stop\b",
    "max_tokens": r"\bmax_tokens\b",
    "max_completion_tokens": r"\bmax_completion_tokens\b",
    "stream": r"\bstream(?:ing)?\b",
    "stream_options": r"\bstream_options\b|\binclude_usage\b",
    "system": r"system (?:role|message|prompt|instruction)|role[s]?['\"`:\s]+system|['\"`]system['\"`]"
    r"|roles must alternate|only user and assistant roles",
}
_NAMED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _NAMES.items()}

_GUESSES = (
    "n",
    "logprobs",
    "top_p",
    "stop",
    "response_format",
    "stream",
    "system",
    "temperature",
    "max_tokens",
)
"""The order in which fields are left out where a refusal names none."""

_ABOUT_SIZE = re.compile(
    r"context (?:length|window|size)|too (?:long|many tokens)|maximum (?:context|number of tokens|input|sequence)"
    r"|exceeds? (?:the |this )?(?:model'?s? )?(?:available )?(?:context|max_model_len)"
    r"|reduce (?:the |your )?(?:length|prompt|input)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The fields that one server does not take.

    Args:
        without: names of fields, or of one value of a field, as `name_parts` names them.
    """

    without: frozenset[str] = frozenset()

    def avoid(self, parts: frozenset[str]) -> Dialect:
        """The same without some more parts."""
        return replace(self, without=self.without | parts)

    def compose(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """The body of a request. Temperature and top_p go along where they may: servers have defaults of their own."""
        sampling = request.sampling
        body: dict[str, Any] = {"model": model}
        writes_letter = bool(request.choices) and not self.takes_logprobs(request)
        n_tokens = max(request.most_tokens, LETTER_TOKENS) if writes_letter else request.most_tokens
        if "max_tokens" not in self.without:
            body["max_tokens"] = n_tokens
        elif request.messages and "max_completion_tokens" not in self.without:
            body["max_completion_tokens"] = n_tokens
        if "temperature" not in self.without:
            is_refused = sampling.temperature == 0 and "temperature=0" in self.without
            body["temperature"] = NEARLY_ZERO if is_refused else sampling.temperature
        if "top_p" not in self.without and not (sampling.top_p == 1 and "top_p=1" in self.without):
            body["top_p"] = sampling.top_p
        if request.messages:
            body["messages"] = self._compose_turns(request)
        else:
            body["prompt"] = request.prompt
        if sampling.stop and request.thoughts is None and "stop" not in self.without:
            body["stop"] = list(sampling.stop)
        if request.n > 1 and "n" not in self.without:
            body["n"] = request.n
        if request.schema is not None and "response_format" not in self.without:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": request.schema, "strict": True},
            }
        if request.choices and not writes_letter:
            n_top = FEW_LOGPROBS if "top_logprobs=20" in self.without else TOP_LOGPROBS
            body |= {"logprobs": True, "top_logprobs": n_top} if request.messages else {"logprobs": n_top}
        if request.thoughts is not None:
            body |= SWITCHES.get(request.thoughts.switch, {})
        if "stream=false" in self.without:
            body["stream"] = True
            if "stream_options" not in self.without:
                body["stream_options"] = {"include_usage": True}
        return body

    def takes_logprobs(self, request: ChatRequest) -> bool:
        """Whether letters are scored by the table of the first token: not behind thoughts, which come before them."""
        has_thoughts = request.thoughts is not None and request.thoughts.tokens > 0
        return "logprobs" not in self.without and not has_thoughts

    def _compose_turns(self, request: ChatRequest) -> list[dict[str, str]]:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        if request.schema is not None and "response_format" in self.without:
            turns[-1]["content"] += (
                f"\n\n{_SCHEMA_LINE}{json.dumps(dict(request.schema), ensure_ascii=False)}"
            )
        if "system" in self.without:
            turns = _merge_system(turns)
        switch = request.thoughts.switch if request.thoughts else ""
        if switch == "no_think":
            turns[-1]["content"] += SOFT_SWITCH
        elif switch == "prefill":
            turns.append({"role": "assistant", "content": ENDED_THOUGHTS})
        return turns

    def list_detours(self, said: str, body: Mapping[str, Any]) -> frozenset[str]:
        """The parts of a body that a refusal names and that can be left out."""
        parts = name_parts(body)
        return frozenset(part for part in parts if _NAMED[_find_field(part)].search(said))


def is_about_size(said: str) -> bool:
    """Whether a refusal is about how long texts are: no part of the request can be left out for that."""
    return bool(_ABOUT_SIZE.search(said))


def name_parts(body: Mapping[str, Any]) -> list[str]:
    """The optional parts of a body, in the order in which they are left out where a refusal names none.

    >>> name_parts({"model": "m", "messages": [], "temperature": 0.0, "top_p": 0.9, "stream": True})
    ['top_p', 'temperature=0']
    """
    parts = []
    for field in _GUESSES:
        if field == "stream":
            parts += [] if body.get("stream") else ["stream=false"]
        elif field == "system":
            parts += ["system"] if any(turn["role"] == "system" for turn in body.get("messages", ())) else []
        elif field == "max_tokens":
            parts += [
                name for name in ("max_tokens", "max_completion_tokens", "stream_options") if name in body
            ]
        elif field not in body:
            continue
        elif field == "top_p":
            parts.append("top_p=1" if body[field] == 1 else field)
        elif field == "temperature":
            parts.append("temperature=0" if body[field] == 0 else field)
        elif field == "logprobs":
            many = TOP_LOGPROBS in (body.get("top_logprobs"), body[field])
            parts.append("top_logprobs=20" if many else field)
        else:
            parts.append(field)
    return parts


def guess_detours(body: Mapping[str, Any], known: frozenset[str]) -> Iterator[frozenset[str]]:
    """What to leave out, one try after the other, where a refusal names nothing: each part alone, then more and more.

    Args:
        body: what was refused.
        known: parts that the server has taken before; they are not the reason.
    """
    parts = [part for part in name_parts(body) if part not in known and part != "stream_options"]
    for part in parts:
        yield frozenset([part])
    for end in range(2, len(parts) + 1):
        yield frozenset(parts[:end])


def _find_field(part: str) -> str:
    field = part.partition("=")[0]
    return {"top_logprobs": "logprobs"}.get(field, field)


def _merge_system(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """Turns without a system message: what it said stands at the beginning of the first turn."""
    said = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system")
    others = [turn for turn in turns if turn["role"] != "system"]
    if not others:
        return [{"role": "user", "content": said}]
    return [{**others[0], "content": f"{said}\n\n{others[0]['content']}"}, *others[1:]]
