"""The strong scorer of the cascade: asked about suspects only, each beside its nearest confirmed records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise.llm import ChatClient
from counterpoise.scorers.label_choice import LabelChoice, LabelQuestion
from counterpoise.scorers.letters import LETTERS, WHICH_LABEL

_REFERENCE_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Reference:
    """A record shown beside a suspect: its text and label index."""

    text: str
    label: int


class LabelJudge(Protocol):
    """Anything that gives probabilities of the labels for a text beside references."""

    @property
    def name(self) -> str:
        """As the patch calls it."""
        ...

    async def judge(self, texts: Sequence[str], references: Sequence[Sequence[Reference]]) -> Floats:
        """(n, k) probabilities; a row of NaN where there is no answer."""
        ...


@dataclass(frozen=True, slots=True)
class Ranking:
    """What is known of m texts before a judge is asked.

    Args:
        likely: (m, k) probabilities of the labels, cross-fitted.
        described: (m, k) similarity to the labels' descriptions, None without.
        given: (m,) recorded labels.
    """

    likely: Floats
    described: Floats | None
    given: Integers


@runtime_checkable
class RankedJudge(LabelJudge, Protocol):
    """A judge that is told which labels are likely, because it cannot look at all of them."""

    async def judge_ranked(
        self, texts: Sequence[str], references: Sequence[Sequence[Reference]], ranking: Ranking
    ) -> Floats:
        """(n, k) probabilities; a row of NaN where there is no answer."""
        ...


@dataclass(frozen=True, slots=True)
class LLMJudge:
    """A language model that picks a letter, with the options in two orders.

    Args:
        chat: the way to the model.
        answers: one line a label, 2 or more; of more than 20 it chooses among the likeliest (`LabelChoice`).
        question: what is asked.
    """

    chat: ChatClient
    answers: tuple[str, ...]
    question: str = WHICH_LABEL

    @property
    def name(self) -> str:
        """The model's name."""
        return self.chat.name

    async def judge(self, texts: Sequence[str], references: Sequence[Sequence[Reference]]) -> Floats:
        """(n, k) probabilities, the mean of both orders; of more than 20 labels it has to be told the likeliest ones.

        Raises:
            ValueError: there are more labels than letters, see `judge_ranked`.
            ServerError: the server is gone.
        """
        if len(self.answers) > len(LETTERS):
            raise ValueError(f"{len(self.answers)} labels, and no ranking of them")
        n, k = len(texts), len(self.answers)
        nothing = Ranking(np.full((n, k), 1.0 / k), None, np.full(n, -1, dtype=np.int64))
        return await self.judge_ranked(texts, references, nothing)

    async def judge_ranked(
        self, texts: Sequence[str], references: Sequence[Sequence[Reference]], ranking: Ranking
    ) -> Floats:
        """(n, k) probabilities, the mean of both orders; the recorded label is among those it is shown.

        Raises:
            ServerError: the server is gone.
        """
        choice = LabelChoice(self.chat, self.answers, "label_judge", "judge", "references", self.question)
        described = ranking.described
        return await choice.ask(
            [
                LabelQuestion(
                    text,
                    [(one.text[:_REFERENCE_CHARACTERS], one.label) for one in shown],
                    ranking.likely[place],
                    np.empty(0) if described is None else described[place],
                    int(ranking.given[place]),
                )
                for place, (text, shown) in enumerate(zip(texts, references, strict=True))
            ]
        )
