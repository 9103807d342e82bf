"""A scripted model that names concepts and answers about them, from the texts that it is shown.

It knows a fixed list of words for each of a dozen topics, of which the data set's own concepts are a part. Asked for
topics it counts in how many of the excerpts one of these words stands; asked whether a text mentions a topic it says
what people said, where they were asked, and what the words say elsewhere. It errs by a keyed hash of text and topic, in
both wordings alike, as a model does that misreads a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from counterpoise.core.splits import keyed_hash
from counterpoise.llm import ChatRequest
from counterpoise.llm.prompts import quote_data

FEWEST_EXCERPTS = 3
"""Excerpts that have to mention a topic before it is named."""

_TEXT = re.compile(r"<text>(.*?)</text>", re.DOTALL)
_SIDES = re.compile(r"<texts>\n(.*?)</texts>(?:\n\n<others>\n(.*?)</others>)?", re.DOTALL)
_ASKED = re.compile(r"about (.+?) \(.*\)\?$|^Is (.+?) mentioned in the text\?", re.MULTILINE)
_YES = re.compile(r"^([A-T])\. yes", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class TopicWords:
    """A topic: its name, a line that defines it, and words (or their beginnings, with a *) that mention it."""

    name: str
    definition: str
    words: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        """Whether one of its words stands in a text."""
        found = {word.casefold() for word in _WORD.findall(text)}
        ends = tuple(word[:-1] for word in self.words if word.endswith("*"))
        return bool(found & set(self.words)) or any(word.startswith(ends) for word in found if ends)


@dataclass(frozen=True)
class ScriptedReader:
    """Replies to the prompts `concept_naming`, `concept_discovery` and `label_choice`.

    Args:
        topics: what it knows words for.
        truth: by topic: text -> 1 or 0, what people said.
        skill: how often it is right, 0..1.
        seed: another one errs elsewhere.
    """

    topics: tuple[TopicWords, ...]
    truth: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    skill: float = 0.9
    seed: int = 0

    def __call__(self, request: ChatRequest, index: int) -> str | dict[str, float]:
        """The reply to one request."""
        return self.answer(request.messages[-1].content)

    def answer(self, content: str) -> str | dict[str, float]:
        """The reply to what the user's turn says: JSON, or the letters with their probabilities."""
        sides = _SIDES.search(content)
        if sides:
            return json.dumps({"topics": self._name(sides[1], sides[2] or "")}, ensure_ascii=False)
        match = _TEXT.search(content)
        text = match[1] if match else ""
        asked = _ASKED.search(content)
        if asked:
            return self._choose(text, (asked[1] or asked[2]).strip(), content)
        names = [topic.name for topic in self.topics if self._says(text, topic.name)]
        return json.dumps({"topics": names[:5]}, ensure_ascii=False)

    def _name(self, shown: str, others: str) -> list[dict[str, str]]:
        counts = []
        for topic in self.topics:
            n_here, n_there = (
                sum(topic.is_in(line) for line in side.splitlines()) for side in (shown, others)
            )
            if n_here >= FEWEST_EXCERPTS and n_here > n_there:
                counts.append((n_there - n_here, topic.name, topic.definition))
        return [{"name": name, "definition": definition} for _, name, definition in sorted(counts)[:3]]

    def _choose(self, text: str, name: str, content: str) -> dict[str, float]:
        letters = re.findall(r"^([A-T])\. ", content, re.MULTILINE)
        yes = _YES.search(content)
        if yes is None or text in ("N/A", "[MASK]", "..."):
            return dict.fromkeys(letters, 1 / max(1, len(letters)))
        said = yes[1] if self._says(text, name) else next(one for one in letters if one != yes[1])
        return {letter: 0.9 if letter == said else 0.1 for letter in letters}

    def _says(self, text: str, name: str) -> bool:
        known = self.truth.get(name, {}).get(text)
        if known is None:
            topic = next((one for one in self.topics if one.name == name), None)
            known = int(topic is not None and topic.is_in(text))
        is_right = keyed_hash(f"reader {self.seed} {name}", text) / 2**64 < self.skill
        return bool(known) == is_right


def quote_truth(truth: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The same by texts as they stand in a prompt."""
    return {
        name: {quote_data(text, "</text>"): value for text, value in answers.items()}
        for name, answers in truth.items()
    }


RESTAURANT_TOPICS = (
    TopicWords(
        "food",
        "what was eaten and how it tasted",
        (
            "food*",
            "dish*",
            "meal*",
            "steak*",
            "fish",
            "chicken",
            "salad*",
            "pizza*",
            "taste*",
            "dessert*",
            "cook*",
        ),
    ),
    TopicWords(
        "service",
        "waiters and staff and how they treated guests",
        ("service", "waiter*", "waitress*", "staff", "server*", "attentive", "hostess*", "bartender*"),
    ),
    TopicWords(
        "ambiance",
        "the atmosphere and decor of the place",
        ("ambiance", "ambience", "atmosphere", "decor*", "view*", "romantic", "cozy", "lighting", "setting"),
    ),
    TopicWords("noise", "how loud or quiet it was", ("noise", "noisy", "loud*", "quiet*", "music")),
    TopicWords(
        "price", "what it cost", ("price*", "cost*", "expensive", "cheap*", "bill", "value", "overpriced")
    ),
    TopicWords(
        "drinks", "wine, beer and cocktails", ("wine*", "drink*", "beer*", "cocktail*", "bar", "martini*")
    ),
    TopicWords(
        "waiting", "how long guests waited", ("wait", "waited", "waiting", "minutes", "hour*", "slow")
    ),
    TopicWords("reservation", "booking a table", ("reservation*", "booking", "booked", "opentable")),
    TopicWords(
        "location", "where it is", ("location", "parking", "downtown", "neighborhood", "beach", "street")
    ),
    TopicWords(
        "occasion", "what was celebrated", ("birthday", "anniversary", "celebrat*", "valentine*", "party")
    ),
    TopicWords("seating", "tables and chairs", ("table*", "seat*", "booth*", "patio", "chair*")),
    TopicWords("portions", "how much was on the plate", ("portion*", "huge", "small", "size*", "plate*")),
)
