"""Rows whose answer is known: those the user marked as trusted, a gold file, and rows the agent asks for.

What is asked is half drawn at random, for audits, and half chosen as informative, for training; a row is one or the
other and the file says which (`ask`), so that nothing that was trained on an answer is ever judged by it. The file is a
CSV with the text, a column for each question, and cells to be filled in; it is what the key `gold` of a job names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.boundaries import refuse_strange_file
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.label_spellings import match_label
from counterpoise.core.records import Floats, Integers, Objects, Records
from counterpoise.core.splits import keyed_hash, sample_by_rank

AUDIT, TRAINING = "audit", "training"
ID, ASK, TEXT, LABEL, CHOICES, CHANCE = "id", "ask", "text", "label", "choices", "probability"

_YES = frozenset({"yes", "y", "1", "true", "present"})
_NO = frozenset({"no", "n", "0", "false", "absent"})
_LONGEST_CELL = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Gold:
    """Known answers to one question.

    Args:
        audit_rows: (a,) positions of the rows drawn at random.
        audit_truth: (a,) their answers: 0 or 1 of a concept, label indices of the label.
        training_rows: (t,) positions of the others.
        training_truth: (t,) their answers.
        chances: position -> with what probability the row was drawn, of those that the file says it of.
    """

    audit_rows: Integers
    audit_truth: Integers
    training_rows: Integers
    training_truth: Integers
    chances: Mapping[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """All answers."""
        return len(self.audit_rows) + len(self.training_rows)


@dataclass(frozen=True, slots=True)
class RowsToAsk:
    """Rows to ask about, in the order in which they are shown (by id, so that the order tells nothing)."""

    rows: Integers
    is_audit: NDArray[np.bool_]


def choose_rows_to_ask(records: Records, n: int, key: str, scores: Floats | None = None) -> RowsToAsk:
    """Choose rows to ask the user about.

    Args:
        records: the rows.
        n: how many, 2 or more; there may be fewer.
        key: another key draws other rows.
        scores: (n_records, m) of m questions, rising with the answer yes; the training half is spread over the
            whole range of each. Without scores it is spread over the labels.

    Returns:
        A random half, the labels in turn so that a rare one is among it, and an informative half.
    """
    n = min(n, len(records))
    audit_rows = _draw_in_turn(records, n - n // 2, f"{key}:audit")
    left = np.setdiff1d(np.arange(len(records)), audit_rows)
    if scores is None or not scores.shape[1]:
        rest = records.take(left)
        training_rows = left[_draw_in_turn(rest, n // 2, f"{key}:training")]
    else:
        training_rows = spread_rows(records.ids, scores, left, n // 2, f"{key}:training")
    rows = np.concatenate([audit_rows, training_rows])
    is_audit = np.arange(len(rows)) < len(audit_rows)
    order = np.argsort(records.ids[rows].astype(str), kind="stable")
    return RowsToAsk(rows[order], is_audit[order])


def spread_rows(ids: Objects, scores: Floats, left: Integers, n: int, key: str) -> Integers:
    """Rows spread evenly over the range of each question's score: `n` in all, a share for each question.

    Each part of the range gives one row by keyed hash, so the rows are informative (both ends and the middle are
    among them) and still keep the shares, which calibration needs.
    """
    chosen: list[int] = []
    shares = [n // scores.shape[1] + (column < n % scores.shape[1]) for column in range(scores.shape[1])]
    for column, share in enumerate(shares):
        free = np.setdiff1d(left, chosen)
        share = min(share, len(free))
        if not share:
            continue
        order = free[np.argsort(scores[free, column], kind="stable")]
        for part in np.array_split(order, share):
            chosen.append(int(part[sample_by_rank(ids[part], 1, f"{key}:{column}")[0]]))
    return np.array(chosen, dtype=np.int64)


def _draw_in_turn(records: Records, n: int, key: str) -> Integers:
    queues = []
    for label in np.unique(records.labels):
        members = np.flatnonzero(records.labels == label)
        queues.append(list(members[sample_by_rank(records.ids[members], n, key)]))
    queues.sort(key=len)
    picked: list[int] = []
    while len(picked) < n and any(queues):
        picked += [int(queue.pop(0)) for queue in queues if queue]
    return np.array(picked[:n], dtype=np.int64)


def read_answer_lines(path: Path, name: str = "gold") -> tuple[list[str], list[dict[str, str]], str, str]:
    """Columns, rows, delimiter and encoding of a file of answers, as we or a spreadsheet wrote it.

    Args:
        path: the file.
        name: what errors call it.

    Raises:
        JobError: it cannot be read.
    """
    refuse_strange_file(path)
    # A text may be a whole book; the limit is the whole process's.
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        content = path.read_bytes()
        encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
        text = content.decode(encoding)
        head = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=head.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
        rows = [{str(name): str(cell) for name, cell in row.items() if name is not None} for row in reader]
        return list(reader.fieldnames or ()), rows, delimiter, encoding
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise JobError(
            f"cannot be read ({error})", where=f"{name}: {path}", hint="name a CSV file"
        ) from error
    finally:
        csv.field_size_limit(before)


def read_gold(
    path: Path,
    records: Records,
    questions: Sequence[str],
    key: str,
    *,
    name: str = "gold",
    data: str = "data",
    needed: bool = True,
) -> dict[str, Gold]:
    """Read a gold file, or a file of answers (`answers`) that was filled in.

    Args:
        path: CSV with a column `id` or `text`, and a column a question; cells may be empty. Without a column `ask` a
            keyed half of the rows is for audits.
        records: the rows it speaks of; answers to other rows are left out.
        questions: names of concepts, and `label`.
        key: of the split where the file says none.
        name: what errors call the file.
        data: and what the rows.
        needed: whether the file has to speak of one of the rows.

    Returns:
        By question; those without a column or an answer are missing.

    Raises:
        JobError: the file cannot be read.
        DataError: an answer that cannot be read or that contradicts another one, or no row that the data has.
    """
    names, lines, _, _ = read_answer_lines(path, name)
    columns = set(names)
    if not columns & {ID, TEXT}:
        hint = "write one with: counterpoise label DATA --text COLUMN --label COLUMN --ask 40"
        raise DataError("has no column 'id' or 'text'", where=str(path), hint=hint)
    # A line without an id is no line about the record with an empty text.
    places: dict[str, int] = {str(text): row for row, text in enumerate(records.texts) if str(text)}
    places |= {str(identity): row for row, identity in enumerate(records.ids)}
    found: dict[str, dict[int, tuple[bool, int]]] = {question: {} for question in questions}
    n_known, chances = 0, dict[int, float]()
    for number, line in enumerate(lines, 2):
        row = places.get(str(line.get(ID) or ""), places.get(str(line.get(TEXT) or "")))
        if row is None:
            continue
        n_known += 1
        if chance := str(line.get(CHANCE) or "").strip():
            chances[row] = _read_chance(chance, f"{path}: line {number}")
        said = str(line.get(ASK) or "").strip().lower()
        is_audit = (
            said == AUDIT if said in (AUDIT, TRAINING) else keyed_hash(key, str(records.ids[row])) % 2 == 0
        )
        for question in questions:
            value = str(line.get(question) or "").strip()
            if value:
                where = f"{path}: line {number}"
                answer = read_answer(question, value, records.label_names, where)
                if found[question].get(row, (False, answer))[1] != answer:
                    raise DataError(
                        f"found '{value}' under '{question}', and another answer stands above for the same row",
                        where=where,
                        hint="keep the one that is right",
                    )
                found[question][row] = (bool(is_audit), answer)
    if needed and lines and not n_known:
        hint = f"it must hold rows of this {data}, by id or text"
        raise DataError(f"none of its rows is in the {data}", where=str(path), hint=hint)
    return {
        question: replace(_collect(answers), chances={row: chances[row] for row in answers if row in chances})
        for question, answers in found.items()
        if answers
    }


def _read_chance(value: str, where: str) -> float:
    try:
        chance = float(value)
    except ValueError:
        chance = 0.0
    if not 0 < chance <= 1:
        hint = "leave what `label --about errors` wrote, or empty the cell"
        raise DataError(f"found '{value}' under '{CHANCE}'", where=where, hint=hint)
    return chance


def unite_gold(one: Gold | None, other: Gold) -> Gold:
    """Both, where no row is in both."""
    if one is None:
        return other
    return Gold(
        np.concatenate([one.audit_rows, other.audit_rows]),
        np.concatenate([one.audit_truth, other.audit_truth]),
        np.concatenate([one.training_rows, other.training_rows]),
        np.concatenate([one.training_truth, other.training_truth]),
        {**one.chances, **other.chances},
    )


def read_answer(question: str, value: str, label_names: Sequence[str], where: str) -> int:
    """The index of an answer: of the label's names, or 1 and 0 for yes and no.

    Raises:
        DataError: it is none of them.
    """
    if question == LABEL:
        label = match_label(value, label_names)
        if label is not None:
            return list(label_names).index(label)
        hint = "write one of " + ", ".join(repr(name) for name in label_names)
    else:
        folded = value.casefold()
        if folded in _YES or folded in _NO:
            return int(folded in _YES)
        hint = "write yes or no, or leave it empty"
    raise DataError(f"found '{value}' under '{question}'", where=where, hint=hint)


def _collect(answers: Mapping[int, tuple[bool, int]]) -> Gold:
    audit, training = (
        [(row, one) for row, (is_audit, one) in sorted(answers.items()) if is_audit is wanted]
        for wanted in (True, False)
    )

    def list_part(part: Sequence[tuple[int, int]], place: int) -> Integers:
        return np.array([pair[place] for pair in part], dtype=np.int64)

    return Gold(list_part(audit, 0), list_part(audit, 1), list_part(training, 0), list_part(training, 1))
