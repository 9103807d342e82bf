"""The cascade over retrieval instances: audit the judges, meter the sources, flag, grade, decide.

Negatives that repeat a known positive, or nearly so, are dropped without a judge. The judges are audited first; where
one fails, nothing is asked of it about the data. Then a pilot of every source is judged. A source of which the first
judge flags so much that the second would read nearly all of it is paused: there the cascade is pointless. The others
are worked off in blocks, the next block always from the source that has given most changes a token so far, until
everything is judged or the budget is spent. A random part of what the first judge refuses goes to the second one too,
which tells what the first misses. Where gold tells how many of the relabelled are right, and that is not surely enough,
they are dropped from the negatives instead.

Which questions are asked depends on replies and on hashes of ids, never on the order in which replies arrive.

Paper: Thakur, Zhang, Ma, Lin (2025) "Fixing Data That Hurts Performance: Cascading LLMs to Relabel Hard Negatives for
Robust Information Retrieval".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.events import Event, Listener, ignore
from counterpoise.relabel.cascade import (
    MIN_PRECISION,
    MOST_RELABELS,
    Candidate,
    Decision,
    Outcome,
    decide_candidate,
    is_ambiguous,
)
from counterpoise.relabel.estimates import Estimates, estimate
from counterpoise.relabel.judge_audits import (
    JudgeAudit,
    Planted,
    Rate,
    ask_about_plants,
    audit_judge,
    choose_plants,
    join_plants,
)
from counterpoise.relabel.judges import Judge, Question
from counterpoise.relabel.near_copies import NearCopies
from counterpoise.relabel.retrieval_result import Meter, PositiveCheck, RelabelledInstances
from counterpoise.relabel.verdicts import Grade, Judgement
from counterpoise.retrieval_io import Instance, Passage
from counterpoise.retrieval_values import gather_positives
from counterpoise.splits import keyed_hash, keyed_rank

Gold = Mapping[tuple[str, str], bool]
"""(query id, passage id) -> whether the passage answers the query."""

_NO_ANSWER = Judgement(Grade.ABSTAIN, reason="the budget is spent")


@dataclass(frozen=True, slots=True)
class CascadeSettings:
    """How the cascade goes about it.

    Args:
        most_relabels: an instance with more is ambiguous and left out; None for no limit.
        counts_worse: relabel what is relevant but worse than the known positives, instead of dropping it.
        min_precision: where gold lets precision be estimated, relabel only if the lower end of its 95% interval is at
            least this, 0..1; else drop what would have been relabelled. Without gold it changes nothing.
        most_flagged: share of its candidates, 0..1, above which a source is paused.
        n_pilot: instances of each source that are judged first.
        unflagged_share: part of what the first judge refuses that the second reads too.
        fewest_unflagged: as many of them at least.
        audit_share: part of the instances whose positives are planted.
        fewest_audited: as many of them at least, where there are so many.
        check_positives: judge the known positives too; reported, never acted upon.
        source_field: field of an instance that names its source.
        block: instances between two looks at the budget and at the sources.
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
        listener: told of every step.

    Raises:
        ServerError: a server is evidently gone; calling again goes on where it was.
        StorageError: the reply store cannot be written.
    """
    run = _Run(instances, first, second, settings or CascadeSettings(), mined or {}, gold or {}, listener)
    await run.work()
    return run.conclude()


@dataclass(frozen=True)
class _Case:
    """An instance with its candidates; `settled` were decided without a judge."""

    place: int
    source: str
    instance: Instance
    candidates: tuple[Candidate, ...]
    settled: tuple[Decision, ...]


class _Run:
    def __init__(
        self,
        instances: Sequence[Instance],
        first: Judge,
        second: Judge,
        settings: CascadeSettings,
        mined: Mapping[int, Sequence[Passage]],
        gold: Gold,
        listener: Listener,
    ) -> None:
        self.instances, self.first, self.second = instances, first, second
        self.settings, self.gold, self.listener = settings, gold, listener
        self.cases = _make_cases(instances, mined, settings)
        self.meters = {case.source: Meter(case.source) for case in self.cases}
        for case in self.cases:
            self.meters[case.source].n_instances += 1
        n_candidates = max(sum(len(case.candidates) for case in self.cases), 1)
        self.sampled_share = max(settings.unflagged_share, settings.fewest_unflagged / n_candidates)
        self.audits: list[JudgeAudit] = []
        self.planted: list[Planted] = []
        self.flags: dict[int, dict[str, Judgement]] = {}
        self.grades: dict[int, dict[str, Judgement]] = {}
        self.decisions = self._list_settled()
        self.checks: list[PositiveCheck] = []
        self.paused: set[int] = set()
        self.is_cut = False
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
        while not self.is_cut:
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
        wanted = max(self.settings.fewest_audited, round(self.settings.audit_share * len(self.instances)))
        plants = choose_plants(self.instances, wanted)
        said_first, is_cut = await ask_about_plants(self.first, plants, self.instances)
        self.is_cut |= is_cut
        self.planted = join_plants(plants, said_first, {})
        self._report_audit(audit_judge("first", self.first.chat.name, self.planted))
        if not self.audits[0].is_passed:
            return False
        said_second, is_cut = await ask_about_plants(self.second, plants, self.instances)
        self.is_cut |= is_cut
        self.planted = join_plants(plants, said_first, said_second)
        self._report_audit(audit_judge("second", self.second.chat.name, self.planted))
        return self.audits[1].is_passed

    def _report_audit(self, found: JudgeAudit) -> None:
        self.audits.append(found)
        self.listener(Event("judge_audited", found.as_dict()))

    def _order_cases(self) -> dict[str, list[_Case]]:
        """Cases by source, each in the order of a hash: a part of them is a random sample."""
        waiting: dict[str, list[_Case]] = {source: [] for source in sorted(self.meters)}
        names = [f"{case.instance.query_id}\0{case.instance.query}" for case in self.cases]
        for place in keyed_rank(names, "cascade"):
            waiting[self.cases[place].source].append(self.cases[place])
        return waiting

    def _worth(self, meter: Meter) -> float:
        """Changes a token so far, a source without any tried before one that gave none."""
        return (meter.n_changes + 1) / (meter.tokens + 1)

    async def _flag(self, cases: Sequence[_Case]) -> None:
        """Ask the first judge about every candidate, and about the positives where that is wanted."""
        questions: list[Question] = []
        for case in cases:
            one = case.instance
            passages = [candidate.passage for candidate in case.candidates]
            questions += self.first.make_questions(
                case.place, one.query_id, one.query, one.positives, passages
            )
        said = await self._ask(self.first, questions)
        for case in cases:
            judgements = said.get(case.place, {})
            self.flags[case.place] = judgements
            meter = self.meters[case.source]
            answered = [one for one in judgements.values() if one.grade is not Grade.ABSTAIN]
            n_flagged = sum(one.is_flag for one in answered)
            meter.n_asked += bool(judgements) or not case.candidates
            meter.judged += len(answered)
            meter.flagged += n_flagged
            meter.flagged_instances += n_flagged > 0

    def _pause(self) -> None:
        """Pause sources of which surely too much is flagged."""
        limit = self.settings.most_flagged
        for meter in self.meters.values():
            share = Rate(meter.flagged, meter.judged)
            if not meter.paused and share.n and share.interval[0] > limit:
                meter.paused = (
                    f"the first judge flags {share.value:.0%} of the candidates, above the limit of {limit:.0%}: the "
                    "second judge alone would cost little more"
                )
                self.listener(
                    Event("warning", {"message": f"{meter.source or 'all instances'} paused: {meter.paused}"})
                )

    async def _grade(self, cases: Sequence[_Case]) -> None:
        """Ask the second judge about what was flagged and what is sampled, and decide."""
        open_cases = [case for case in cases if not self.meters[case.source].paused]
        questions: list[Question] = []
        for case in open_cases:
            one = case.instance
            passages = [
                candidate.passage
                for candidate in case.candidates
                if (flag := self.flags[case.place].get(candidate.passage.id)) is not None
                and (flag.is_flag or self._is_sampled(one, candidate.passage, flag))
            ]
            questions += self.second.make_questions(
                case.place, one.query_id, one.query, one.positives, passages
            )
        self.grades |= await self._ask(self.second, questions)
        if self.settings.check_positives:
            await self._check_positives(open_cases)
        for case in cases:
            self._leave(case)
        self.n_done += len(cases)
        self._report_progress()

    def _is_sampled(self, instance: Instance, passage: Passage, flag: Judgement) -> bool:
        """Whether an unflagged candidate goes to the second judge: those of gold, and a random part of the others."""
        if flag.grade is Grade.ABSTAIN:
            return False
        pair = (instance.query_id, passage.id)
        return pair in self.gold or self._is_random(*pair)

    async def _ask(self, judge: Judge, questions: Sequence[Question]) -> dict[int, dict[str, Judgement]]:
        """Judgements by instance and passage id, and what they cost on the meters."""
        said: dict[int, dict[str, Judgement]] = {}
        by_source: dict[str, list[Question]] = {}
        for question in questions:
            by_source.setdefault(self.cases[question.key].source, []).append(question)
        for source, asked in by_source.items():
            before = self.tokens
            for answer in await judge.ask(asked):
                self.is_cut |= answer.is_cut
                mine = said.setdefault(answer.question.key, {})
                if not answer.is_cut:
                    pairs = zip(answer.question.passages, answer.judgements, strict=True)
                    mine |= {passage.id: judgement for passage, judgement in pairs}
            spent = self.tokens - before
            self.meters[source].tokens += spent
            self.meters[source].second_tokens += spent if judge is self.second else 0
        return said

    async def _check_positives(self, cases: Sequence[_Case]) -> None:
        """Judge known positives without a reference; a suspect is one that both judges call not relevant."""
        unique = {case.place: {one.id: one for one in case.instance.positives} for case in cases}

        def make(judge: Judge, chosen: Mapping[int, Sequence[Passage]]) -> list[Question]:
            return [
                question
                for place, passages in chosen.items()
                for question in judge.make_questions(
                    place,
                    f"positives\0{self.instances[place].query_id}",
                    self.instances[place].query,
                    (),
                    passages,
                )
            ]

        said = await self._ask(
            self.first, make(self.first, {p: list(own.values()) for p, own in unique.items()})
        )
        refused = {
            place: [one for name, one in own.items() if _grade_of(said, place, name) is Grade.NOT_RELEVANT]
            for place, own in unique.items()
        }
        again = await self._ask(self.second, make(self.second, refused))
        for place, own in unique.items():
            for name, passage in own.items():
                flag = said.get(place, {}).get(name, _NO_ANSWER)
                grade = again.get(place, {}).get(name)
                last = grade or flag
                outcome = (
                    "confirmed"
                    if last.is_flag
                    else "suspect"
                    if grade is not None and grade.grade is Grade.NOT_RELEVANT
                    else "abstain"
                )
                self.checks.append(PositiveCheck(place, passage, outcome, flag, grade))

    def _leave(self, case: _Case) -> None:
        """Write down what became of a case."""
        meter = self.meters[case.source]
        flags, grades = self.flags.get(case.place, {}), self.grades.get(case.place, {})
        decided: list[Decision] = []
        if meter.paused:
            self.paused.add(case.place)
        for candidate in case.candidates:
            name = candidate.passage.id
            flag, grade = flags.get(name, _NO_ANSWER), grades.get(name)
            if meter.paused:
                reason = f"paused: {meter.paused}"
                decided.append(Decision(case.place, candidate, Outcome.ABSTAIN, reason, flags.get(name)))
                continue
            if flag.is_flag and grade is None:
                grade = _NO_ANSWER
            decided.append(
                decide_candidate(
                    case.place,
                    candidate,
                    flag,
                    grade,
                    is_sampled=grade is not None and not flag.is_flag,
                    counts_worse=self.settings.counts_worse,
                )
            )
            if flag.is_flag and grade is not None and grade.grade is not Grade.ABSTAIN:
                meter.graded += 1
                meter.confirmed += grade.grade is Grade.BETTER_OR_EQUAL
        meter.outcomes.update(one.outcome for one in decided)
        self.decisions[case.place] = [*case.settled, *decided]

    def _report_progress(self) -> None:
        budget = self.first.chat.budget
        data = {"name": "instances judged", "done": self.n_done, "total": len(self.cases)}
        self.listener(Event("judging", data | {"tokens": self.tokens, "limit": budget.limit}))

    def conclude(self) -> RelabelledInstances:
        """What came of it; gold candidates complete the audits."""
        known = [*self.planted, *self._list_gold()]
        if len(known) > len(self.planted):
            self.audits = [audit_judge(one.stage, one.model, known) for one in self.audits]
        is_passed = all(one.is_passed for one in self.audits)
        if not is_passed:
            self.decisions = self._list_settled()
        limit = self.settings.most_relabels
        ambiguous = frozenset(
            place for place, decided in self.decisions.items() if is_ambiguous(decided, limit)
        )
        estimates = None
        if is_passed and len(self.audits) == 2 and self.decisions:
            estimates = self._estimate(known)
        withheld = self._withhold(estimates) if estimates else ""
        self._count_outcomes()
        return RelabelledInstances(
            before=self.instances,
            sources=[case.source for case in self.cases],
            decisions=dict(sorted(self.decisions.items())),
            positives=sorted(self.checks, key=lambda one: one.instance),
            audits=self.audits,
            meters=[self.meters[source] for source in sorted(self.meters)],
            ambiguous=ambiguous,
            estimates=estimates,
            withheld=withheld,
            is_cut=self.is_cut,
            tokens=self.tokens,
        )

    def _withhold(self, estimates: Estimates) -> str:
        """Drop instead of relabelling where too few are surely right; says why, "" where there is nothing to say."""
        least, precision = self.settings.min_precision, estimates.precision
        # Without gold precision is NaN, and not below anything. With gold it is NaN where judges relabel right and
        # wrong candidates nearly alike: that too few are right is then known well enough.
        is_guessing = np.isnan(precision.low) and estimates.false_alarms.n and self._count_relabels()
        if not (precision.low < least or is_guessing):
            return ""
        why = "precision is not surely at least min_precision: dropped, not relabelled"
        self.decisions = {
            place: [
                replace(one, outcome=Outcome.DROP, reason=f"{one.reason}; {why}")
                if one.outcome is Outcome.RELABEL
                else one
                for one in decided
            ]
            for place, decided in self.decisions.items()
        }
        if is_guessing:
            return (
                f"on gold {estimates.false_alarms} of the wrong candidates would be relabelled and "
                f"{estimates.recall_known} of the right ones, too near for min_precision = {least:g}: dropped, not "
                "relabelled"
            )
        return (
            f"precision is estimated at {precision}, below what min_precision = {least:g} asks surely: dropped, not "
            "relabelled"
        )

    def _count_relabels(self) -> int:
        return sum(one.outcome is Outcome.RELABEL for decided in self.decisions.values() for one in decided)

    def _list_settled(self) -> dict[int, list[Decision]]:
        """What needs no judge."""
        return {case.place: list(case.settled) for case in self.cases if case.settled}

    def _count_outcomes(self) -> None:
        """Outcomes of each source as they are in the end; until then meters count what the judges did."""
        for meter in self.meters.values():
            meter.outcomes.clear()
        for place, decided in self.decisions.items():
            self.meters[self.cases[place].source].outcomes.update(one.outcome for one in decided)

    def _list_gold(self) -> list[Planted]:
        """Candidates that gold speaks of, with what the judges said of them."""
        return [
            Planted(self.gold[pair], "gold", one.first, one.second)
            for one in self._list_judged()
            if one.first is not None and (pair := self._name_pair(one)) in self.gold
        ]

    def _list_judged(self) -> list[Decision]:
        """Decisions on candidates that went all the way, as far as they had to."""
        return [
            one
            for place, decided in self.decisions.items()
            for one in decided
            if place not in self.paused
            and one.first not in (None, _NO_ANSWER)
            and one.second is not _NO_ANSWER
        ]

    def _estimate(self, known: Sequence[Planted]) -> Estimates:
        judged = self._list_judged()
        answered = [one for one in judged if one.first is not None and one.first.grade is not Grade.ABSTAIN]
        sampled = [
            one.second
            for one in answered
            if one.is_sampled and one.second is not None and self._is_random(*self._name_pair(one))
        ]
        graded = [one for one in sampled if one.grade is not Grade.ABSTAIN]
        return estimate(
            known,
            n_judged=len(judged),
            n_relabelled=sum(one.outcome is Outcome.RELABEL for one in judged),
            n_confirmed=sum(
                one.second is not None and one.second.grade is Grade.BETTER_OR_EQUAL and not one.is_sampled
                for one in judged
            ),
            n_unflagged=sum(one.first is not None and not one.first.is_flag for one in answered),
            missed=Rate(sum(one.grade is Grade.BETTER_OR_EQUAL for one in graded), len(graded)),
            counts_worse=self.settings.counts_worse,
        )

    def _name_pair(self, decision: Decision) -> tuple[str, str]:
        return self.instances[decision.instance].query_id, decision.candidate.passage.id

    def _is_random(self, query_id: str, passage_id: str) -> bool:
        """Whether an unflagged candidate is one of the random part that the second judge reads."""
        return keyed_hash("unflagged", f"{query_id}\0{passage_id}") < self.sampled_share * 2**64


def _make_cases(
    instances: Sequence[Instance], mined: Mapping[int, Sequence[Passage]], settings: CascadeSettings
) -> list[_Case]:
    """The case of every instance; what is known of a query is read once, in however many rows it stands."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(instances):
        places.setdefault(one.query, []).append(place)
    cases: dict[int, _Case] = {}
    for query, positives in gather_positives(instances).items():
        known = _Known(positives)
        for place in places[query]:
            cases[place] = _make_case(place, instances[place], known, mined.get(place, ()), settings)
    return [cases[place] for place in range(len(instances))]


class _Known:
    """What answers a query, in whichever rows it stands, and whether a passage repeats it."""

    def __init__(self, positives: Mapping[str, Passage]) -> None:
        self._ids = positives.keys()
        self._texts = {passage.full_text.strip() for passage in positives.values()}
        self._copies = NearCopies(sorted(self._texts))

    def find_repeat(self, passage: Passage) -> str:
        """Why it needs no judge; empty where it repeats nothing."""
        text = passage.full_text.strip()
        if passage.id in self._ids or text in self._texts:
            return "repeats a known positive"
        return "nearly repeats a known positive" if self._copies.has(text) else ""


def _make_case(
    place: int, instance: Instance, known: _Known, mined: Sequence[Passage], settings: CascadeSettings
) -> _Case:
    """Candidates of an instance: its negatives and what was mined, each id once; what repeats a positive is settled.

    A negative that repeats one, or nearly so, is dropped; what was mined and does is no candidate.
    """
    own = {passage.id: Candidate(passage) for passage in instance.negatives}
    candidates = own | {one.id: Candidate(one, is_mined=True) for one in mined if one.id not in own}
    judged, settled = [], []
    for candidate in candidates.values():
        reason = known.find_repeat(candidate.passage)
        if not reason:
            judged.append(candidate)
        elif not candidate.is_mined:
            settled.append(Decision(place, candidate, Outcome.DROP, reason))
    source = str(instance.extra.get(settings.source_field, ""))
    return _Case(place, source, instance, tuple(judged), tuple(settled))


def _grade_of(said: Mapping[int, Mapping[str, Judgement]], place: int, name: str) -> Grade:
    return said.get(place, {}).get(name, _NO_ANSWER).grade


__all__ = ["CascadeSettings", "Gold", "relabel_instances"]
