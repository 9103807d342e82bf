"""Cases: all that the data says of a query, in however many rows it says it.

A file may hold a query once with all its negatives, once a negative, or once a positive. What is judged is the same:
its rows are read together, so that nothing is asked twice and a query counts once, and what is decided of a passage
holds in every row where it stands. Passages are the same where their texts are. Whatever is chosen or shuffled goes by
hashes of texts, so that it depends neither on the form of the file nor on its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from counterpoise.actions.relabel.cascade import Candidate, Decision, Outcome
from counterpoise.actions.relabel.near_copies import NearCopies
from counterpoise.core.instances import gather_positives
from counterpoise.core.splits import keyed_hash
from counterpoise.data.instances import Instance, Passage


@dataclass(frozen=True)
class Case:
    """A query of one source.

    Args:
        number: its position among the cases, from 0.
        source: what the rows say they come from.
        query: its text.
        query_ids: its names in the rows.
        rows: positions of its rows in the data, in order.
        positives: what answers it in these rows, each text once, in an order that the data's does not change.
        candidates: what is to be judged, each text once.
        settled: repeats of a known positive, each text once; they need no judge.
        standing: text of a candidate or repeat -> (position of a row, its passage there), wherever it stands.
    """

    number: int
    source: str
    query: str
    query_ids: tuple[str, ...]
    rows: tuple[int, ...]
    positives: tuple[Passage, ...]
    candidates: tuple[Candidate, ...]
    settled: tuple[Decision, ...] = ()
    standing: Mapping[str, Sequence[tuple[int, Passage]]] = field(default_factory=dict)

    def spread(self, decisions: Sequence[Decision]) -> dict[int, list[Decision]]:
        """Decisions on its candidates, in every row where they stand, in the order of the row's passages."""
        rows: dict[int, list[Decision]] = {}
        for one in decisions:
            for place, passage in self.standing[one.candidate.passage.full_text]:
                candidate = replace(one.candidate, passage=passage)
                rows.setdefault(place, []).append(replace(one, instance=place, candidate=candidate))
        return rows


def make_cases(
    instances: Sequence[Instance], mined: Mapping[int, Sequence[Passage]], source_field: str
) -> list[Case]:
    """The cases of the data, in the order of their first rows.

    Args:
        instances: the rows.
        mined: position of a row -> further candidates found in the corpus for its query.
        source_field: field of a row that names its source.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(instances):
        rows.setdefault((one.query, str(one.extra.get(source_field, ""))), []).append(place)
    known: dict[str, _Known] = {}
    answering = gather_positives(instances)
    cases = []
    for number, ((query, source), places) in enumerate(rows.items()):
        if query not in known:
            known[query] = _Known(answering[query])
        cases.append(_make_case(number, source, places, instances, mined, known[query]))
    return cases


def sort_by_hash(passages: Sequence[Passage], key: str) -> list[Passage]:
    """Passages in the order of a keyed hash of their texts."""
    return sorted(passages, key=lambda one: (keyed_hash(key, one.full_text), one.full_text))


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
    number: int,
    source: str,
    places: Sequence[int],
    instances: Sequence[Instance],
    mined: Mapping[int, Sequence[Passage]],
    known: _Known,
) -> Case:
    """A negative that repeats a positive, or nearly so, is settled; what was mined and does is no candidate."""
    standing: dict[str, list[tuple[int, Passage]]] = {}
    for place in places:
        own = {(passage.full_text, passage.id): passage for passage in instances[place].negatives}
        for (text, _), passage in own.items():
            standing.setdefault(text, []).append((place, passage))
    negatives = [Candidate(found[0][1]) for found in standing.values()]
    for place in places:
        for passage in mined.get(place, ()):
            if passage.full_text not in standing:
                standing[passage.full_text] = [(place, passage)]
                negatives.append(Candidate(passage, is_mined=True))
    judged, settled = [], []
    for candidate in negatives:
        reason = known.find_repeat(candidate.passage)
        if not reason:
            judged.append(candidate)
        elif not candidate.is_mined:
            settled.append(Decision(places[0], candidate, Outcome.DROP, reason))
    query = instances[places[0]].query
    positives = {one.full_text: one for place in places for one in instances[place].positives}
    return Case(
        number,
        source,
        query,
        tuple(sorted({instances[place].query_id for place in places})),
        tuple(places),
        tuple(sort_by_hash(list(positives.values()), f"references\0{query}")),
        tuple(judged),
        tuple(settled),
        standing,
    )
