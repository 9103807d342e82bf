"""The strong scorer of the cascade: asked about suspects only, each beside its nearest confirmed records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.llm import ChatClient
from counterpoise.scorers.letters import WHICH_LABEL, LetterChoice

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
class LLMJudge:
    """A language model that picks a letter, with the options in two orders.

    Args:
        chat: the way to the model.
        answers: one line a label, 2 to 20.
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
        """(n, k) probabilities, the mean of both orders.

        Raises:
            ServerError: the server is gone.
        """
        choice = LetterChoice(self.chat, self.answers, "label_judge", "judge")
        pairs = [
            choice.make_requests(
                text,
                self.question,
                references=[(one.text[:_REFERENCE_CHARACTERS], self.answers[one.label]) for one in shown],
            )
            for text, shown in zip(texts, references, strict=True)
        ]
        return np.asarray((await choice.ask(pairs)).mean(axis=0))
