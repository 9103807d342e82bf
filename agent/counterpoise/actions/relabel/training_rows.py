"""Rows that a trainer takes: no null where a negative was, no line twice, no list without a negative.

A negative that became a positive, or was dropped, leaves its row without one. sentence-transformers reads a column of
negatives as texts and stops at a null; FlagEmbedding and Tevatron draw from the list of negatives and stop at an empty
one. So a row that lost negatives is filled with others of its query, from other rows first, and is left out where there
are none or where it would say what another row says. A relabelled passage takes a row of its own where a row holds one
positive. Rows that nothing was decided on stay as they stood; but a null among texts, which stops a trainer, is filled
there, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from counterpoise.actions.relabel.cascade import Decision, Outcome
from counterpoise.actions.relabel.result import RelabelledInstances, apply_decisions
from counterpoise.data.exporters.base import Exporter
from counterpoise.data.instances import Instance, Passage


@dataclass
class TrainingRows:
    """What is written, and what became of the rows.

    Args:
        instances: one a row.
        n_added: rows for relabelled passages, which take the place of the row they stood in or follow it.
        n_filled: rows in which another negative of the query, or one of their own again, stands for a lost one.
        n_left_out: rows without any negative of their query left.
        n_repeats: rows left out because another one says the same.
        n_unsaid: relabelled passages that have no row, because their query has no negative left to stand beside them.
    """

    instances: list[Instance] = field(default_factory=list)
    n_added: int = 0
    n_filled: int = 0
    n_left_out: int = 0
    n_repeats: int = 0
    n_unsaid: int = 0

    @property
    def sentence(self) -> str:
        """What became of the rows, for people; "" where nothing needs saying."""
        parts = (
            (self.n_added, "added for relabelled passages"),
            (self.n_filled, "filled with other negatives of their query"),
            (self.n_left_out, "left out, since their query has no negative left"),
            (self.n_repeats, "left out, since another row says the same"),
            (self.n_unsaid, "relabelled passages without a row, since their query has no negative left"),
        )
        said = [f"{n:,} {what}" for n, what in parts if n]
        return f"Rows: {len(self.instances):,} written; {'; '.join(said)}." if said else ""

    def as_dict(self) -> dict[str, int]:
        """Plain values, ready for JSON."""
        return {
            "rows": len(self.instances),
            "rows_added": self.n_added,
            "rows_filled": self.n_filled,
            "rows_left_out": self.n_left_out,
            "rows_that_repeat": self.n_repeats,
            "relabelled_without_a_row": self.n_unsaid,
        }


def make_training_rows(done: RelabelledInstances, form: Exporter) -> TrainingRows:
    """The repaired rows in the form of their file, in the order of the given ones, without the ambiguous ones.

    Args:
        done: what came of relabelling.
        form: of the file.
    """
    made = TrainingRows()
    queries = _gather_queries(done, form)
    for place, instance in enumerate(done.before):
        if place in done.ambiguous:
            continue
        decisions = done.decisions.get(place, ())
        slots = form.count_slots(instance)
        if slots is None:
            _add_grouped(made, instance, decisions, queries[instance.query], form)
        else:
            _add_tuples(made, instance, decisions, queries[instance.query], slots)
    return made


def fill_tuples(instances: Iterable[Instance], form: Exporter) -> tuple[list[Instance], int]:
    """Mined instances as rows of texts with the same number of negatives each, so that a table has no null.

    A query with fewer negatives than the others has some of its own again; one without any is left out.

    Returns:
        The instances, and how many were left out.
    """
    given = list(instances)
    slots = max((len(one.negatives) for one in given), default=0)
    made = []
    for one in given:
        if not one.negatives and slots:
            continue
        before = form.count_slots(one)
        raw = (
            one.raw if before is None or before <= slots else None
        )  # its columns would be more than there is to say
        made.append(replace(one, negatives=_repeat(one.negatives, slots), raw=raw))
    return made, len(given) - len(made)


@dataclass
class _Query:
    """What is left of a query's negatives over all its rows, and the rows that were written of it."""

    negatives: dict[str, Passage] = field(default_factory=dict)
    lines: set[tuple[str, frozenset[str]]] = field(default_factory=set)
    n_new: int = 0

    def fill(self, own: Sequence[Passage], slots: int, positive: Passage) -> tuple[Passage, ...] | None:
        """So many negatives for a row: its own, then others of the query, then its own again; None where none is left.

        A row that would say what another one says gives way to one with other negatives, where there are such.
        """
        taken = {one.full_text for one in own}
        others = [one for text, one in self.negatives.items() if text not in taken]
        if not own and not others:
            return None
        for turn in range(max(len(others), 1)):
            start = (self.n_new + turn) % max(len(others), 1)
            turned = [*own, *others[start:], *others[:start]]
            found = _repeat(turned[:slots], slots)
            if self._name(positive, found) not in self.lines:
                return found
        return _repeat([*own, *others][:slots], slots)

    def write(self, positive: Passage, negatives: Sequence[Passage]) -> bool:
        """Whether the row says something that no other one says; from now on it is said."""
        name = self._name(positive, negatives)
        is_new = name not in self.lines
        self.lines.add(name)
        return is_new

    def _name(self, positive: Passage, negatives: Sequence[Passage]) -> tuple[str, frozenset[str]]:
        return positive.full_text, frozenset(one.full_text for one in negatives)


def _gather_queries(done: RelabelledInstances, form: Exporter) -> dict[str, _Query]:
    gone: dict[str, set[str]] = {}
    for place, decisions in done.decisions.items():
        gone.setdefault(done.before[place].query, set()).update(
            one.candidate.passage.full_text for one in decisions if _is_change(one)
        )
    queries: dict[str, _Query] = {}
    for place, one in enumerate(done.before):
        query = queries.setdefault(one.query, _Query())
        changed = gone.get(one.query, set())
        left = [passage for passage in one.negatives if passage.full_text not in changed]
        query.negatives |= {passage.full_text: passage for passage in left}
        if len(left) == form.count_slots(one) and place not in done.ambiguous:
            for positive in one.positives:  # the row stays as it stands
                query.write(positive, one.negatives)
    return queries


def _add_grouped(
    made: TrainingRows, instance: Instance, decisions: Sequence[Decision], query: _Query, form: Exporter
) -> None:
    """A row that holds any number of negatives, judged or in a list."""
    after = apply_decisions(instance, decisions)
    if form.has_titles and after.positives != instance.positives:
        n_known = len(instance.positives)
        found = tuple(_fit_title(one, instance.positives) for one in after.positives[n_known:])
        after = replace(after, positives=(*instance.positives, *found))
    if instance.negatives and not after.negatives and not form.is_judged(instance):
        if not query.negatives:
            made.n_left_out += 1
            return
        made.n_filled += 1
        after = replace(after, negatives=tuple(query.negatives.values())[: len(instance.negatives)])
    made.instances.append(after)


def _add_tuples(
    made: TrainingRows, instance: Instance, decisions: Sequence[Decision], query: _Query, slots: int
) -> None:
    """A row that holds one positive and a negative a column."""
    gone = {one.candidate.passage.full_text for one in decisions if _is_change(one)}
    found = {
        one.candidate.passage.full_text: one.candidate.passage
        for one in decisions
        if one.outcome is Outcome.RELABEL
    }
    own = tuple(passage for passage in instance.negatives if passage.full_text not in gone)
    if len(own) == slots:
        made.instances.append(instance)
    else:
        for positive in instance.positives:
            said = _add_line(made, instance, positive, own, query, slots)
            made.n_left_out += said is None
            made.n_repeats += said is False
    for positive in found.values():
        said = _add_line(made, instance, positive, own, query, slots)
        made.n_added += said is True
        made.n_unsaid += said is None


def _add_line(
    made: TrainingRows,
    instance: Instance,
    positive: Passage,
    own: Sequence[Passage],
    query: _Query,
    slots: int,
) -> bool | None:
    """Whether a row was added: False where another one says it, None where there is no negative for it."""
    negatives = query.fill(own, slots, positive) if slots else ()
    if negatives is None:
        return None
    if not query.write(positive, negatives):
        return False
    query.n_new += 1
    made.n_filled += len(own) < slots
    made.instances.append(replace(instance, positives=(positive,), negatives=negatives))
    return True


def _is_change(decision: Decision) -> bool:
    return decision.outcome in (Outcome.RELABEL, Outcome.DROP)


def _fit_title(passage: Passage, known: Sequence[Passage]) -> Passage:
    """A passage that joins others in their list, with a title where they have one and without where they have none.

    A table gives all items of a list the same fields, and a title that is null there stops Tevatron.
    """
    titled = ["title" in one.raw for one in known if one.raw is not None]
    if not titled or passage.raw is None or ("title" in passage.raw) == all(titled):
        return passage
    if all(titled):
        return replace(passage, raw=None)  # written anew, it has an empty title
    raw = {name: value for name, value in passage.raw.items() if name != "title"} | {
        "text": passage.full_text
    }
    return replace(passage, title="", text=passage.full_text, raw=raw)


def _repeat(passages: Sequence[Passage], n: int) -> tuple[Passage, ...]:
    """So many passages, from the front again where there are fewer."""
    return tuple(passages[place % len(passages)] for place in range(n)) if passages else ()
