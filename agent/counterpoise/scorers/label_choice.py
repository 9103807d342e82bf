"""A model's choice among labels, any number of them: all are shown while there are letters, else a shortlist a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_rank
from counterpoise.llm import ChatClient, ChatRequest
from counterpoise.scorers.letters import LETTERS, WHICH_LABEL, LetterChoice
from counterpoise.scorers.shortlists import NONE_OF_THESE, make_shortlists, spread_answers


@dataclass(frozen=True, slots=True)
class LabelQuestion:
    """What is asked about one text.

    Args:
        text: the text.
        shown: pairs of a text and its label index that stand beside it.
        likely: (k,) probabilities of the labels by whoever ranks them; needed above 20 labels only.
        described: (k,) similarity to the labels' descriptions, or empty.
        given: the recorded label that is judged, -1 for none.
    """

    text: str
    shown: Sequence[tuple[str, int]] = ()
    likely: Floats = field(default_factory=lambda: np.empty(0))
    described: Floats = field(default_factory=lambda: np.empty(0))
    given: int = -1


@dataclass(frozen=True, slots=True)
class LabelAnswers:
    """What a model said of n texts; rows of NaN where it or the budget failed.

    Args:
        probabilities: (n, k) probabilities of the labels, rows summing to 1.
        factors: (n, k) the same where a ranking is counted on its own: of a label that was not listed that of "none of
            these", so that answers at random say nothing. Rows need not sum to 1.
    """

    probabilities: Floats
    factors: Floats

    @property
    def is_given(self) -> NDArray[np.bool_]:
        """(n,) whether there is an answer."""
        return np.asarray(~np.isnan(self.factors).any(axis=1))


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A language model that picks the letter of a label, with the options in two orders.

    Where labels are more than letters, a text is asked about its shortlist (`shortlists`), in an order that is a keyed
    hash of the text, so that no place is a sign of what the ranking holds likeliest, nor a text can name the letter of
    a label.

    Args:
        chat: the way to the model.
        answers: one line a label, 2 or more.
        prompt_name: a prompt with the variables question, options and text, and `shown_as`.
        purpose: under which its tokens are counted.
        shown_as: the variable under which a prompt takes texts with their label; "" where it takes none.
        question: what is asked.
    """

    chat: ChatClient
    answers: tuple[str, ...]
    prompt_name: str = "label_choice"
    purpose: str = "label"
    shown_as: str = ""
    question: str = WHICH_LABEL

    @property
    def is_listed(self) -> bool:
        """Whether only a shortlist can be shown."""
        return len(self.answers) > len(LETTERS)

    def make_requests(self, asked: LabelQuestion) -> list[ChatRequest]:
        """The two requests about one text."""
        return self._make(asked, self.list_labels(asked))

    def estimate_tokens(self, asked: LabelQuestion) -> int:
        """Tokens that the requests about one text cost at most."""
        return sum(self.chat.estimate(request) for request in self.make_requests(asked))

    async def ask(self, questions: Sequence[LabelQuestion]) -> Floats:
        """(n, k) probabilities of the labels; a row of NaN where the model or the budget failed.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        return (await self.answer(questions)).probabilities

    async def answer(self, questions: Sequence[LabelQuestion]) -> LabelAnswers:
        """The same, and what counts beside a ranking; raises as `ask` does."""
        if not questions:
            nothing = np.empty((0, len(self.answers)))
            return LabelAnswers(nothing, nothing)
        listed = [self.list_labels(asked) for asked in questions]
        pairs = [self._make(asked, labels) for asked, labels in zip(questions, listed, strict=True)]
        options = self._name_options(listed[0])
        said = (await LetterChoice(self.chat, options, self.prompt_name, self.purpose).ask(pairs)).mean(
            axis=0
        )
        if not self.is_listed:
            return LabelAnswers(said, said)
        factors = np.repeat(said[:, -1:], len(self.answers), axis=1)
        np.put_along_axis(factors, np.array(listed), said[:, :-1], axis=1)
        spread = spread_answers(said, np.array(listed), np.array([asked.likely for asked in questions]))
        return LabelAnswers(spread, factors)

    def _make(self, asked: LabelQuestion, labels: Integers) -> list[ChatRequest]:
        shown = [(text, self.answers[label]) for text, label in asked.shown]
        variables: dict[str, Any] = {self.shown_as: shown} if self.shown_as else {}
        choice = LetterChoice(self.chat, self._name_options(labels), self.prompt_name, self.purpose)
        return choice.make_requests(asked.text, self.question, **variables)

    def _name_options(self, labels: Integers) -> tuple[str, ...]:
        names = tuple(self.answers[label] for label in labels)
        return (*names, NONE_OF_THESE) if self.is_listed else names

    def list_labels(self, asked: LabelQuestion) -> Integers:
        """The labels that are shown, in the order of the first request."""
        if not self.is_listed:
            return np.arange(len(self.answers))
        described = asked.described[None, :] if len(asked.described) else None
        listed = np.sort(make_shortlists(asked.likely[None, :], described, np.array([asked.given]))[0])
        return listed[keyed_rank([f"{label}" for label in listed], asked.text)]
