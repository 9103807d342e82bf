"""The choice of a letter: one question with lettered answers, asked in both orders of the answers.

Small models prefer a position, and a model that obeys a text which names a letter contradicts itself between the
orders, so whoever asks sees both. No letter means the same answer in both orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.llm import ChatClient, ChatRequest, answer_most
from counterpoise.llm.prompts import load_prompt

LETTERS = "ABCDEFGHIJKLMNOPQRST"
WHICH_LABEL = "Which of these describes the text best?"


@dataclass(frozen=True, slots=True)
class LetterChoice:
    """A language model that picks the letter of an answer.

    Args:
        chat: the way to the model.
        answers: one line an answer, 2 to 20.
        prompt_name: a prompt with the variables question, options and text.
        purpose: under which its tokens are counted.
    """

    chat: ChatClient
    answers: tuple[str, ...]
    prompt_name: str
    purpose: str

    def __post_init__(self) -> None:
        """Refuse more answers than there are letters for."""
        if not 2 <= len(self.answers) <= len(LETTERS):
            raise ValueError(f"{len(self.answers)} answers; a letter choice has 2 to {len(LETTERS)}")

    def make_requests(
        self, text: str, question: str, second_question: str = "", **variables: Any
    ) -> list[ChatRequest]:
        """The two requests about one text: the answers in order, and in reverse order.

        Args:
            text: the text.
            question: what is asked of it.
            second_question: another wording, for the reverse order; by default the same.
            **variables: what else the prompt shows.
        """
        prompt, k = load_prompt(self.prompt_name), len(self.answers)
        requests = []
        for asked, order in ((question, range(k)), (second_question or question, _turn_round(k))):
            options = [(LETTERS[place], self.answers[answer]) for place, answer in enumerate(order)]
            request = prompt.render(question=asked, options=options, text=text, **variables)
            requests.append(replace(request, choices=tuple(LETTERS[:k]), purpose=self.purpose))
        return requests

    async def ask(self, pairs: Sequence[Sequence[ChatRequest]]) -> Floats:
        """(2, n, k) probabilities of the answers from each order, for n pairs of requests; NaN where there is no reply.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        k = len(self.answers)
        table = np.full((2, len(pairs), k), np.nan)
        async for outcome in answer_most(self.chat, [request for pair in pairs for request in pair]):
            turn, is_reverse = divmod(outcome.index, 2)
            if outcome.completions and (letters := outcome.completions[0].logprobs) is not None:
                order = _turn_round(k) if is_reverse else range(k)
                table[is_reverse, turn, list(order)] = [letters[letter] for letter in LETTERS[:k]]
        return table


def _turn_round(k: int) -> Sequence[int]:
    """The second order of k answers: the first one from its end; of an odd number the two in the middle change places.

    Else the answer in the middle would stand under one letter in both, and a text that names it would have its way.
    """
    order = list(range(k - 1, -1, -1))
    if k % 2:
        order[k // 2 - 1 : k // 2 + 1] = [order[k // 2], order[k // 2 - 1]]
    return order
