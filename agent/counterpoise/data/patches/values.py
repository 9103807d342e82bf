"""Patches: the label changes that were found, as a file that can be read, edited, applied and undone.

A patch is JSON Lines: a head that says what it was made on and what it promises, then one change a line, most certain
first. Changes name records by id, a hash of the record's content, so a patch fits a file whose rows were moved or
that has grown. Only `relabel` and `drop` change data; `review` is a question to a person, who answers by writing
`relabel`, `drop` or `keep` in its place.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from counterpoise.core.errors import DataError
from counterpoise.core.html_views import make_view
from counterpoise.core.label_spellings import spell_value, value_key
from counterpoise.core.schema import TextClassification
from counterpoise.core.strict_yaml import suggest
from counterpoise.data.json_lines import read_rows, write_rows

VERSION = 1
_MARK = "counterpoise_patch"


class LabelOutcome(enum.StrEnum):
    """What becomes of a suspect.

    `relabel` and `drop` change data; `review` asks a person; `keep` and `abstain` leave the row as it is, the first
    because its label was confirmed, the second because nobody who may decide gave an answer.
    """

    RELABEL = "relabel"
    DROP = "drop"
    REVIEW = "review"
    KEEP = "keep"
    ABSTAIN = "abstain"


ACCEPT = (
    "accept a change by writing relabel or drop as its outcome in the patch, or apply with --accept-review"
)

CHANGING = frozenset({LabelOutcome.RELABEL, LabelOutcome.DROP})


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A record whose label is known to be right, or that nothing speaks against, shown beside a suspect."""

    text: str
    label: str
    similarity: float
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What is proposed for one record.

    Args:
        id: of the record, as it was before.
        outcome: what becomes of it.
        before: its label.
        after: the label it should have; for `review` the likeliest one.
        score: how sure the change is, 0..1.
        reason: who decided, in a few words.
        text: its text, for people; never used to find the record.
        neighbours: confirmed records near it.
    """

    id: str
    outcome: LabelOutcome
    before: str
    after: str
    score: float
    reason: str = ""
    text: str = ""
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Patch:
    """Label changes and what they were made on.

    Args:
        task: which columns mean what; ids are computed with it.
        source: what the data was called.
        n_rows: rows it had.
        changes: most certain first.
        promise: what was promised and how it was measured; empty where nothing was.
        notes: sentences for whoever reads the patch.
    """

    task: TextClassification
    source: str
    n_rows: int
    changes: tuple[LabelChange, ...]
    promise: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of changes that `apply` makes."""
        return len(self.list_changing())

    def _repr_html_(self) -> str:
        """What a notebook shows: how many changes there are of what kind, and the surest of them."""
        counts = ", ".join(f"{name} {number:,}" for name, number in self.count().items())
        rows = [
            (change.outcome, change.before, change.after, float(change.score), change.text)
            for change in self.changes
        ]
        heading = f"{len(self.changes):,} label changes of {self.n_rows:,} rows of {self.source}"
        return make_view(
            heading, [counts, *self.notes], ("outcome", "before", "after", "score", "text"), rows
        )

    def list_changing(self) -> list[LabelChange]:
        """The changes that `apply` makes."""
        return [change for change in self.changes if change.outcome in CHANGING]

    def accept_review(self) -> Patch:
        """The same patch, where what waits for review is relabelled to the likeliest label."""
        changes = tuple(
            replace(change, outcome=LabelOutcome.RELABEL)
            if change.outcome is LabelOutcome.REVIEW and change.after not in ("", change.before)
            else change
            for change in self.changes
        )
        return replace(self, changes=changes)

    def count(self) -> dict[str, int]:
        """How many changes there are of every outcome that occurs."""
        counts = {str(outcome): 0 for outcome in LabelOutcome}
        for change in self.changes:
            counts[str(change.outcome)] += 1
        return {name: number for name, number in counts.items() if number}


def explain_nothing(patch: Patch) -> str:
    """Why a patch without a change that counts changes nothing."""
    listed = ", ".join(f"{number} {name}" for name, number in patch.count().items())
    return f"nothing is accepted in this patch ({listed or 'no changes'}), so nothing is written"


def write_patch(path: Path, patch: Patch) -> None:
    """Write a patch; the file is there whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    write_rows(path, _list_lines(patch))


def read_patch(path: Path) -> Patch:
    """Read a patch, or the patch in a run directory.

    Raises:
        DataError: no such file, or no patch; names the line and the key.
    """
    if path.is_dir():
        path = path / "patch.jsonl"
    rows = read_rows(path)
    head = next(rows, (0, {}))[1]
    if head.get(_MARK) != VERSION:
        found = f"version {head[_MARK]} of a patch" if _MARK in head else "no patch"
        raise DataError(f"is {found}", where=str(path), hint="name a file that `label-errors` wrote")
    try:
        spellings = head.get("label_spellings", "ask")
        task = TextClassification(
            tuple(head["text"]),
            head["label"],
            tuple(head["attributes"]),
            head["trusted"],
            tuple(map(str, head.get("keep_labels", ()))),
            spellings if spellings in ("merge", "keep") else "ask",
        )
        source, n_rows = str(head["source"]), int(head["rows"])
        promise, notes = dict(head["promise"]), tuple(map(str, head["notes"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"its head cannot be read ({error})", where=f"{path}: line 1") from error
    changes: dict[str, LabelChange] = {}
    for number, row in rows:
        where = f"{path}: line {number}"
        change = _read_change(row, where)
        if change.id in changes:
            raise DataError(f"record '{change.id}' stands twice", where=where, hint="delete one of the lines")
        changes[change.id] = change
    return Patch(task, source, n_rows, tuple(changes.values()), promise, notes)


def _read_change(row: Mapping[str, Any], where: str) -> LabelChange:
    outcomes = [str(outcome) for outcome in LabelOutcome]
    if row.get("outcome") not in outcomes:
        found = str(row.get("outcome"))
        hint = suggest(found, outcomes, f"write one of {', '.join(outcomes)}")
        raise DataError(f"found '{found}'", where=f"{where}: outcome", hint=hint)
    try:
        change = LabelChange(
            id=str(row["id"]),
            outcome=LabelOutcome(row["outcome"]),
            before=spell_value(row["before"]),
            after=spell_value(row["after"]),
            score=float(row.get("score", 0.0)),
            reason=str(row.get("reason", "")),
            text=str(row.get("excerpt", "")),
            neighbours=tuple(
                Neighbour(
                    str(one["text"]), str(one["label"]), float(one["similarity"]), bool(one["confirmed"])
                )
                for one in row.get("neighbours", ())
            ),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"cannot be read ({type(error).__name__}: {error})", where=where, hint="restore the line"
        ) from error
    if change.outcome is LabelOutcome.RELABEL and value_key(change.after) in ("", value_key(change.before)):
        raise DataError(
            f"a relabelled record needs another label, found '{change.after}'", where=f"{where}: after"
        )
    try:
        change.after.encode()
    except UnicodeEncodeError as error:
        raise DataError("half a character, which no file holds", where=f"{where}: after") from error
    return change


def _list_lines(patch: Patch) -> Iterable[dict[str, Any]]:
    task = patch.task
    yield {
        _MARK: VERSION,
        "source": patch.source,
        "rows": patch.n_rows,
        "text": list(task.text),
        "label": task.label,
        "attributes": list(task.attributes),
        "trusted": task.trusted,
        "label_spellings": task.label_spellings,
        "keep_labels": list(task.keep_labels),
        "promise": dict(patch.promise),
        "notes": list(patch.notes),
    }
    for change in patch.changes:
        yield {
            "id": change.id,
            "outcome": str(change.outcome),
            "before": change.before,
            "after": change.after,
            "score": round(change.score, 6),
            "reason": change.reason,
            "excerpt": change.text,
            "neighbours": [
                {
                    "text": one.text,
                    "label": one.label,
                    "similarity": round(one.similarity, 4),
                    "confirmed": one.is_confirmed,
                }
                for one in change.neighbours
            ],
        }
