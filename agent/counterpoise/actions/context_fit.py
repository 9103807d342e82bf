"""What fits into a model's context window: as many of the records to show as go, and the last one shortened."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from counterpoise.core.capabilities import Capabilities
from counterpoise.filters.text_measures import cut_to_sentence
from counterpoise.llm import ChatRequest
from counterpoise.llm.budget import estimate_request, estimate_tokens

UNKNOWN_WINDOW = 4_096
"""Tokens of prompt and completion of a model that does not say: a prior, the window of Llama 2 and of the smaller chat
models that are still served; a longer prompt would be refused by such a server, every time."""


_SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?。！？]+|\n+|\Z)\s*")


@dataclass(frozen=True, slots=True)
class Window:
    """The context window of a model.

    Args:
        tokens: of prompt and completion together.
        thoughts: of these what is kept for thoughts.
        is_known: whether the server has said so.
    """

    tokens: int
    thoughts: int = 0
    is_known: bool = True

    def count(self, request: ChatRequest) -> int:
        """Tokens that one completion of a request takes at most, prompt included."""
        return estimate_request(replace(request, n=1)) + self.thoughts

    def holds(self, request: ChatRequest) -> bool:
        """Whether prompt and completion fit."""
        return self.count(request) <= self.tokens

    def left_by(self, request: ChatRequest) -> int:
        """Tokens for completions beside the prompt of a request."""
        return self.tokens - self.count(request) + request.sampling.max_tokens

    def __str__(self) -> str:
        """For people."""
        unknown = "" if self.is_known else ", which is assumed: the server does not say"
        return f"the model's window of {self.tokens:,} tokens{unknown}"


def open_window(capabilities: Capabilities) -> Window:
    """The window of a model as far as it is known."""
    tokens = capabilities.context_tokens
    return Window(tokens or UNKNOWN_WINDOW, capabilities.room_tokens, bool(tokens))


def fit_texts(
    texts: Sequence[str], render: Callable[[Sequence[str]], ChatRequest], window: Window
) -> list[str]:
    """The first of some texts, as many as a request has room for; where even one is too long, its beginning.

    Args:
        texts: to be shown, the most wanted first.
        render: the request that shows given texts.
        window: of the model.
    """
    shown = list(texts)
    while len(shown) > 1 and not window.holds(render(shown)):
        shown.pop()
    if shown and not window.holds(render(shown)):
        room = window.tokens - window.count(render([""]))
        shown = [short] if (short := shorten_text(shown[0], room)) else []
    return shown


def shorten_text(text: str, tokens: int) -> str:
    """The beginning of a text, whole sentences where it has some, of so many tokens at most; "" where none fits.

    >>> shorten_text("The soup was cold. The waiter was rude. We left early and hungry.", 17)
    'The soup was cold. The waiter was rude.'
    """
    cut = text
    while cut and (needed := estimate_tokens([cut])) > tokens:
        cut = cut[: min(len(cut) - 1, max(0, len(cut) * tokens // needed))]
    if cut == text:
        return text
    return cut_to_sentence(cut) or cut.rpartition(" ")[0].rstrip()


def shorten_pair(before: str, after: str) -> tuple[str, str]:
    """A text and its edit, cut to the smallest place where they differ and one sentence around it on either side.

    >>> shorten_pair("We came. It was late. We had soup. We left. Good.", "We came. It was late. We left. Good.")
    ('It was late. We had soup. We left.', 'It was late. We left.')
    """
    first, second = (_SENTENCE.findall(text) for text in (before, after))
    places = [
        place
        for tag, *place in SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    if not places:
        return before, after
    start, end, new_start, new_end = min(places, key=lambda one: one[1] - one[0] + one[3] - one[2])
    parts = first[max(0, start - 1) : end + 1], second[max(0, new_start - 1) : new_end + 1]
    return "".join(parts[0]).strip(), "".join(parts[1]).strip()
