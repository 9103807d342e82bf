"""What a relabelling would ask and cost, before a token is spent: requests, tokens, and time.

Everything but the replies is known beforehand: which queries are audited, what the first judge reads, and what a prompt
holds. What the second judge reads depends on what the first one flags, so it is between what is sampled and the share
from which a source is paused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.judge_audits import choose_plants, make_plant_questions
from counterpoise.actions.relabel.judges import Judge, Question, Stage
from counterpoise.actions.relabel.preparation import (
    CascadeSettings,
    PreparedCases,
    choose_sampled_share,
    count_audited,
    is_random,
    make_first_questions,
)
from counterpoise.core.splits import keyed_hash
from counterpoise.llm.budget import estimate_prompt, estimate_tokens
from counterpoise.llm.connect import open_silent
from counterpoise.report.preview import ScreenTable
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.retrieval.steps import (
    load_corpus,
    load_instances,
    make_judge,
    make_settings,
    prepare_job,
)

_CRITERION = (
    "The passage must say in so many words what the query asks for, with the detail that it asks for."
)
_EVIDENCE = "A dozen words of the passage, as they stand in it, one after the other."
MOST_READ = 1000
"""Prompts that are written out for each part, at most, evenly spaced over the data."""

DEFAULT_CONCURRENCY = 32
"""Requests at once that times are told for where the job names no number; a run measures what the server takes."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a part of the work asks.

    Args:
        part: in words.
        requests: to a model.
        tokens: of prompts and replies together, as they are expected, rather too many than too few.
        most_tokens: where every reply is as long as it may be; the budget reserves as much.
    """

    part: str
    requests: int
    tokens: int
    most_tokens: int

    def __add__(self, other: Price) -> Price:
        """Both together, under the name of the first."""
        return Price(
            self.part,
            self.requests + other.requests,
            self.tokens + other.tokens,
            self.most_tokens + other.most_tokens,
        )


@dataclass(frozen=True)
class RetrievalPreview:
    """What a relabelling would do.

    Args:
        rows: of the data.
        queries: that they hold.
        candidates: negatives and mined passages to be judged, each once a query.
        repeats: negatives that are dropped without a judge, because they repeat a known positive.
        audited: queries of which a positive is planted.
        parts: audits of both judges, the first judge, and the second one at least and at most.
        budget: tokens that may be spent; None for no limit.
        concurrency: requests at once that times are told for.
        notes: what else is known before.
    """

    rows: int
    queries: int
    candidates: int
    repeats: int
    audited: int
    parts: tuple[Price, ...]
    budget: int | None
    concurrency: int
    notes: tuple[str, ...] = ()

    @property
    def least(self) -> Price:
        """All of it, where the first judge flags nothing."""
        return _add("in all, at least", self.parts[:-1])

    @property
    def most(self) -> Price:
        """All of it, where the first judge flags as much as it may."""
        return _add("in all, at most", (*self.parts[:-2], self.parts[-1]))

    def estimate_seconds(self, seconds_per_request: float) -> tuple[float, float]:
        """Least and most time, where a request takes so long and `concurrency` are under way at a time."""
        pace = seconds_per_request / self.concurrency
        return self.least.requests * pace, self.most.requests * pace

    @property
    def advice(self) -> list[str]:
        """What the budget reaches for, and how long it takes, for people."""
        lines = list(self.notes)
        if self.budget is not None:
            if self.budget >= self.most.tokens:
                lines.append(f"The budget of {self.budget:,} tokens reaches for everything.")
            else:
                share = self.budget / max(self.most.tokens, 1)
                judged = max(0.0, (self.budget - _add("", self.parts[:2]).tokens)) / max(
                    1, _add("", (self.parts[2], self.parts[-1])).tokens
                )
                lines.append(
                    f"The budget of {self.budget:,} tokens is {share:.0%} of what it may take: after the audits it "
                    f"reaches for {min(judged, 1):.0%} of the queries where much is flagged."
                )
        (low, high), (slow_low, slow_high) = self.estimate_seconds(1.0), self.estimate_seconds(10.0)
        lines.append(
            f"Time with {self.concurrency} requests at once: {_describe(low)} to {_describe(high)} where a request "
            f"takes 1 s, {_describe(slow_low)} to {_describe(slow_high)} where it takes 10 s; `counterpoise doctor` "
            "measures a server."
        )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        seconds = self.estimate_seconds(1.0)
        return {
            "rows": self.rows,
            "queries": self.queries,
            "candidates": self.candidates,
            "repeats_dropped": self.repeats,
            "audited_queries": self.audited,
            "parts": [_show(one) for one in self.parts],
            "least": _show(self.least),
            "most": _show(self.most),
            "budget": self.budget,
            "concurrency": self.concurrency,
            "seconds_at_one_second_a_request": {"least": seconds[0], "most": seconds[1]},
            "advice": self.advice,
        }

    def show(self) -> Iterator[ScreenTable | str]:
        """The same for people."""
        yield (
            f"{self.candidates:,} candidates of {self.queries:,} queries in {self.rows:,} rows; {self.repeats:,} more "
            f"repeat a known positive and are dropped without a judge; {self.audited:,} queries are audited."
        )
        yield ScreenTable(
            "Before a token is spent",
            ("part", ">requests", ">tokens, about", ">tokens, at most"),
            [
                (one.part, f"{one.requests:,}", f"{one.tokens:,}", f"{one.most_tokens:,}")
                for one in (*self.parts, self.least, self.most)
            ],
            most=None,
        )
        yield from self.advice


def preview_relabelling(job: RetrievalJob) -> RetrievalPreview:
    """What a job over retrieval instances would do; asks no model.

    Raises:
        UserError: a mistake in the job or the data.
    """
    prepared = prepare_job(job, load_instances(job), load_corpus(job.corpus))
    return make_retrieval_preview(job, prepared, make_settings(job))


def make_retrieval_preview(
    job: RetrievalJob, prepared: PreparedCases, settings: CascadeSettings
) -> RetrievalPreview:
    """The preview of what was prepared."""
    cases = prepared.cases
    first, second = (_make_judge(stage, job) for stage in ("first", "second"))
    plants = choose_plants(cases, count_audited(settings, cases))
    share = choose_sampled_share(settings, cases)
    parts = (
        _price("audit of the first judge", first, make_plant_questions(first, plants)),
        _price("audit of the second judge", second, make_plant_questions(second, plants)),
        _price("first judge", first, (one for case in cases for one in make_first_questions(first, case))),
        _price("second judge, where nothing is flagged", second, _ask_again(second, prepared, share, 0.0)),
        _price(
            f"second judge, where {settings.most_flagged:.0%} are flagged",
            second,
            _ask_again(second, prepared, share, settings.most_flagged),
        ),
    )
    notes = [prepared.gold.sentence] if prepared.gold.sentence else []
    if settings.check_positives:
        notes.append("Known positives are judged, too (check_positives); that is not counted here.")
    return RetrievalPreview(
        rows=len(prepared.instances),
        queries=len({case.query for case in cases}),
        candidates=sum(len(case.candidates) for case in cases),
        repeats=sum(len(case.settled) for case in cases),
        audited=len(plants),
        parts=parts,
        budget=job.budget.tokens,
        concurrency=job.llm.concurrency or DEFAULT_CONCURRENCY,
        notes=tuple(notes),
    )


def _ask_again(second: Judge, prepared: PreparedCases, share: float, flagged: float) -> Iterable[Question]:
    """What the second judge is asked where a share of the candidates is flagged, as if by chance."""
    for case in prepared.cases:
        gold = prepared.gold.answers.get(case.number, {})
        passages = [
            one.passage
            for one in case.candidates
            if one.passage.full_text in gold
            or is_random(case, one.passage.full_text, share)
            or _is_flagged(case, one.passage.full_text, flagged)
        ]
        yield from second.make_questions(case.number, case.query, case.query, case.positives, passages)


def _is_flagged(case: Case, text: str, share: float) -> bool:
    return keyed_hash("flagged in a preview", f"{case.query}\0{text}") < share * 2**64


def _price(part: str, judge: Judge, questions: Iterable[Question]) -> Price:
    """Requests are counted; the tokens of very many are those of some of them, scaled up."""
    asked = list(questions)
    n_read = min(len(asked), MOST_READ)
    n_tokens = n_most = 0
    for place in range(n_read):
        question = asked[place * len(asked) // n_read]
        request = judge.make_request(question)
        n_tokens += estimate_prompt(request) + estimate_tokens([_make_reply(judge.stage, question)])
        n_most += judge.chat.budget.estimate(request)
    scale = len(asked) / max(n_read, 1)
    return Price(part, len(asked), round(n_tokens * scale), round(n_most * scale))


def _make_reply(stage: Stage, question: Question) -> str:
    """A reply of usual length."""
    verdict: dict[str, Any] = {"number": 1, "relevant": "no"}
    if stage == "second":
        verdict = {"number": 1, "evidence": _EVIDENCE, "grade": "better_or_equal"}
    return json.dumps({"criterion": _CRITERION, "verdicts": [verdict] * len(question.passages)})


def _make_judge(stage: str, job: RetrievalJob) -> Judge:
    chat = open_silent(job.llm).chat
    if stage == "first":
        return make_judge("first", chat, job, job.llm)
    return make_judge("second", chat, job, job.second_llm)


def _add(part: str, prices: Sequence[Price]) -> Price:
    return sum(prices, Price(part, 0, 0, 0))


def _show(price: Price) -> dict[str, Any]:
    return {
        "part": price.part,
        "requests": price.requests,
        "tokens": price.tokens,
        "most_tokens": price.most_tokens,
    }


def _describe(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
