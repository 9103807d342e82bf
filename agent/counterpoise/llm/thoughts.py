r"""Where a model's thoughts end and its answer begins.

Models that reason before they answer mark their thoughts with tags, which a server hands on where it has no parser for
them. The opening tag may be missing (chat templates write it into the prompt), and so may the closing one, where the
reply was cut. Whatever stands before a closing tag is no answer.

>>> split_thoughts("<think>They want soup.</think>\n\nThe soup was cold")
Split(answer='The soup was cold', thoughts='They want soup.', is_open=False)
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAMES = r"think|thinking|thought|thoughts|seed:think|reasoning|reflection|analysis"
_PAIRS = (
    (rf"<(?:{_NAMES})>", rf"</(?:{_NAMES})>"),
    (r"\[THINK\]", r"\[/THINK\]"),  # Mistral
    (r"◁think▷", r"◁/think▷"),  # Kimi
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Cohere
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # OpenThinker
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    (r"<\|channel>thought", r"<channel\|>"),  # Gemma
)
_OPENING = re.compile("|".join(opening for opening, _ in _PAIRS), re.IGNORECASE)
_CLOSING = re.compile("|".join(closing for _, closing in _PAIRS), re.IGNORECASE)
_BLOCK = re.compile(
    "|".join(f"{opening}.*?{closing}" for opening, closing in _PAIRS), re.IGNORECASE | re.DOTALL
)

_CHANNEL = re.compile(r"<\|channel\|>\s{0,9}(\w{1,40})[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_CHANNELS = re.compile(r"\s*analysis(?P<thoughts>.*?)assistant\s*final(?P<answer>.*)", re.DOTALL)
"""gpt-oss where a server has left the tags out and the words between them in."""

_GRANITE = re.compile(
    r"\s*Here(?: is|'s) my thought process:(?P<thoughts>.*?)Here(?: is|'s) my response:(?P<answer>.*)",
    re.DOTALL,
)
_WRAPPED = re.compile(
    r"\s*(?:<answer>(.*?)(?:</answer>|$)|<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>|$)"
    r"|<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>|$))\s*$",
    re.DOTALL,
)
_LAST_TOKENS = (
    *("<|im_end|>", "<|eot_id|>", "<|end|>", "<|return|>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>"),
    *("<|user|>", "<|END_RESPONSE|>", "</s>", "<end_of_turn>", "<｜end▁of▁sentence｜>"),
)

_FIRST_TOKENS = re.compile(
    r"\s*(?:<\|begin_of_text\|>)?(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|assistant\|>)\s*"
    r"(?:assistant|model)?\s*(?:<\|end_header_id\|>)?\s*"
)
"""The head of a turn, where a server without the model's chat template lets it write its own."""

_MARKS = ("<", "[THINK]", "[/THINK]", "[think]", "◁", "analysis", "Here")
"""A text without any of these holds no thoughts that could be told from it."""

_BEGINNINGS = ("<think", "<thought", "<seed", "<|chan", "<|start", "<reason", "<anal", "[think", "◁")


class Split(NamedTuple):
    """A reply in its parts.

    Args:
        answer: without thoughts and the blanks behind them; a reply without thoughts is left as it is.
        thoughts: the thoughts, "" for none.
        is_open: the reply ends inside thoughts.
    """

    answer: str
    thoughts: str = ""
    is_open: bool = False


def split_thoughts(text: str) -> Split:
    """The answer of a reply, its thoughts, and whether it ends inside them."""
    if not any(mark in text for mark in _MARKS):
        return Split(text)
    if first := _FIRST_TOKENS.match(text):
        text = text[first.end() :]
    text = _drop_last_tokens(text)
    if _CHANNEL.search(text):
        return _split_channels(text)
    if (bare := _BARE_CHANNELS.match(text)) or (bare := _GRANITE.match(text)):
        return Split(bare["answer"].strip(), bare["thoughts"].strip())
    blocks = [block[0] for block in _BLOCK.finditer(text)] if _CLOSING.search(text) else []
    rest = _BLOCK.sub("", text) if blocks else text
    closings = list(_CLOSING.finditer(rest))
    if closings:
        blocks.insert(0, rest[: closings[-1].end()])
        rest = rest[closings[-1].end() :]
    is_open = False
    if opening := _OPENING.search(rest):
        blocks.append(rest[opening.start() :])
        rest = rest[: opening.start()]
        is_open = not rest.strip()
    if not blocks:
        return Split(text)
    thoughts = "\n".join(_CLOSING.sub("", _OPENING.sub("", block)).strip() for block in blocks)
    if wrapped := _WRAPPED.match(rest):
        rest = next(part for part in wrapped.groups() if part is not None)
    return Split(rest.strip(), thoughts.strip(), is_open)


def _drop_last_tokens(text: str) -> str:
    """The text without marks of its end; no pattern, which would take a second for a reply of blanks."""
    left = text.rstrip()
    while left.endswith(_LAST_TOKENS):
        left = text = left[: left.rindex("<")].rstrip()
    return text


def begins_thoughts(text: str) -> bool:
    """Whether a text of one or a few tokens is the beginning of thoughts rather than of an answer."""
    begin = text.strip().casefold()
    return bool(begin) and any(mark.startswith(begin) or begin.startswith(mark) for mark in _BEGINNINGS)


def _split_channels(text: str) -> Split:
    """Channels of gpt-oss: `analysis` and `commentary` are thoughts, `final` is the answer."""
    thoughts: list[str] = []
    answer: str | None = None
    for mark in _CHANNEL.finditer(text):
        end = _CHANNEL_END.search(text, mark.end())
        said = text[mark.end() : end.start() if end else len(text)]
        if mark[1] == "final":
            answer = said.strip()
        else:
            thoughts.append(said.strip())
    return Split(answer or "", "\n".join(thoughts), answer is None)
