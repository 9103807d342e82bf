"""Judges for tests: a passage answers a query when it names the query's last word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from counterpoise.llm import ChatRequest

_NUMBERED = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


def read_prompt(request: ChatRequest | str) -> tuple[str, list[tuple[int, str]]]:
    """The query and the numbered passages of a prompt."""
    content = request if isinstance(request, str) else request.messages[1].content
    match = re.search(r"^Query: (.*)$", content, re.MULTILINE)
    assert match is not None
    return match[1], [(int(number), text) for number, text in _NUMBERED.findall(content)]


def reply_first(
    request: ChatRequest | str,
    index: int = 0,
    *,
    always: str = "",
    misses: Callable[[str], bool] = lambda text: False,
) -> str:
    """Yes where the passage names the topic."""
    query, passages = read_prompt(request)
    verdicts = []
    for number, text in passages:
        is_relevant = query.split()[-1] in text and not misses(text)
        verdicts.append({"number": number, "relevant": always or ("yes" if is_relevant else "no")})
    return json.dumps({"criterion": "names the topic", "verdicts": verdicts})


def reply_second(request: ChatRequest | str, index: int = 0, *, always: str = "") -> str:
    """Better or equal where it names the topic, worse where it does so in passing."""
    query, passages = read_prompt(request)
    verdicts = []
    for number, text in passages:
        grade = (
            "not_relevant"
            if query.split()[-1] not in text
            else "worse"
            if "passing" in text
            else "better_or_equal"
        )
        grade = always or grade
        verdicts.append(
            {"number": number, "evidence": "" if grade == "not_relevant" else text, "grade": grade}
        )
    return json.dumps({"criterion": "names the topic", "verdicts": verdicts})
