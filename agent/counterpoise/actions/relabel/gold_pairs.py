"""Gold, matched with the candidates that it speaks of: counted, or refused aloud.

A judgement names a query and a passage: by the ids of the data, by the ids of the corpus that the passages stand in, or
by the texts themselves. Gold that speaks of no candidate tells nothing, and is an error rather than a run without gold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from counterpoise.actions.relabel.cases import Case
from counterpoise.core.errors import DataError

Gold = Mapping[tuple[str, str], bool]
"""(query id, passage id) -> whether the passage answers the query."""


@dataclass(frozen=True)
class GoldMatch:
    """What gold says of the candidates.

    Args:
        answers: number of a case -> text of a candidate -> whether it answers the query.
        n_given: judgements.
        n_matched: those that speak of a candidate which the judges would read.
        n_right: of these, those that call it an answer.
        n_positives: those that speak of what is known to answer the query, or repeats it.
        n_other_queries: those whose query is not in the data.
        n_other_passages: those whose query is there, but not the passage.
    """

    answers: Mapping[int, Mapping[str, bool]] = field(default_factory=dict)
    n_given: int = 0
    n_matched: int = 0
    n_right: int = 0
    n_positives: int = 0
    n_other_queries: int = 0
    n_other_passages: int = 0

    @property
    def sentence(self) -> str:
        """What of it counts, for people; "" without gold."""
        if not self.n_given:
            return ""
        rest = "; ".join(self._list_rest())
        return (
            f"Gold: {self.n_matched:,} of {self.n_given:,} judgements speak of candidates, {self.n_right:,} of which "
            f"answer their query{f' ({rest})' if rest else ''}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "judgements": self.n_given,
            "of_candidates": self.n_matched,
            "of_candidates_that_answer": self.n_right,
            "of_known_positives": self.n_positives,
            "of_other_queries": self.n_other_queries,
            "of_other_passages": self.n_other_passages,
        }

    def check(self, cases: Sequence[Case], where: str) -> None:
        """Refuse gold that speaks of no candidate.

        Args:
            cases: what is to be judged.
            where: the file that gold was read from.

        Raises:
            DataError: it does not; says what it speaks of, and what names would be right.
        """
        if not self.n_given or self.n_matched:
            return
        case = next((one for one in cases if one.candidates), None)
        named = "name queries and passages by the ids in the data, or by their texts"
        if case is not None:
            query, passage = case.query_ids[0], case.candidates[0].passage.id
            named += f"; there are query '{query[:40]}' with passage '{passage[:40]}', for example"
        raise DataError(
            f"none of {self.n_given:,} judgements speaks of a candidate: {'; '.join(self._list_rest())}",
            where=where,
            hint=named,
        )

    def _list_rest(self) -> list[str]:
        counts = (
            (self.n_positives, "speak of known positives"),
            (self.n_other_queries, "name a query that is not in the data"),
            (self.n_other_passages, "name a passage that is no candidate of its query"),
        )
        return [f"{n:,} {what}" for n, what in counts if n]


@dataclass(frozen=True)
class GoldSource:
    """Where gold was read, and what its names stand for where the data itself knows no such names.

    Args:
        name: the file, for messages.
        queries: id -> texts that a query of this id may have.
        passages: the same for passages.
    """

    name: str = "gold"
    queries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    passages: Mapping[str, Sequence[str]] = field(default_factory=dict)


def match_gold(gold: Gold, cases: Sequence[Case], source: GoldSource | None = None) -> GoldMatch:
    """Find the candidate of every judgement.

    Where judgements contradict each other under several names of one passage, it answers the query if one says so.

    Args:
        gold: the judgements.
        cases: what is to be judged.
        source: what names stand for that are not in the data.
    """
    if not gold:
        return GoldMatch()
    source = source or GoldSource()
    by_query: dict[str, list[_Names]] = {}
    for case in cases:
        names = _Names(case)
        for name in names.queries:
            by_query.setdefault(name, []).append(names)
    answers: dict[int, dict[str, bool]] = {}
    counts = dict.fromkeys(("matched", "right", "positives", "other_queries", "other_passages"), 0)
    for (query, passage), is_right in gold.items():
        called = (query, *source.queries.get(query, ()))
        found = list({one.number: one for name in called for one in by_query.get(name, ())}.values())
        if not found:
            counts["other_queries"] += 1
            continue
        meant = (passage, *source.passages.get(passage, ()))
        hits = [
            (one.number, one.candidates[name]) for one in found for name in meant if name in one.candidates
        ]
        for number, text in hits:
            own = answers.setdefault(number, {})
            own[text] = own.get(text, False) or is_right
        if hits:
            counts["matched"] += 1
            counts["right"] += is_right
        elif any(name in one.positives for one in found for name in meant):
            counts["positives"] += 1
        else:
            counts["other_passages"] += 1
    return GoldMatch(answers, len(gold), *counts.values())


class _Names:
    """What a judgement may call a case, and the passages of its rows."""

    def __init__(self, case: Case) -> None:
        self.number = case.number
        self.queries = {case.query, case.query.strip(), *case.query_ids}
        self.candidates: dict[str, str] = {}
        self.positives: set[str] = set()
        judged = {one.passage.full_text for one in case.candidates}
        for passage in case.positives:
            self.positives |= {passage.id, passage.full_text}
        for text, places in case.standing.items():
            names = {text, text.strip()}
            names |= {name for _, one in places for name in (one.id, one.text, one.text.strip())}
            if text in judged:
                self.candidates |= dict.fromkeys(names, text)
            else:
                self.positives |= names
