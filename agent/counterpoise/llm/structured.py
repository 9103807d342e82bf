"""Replies with a form: JSON that keeps to a schema, and letters that are scored.

Servers are not trusted to enforce a schema (old ones ignore the field silently), so every reply is checked
here. The check covers the part of JSON Schema that prompts use and refuses a schema that says more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.llm.chat import ChatRequest, Message, Sampling
from counterpoise.llm.thoughts import split_thoughts

KEYWORDS = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minimum", "maximum",
    "minLength", "maxLength", "minItems", "maxItems", "title", "description",
}  # fmt: skip

REPAIR_TOKENS = 64
"""More completion tokens in a repair: the commonest fault is a reply that was cut off."""

_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip

MOST_FAILED_STARTS = 1_000
"""Braces that begin nothing, after which a reply is not searched any further."""

_AROUND = r"[\s*_`\"'()\[\].:,{}$]*"
_LONE_LETTER = re.compile(rf"{_AROUND}([A-Za-z]){_AROUND}\Z")
_FIRST_LETTER = re.compile(r"[\s*_`\"'(\[]*([A-Za-z])(?:[*_`\"')\]]*[.:,)\]]|[*_`\"']+\s|\s*\n|\s+[-–—]\s)")
_LAST_LETTER = re.compile(r"\n[\s*_`\"'(\[]*([A-Za-z])[*_`\"')\].]*\s*\Z")
_ANSWER_LETTER = re.compile(
    r"answer[\"'*_]*\s*(?:is|would be|:|=)*\s*(?:option|letter)?[\s*_`\"'(\[:]*([A-Za-z])(?![A-Za-z])"
    r"|\\boxed\{(?:\\text\{)?\s*([A-Za-z])\s*\}",
    re.IGNORECASE,
)
_OPTION_LETTER = re.compile(
    r"(?:choice|option|letter|label)[\"'*_]*\s*(?:is|:|=)*[\s*_`\"'(\[:]*([A-Za-z])(?![A-Za-z])",
    re.IGNORECASE,
)

_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def check_schema(schema: Mapping[str, Any], where: str = "schema") -> None:
    """Raise ValueError where a schema says something that `find_fault` would not check."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"{where}: found {schema!r}; write what it must be, as `type: string`")  # noqa: TRY004
    unknown = sorted(set(schema) - KEYWORDS)
    if unknown:
        raise ValueError(
            f"{where}: {', '.join(unknown)} is not supported; known are {', '.join(sorted(KEYWORDS))}"
        )
    if "type" in schema and schema["type"] not in list(_TYPES):
        raise ValueError(f"{where}: type {schema['type']!r} is not one of {', '.join(_TYPES)}")
    for name, part in schema.get("properties", {}).items():
        check_schema(part, f"{where}.{name}")
    if "items" in schema:
        check_schema(schema["items"], f"{where}[]")
    if not isinstance(schema.get("additionalProperties", False), bool):
        raise ValueError(f"{where}: additionalProperties must be true or false")  # noqa: TRY004


def find_fault(value: Any, schema: Mapping[str, Any], where: str = "the reply") -> str:
    """Say where a JSON value first breaks a schema, "" where it does not.

    Stricter than the standard in one point: properties that an object schema does not name are a fault unless
    `additionalProperties` is true.
    """
    if "const" in schema and not _is_same(value, schema["const"]):
        return f"{where} must be {json.dumps(schema['const'])}, not {_show(value)}"
    if "enum" in schema and not any(_is_same(value, allowed) for allowed in schema["enum"]):
        allowed = ", ".join(json.dumps(item, ensure_ascii=False) for item in schema["enum"])
        return f"{where} must be one of {allowed}, not {_show(value)}"
    kind = schema.get("type")
    if kind is None:
        return ""
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} must be of type {kind}, not {_show(value)}"
    if kind == "object":
        return _find_object_fault(value, schema, where)
    if kind == "array":
        return _find_size_fault(len(value), schema, where, "Items", "items") or next(
            (
                fault
                for position, item in enumerate(value)
                if (fault := find_fault(item, schema.get("items", {}), f"{where}[{position}]"))
            ),
            "",
        )
    if kind == "string":
        return _find_size_fault(len(value), schema, where, "Length", "characters")
    if kind in ("integer", "number"):
        return _find_range_fault(value, schema, where)
    return ""


def parse_reply(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """The JSON value of a reply and "", or None and what is wrong with it.

    Models without enforced schemas write sentences, drafts and fences around it: the last value of the schema's kind
    that keeps to it counts, behind any thoughts. Half characters, which JSON can say and no file or encoder takes, are
    replaced.
    """
    stripped = split_thoughts(text).answer.strip()
    try:
        values, problem = [_decode(stripped)], ""
    except ValueError as error:
        values, problem = _list_values(stripped, schema), f"the reply is not JSON: {error}"
    except RecursionError:
        return None, "the reply is not JSON: it is nested too deep"
    for value in reversed(values):
        try:
            mended = _replace_halves(value) if _HALF.search(stripped) else value
            fault = find_fault(mended, schema)
        except RecursionError:
            fault = "it is nested too deep"
        if not fault:
            return mended, ""
        problem = fault if problem.startswith("the reply is not JSON") or not problem else problem
    return None, problem


def _list_values(text: str, schema: Mapping[str, Any]) -> list[Any]:
    """The JSON objects (or lists, where the schema wants one) that stand in a text, in their order."""
    opening = "[" if schema.get("type") == "array" else "{"
    values: list[Any] = []
    place, n_failed = text.find(opening), 0
    while place >= 0 and n_failed < MOST_FAILED_STARTS:
        try:
            value, place = _raw_decode(text, place)
            values.append(value)
        except (ValueError, RecursionError):
            n_failed += 1
            place += 1
        place = text.find(opening, place)
    return values


def read_letter(text: str, letters: Sequence[str]) -> str:
    """The letter that a written answer chooses, "" where it is none or more than one.

    >>> read_letter("The answer is **B**.", "AB"), read_letter("b)", "AB"), read_letter("A soup is food", "AB")
    ('B', 'B', '')
    """
    answer = split_thoughts(text).answer.strip()
    found = [
        *([lone] if (lone := _LONE_LETTER.match(answer)) else []),
        *reversed(list(_ANSWER_LETTER.finditer(answer))),
        *(one for one in (_FIRST_LETTER.match(answer), _LAST_LETTER.search(answer)) if one),
        *reversed(list(_OPTION_LETTER.finditer(answer))),
    ]
    for letter in (next(part for part in match.groups() if part) for match in found):
        for choice in letters:
            if letter == choice or letter.upper() == choice:
                return choice
    return ""


def make_repair(request: ChatRequest, sample: int, text: str, fault: str) -> ChatRequest:
    """The request that shows a model its own invalid reply and what is wrong with it.

    It is a request like any other, with a cache key of its own; `sample` keeps the repairs of two equal
    replies apart.
    """
    sampling = Sampling(
        temperature=request.sampling.temperature,
        top_p=request.sampling.top_p,
        max_tokens=request.sampling.max_tokens + REPAIR_TOKENS,
        stop=request.sampling.stop,
    )
    correction = f"That cannot be used: {fault}. Answer again with the corrected JSON only."
    return ChatRequest(
        messages=(*request.messages, Message("assistant", text), Message("user", correction)),
        sampling=sampling,
        schema=request.schema,
        sample=sample,
        purpose=request.purpose,
        thoughts=request.thoughts,
    )


_ROUNDING = 1e-4
"""What the sum of the listed probabilities may be off by."""


def score_letters(table: Mapping[str, float], letters: Sequence[str]) -> dict[str, float]:
    """Probabilities of the letters, summing to 1, from the log-probabilities of the first token.

    The table is taken before any grammar mask, so it also holds other tokens. Tokens that are a letter but
    for blanks around it are added up. A letter that is not listed gets the smallest listed probability or what the
    listed ones leave of 1, whichever is less: upper bounds both. Where a server lists one token only the second tells.

    Args:
        table: token -> log-probability; not empty.
        letters: the letters asked for.

    Raises:
        ValueError: the table is empty.

    >>> round(score_letters({"A": -0.1}, "AB")["A"], 3), round(score_letters({"A": -0.1, "B": -2.5}, "AB")["A"], 3)
    (0.905, 0.917)
    """
    if not table:
        raise ValueError("no log-probabilities")
    lowest, top = min(table.values()), max(table.values())
    left = 1.0 - sum(math.exp(logprob) for logprob in table.values())
    if left > -_ROUNDING:  # else they are no probabilities of one distribution
        lowest = min(lowest, math.log(max(left, _ROUNDING)))
    sums = dict.fromkeys(letters, 0.0)
    for token, logprob in table.items():
        letter = token.strip()
        if letter in sums:
            sums[letter] += math.exp(logprob - top)
    for letter, value in sums.items():
        if value == 0.0:
            sums[letter] = max(math.exp(lowest - top), 1e-12)
    total = sum(sums.values())
    return {letter: value / total for letter, value in sums.items()}


def _replace_halves(value: Any) -> Any:
    """A JSON value without lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replace_halves(item) for item in value]
    if isinstance(value, dict):
        return {_replace_halves(name): _replace_halves(item) for name, item in value.items()}
    return value


def _find_object_fault(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> str:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where} lacks {name!r}"
    for name, item in value.items():
        part = properties.get(name)
        if part is None:
            if not schema.get("additionalProperties", False):
                return f"{where} has {name!r}, which is not asked for"
            continue
        fault = find_fault(item, part, f"{name!r}")
        if fault:
            return fault
    return ""


def _find_size_fault(size: int, schema: Mapping[str, Any], where: str, suffix: str, unit: str) -> str:
    least, most = schema.get(f"min{suffix}", 0), schema.get(f"max{suffix}", math.inf)
    return "" if least <= size <= most else f"{where} must have {least} to {most} {unit}, not {size}"


def _find_range_fault(value: float, schema: Mapping[str, Any], where: str) -> str:
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    return "" if least <= value <= most else f"{where} must lie in {least} to {most}, not {value}"


def _is_same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _show(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_decode, _raw_decode = _decoder.decode, _decoder.raw_decode
"""As `json.loads` with `parse_constant`, which makes a decoder at every call."""
