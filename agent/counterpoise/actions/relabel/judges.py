"""A judge: a model, a prompt, and numbered passages in a shuffled order that is recorded.

Two stages, one protocol: the cheap judge says relevant or not of every candidate, the strong one compares what was
flagged with the known positives and quotes its evidence. The order of the passages is a keyed hash of their texts, so
it differs between the stages, says nothing of how a passage was found, and is the same in a run that is resumed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from counterpoise.actions.relabel.verdicts import Judgement, abstain, read_flags, read_grades
from counterpoise.core.errors import ReplyError
from counterpoise.core.splits import keyed_rank
from counterpoise.data.instances import Passage
from counterpoise.llm import BudgetSpent, ChatClient, ChatRequest
from counterpoise.llm.batches import answer_most
from counterpoise.llm.probing import learn_from_first
from counterpoise.llm.prompts import Prompt, load_prompt, quote_data

Stage = Literal["first", "second"]

PROBE_WORD = "table"

PROMPTS: dict[Stage, str] = {"first": "relevance_flag", "second": "relevance_verdict"}


@dataclass(frozen=True, slots=True)
class Question:
    """One call of a judge: a query, what is known to answer it, and numbered passages.

    Args:
        key: whatever the caller finds the answer again by.
        query: the query.
        references: passages known to answer it; may be empty.
        passages: the passages to judge, in the order of their numbers.
    """

    key: int
    query: str
    references: tuple[Passage, ...]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question.

    Args:
        question: the question.
        judgements: one for each passage, in the order of the numbers.
        is_cut: the budget ended before it was asked.
    """

    question: Question
    judgements: tuple[Judgement, ...]
    is_cut: bool = False


@dataclass(frozen=True)
class Judge:
    """A model that judges passages.

    Args:
        stage: `first` flags, `second` grades and quotes.
        chat: the way to the model.
        per_call: passages a call, at most.
        n_references: known positives that are shown, at most.
        max_characters: of a passage, at most; the rest is not shown.
    """

    stage: Stage
    chat: ChatClient
    per_call: int = 8
    n_references: int = 3
    max_characters: int = 2000
    prompt: Prompt = field(init=False)

    def __post_init__(self) -> None:
        """Load the stage's prompt."""
        object.__setattr__(self, "prompt", load_prompt(PROMPTS[self.stage]))

    def make_questions(
        self, key: int, query_id: str, query: str, references: Sequence[Passage], passages: Sequence[Passage]
    ) -> list[Question]:
        """Share out passages, whose texts differ, over calls in a shuffled order."""
        order = keyed_rank([passage.full_text for passage in passages], f"{self.stage} judge\0{query_id}")
        shuffled = [passages[place] for place in order]
        shown = tuple(references[: self.n_references])
        return [
            Question(key, query, shown, tuple(shuffled[start : start + self.per_call]))
            for start in range(0, len(shuffled), self.per_call)
        ]

    def show(self, passage: Passage) -> str:
        """A passage as the judge reads it, in one line."""
        return quote_data(passage.full_text)[: self.max_characters].rstrip()

    def make_request(self, question: Question) -> ChatRequest:
        """The request of a question."""
        request = self.prompt.render(
            query=question.query[: self.max_characters],
            references=[self.show(passage) for passage in question.references],
            candidates=[self.show(passage) for passage in question.passages],
        )
        return replace(request, purpose=f"{self.stage} judge")

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers, in the order of the questions.

        Under a limit as many questions are asked at a time, from the front, as the budget has room for by their upper
        estimates: which ones are asked depends on replies, never on the order in which they arrive. A question that
        fails is an abstention.

        Raises:
            ServerError: the server is evidently gone.
            StorageError: the reply store cannot be written.
        """
        requests = [self.make_request(question) for question in questions]
        answers = [
            Answer(question, tuple(abstain(len(question.passages), "the budget is spent")), is_cut=True)
            for question in questions
        ]
        if requests and self._count_affordable(requests):
            probe = load_prompt("instruction_probe").render(word=PROBE_WORD)
            await learn_from_first(
                self.chat,
                requests[0],
                replace(probe, purpose="probe"),
                lambda text: PROBE_WORD.upper() in text,
            )
        start = 0
        while n_asked := self._count_affordable(requests[start:]):
            end = start + n_asked
            async for index, answer in self._ask(questions[start:end], requests[start:end]):
                answers[start + index] = answer
            start = end
        return answers

    async def _ask(
        self, questions: Sequence[Question], requests: Sequence[ChatRequest]
    ) -> AsyncIterator[tuple[int, Answer]]:
        async for outcome in answer_most(self.chat, requests):
            question = questions[outcome.index]
            n = len(question.passages)
            if isinstance(outcome.error, BudgetSpent):
                continue
            if isinstance(outcome.error, ReplyError):
                judgements = abstain(n, f"no usable reply ({outcome.error.message})")
            elif outcome.error is not None:
                judgements = abstain(n, f"the server did not answer ({outcome.error.message})")
            elif self.stage == "first":
                judgements = read_flags(outcome.completions[0].parsed, n)
            else:
                shown = [self.show(passage) for passage in question.passages]
                judgements = read_grades(outcome.completions[0].parsed, shown)
            yield outcome.index, Answer(question, tuple(judgements))

    def _count_affordable(self, requests: Sequence[ChatRequest]) -> int:
        room = self.chat.budget.remaining
        if room is None:
            return len(requests)
        n_asked = 0
        for request in requests:
            room -= self.chat.estimate(request)
            if room < 0:
                break
            n_asked += 1
        return n_asked
