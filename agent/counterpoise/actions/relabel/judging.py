"""Putting cases before the two judges: what they say, and what it costs.

The first judge reads every candidate. Sources of which it flags too much are paused; of the others the second judge
reads what was flagged, what gold speaks of and a random part of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.judges import Judge, Question
from counterpoise.actions.relabel.preparation import (
    CascadeSettings,
    PreparedCases,
    choose_sampled_share,
    is_random,
    make_first_questions,
)
from counterpoise.actions.relabel.result import PositiveCheck, SourceMeter
from counterpoise.actions.relabel.verdicts import NO_ANSWER, Grade, Judgement
from counterpoise.core.event_kinds import Warned
from counterpoise.core.events import tell_event
from counterpoise.data.instances import Passage


@dataclass(frozen=True, slots=True)
class Cascade:
    """Two judges and what they work on; only the meters change while they do.

    Args:
        prepared: what is to be judged.
        first: the cheap judge.
        second: the strong judge.
        settings: how to go about it.
        meters: by source.
        sampled_share: part of the unflagged that the second judge reads, 0..1.
    """

    prepared: PreparedCases
    first: Judge
    second: Judge
    settings: CascadeSettings
    meters: Mapping[str, SourceMeter]
    sampled_share: float

    @property
    def tokens(self) -> int:
        """Spent so far, whatever on."""
        budgets = {id(chat.budget): chat.budget for chat in (self.first.chat, self.second.chat)}
        return sum(budget.used for budget in budgets.values())


@dataclass(frozen=True, slots=True)
class JudgeAnswers:
    """What a judge said.

    Args:
        said: number of a case -> text of a passage -> judgement; texts that were not asked about are absent.
        is_cut: the budget ended first.
    """

    said: Mapping[int, Mapping[str, Judgement]] = field(default_factory=dict)
    is_cut: bool = False

    def of(self, case: Case) -> Mapping[str, Judgement]:
        """What was said of a case, by text."""
        return self.said.get(case.number, {})


def open_cascade(
    prepared: PreparedCases,
    first: Judge,
    second: Judge,
    settings: CascadeSettings,
) -> Cascade:
    """A cascade whose meters know how much each source has, and nothing else yet."""
    meters: dict[str, SourceMeter] = {}
    for case in prepared.cases:
        meter = meters.setdefault(case.source, SourceMeter(case.source))
        meter.n_queries += 1
        meter.n_instances += len(case.rows)
    share = choose_sampled_share(settings, prepared.cases)
    return Cascade(prepared, first, second, settings, meters, share)


async def flag_cases(cascade: Cascade, cases: Sequence[Case]) -> JudgeAnswers:
    """Ask the first judge about every candidate."""
    questions = [question for case in cases for question in make_first_questions(cascade.first, case)]
    answers = await _ask(cascade, cascade.first, questions)
    for case in cases:
        cascade.meters[case.source].count_flags(case, answers.of(case))
    return answers


def pause_sources(cascade: Cascade) -> None:
    """Pause sources of which surely too much is flagged."""
    limit = cascade.settings.most_flagged
    for meter in cascade.meters.values():
        share = meter.flags.rate
        if not meter.paused and share.n and share.interval[0] > limit:
            meter.paused = (
                f"the first judge flags {share.value:.0%} of the candidates, above the limit of {limit:.0%}: the "
                "second judge alone would cost little more"
            )
            tell_event(Warned(f"{meter.source or 'all instances'} paused: {meter.paused}"))


async def grade_cases(cascade: Cascade, cases: Sequence[Case], flags: JudgeAnswers) -> JudgeAnswers:
    """Ask the second judge about what was flagged, what gold speaks of and what is sampled."""
    questions: list[Question] = []
    for case in cases:
        passages = [
            candidate.passage
            for candidate in case.candidates
            if (flag := flags.of(case).get(candidate.passage.full_text)) is not None
            and (flag.is_flag or _is_sampled(cascade, case, candidate.passage, flag))
        ]
        questions += cascade.second.make_questions(
            case.number, case.query, case.query, case.positives, passages
        )
    return await _ask(cascade, cascade.second, questions)


async def check_positives(cascade: Cascade, cases: Sequence[Case]) -> tuple[list[PositiveCheck], bool]:
    """Judge known positives without a reference; a suspect is one that both judges call not relevant.

    Returns:
        The checks, and whether the budget ended first.
    """

    def make(judge: Judge, chosen: Mapping[int, Sequence[Passage]]) -> list[Question]:
        queries = {number: cascade.prepared.cases[number].query for number in chosen}
        return [
            question
            for number, passages in chosen.items()
            for question in judge.make_questions(
                number, f"positives\0{queries[number]}", queries[number], (), passages
            )
        ]

    flags = await _ask(
        cascade, cascade.first, make(cascade.first, {case.number: case.positives for case in cases})
    )
    refused = {
        case.number: [
            one
            for one in case.positives
            if flags.of(case).get(one.full_text, NO_ANSWER).grade is Grade.NOT_RELEVANT
        ]
        for case in cases
    }
    grades = await _ask(cascade, cascade.second, make(cascade.second, refused))
    checks = [
        check_positive(
            case.rows[0],
            passage,
            flags.of(case).get(passage.full_text, NO_ANSWER),
            grades.of(case).get(passage.full_text),
        )
        for case in cases
        for passage in case.positives
    ]
    return checks, flags.is_cut or grades.is_cut


def check_positive(place: int, passage: Passage, flag: Judgement, grade: Judgement | None) -> PositiveCheck:
    """What the judges say of a known positive of the instance at `place`; `grade` is None where nobody asked."""
    if (grade or flag).is_flag:
        outcome = "confirmed"
    elif grade is not None and grade.grade is Grade.NOT_RELEVANT:
        outcome = "suspect"
    else:
        outcome = "abstain"
    return PositiveCheck(place, passage, outcome, flag, grade)


def _is_sampled(cascade: Cascade, case: Case, passage: Passage, flag: Judgement) -> bool:
    """Whether an unflagged candidate goes to the second judge: those of gold, and a random part of the others."""
    if flag.grade is Grade.ABSTAIN:
        return False
    text = passage.full_text
    return text in cascade.prepared.gold.answers.get(case.number, {}) or is_random(
        case, text, cascade.sampled_share
    )


async def _ask(cascade: Cascade, judge: Judge, questions: Sequence[Question]) -> JudgeAnswers:
    """What a judge says, source by source; what it costs goes on their meters."""
    said: dict[int, dict[str, Judgement]] = {}
    is_cut = False
    by_source: dict[str, list[Question]] = {}
    for question in questions:
        by_source.setdefault(cascade.prepared.cases[question.key].source, []).append(question)
    for source, asked in by_source.items():
        before = cascade.tokens
        for answer in await judge.ask(asked):
            is_cut |= answer.is_cut
            mine = said.setdefault(answer.question.key, {})
            if not answer.is_cut:
                pairs = zip(answer.question.passages, answer.judgements, strict=True)
                mine |= {passage.full_text: judgement for passage, judgement in pairs}
        cascade.meters[source].spend(cascade.tokens - before, is_second=judge is cascade.second)
    return JudgeAnswers(said, is_cut)
