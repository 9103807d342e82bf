"""What a run adds to a data set, and the data card that counts it.

The card is `README.md` beside the Parquet shards: a YAML head for `load_dataset`, then prose for people:
where the rows come from, how many of each kind and cell there were and are, who wrote the new ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from counterpoise.core.plans import Kind
from counterpoise.core.records import Provenance, Records, State

_MAX_CARD_CELLS = 60
_MARKS = re.compile(r"[\\`*\[\]!|~]|(?<!\w)_|_(?!\w)|^[#>+-]")
"""What Markdown takes for more than a character; a backslash before it makes it one."""
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ConceptValue:
    """What is known of one concept in one record; absent concepts are not listed."""

    name: str
    state: State
    probability: float
    scorer: str = ""


@dataclass(frozen=True, slots=True)
class AddedRecord:
    """A record that a run adds.

    Args:
        text: its text; with several text columns their values joined by line ends.
        label: name of its label.
        provenance: where it comes from; its id orders the added records.
        weight: what a student multiplies its loss by.
        attributes: attribute column -> value, as far as known.
        concepts: what is known of its concepts.
        columns: further columns of the user's with their values (of an adopted record).
    """

    text: str
    label: str
    provenance: Provenance
    weight: float = 1.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    concepts: tuple[ConceptValue, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelabelledRecord:
    """The new label of an original record and the provenance that keeps its old one."""

    label: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the data card says besides its counts.

    Args:
        name: of the data set.
        source: where the original rows come from.
        licence: of the original rows, "" where unknown.
        models: names of the models that wrote rows.
        prompts: names and content hashes of the prompts used.
        notes: further sentences, such as that the labels were made skew by a sample.
    """

    name: str
    source: str
    licence: str = ""
    models: Sequence[str] = ()
    prompts: Sequence[str] = ()
    notes: Sequence[str] = ()


def render_card(
    card: CardFacts,
    train: Records,
    held_out: Records,
    added: Sequence[AddedRecord],
    relabelled: Mapping[str, RelabelledRecord],
    name: str,
    answered: Collection[str] = (),
) -> str:
    """The text of README.md.

    Args:
        card: what it says besides its counts.
        train: the original training rows, labels as they were read.
        held_out: the held-out rows.
        added: the records that were added.
        relabelled: id -> new label.
        name: of the configuration, other for other shards. `load_dataset` keeps what it has read under the names of
            folder and configuration, and every result lies in a folder named `dataset`.
        answered: ids of the training rows that a person labelled.
    """
    splits = ("train", "held_out")
    files = [{"split": split, "path": f"{split}-*.parquet"} for split in splits]
    head = {
        "pretty_name": _make_line(card.name),
        "task_categories": ["text-classification"],
        "tags": ["counterpoise", "synthetic"] if any(map(_is_synthetic, added)) else ["counterpoise"],
        "configs": [{"config_name": name, "data_files": files}],
    }
    n_changed = sum(record in relabelled for record in train.ids)
    kinds = Counter(str(record.provenance.kind) for record in added)
    lines = [
        f"# {_escape(card.name)}",
        "",
        f"{len(train)} original training rows from {_escape(card.source)} and {len(held_out)} held-out rows,",
        f"rebalanced by counterpoise: {len(added)} rows added, {n_changed} relabelled. Held-out rows are as",
        "they were read.",
        *(["", *map(_escape, card.notes)] if card.notes else []),
        "",
        "| kind | rows |",
        "|---|---|",
        f"| {Kind.ORIGINAL} | {len(train) - n_changed - len(answered)} |",
        f"| {Kind.RELABELLED} | {n_changed} |",
        *([f"| {Kind.ANSWERED} | {len(answered)} |"] if answered else []),
        *(f"| {_escape(kind)} | {count} |" for kind, count in sorted(kinds.items())),
        "",
        "## Cells",
        "",
        "| cell | before | after | synthetic share |",
        "|---|---|---|---|",
        *_render_cells(train, added, relabelled),
        "",
        "## Where added rows come from",
        "",
        f"Models: {_list(card.models)}. Prompts: {_list(card.prompts)}.",
        "Every row carries its parents, prompt, model and scores in `provenance`, and `label_before` where",
        "its label was changed.",
        "",
        "## Licence",
        "",
        f"Original rows: {_escape(card.licence) or 'not stated; their own terms hold'}. Rows written by a model",
        "continue these rows and fall under the terms of both the data and the model: check them before you",
        "share this data set.",
        "",
    ]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n" + "\n".join(lines)


def _is_synthetic(record: AddedRecord) -> bool:
    return record.provenance.kind not in (Kind.ORIGINAL, Kind.ADOPTED, Kind.RELABELLED)


def _render_cells(
    train: Records, added: Sequence[AddedRecord], relabelled: Mapping[str, RelabelledRecord]
) -> Iterator[str]:
    """A row for every label, label with attribute value and label with concept, the largest first."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    synthetic: Counter[str] = Counter()
    names = np.array(train.label_names, dtype=object)[train.labels]
    for row, (record, label) in enumerate(zip(train.ids, names, strict=True)):
        marks = [f"{name}={column[row]}" for name, column in train.attributes.items() if column[row]]
        if train.concepts is not None:
            present = np.flatnonzero(train.concepts.states[row] == State.PRESENT)
            marks += [train.concepts.names[index] for index in present]
        before.update(_name_cells(label, marks))
        new = relabelled.get(record)
        after.update(_name_cells(new.label if new else label, marks))
    for item in added:
        marks = [f"{name}={value}" for name, value in item.attributes.items() if value]
        marks += [concept.name for concept in item.concepts if concept.state == State.PRESENT]
        cells = _name_cells(item.label, marks)
        after.update(cells)
        if _is_synthetic(item):
            synthetic.update(cells)
    cells = sorted(before | after, key=lambda cell: (" with " in cell, -after[cell], cell))
    for cell in cells[:_MAX_CARD_CELLS]:
        shown = _escape(cell)
        yield f"| {shown} | {before[cell]} | {after[cell]} | {synthetic[cell] / max(after[cell], 1):.0%} |"
    if len(cells) > _MAX_CARD_CELLS:
        yield f"| {len(cells) - _MAX_CARD_CELLS} smaller cells | | | |"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(_escape, names)) or "none"


def _make_line(text: str) -> str:
    """One line without controls, marks of direction and halves of characters, as a YAML head can hold it."""
    shown = "".join(" " if unicodedata.category(mark) in _UNSHOWN else mark for mark in text)
    return " ".join(shown.split())


def _escape(text: str) -> str:
    """One line of Markdown that shows what the text says: nothing in it is taken for HTML, a link or a mark.

    Names of models, labels, columns and files come from outside. A label `<5` is shown, a script is not run, an
    address makes no link, and a picture is not fetched by whoever opens the card.
    """
    shown = _MARKS.sub(r"\\\g<0>", _make_line(text).replace("&", "&amp;").replace("<", "&lt;"))
    return shown.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def _name_cells(label: str, marks: Sequence[str]) -> list[str]:
    return [label, *(f"{label} with {mark}" for mark in marks)]
