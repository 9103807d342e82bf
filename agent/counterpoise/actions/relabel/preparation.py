"""What a relabelling of retrieval instances starts from: settings, the cases of the data, what gold says of them.

All of it is known before a token is spent, so a preview reads the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from counterpoise.actions.relabel.cascade import MIN_PRECISION, MOST_RELABELS
from counterpoise.actions.relabel.cases import Case, make_cases
from counterpoise.actions.relabel.gold_pairs import Gold, GoldMatch, GoldSource, match_gold
from counterpoise.actions.relabel.judges import Judge, Question
from counterpoise.core.splits import keyed_hash
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


@dataclass(frozen=True, slots=True)
class PreparedCases:
    """What is to be judged.

    Args:
        instances: the rows that were given.
        cases: the queries that they hold.
        gold: what gold says of their candidates.
    """

    instances: Sequence[Instance]
    cases: Sequence[Case]
    gold: GoldMatch = field(default_factory=GoldMatch)


def prepare_cases(
    instances: Sequence[Instance],
    settings: CascadeSettings,
    *,
    mined: Mapping[int, Sequence[Passage]] | None = None,
    gold: Gold | None = None,
    gold_source: GoldSource | None = None,
) -> PreparedCases:
    """What is to be judged, and what gold says of it; arguments as of `passages.relabel_instances`.

    Raises:
        DataError: gold speaks of no candidate.
    """
    cases = make_cases(instances, mined or {}, settings.source_field)
    matched = match_gold(gold or {}, cases, gold_source)
    matched.check(cases, (gold_source or GoldSource()).name)
    return PreparedCases(instances, cases, matched)


def choose_sampled_share(settings: CascadeSettings, cases: Sequence[Case]) -> float:
    """Part of what the first judge refuses that the second reads too."""
    n_candidates = max(sum(len(case.candidates) for case in cases), 1)
    return max(settings.unflagged_share, settings.fewest_unflagged / n_candidates)


def count_audited(settings: CascadeSettings, cases: Sequence[Case]) -> int:
    """Queries that a positive of is planted, where there are so many with one."""
    n_queries = len({case.query for case in cases})
    return min(MOST_AUDITED, max(settings.fewest_audited, round(settings.audit_share * n_queries)))


def is_random(case: Case, text: str, share: float) -> bool:
    """Whether an unflagged candidate is one of the random part that the second judge reads."""
    return keyed_hash("unflagged", f"{case.query}\0{text}") < share * 2**64


def make_first_questions(first: Judge, case: Case) -> list[Question]:
    """What the first judge is asked about a case: every candidate."""
    passages = [candidate.passage for candidate in case.candidates]
    return first.make_questions(case.number, case.query, case.query, case.positives, passages)
