"""The cascade over retrieval instances: audit the judges, meter the sources, flag, grade, decide.

Rows of one query are read together (see `cases`). Negatives that repeat a known positive, or nearly so, are dropped
without a judge. The judges are audited first, a query once; where one fails, nothing is asked of it about the data.
Then a pilot of every source is judged. A source of which the first judge flags so much that the second would read
nearly all of it is paused: there the cascade is pointless. The others are worked off in blocks, the next block always
from the source that has given most changes a token so far, until everything is judged or the budget is spent. A random
part of what the first judge refuses goes to the second one too, which tells what the first misses. What is concluded
from it stands in `conclusions`.

Which questions are asked depends on replies and on hashes of texts, never on the order in which replies arrive.

Paper: Thakur, Zhang, Ma, Lin (2025) "Fixing Data That Hurts Performance: Cascading LLMs to Relabel Hard Negatives for
Robust Information Retrieval".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.actions.relabel.cascade import MIN_PRECISION, MOST_RELABELS, Decision, decide_candidate
from counterpoise.actions.relabel.cases import Case, make_cases
from counterpoise.actions.relabel.conclusions import NO_ANSWER, Findings, conclude, is_random
from counterpoise.actions.relabel.gold_pairs import Gold, GoldSource, match_gold
from counterpoise.actions.relabel.judge_audits import (
    JudgeAudit,
    ask_about_plants,
    audit_judge,
    choose_plants,
    join_plants,
)
from counterpoise.actions.relabel.judges import Judge, Question
from counterpoise.actions.relabel.result import Meter, PositiveCheck, RelabelledInstances
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.core.events import Event, Listener, ignore
from counterpoise.core.splits import keyed_rank
from counterpoise.data.instances import Instance, Passage

MOST_AUDITED = 300
"""Queries whose positive is planted, at most: with as many a share is known to within six points, whatever it is."""


@dataclass(frozen=True, slots=True)
class CascadeSettings:
    """How the cascade goes about it.

    Args:
        most_relabels: an instance with more is ambiguous and left out; None for no limit.
        counts_worse: relabel what is relevant but worse than the known positives, instead of dropping it.
        min_precision: where gold lets precision be estimated, relabel only if the lower end of its 95% interval is at
            least this, 0..1; else drop what would have been relabelled. Without gold it changes nothing.
        most_flagged: share of its candidates, 0..1, above which a source is paused.
        n_pilot: queries of each source that are judged first.
        unflagged_share: part of what the first judge refuses that the second reads too.
        fewest_unflagged: as many of them at least.
        audit_share: part of the queries that a positive of is planted.
        fewest_audited: as many of them at least, where there are so many; never more than `MOST_AUDITED`.
        check_positives: judge the known positives too; reported, never acted upon.
        source_field: field of an instance that names its source.
        block: queries between two looks at the budget and at the sources.
    """

    most_relabels: int | None = MOST_RELABELS
    counts_worse: bool = False
    min_precision: float = MIN_PRECISION
    most_flagged: float = 0.5
    n_pilot: int = 50
    unflagged_share: float = 0.05
    fewest_unflagged: int = 100
    audit_share: float = 0.05
    fewest_audited: int = 100
    check_positives: bool = False
    source_field: str = "source"
    block: int = 256


async def relabel_instances(
    instances: Sequence[Instance],
    first: Judge,
    second: Judge,
    *,
    settings: CascadeSettings | None = None,
    mined: Mapping[int, Sequence[Passage]] | None = None,
    gold: Gold | None = None,
    gold_source: GoldSource | None = None,
    listener: Listener = ignore,
) -> RelabelledInstances:
    """Find negatives that answer their query and relabel or drop them.

    Args:
        instances: what a retriever would be trained on; they are not changed.
        first: the cheap judge.
        second: the strong judge.
        settings: how to go about it.
        mined: position of an instance -> further candidates found in the corpus; they enter it only as positives.
        gold: known answers on candidates, for audits; they decide nothing.
        gold_source: where gold was read, and what its names stand for.
        listener: told of every step.

    Raises:
        DataError: gold speaks of no candidate.
        ServerError: a server is evidently gone; calling again goes on where it was.
        StorageError: the reply store cannot be written.
    """
    settings = settings or CascadeSettings()
    found = prepare_findings(instances, settings, mined=mined, gold=gold, gold_source=gold_source)
    return await relabel_prepared(found, first, second, settings=settings, listener=listener)


def prepare_findings(
    instances: Sequence[Instance],
    settings: CascadeSettings,
    *,
    mined: Mapping[int, Sequence[Passage]] | None = None,
    gold: Gold | None = None,
    gold_source: GoldSource | None = None,
) -> Findings:
    """What is to be judged, and what gold says of it; arguments as of `relabel_instances`.

    Raises:
        DataError: gold speaks of no candidate.
    """
    cases = make_cases(instances, mined or {}, settings.source_field)
    found = Findings(instances, cases, match_gold(gold or {}, cases, gold_source))
    found.gold.check(cases, (gold_source or GoldSource()).name)
    return found


async def relabel_prepared(
    found: Findings, first: Judge, second: Judge, *, settings: CascadeSettings, listener: Listener = ignore
) -> RelabelledInstances:
    """Judge what was prepared, and conclude; arguments and errors as of `relabel_instances`."""
    if found.gold.sentence:
        listener(Event("gold_matched", {**found.gold.as_dict(), "message": found.gold.sentence}))
    run = _Run(found, first, second, settings, listener)
    await run.work()
    return conclude(
        found,
        most_relabels=settings.most_relabels,
        counts_worse=settings.counts_worse,
        min_precision=settings.min_precision,
        tokens=run.tokens,
    )


def choose_sampled_share(settings: CascadeSettings, cases: Sequence[Case]) -> float:
    """Part of what the first judge refuses that the second reads too."""
    n_candidates = max(sum(len(case.candidates) for case in cases), 1)
    return max(settings.unflagged_share, settings.fewest_unflagged / n_candidates)


def count_audited(settings: CascadeSettings, cases: Sequence[Case]) -> int:
    """Queries that a positive of is planted, where there are so many with one."""
    n_queries = len({case.query for case in cases})
    return min(MOST_AUDITED, max(settings.fewest_audited, round(settings.audit_share * n_queries)))


class _Run:
    """What costs tokens; it fills `found`."""

    def __init__(
        self, found: Findings, first: Judge, second: Judge, settings: CascadeSettings, listener: Listener
    ) -> None:
        self.found, self.cases = found, found.cases
        self.first, self.second = first, second
        self.settings, self.listener = settings, listener
        self.found.sampled_share = choose_sampled_share(settings, self.cases)
        self.meters = {case.source: Meter(case.source) for case in self.cases}
        for case in self.cases:
            self.meters[case.source].n_queries += 1
            self.meters[case.source].n_instances += len(case.rows)
        self.found.meters = self.meters
        self.flags: dict[int, dict[str, Judgement]] = {}
        self.grades: dict[int, dict[str, Judgement]] = {}
        self.n_done = 0

    @property
    def tokens(self) -> int:
        budgets = {id(chat.budget): chat.budget for chat in (self.first.chat, self.second.chat)}
        return sum(budget.used for budget in budgets.values())

    async def work(self) -> None:
        """Everything that costs tokens."""
        if not any(case.candidates for case in self.cases):
            return
        if not await self._audit():
            return
        waiting = self._order_cases()
        pilots = {source: cases[: self.settings.n_pilot] for source, cases in waiting.items()}
        await self._flag([case for cases in pilots.values() for case in cases])
        self._pause()
        before = {source: meter.second_tokens for source, meter in self.meters.items()}
        await self._grade([case for cases in pilots.values() for case in cases])
        for source, cases in waiting.items():
            waiting[source] = cases[self.settings.n_pilot :]
            spent = self.meters[source].second_tokens - before[source]
            n_left = len(waiting[source])
            self.meters[source].projected_tokens = round(spent / max(len(pilots[source]), 1) * n_left)
        self.listener(Event("projected", {"sources": [meter.as_dict() for meter in self.meters.values()]}))
        while not self.found.is_cut:
            open_sources = [one for one, cases in waiting.items() if cases and not self.meters[one].paused]
            if not open_sources:
                break
            source = max(open_sources, key=lambda one: (self._worth(self.meters[one]), one))
            block, waiting[source] = (
                waiting[source][: self.settings.block],
                waiting[source][self.settings.block :],
            )
            await self._flag(block)
            self._pause()
            await self._grade(block)
        for cases in waiting.values():
            for case in cases:
                self._leave(case)

    async def _audit(self) -> bool:
        """Audit the judges; whether both may decide."""
        plants = choose_plants(self.cases, count_audited(self.settings, self.cases))
        said_first, is_cut = await ask_about_plants(self.first, plants)
        self.found.is_cut |= is_cut
        self.found.planted = join_plants(plants, said_first, {})
        self._report_audit(audit_judge("first", self.first.chat.name, self.found.planted))
        if not self.found.audits[0].is_passed:
            return False
        said_second, is_cut = await ask_about_plants(self.second, plants)
        self.found.is_cut |= is_cut
        self.found.planted = join_plants(plants, said_first, said_second)
        self._report_audit(audit_judge("second", self.second.chat.name, self.found.planted))
        return self.found.audits[1].is_passed

    def _report_audit(self, found: JudgeAudit) -> None:
        self.found.audits.append(found)
        self.listener(Event("judge_audited", found.as_dict()))

    def _order_cases(self) -> dict[str, list[Case]]:
        """Cases by source, each in the order of a hash: a part of them is a random sample."""
        waiting: dict[str, list[Case]] = {source: [] for source in sorted(self.meters)}
        for place in keyed_rank([case.query for case in self.cases], "cascade"):
            waiting[self.cases[place].source].append(self.cases[place])
        return waiting

    def _worth(self, meter: Meter) -> float:
        """Changes a token so far, a source without any tried before one that gave none."""
        return (meter.n_changes + 1) / (meter.tokens + 1)

    async def _flag(self, cases: Sequence[Case]) -> None:
        """Ask the first judge about every candidate."""
        said = await self._ask(
            self.first,
            [question for case in cases for question in make_first_questions(self.first, case)],
        )
        for case in cases:
            judgements = said.get(case.number, {})
            self.flags[case.number] = judgements
            meter = self.meters[case.source]
            answered = {text: one for text, one in judgements.items() if one.grade is not Grade.ABSTAIN}
            flagged = [text for text, one in answered.items() if one.is_flag]
            meter.n_asked += len(case.rows) if judgements or not case.candidates else 0
            meter.flags.add(len(flagged), len(answered))
            meter.flagged_instances += len({place for text in flagged for place, _ in case.standing[text]})

    def _pause(self) -> None:
        """Pause sources of which surely too much is flagged."""
        limit = self.settings.most_flagged
        for meter in self.meters.values():
            share = meter.flags.rate
            if not meter.paused and share.n and share.interval[0] > limit:
                meter.paused = (
                    f"the first judge flags {share.value:.0%} of the candidates, above the limit of {limit:.0%}: the "
                    "second judge alone would cost little more"
                )
                self.listener(
                    Event("warning", {"message": f"{meter.source or 'all instances'} paused: {meter.paused}"})
                )

    async def _grade(self, cases: Sequence[Case]) -> None:
        """Ask the second judge about what was flagged and what is sampled, and decide."""
        open_cases = [case for case in cases if not self.meters[case.source].paused]
        questions: list[Question] = []
        for case in open_cases:
            passages = [
                candidate.passage
                for candidate in case.candidates
                if (flag := self.flags[case.number].get(candidate.passage.full_text)) is not None
                and (flag.is_flag or self._is_sampled(case, candidate.passage, flag))
            ]
            questions += self.second.make_questions(
                case.number, case.query, case.query, case.positives, passages
            )
        self.grades |= await self._ask(self.second, questions)
        if self.settings.check_positives:
            await self._check_positives(open_cases)
        for case in cases:
            self._leave(case)
        self.n_done += len(cases)
        self._report_progress()

    def _is_sampled(self, case: Case, passage: Passage, flag: Judgement) -> bool:
        """Whether an unflagged candidate goes to the second judge: those of gold, and a random part of the others."""
        if flag.grade is Grade.ABSTAIN:
            return False
        text = passage.full_text
        return text in self.found.gold.answers.get(case.number, {}) or is_random(
            case, text, self.found.sampled_share
        )

    async def _ask(self, judge: Judge, questions: Sequence[Question]) -> dict[int, dict[str, Judgement]]:
        """Judgements by case and text, and what they cost on the meters."""
        said: dict[int, dict[str, Judgement]] = {}
        by_source: dict[str, list[Question]] = {}
        for question in questions:
            by_source.setdefault(self.cases[question.key].source, []).append(question)
        for source, asked in by_source.items():
            before = self.tokens
            for answer in await judge.ask(asked):
                self.found.is_cut |= answer.is_cut
                mine = said.setdefault(answer.question.key, {})
                if not answer.is_cut:
                    pairs = zip(answer.question.passages, answer.judgements, strict=True)
                    mine |= {passage.full_text: judgement for passage, judgement in pairs}
            spent = self.tokens - before
            self.meters[source].tokens += spent
            self.meters[source].second_tokens += spent if judge is self.second else 0
        return said

    async def _check_positives(self, cases: Sequence[Case]) -> None:
        """Judge known positives without a reference; a suspect is one that both judges call not relevant."""

        def make(judge: Judge, chosen: Mapping[int, Sequence[Passage]]) -> list[Question]:
            return [
                question
                for number, passages in chosen.items()
                for question in judge.make_questions(
                    number, f"positives\0{self.cases[number].query}", self.cases[number].query, (), passages
                )
            ]

        said = await self._ask(self.first, make(self.first, {case.number: case.positives for case in cases}))
        refused = {
            case.number: [one for one in case.positives if _grade_of(said, case, one) is Grade.NOT_RELEVANT]
            for case in cases
        }
        again = await self._ask(self.second, make(self.second, refused))
        for case in cases:
            for passage in case.positives:
                flag = said.get(case.number, {}).get(passage.full_text, NO_ANSWER)
                grade = again.get(case.number, {}).get(passage.full_text)
                last = grade or flag
                outcome = (
                    "confirmed"
                    if last.is_flag
                    else "suspect"
                    if grade is not None and grade.grade is Grade.NOT_RELEVANT
                    else "abstain"
                )
                self.found.checks.append(PositiveCheck(case.rows[0], passage, outcome, flag, grade))

    def _leave(self, case: Case) -> None:
        """Write down what became of a case."""
        meter = self.meters[case.source]
        flags, grades = self.flags.get(case.number, {}), self.grades.get(case.number, {})
        decided: list[Decision] = []
        n_graded = n_confirmed = 0
        if meter.paused:
            self.found.paused.add(case.number)
        for candidate in case.candidates:
            text = candidate.passage.full_text
            flag, grade = flags.get(text, NO_ANSWER), grades.get(text)
            if meter.paused:
                decided.append(
                    Decision.leave(case.rows[0], candidate, f"paused: {meter.paused}", flags.get(text))
                )
                continue
            if flag.is_flag and grade is None:
                grade = NO_ANSWER
            decided.append(
                decide_candidate(
                    case.rows[0],
                    candidate,
                    flag,
                    grade,
                    is_sampled=grade is not None and not flag.is_flag,
                    counts_worse=self.settings.counts_worse,
                )
            )
            if flag.is_flag and grade is not None and grade.grade is not Grade.ABSTAIN:
                n_graded += 1
                n_confirmed += grade.grade is Grade.BETTER_OR_EQUAL
        meter.confirmations.add(n_confirmed, n_graded)
        meter.outcomes.update(one.outcome for one in decided)
        self.found.decided[case.number] = decided

    def _report_progress(self) -> None:
        budget = self.first.chat.budget
        data = {"name": "queries judged", "done": self.n_done, "total": len(self.cases)}
        self.listener(Event("judging", data | {"tokens": self.tokens, "limit": budget.limit}))


def make_first_questions(first: Judge, case: Case) -> list[Question]:
    """What the first judge is asked about a case: every candidate."""
    passages = [candidate.passage for candidate in case.candidates]
    return first.make_questions(case.number, case.query, case.query, case.positives, passages)


def _grade_of(said: Mapping[int, Mapping[str, Judgement]], case: Case, passage: Passage) -> Grade:
    return said.get(case.number, {}).get(passage.full_text, NO_ANSWER).grade


__all__ = ["CascadeSettings", "Gold", "relabel_instances"]
