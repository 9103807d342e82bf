"""What came of relabelling retrieval instances: both sides, every decision with its reason, and one sentence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from counterpoise.actions.relabel.cascade import Decision, Outcome
from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.estimates import Estimates
from counterpoise.actions.relabel.gold_pairs import GoldMatch
from counterpoise.actions.relabel.judge_audits import JudgeAudit
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.balance.rates import Tally
from counterpoise.core.files import write_whole
from counterpoise.core.html_views import make_view
from counterpoise.data.instances import Instance, Passage


@dataclass
class SourceMeter:
    """What one source of instances has cost and given so far.

    Args:
        source: its name.
        n_instances: instances (rows) it has.
        n_queries: queries that they hold.
        n_asked: instances whose candidates were judged.
        flags: of candidates that the first judge gave an answer on, those it flagged.
        flagged_instances: instances with a flag.
        confirmations: of flagged candidates that the second judge gave an answer on, those it called better or equal.
        outcomes: outcomes of candidates.
        tokens: spent on it, both judges.
        second_tokens: of these, on the second judge.
        projected_tokens: what the second judge is expected to need for the rest; known after the pilot.
        paused: why it was left alone, "" where it was not.
    """

    source: str
    n_instances: int = 0
    n_queries: int = 0
    n_asked: int = 0
    flags: Tally = field(default_factory=Tally)
    flagged_instances: int = 0
    confirmations: Tally = field(default_factory=Tally)
    outcomes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    second_tokens: int = 0
    projected_tokens: int = 0
    paused: str = ""

    @property
    def n_changes(self) -> int:
        """Candidates that were relabelled or dropped."""
        return self.outcomes[Outcome.RELABEL] + self.outcomes[Outcome.DROP]

    def count_flags(self, case: Case, said: Mapping[str, Judgement]) -> None:
        """Count what the first judge said of the candidates of a case, by text; nothing where it was not asked."""
        answered = {text: one for text, one in said.items() if one.grade is not Grade.ABSTAIN}
        flagged = [text for text, one in answered.items() if one.is_flag]
        self.n_asked += len(case.rows) if said or not case.candidates else 0
        self.flags.add(len(flagged), len(answered))
        self.flagged_instances += len({place for text in flagged for place, _ in case.standing[text]})

    def count_decisions(self, decided: Sequence[Decision]) -> None:
        """Count what was decided on the candidates of a case."""
        graded = [
            one.second.grade
            for one in decided
            if one.first is not None
            and one.first.is_flag
            and one.second is not None
            and one.second.grade is not Grade.ABSTAIN
        ]
        self.confirmations.add(graded.count(Grade.BETTER_OR_EQUAL), len(graded))
        self.outcomes.update(one.outcome for one in decided)

    def spend(self, n_tokens: int, *, is_second: bool) -> None:
        """Count tokens, of the second judge or the first."""
        self.tokens += n_tokens
        self.second_tokens += n_tokens if is_second else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "source": self.source,
            "instances": self.n_instances,
            "queries": self.n_queries,
            "instances_judged": self.n_asked,
            "instances_flagged": self.flagged_instances,
            "candidates_judged": self.flags.n,
            "flag_ratio": self.flags.rate.as_dict() or "unknown",
            "confirmed_of_flagged": self.confirmations.rate.as_dict() or "unknown",
            "outcomes": {str(outcome): self.outcomes[outcome] for outcome in Outcome},
            "tokens": self.tokens,
            "second_judge_tokens": self.second_tokens,
            "projected_second_judge_tokens": self.projected_tokens,
            "paused": self.paused,
        }


@dataclass(frozen=True, slots=True)
class PositiveCheck:
    """What the judges say of a known positive: confirmed, suspect (both call it not relevant) or abstain."""

    instance: int
    passage: Passage
    outcome: str
    first: Judgement
    second: Judgement | None = None


@dataclass(frozen=True)
class RelabelledInstances:
    """Instances before and after, and how it came to be.

    Args:
        before: the instances that were given.
        sources: the source of each.
        decisions: position of an instance -> decisions on its candidates, in their order.
        positives: what was said of known positives, where that was asked.
        audits: of the judges; only of the first where that one failed.
        meters: one a source.
        ambiguous: positions of instances with more relabels than the guard allows; they are left out of `after`.
        estimates: of recall and precision of the relabelling that the judges proposed; None where they decided
            nothing.
        withheld: why what they proposed was dropped instead of relabelled, "" where it was not.
        is_cut: the budget ended before everything was judged.
        tokens: spent, replies from the store included.
        gold: what of gold counted.
    """

    before: Sequence[Instance]
    sources: Sequence[str]
    decisions: Mapping[int, Sequence[Decision]]
    positives: Sequence[PositiveCheck]
    audits: Sequence[JudgeAudit]
    meters: Sequence[SourceMeter]
    ambiguous: frozenset[int]
    estimates: Estimates | None
    is_cut: bool
    tokens: int
    withheld: str = ""
    gold: GoldMatch = field(default_factory=GoldMatch)

    def _repr_html_(self) -> str:
        """What a notebook shows: what came of it, and what was relabelled or dropped first."""
        rows = [
            (
                decision.outcome,
                self.before[place].query,
                decision.candidate.passage.full_text,
                decision.reason,
            )
            for place, decided in self.decisions.items()
            for decision in decided
            if decision.outcome in (Outcome.RELABEL, Outcome.DROP)
        ]
        return make_view("Relabelled negatives", [self.sentence], ("", "query", "passage", "reason"), rows)

    @property
    def after(self) -> list[Instance]:
        """The repaired instances, in the order of the given ones, without the ambiguous ones."""
        return [
            apply_decisions(instance, self.decisions.get(place, ()))
            for place, instance in enumerate(self.before)
            if place not in self.ambiguous
        ]

    @cached_property
    def outcomes(self) -> Counter[str]:
        """How many candidates had which outcome, each once a query; those of ambiguous instances are not counted."""
        return Counter(str(decision.outcome) for decision in self.list_pairs())

    @property
    def failed_audits(self) -> list[JudgeAudit]:
        """Audits that a judge failed; where there is one only repeats of known positives are decided on."""
        return [one for one in self.audits if not one.is_passed]

    @property
    def sentence(self) -> str:
        """What came of it, in one line."""
        n = self.n_repeats
        done = f"{n:,} negatives that repeat a known positive are dropped, else nothing" if n else "Nothing"
        if not self.audits:
            return f"{done} was changed: there are no candidates."
        if self.failed_audits:
            cut = " The budget was spent before the audit was through." if self.is_cut else ""
            return f"{done} was changed. {self.failed_audits[0].sentence}{cut}"
        found = self.outcomes
        line = (
            f"{found[Outcome.RELABEL]:,} negatives relabelled as positives and {found[Outcome.DROP]:,} dropped"
            f"{f' ({n:,} of them repeat a known positive)' if n else ''}, in {self.n_changed:,} of "
            f"{len(self.before):,} instances; {found[Outcome.KEEP]:,} candidates kept, {found[Outcome.ABSTAIN]:,} left "
            "undecided"
        )
        if self.ambiguous:
            line += f"; {len(self.ambiguous):,} ambiguous instances left out"
        if self.withheld:
            line += f"; {self.withheld}"
        paused = [meter.source or "the data" for meter in self.meters if meter.paused]
        if paused:
            line += f"; paused: {', '.join(paused)}"
        return line + ("; the budget is spent." if self.is_cut else ".")

    @property
    def notes(self) -> list[str]:
        """What recall and precision rest on, and what of gold counted, a sentence each."""
        estimated = self.estimates.sentence if self.estimates else ""
        return [sentence for sentence in (self.gold.sentence, estimated) if sentence]

    @property
    def n_changed(self) -> int:
        """Instances with a relabelled or dropped candidate."""
        changes = (Outcome.RELABEL, Outcome.DROP)
        return sum(
            any(decision.outcome in changes for decision in decided)
            for place, decided in self.decisions.items()
            if place not in self.ambiguous
        )

    @property
    def n_repeats(self) -> int:
        """Negatives that were dropped without a judge, because they repeat a known positive or nearly do."""
        return sum(one.outcome is Outcome.DROP and one.first is None for one in self.list_pairs())

    def list_pairs(self) -> list[Decision]:
        """Decisions, each pair of a query and a passage once; those of ambiguous instances are left out."""
        pairs = {
            (self.sources[place], self.before[place].query, one.candidate.passage.full_text): one
            for place, decided in self.decisions.items()
            if place not in self.ambiguous
            for one in decided
        }
        return list(pairs.values())

    def summary(self) -> dict[str, Any]:
        """Everything but the texts, ready for JSON."""
        suspects = Counter(one.outcome for one in self.positives)
        return {
            "sentence": self.sentence,
            "notes": self.notes,
            "instances_before": len(self.before),
            "instances_after": len(self.before) - len(self.ambiguous),
            "instances_changed": self.n_changed,
            "instances_ambiguous": len(self.ambiguous),
            "outcomes": {str(outcome): self.outcomes[outcome] for outcome in Outcome},
            "repeats_dropped": self.n_repeats,
            "withheld": self.withheld,
            "positives": {name: suspects[name] for name in ("confirmed", "suspect", "abstain")},
            "audits": [one.as_dict() for one in self.audits],
            "sources": [meter.as_dict() for meter in self.meters],
            "estimates": self.estimates.as_dict() if self.estimates else None,
            "gold": self.gold.as_dict() if self.gold.n_given else None,
            "budget_spent": self.is_cut,
            "tokens": self.tokens,
        }

    def list_decisions(self) -> list[dict[str, Any]]:
        """One plain value a candidate and a checked positive, in the order of the instances."""
        lines = []
        checks: dict[int, list[PositiveCheck]] = {}
        for check in self.positives:
            checks.setdefault(check.instance, []).append(check)
        for place, instance in enumerate(self.before):
            head = {"query_id": instance.query_id, "source": self.sources[place]}
            for decision in self.decisions.get(place, ()):
                lines.append(head | {"kind": "candidate"} | decision.as_dict())
                if place in self.ambiguous:
                    lines[-1]["instance"] = "ambiguous"
            lines += [
                head
                | {
                    "kind": "positive",
                    "passage_id": check.passage.id,
                    "outcome": check.outcome,
                    "first": str(check.first.grade),
                    "second": str(check.second.grade) if check.second else None,
                }
                for check in checks.get(place, ())
            ]
        return lines

    def write_decisions(self, path: Path) -> None:
        """Write the decisions as JSON Lines, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(
            path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.list_decisions())
        )


def apply_decisions(instance: Instance, decisions: Sequence[Decision]) -> Instance:
    """The instance with relabelled candidates among its positives and dropped ones gone from its negatives.

    Relabelled passages follow the known positives, in the order of the candidates.
    """
    changed = (one for one in decisions if one.outcome in (Outcome.RELABEL, Outcome.DROP))
    gone = {one.candidate.passage.full_text for one in changed}
    if not gone:
        return instance
    relabelled = (one.candidate.passage for one in decisions if one.outcome is Outcome.RELABEL)
    found = {passage.full_text: passage for passage in relabelled}.values()
    kept = tuple(passage for passage in instance.negatives if passage.full_text not in gone)
    return replace(instance, positives=(*instance.positives, *found), negatives=kept)
