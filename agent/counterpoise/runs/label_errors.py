"""Wrong labels in a table, found without a run: what `counterpoise label-errors` and `find_label_errors` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from counterpoise.actions.relabel.label_judges import LabelJudge, LLMJudge
from counterpoise.actions.relabel.label_patches import make_patch
from counterpoise.actions.relabel.label_promises import LabelSettings
from counterpoise.actions.relabel.label_queue import LabelledRows
from counterpoise.actions.relabel.labels import Decisions, decide_labels
from counterpoise.actions.relabel.promises import DEFAULT_CONFIDENCE
from counterpoise.actions.relabel.suspects import UNKNOWN
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.events import Listener
from counterpoise.core.interrupts import run_alone
from counterpoise.core.label_spellings import Spellings
from counterpoise.core.records import Integers, Records
from counterpoise.core.schema import TextClassification
from counterpoise.data.column_values import read_marks
from counterpoise.data.encoders import open_cached
from counterpoise.data.patches.values import Patch
from counterpoise.data.reading import load_table, read_records
from counterpoise.data.sources import name_source
from counterpoise.llm import ReplyStore, TokenBudget
from counterpoise.llm.capabilities import learn_manner
from counterpoise.llm.config import read_llm
from counterpoise.llm.connect import open_models
from counterpoise.report.progress import open_progress
from counterpoise.scorers.letters import LETTERS
from counterpoise.tasks.text.preparation import divide
from counterpoise.tasks.text.reading import group_records
from counterpoise_retrievers.encoders import Encoder

DEFAULT_TOKENS = 2_000_000


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """What was found.

    Args:
        patch: the changes; write it with `write_patch`, apply it with `apply_patch`.
        decisions: outcomes and scores of all rows, in the table's order.
        records: the rows.
    """

    patch: Patch
    decisions: Decisions
    records: Records

    def _repr_html_(self) -> str:
        """What a notebook shows: the patch."""
        return self.patch._repr_html_()


def find_label_errors(
    data: Any,
    text: str | Sequence[str],
    label: str,
    *,
    gold: Any = None,
    trusted: str = "",
    min_precision: float | None = None,
    confidence: float = DEFAULT_CONFIDENCE,
    may_drop: bool = True,
    model: Any = "",
    judge: LabelJudge | None = None,
    descriptions: dict[str, str] | None = None,
    tokens: int = DEFAULT_TOKENS,
    encoder: str = "",
    cache_dir: str | Path | None = None,
    label_spellings: Spellings = "ask",
    keep_labels: Sequence[str] = (),
    listener: Listener | None = None,
    progress: bool | None = None,
) -> LabelErrors:
    """Find wrong labels and propose a patch; the data is not touched.

    Args:
        data: a file, a folder, a hub id, or a table in memory.
        text: text column or columns.
        label: label column.
        gold: a table with the same text and label columns whose labels are right; its texts are looked up in `data`.
            They should be a random draw of the data.
        trusted: column of `data` that marks rows whose label is known to be right. Rows that were mended when they were
            checked say nothing of how often the others are wrong: give their first labels in `data` and the right
            ones as `gold`, or few or no labels will change.
        min_precision: share of right changes to promise, such as 0.9; None changes nothing but known labels and
            ranks all suspects for review.
        confidence: of the promise.
        may_drop: whether rows may be dropped whose label is wrong and whose right label is not sure enough.
        model: that is asked about the suspects: a URL, `embedded`, a chat model of LangChain or any object with
            `generate(request)`; believed only after its audit. "" asks none.
        judge: any other strong scorer.
        descriptions: a line for each label, for the model.
        tokens: that the model may use at most.
        encoder: folder of an ONNX encoder; by default the pinned one.
        cache_dir: where vectors and replies are kept.
        label_spellings: labels that differ only in blanks, case or Unicode form are one (`merge`), several (`keep`), or
            an error that asks (`ask`).
        keep_labels: words such as `null` or `NA` that are labels here.
        listener: told of progress, instead of it being shown.
        progress: whether it is shown; None where somebody looks: on a terminal and in a notebook.

    Raises:
        UserError: a mistake in the arguments or the data.
        ServiceError: weights or a server that cannot be had.
    """
    for name, value in (("min_precision", min_precision), ("confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise JobError(f"found {value}", where=name, hint="write a number between 0 and 1, such as 0.9")
    llm = read_llm("embedded" if model == "" else model)
    columns = (text,) if isinstance(text, str) else tuple(text)
    task = TextClassification(columns, label, (), trusted, tuple(keep_labels), label_spellings)
    cache = find_cache_dir(cache_dir)
    table = _read_table(data, gold, task, cache)
    settings = LabelSettings(min_precision, confidence, may_drop)
    with open_progress(listener, progress):
        answers = tuple((descriptions or {}).get(name, name) for name in table.records.label_names)
        rows = _encode_rows(table, answers, open_cached(encoder, cache))

        async def ask() -> Decisions:
            with ReplyStore(cache / "replies.sqlite") as store:
                budget = TokenBudget(tokens)
                asking = open_models(llm, store=store, budget=budget, cache_dir=cache)
                async with asking as models:
                    await learn_manner(models.chat)
                    return await decide_labels(rows, settings=settings, judge=LLMJudge(models.chat, answers))

        async def decide() -> Decisions:
            return await decide_labels(rows, settings=settings, judge=judge)

        decisions: Decisions = run_alone(ask if model != "" and judge is None else decide)
    patch = make_patch(decisions, rows, task, table.source)
    return LabelErrors(replace(patch, notes=(*patch.notes, *table.notes)), decisions, rows.records)


@dataclass(frozen=True, slots=True)
class _Table:
    """What was read, in the order of ids, so that nothing depends on the order of the file.

    Args:
        records: n rows.
        known: (n,) right label indices, `UNKNOWN` where nobody knows.
        is_drawn: (n,) which of the known rows are draws of their own.
        source: what messages call the table.
        notes: what was left out or not understood.
    """

    records: Records
    known: Integers
    is_drawn: NDArray[np.bool_]
    source: str
    notes: Sequence[str]


def _read_table(data: Any, gold: Any, task: TextClassification, cache: Path) -> _Table:
    notes: list[str] = []
    source = name_source(data)
    table = load_table(data, task=task, cache_dir=cache, notes=notes)
    records = group_records(read_records(table, task, source=source))
    known, is_drawn = _read_known(table, records, task, gold, cache, source)
    order = np.argsort(records.ids.astype(str), kind="stable")
    return _Table(records.take(order), known[order], is_drawn[order], source, notes)


def _encode_rows(table: _Table, answers: Sequence[str], encoder: Encoder) -> LabelledRows:
    vectors = encoder.encode([str(one) for one in table.records.texts])
    folds = divide(table.records, "label-errors:folds", table.source)
    drawn = np.where(table.is_drawn, table.known, UNKNOWN)
    described = None
    if len(answers) > len(LETTERS):
        described = (vectors @ encoder.encode(list(answers)).T).astype(np.float64)
    return LabelledRows(table.records, vectors, folds, drawn, table.known, described)


def _read_known(
    table: Dataset, records: Records, task: TextClassification, gold: Any, cache: Path, source: str
) -> tuple[Integers, NDArray[np.bool_]]:
    """Right label indices by row, `UNKNOWN` where nobody knows; and which rows were drawn.

    A line of the gold file is one draw, however many rows say the same: the others are known, too, but they are no
    draws of their own.
    """
    known = np.full(len(records), UNKNOWN, dtype=np.int64)
    if task.trusted:
        marked = read_marks(table, task.trusted, source)
        known[marked] = records.labels[marked]
    is_drawn = known != UNKNOWN
    if gold is None:
        return known, is_drawn
    plain = replace(task, attributes=(), trusted="")
    where = name_source(gold)
    right = read_records(
        load_table(gold, task=plain, cache_dir=cache), plain, records.label_names, source=where
    )
    answers: dict[str, int] = {}
    for text, label in zip(map(str, right.texts), right.labels.tolist(), strict=True):
        if answers.setdefault(text, label) != label:
            names = " and ".join(repr(records.label_names[one]) for one in (answers[text], label))
            hint = "keep the label that is right"
            raise DataError(f"two labels, {names}, for the text {text!r:.40}", where=where, hint=hint)
    n_draws = Counter(map(str, right.texts))
    for row in np.argsort(records.ids.astype(str), kind="stable"):
        text = str(records.texts[row])
        known[row] = answers.get(text, known[row])
        is_drawn[row] |= n_draws[text] > 0
        n_draws[text] -= 1
    if not (known != UNKNOWN).any():
        raise DataError(
            f"none of its texts stands in {source}",
            where=where,
            hint="give right labels for rows of the data",
        )
    return known, is_drawn
