"""Labelling on its own, without a run: read texts, ask for answers, label concepts, propose concepts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import DataError
from counterpoise.core.event_kinds import Warned
from counterpoise.core.events import Listener, tell_event
from counterpoise.core.files import write_whole, writing
from counterpoise.core.label_spellings import Spellings
from counterpoise.core.records import ConceptColumns, Floats, Integers, Records, State
from counterpoise.core.schema import TextClassification
from counterpoise.core.splits import sample_by_rank
from counterpoise.core.strict_yaml import read_mapping
from counterpoise.data.encoders import open_cached
from counterpoise.data.reading import read_pool, read_records
from counterpoise.data.sources import load_table, name_source
from counterpoise.scorers.anchors import MOST_POOL_ROWS, choose_pool_rows
from counterpoise.scorers.answers import AnswerSheet, open_answers
from counterpoise.scorers.concepts.associations import measure_associations
from counterpoise.scorers.concepts.labeller import ConceptLabeller, ModelScores, fit_concepts
from counterpoise.scorers.concepts.passages import make_passages
from counterpoise.scorers.concepts.views import make_anchors, make_views
from counterpoise.scorers.gold import LABEL, Gold, RowsToAsk, choose_rows_to_ask, read_answer, read_gold
from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.preparation import divide
from counterpoise.tasks.text.reading import group_records
from counterpoise_retrievers.encoders import Encoder

OpenScreen = Callable[[], AbstractContextManager[Listener]]
N_AT_ONCE = 2
"""Concepts that become questions at a time: a row with a dozen is not answered with care."""

_MOST_ASKED_FROM = 5_000  # rows whose similarity is worth computing to choose forty


@dataclass(frozen=True, slots=True)
class Texts:
    """Rows with their vectors and the concepts to label.

    Args:
        records: n labelled rows, by id.
        vectors: (n, d) of their texts.
        concepts: name -> definition.
        encoder: the encoder, cached.
        pool: unlabelled rows to be asked about instead of the labelled ones; None without.
    """

    records: Records
    vectors: NDArray[np.float32]
    concepts: Mapping[str, str]
    encoder: Encoder
    pool: EncodedRecords | None = None

    @property
    def asked_from(self) -> Records:
        """The rows that a person may be asked about."""
        return self.records if self.pool is None else self.pool.records


def read_texts(
    data: str,
    text: tuple[str, ...],
    label: str,
    concepts: str,
    encoder: str,
    open_screen: OpenScreen,
    *,
    label_spellings: Spellings = "ask",
    keep_labels: Sequence[str] = (),
    pool: str = "",
) -> Texts:
    """Read and encode a data set.

    Args:
        data: file, folder or hub id.
        text: text columns.
        label: label column.
        concepts: YAML file, or "".
        encoder: folder of an encoder, "" for the pinned one.
        open_screen: shows downloads, and what is odd about the file.
        label_spellings: see `TextClassification`.
        keep_labels: see `TextClassification`.
        pool: unlabelled rows to be asked about, "" for none.

    Raises:
        UserError: a file, a column or a definition that cannot be used.
    """
    listed: Mapping[str, str] = {}
    if concepts:
        # The job checks the list as it would in a run.
        listed = job_from(
            data=data, text=text, label=label, concepts=dict(read_mapping(Path(concepts)))
        ).listed_concepts
    task = TextClassification(text, label, (), "", tuple(keep_labels), label_spellings)
    notes: list[str] = []
    table = load_table(data, task=task, notes=notes)
    records = read_records(table, task, source=name_source(data))
    records = records.take(np.argsort(records.ids.astype(str), kind="stable"))
    open_questions = read_open_questions(pool, task, records.label_names, notes) if pool else None
    cache_dir = find_cache_dir(None)
    with open_screen():
        for note in notes:
            tell_event(Warned(note))
        cached = open_cached(encoder, cache_dir)
        vectors = cached.encode([str(value) for value in records.texts])
        if open_questions is None:
            return Texts(records, vectors, listed, cached)
        encoded = EncodedRecords(
            open_questions, cached.encode([str(value) for value in open_questions.texts])
        )
    return Texts(records, vectors, listed, cached, encoded)


def read_open_questions(
    pool: str, task: TextClassification, label_names: tuple[str, ...], notes: list[str]
) -> Records:
    """The rows of a pool that a person may be asked about, by id; of a very large pool a part, drawn by hash.

    Args:
        pool: file, folder or hub id.
        task: which columns mean what; a label column of the pool is not read.
        label_names: labels of the data.
        notes: sentences on what is odd are added.
    """
    table = load_table(pool, task=task, notes=notes)
    records = read_pool(table, task, label_names, source=name_source(pool))
    kept = np.sort(sample_by_rank(records.ids, MOST_POOL_ROWS, "pool to ask about"))
    if len(kept) < len(records):
        notes.append(f"{len(kept):,} of {len(records):,} rows of the pool are looked at, drawn at random")
    records = records.take(kept)
    return records.take(np.argsort(records.ids.astype(str), kind="stable"))


def list_questions(texts: Texts) -> dict[str, str]:
    """What can be asked of a row: each concept, or the label where there are none."""
    if not texts.concepts:
        return {LABEL: f"Which label is right: {', '.join(texts.records.label_names)}?"}
    return {name: f"Does it mention {name} ({meaning})? yes/no" for name, meaning in texts.concepts.items()}


def choose_questions(texts: Texts, asked: Sequence[str]) -> list[str]:
    """What new rows are asked about: at first the two concepts that go most with the label, later two more each time.

    Args:
        texts: the rows.
        asked: what was asked before.
    """
    names = list(list_questions(texts))
    before = [name for name in names if name in asked]
    left = {name: texts.concepts[name] for name in names if name not in before and name in texts.concepts}
    if len(left) <= N_AT_ONCE:
        return names
    kept = np.sort(sample_by_rank(texts.records.ids, _MOST_ASKED_FROM, "concepts"))
    few = texts.records.take(kept)
    passages = make_passages([str(text) for text in few.texts], texts.vectors[kept], texts.encoder)
    strengths = measure_associations(few, passages, left, texts.encoder)
    first = sorted(left, key=lambda name: (-strengths[name], name))[:N_AT_ONCE]
    return [name for name in names if name in before or name in first]


def choose_rows(
    texts: Texts, n: int, seed: int, known: Integers | None = None, questions: Sequence[str] | None = None
) -> RowsToAsk:
    """Rows to ask about: half at random, half informative.

    Informative is what is spread over the range of each concept's similarity, and in a pool what lies where labels are
    thin (`anchors`).

    Args:
        texts: the rows.
        n: how many.
        seed: another one draws other rows.
        known: positions of rows that were asked about already.
        questions: concepts that will be asked; None for all.

    Returns:
        Positions in `texts.asked_from`.
    """
    key, records = f"seed {seed}:ask", texts.records
    if texts.pool is not None:
        return _choose_in_pool(texts, texts.pool, n, key, () if known is None else known)
    new = np.setdiff1d(np.arange(len(records)), () if known is None else known)
    kept = new[np.sort(sample_by_rank(records.ids[new], _MOST_ASKED_FROM, key))]
    few = records.take(kept)
    scores: Floats | None = None
    if texts.concepts and len(kept):
        passages = make_passages([str(text) for text in few.texts], texts.vectors[kept], texts.encoder)
        anchors = [
            make_anchors(name, meaning, texts.encoder)
            for name, meaning in texts.concepts.items()
            if questions is None or name in questions
        ]
        scores = np.column_stack([make_views(passages, anchor).similarity for anchor in anchors])
    asked = choose_rows_to_ask(few, n, key, scores)
    return RowsToAsk(kept[asked.rows], asked.is_audit)


def _choose_in_pool(
    texts: Texts, pool: EncodedRecords, n: int, key: str, known: Integers | tuple[()]
) -> RowsToAsk:
    new = np.setdiff1d(np.arange(len(pool)), known)
    records = group_records(texts.records)
    folds = divide(records, f"{key}:folds", "data")
    asked = choose_pool_rows(EncodedRecords(records, texts.vectors), folds, pool.take(new), n, key)
    return RowsToAsk(new[asked.rows], asked.is_audit)


def prepare_answers(texts: Texts, path: Path, n: int, seed: int, *, goes_on: bool) -> tuple[AnswerSheet, int]:
    """The file of answers with rows to be asked about, and how many of them are new; written already.

    Args:
        texts: the rows.
        path: the file, there or not; what is in it stays.
        n: new rows to ask about.
        seed: another one draws other rows.
        goes_on: whether what is still open in the file is asked first, without new rows.

    Raises:
        UserError: the file is no file of answers, or cannot be written.
    """
    names = list(list_questions(texts))
    answers = open_answers(path, () if path.exists() else choose_questions(texts, ()))
    had = [name for name in names if name in answers.columns]
    if goes_on and had and answers.list_open(had):
        return answers, 0
    if len(had) < len(names) and (answers.rows or not had):
        had = choose_questions(texts, had)
        answers = open_answers(path, had)
    before = len(answers.rows)
    asked = choose_rows(texts, n, seed, answers.find_asked(texts.asked_from), had)
    choices = "" if texts.pool is None else " | ".join(texts.records.label_names)
    answers.add(texts.asked_from, asked, choices)
    answers.save()
    return answers, len(answers.rows) - before


def ask_here(
    texts: Texts, answers: AnswerSheet, ask: Callable[[str], str], show: Callable[[str], None]
) -> None:
    """Ask on the terminal what is open, and save each answer; an empty one leaves the question open."""

    def check(question: str, value: str) -> bool:
        try:
            read_answer(question, value, texts.records.label_names, "")
        except DataError:
            return False
        return True

    questions = {name: said for name, said in list_questions(texts).items() if name in answers.columns}
    answers.ask(questions, ask, show, check)


def read_answers(texts: Texts, path: Path, seed: int) -> dict[str, Gold]:
    """Answers of a file that was filled in."""
    return read_gold(path, texts.records, tuple(list_questions(texts)), f"seed {seed}:gold")


def label_texts(
    texts: Texts, gold: Mapping[str, Gold], model: ModelScores | None = None
) -> tuple[ConceptLabeller, ConceptColumns]:
    """Fit, audit and label; `model` is what a language model that passed its pilot says of the rows."""
    plain = [str(text) for text in texts.records.texts]
    labeller = fit_concepts(
        plain, texts.vectors, texts.records.ids, texts.concepts, texts.encoder, gold, model
    )
    if model is None:
        return labeller, labeller.label(plain, texts.vectors)
    return labeller, labeller.label(plain, texts.vectors, model.list_whole(), model.probabilities)


def write_labels(path: Path, texts: Texts, columns: ConceptColumns) -> None:
    """A CSV of id, text, label, and state and probability of each concept."""
    names = texts.records.label_names
    heads = [part for name in columns.names for part in (name, f"{name}_probability")]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", "text", "label", *heads])
    for row in range(len(texts.records)):
        record = texts.records
        cells = [
            part
            for state, probability in zip(columns.states[row], columns.probabilities[row], strict=True)
            for part in (State(int(state)).name.lower(), f"{probability:.4f}")
        ]
        writer.writerow([record.ids[row], record.texts[row], names[record.labels[row]], *cells])
    write_file(path, text.getvalue())


def write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        JobError: it cannot be written.
    """
    with writing(path, "name a file in a folder that can be written to"):
        write_whole(path, text)


def make_audit_table(lines: list[dict[str, Any]]) -> Table:
    """The audits as a table for the terminal."""
    table = Table("question", "scorer", "answers", "accuracy", "AUROC", "tokens per 1,000", "role")
    for line in lines:
        cells = [line["question"], line["name"], str(line["n"])]
        for value, ends in (("accuracy", ("low", "high")), ("auc", ("auc_low", "auc_high"))):
            known = line[value] is not None
            cells.append(f"{line[value]:.2f} ({line[ends[0]]:.2f}-{line[ends[1]]:.2f})" if known else "")
        table.add_row(*cells, f"{line['price_per_1000']:.0f}", line["role"])
    return table
