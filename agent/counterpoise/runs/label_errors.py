"""Wrong labels in a table, found without a run: what `counterpoise label-errors` and `find_label_errors` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from counterpoise.actions.relabel.asked_suspects import ERROR_FOLDS, estimate_wrong, weigh_answers
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
from counterpoise.core.records import Floats, Integers, Records
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
from counterpoise.scorers.gold import LABEL, read_gold
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
    answers: str | Path = "",
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
        answers: instead of `gold`, what `counterpoise label --ask 100 --about errors` wrote, filled in.
        trusted: column of `data` that marks rows whose label is known to be right. Rows that were mended when they were
            checked say nothing of how often the others are wrong: give their first labels in `data` and the right
            ones as `gold`, or few or no labels will change.
        min_precision: share of right changes to promise, such as 0.9; None changes nothing but known labels and
            ranks all suspects for review.
        confidence: of the promise.
        may_drop: whether rows may be dropped whose label is wrong and whose right label is unsure.
        model: that is asked about the suspects: a URL, `embedded`, a chat model of LangChain or any object with
            `generate(request)`; believed only after its audit. "" asks none.
        judge: any other strong scorer.
        descriptions: a line for each label, for the model.
        tokens: that the model may use at most.
        encoder: folder of an ONNX encoder; by default the pinned one.
        cache_dir: where vectors and replies are kept.
        label_spellings: what becomes of labels that differ in blanks, case or Unicode form (`merge`, `keep`, `ask`).
        keep_labels: words such as `null` or `NA` that are labels here.
        listener: told of progress, instead of it being shown.
        progress: whether it is shown; None where somebody looks: on a terminal and in a notebook.

    Raises:
        UserError: a mistake in the arguments or the data.
        ServiceError: weights or a server that cannot be had.
    """
    _check_shares(min_precision=min_precision, confidence=confidence)
    _refuse_both(answers, gold, trusted)
    llm = read_llm("embedded" if model == "" else model)
    columns = (text,) if isinstance(text, str) else tuple(text)
    task = TextClassification(columns, label, (), trusted, tuple(keep_labels), label_spellings)
    cache = find_cache_dir(cache_dir)
    table = _take_answers(_read_table(data, gold, task, cache), answers)
    settings = LabelSettings(min_precision, confidence, may_drop)
    with open_progress(listener, progress):
        lines = tuple((descriptions or {}).get(name, name) for name in table.records.label_names)
        rows = _encode_rows(table, lines, open_cached(encoder, cache))

        async def ask() -> Decisions:
            with ReplyStore(cache / "replies.sqlite") as store:
                budget = TokenBudget(tokens)
                asking = open_models(llm, store=store, budget=budget, cache_dir=cache)
                async with asking as models:
                    await learn_manner(models.chat)
                    return await decide_labels(rows, settings=settings, judge=LLMJudge(models.chat, lines))

        decide = partial(decide_labels, rows, settings=settings, judge=judge)
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
        chances: (n,) with what probability each known row was drawn; None where all had the same.
    """

    records: Records
    known: Integers
    is_drawn: NDArray[np.bool_]
    source: str
    notes: Sequence[str]
    chances: Floats | None = None


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
    folds = divide(table.records, ERROR_FOLDS, table.source)
    drawn = np.where(table.is_drawn, table.known, UNKNOWN)
    described = None
    if len(answers) > len(LETTERS):
        described = (vectors @ encoder.encode(list(answers)).T).astype(np.float64)
    return LabelledRows(table.records, vectors, folds, drawn, table.known, described, table.chances)


def _check_shares(**shares: float | None) -> None:
    for name, value in shares.items():
        if value is not None and not 0 < value < 1:
            raise JobError(f"found {value}", where=name, hint="write a number between 0 and 1, such as 0.9")


def _refuse_both(answers: str | Path, gold: Any, trusted: str) -> None:
    if answers and (gold is not None or trusted):
        hint = "give right labels in one way; answers of both kinds are no draw with known probabilities"
        raise JobError("found 'answers' beside 'gold' or 'trusted'", where="answers", hint=hint)


def _take_answers(table: _Table, answers: str | Path) -> _Table:
    """The table with what a person answered, and with what probability each answered row was drawn."""
    if not answers:
        return table
    path, records = Path(answers), table.records
    gold = read_gold(path, records, (LABEL,), "label-errors:answers", name="answers").get(LABEL)
    if gold is None:
        hint = f"fill in the column '{LABEL}'"
        raise DataError("holds no answer", where=str(path), hint=hint)
    rows = np.concatenate([gold.audit_rows, gold.training_rows])
    truth = np.concatenate([gold.audit_truth, gold.training_truth])
    known = np.full(len(records), UNKNOWN, dtype=np.int64)
    by_text = {str(records.texts[row]): right for row, right in zip(rows, truth, strict=True)}
    for row, text in enumerate(records.texts):
        known[row] = by_text.get(str(text), UNKNOWN)
    known[rows] = truth
    is_drawn = np.zeros(len(records), dtype=np.bool_)
    is_drawn[rows] = True
    chances = weigh_answers(gold, len(records))
    notes = [*table.notes]
    if chances is not None:
        drawn = LabelledRows(records, np.empty((0, 0), np.float32), known, np.where(is_drawn, known, UNKNOWN))
        value, low, high = estimate_wrong(drawn, chances)
        notes.append(
            f"By {len(rows)} answers, each weighed by how likely it was asked for, {value:.1%} of the labels are wrong "
            f"({low:.1%} to {high:.1%})."
        )
    return replace(table, known=known, is_drawn=is_drawn, chances=chances, notes=notes)


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
