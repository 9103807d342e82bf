"""Asking a person about labels that may be wrong: the rows, and the file that is filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from counterpoise.actions.relabel.asked_suspects import ERROR_FOLDS, AskedSuspects, draw_suspects
from counterpoise.actions.relabel.suspects import find_suspects
from counterpoise.core.errors import DataError
from counterpoise.runs.labelling import Texts
from counterpoise.scorers.answers import AnswerSheet, open_answers
from counterpoise.scorers.gold import CHANCE, ID, LABEL, RowsToAsk
from counterpoise.tasks.text.preparation import divide
from counterpoise.tasks.text.reading import group_records


def prepare_doubtful(
    texts: Texts, path: Path, n: int, seed: int, *, goes_on: bool
) -> tuple[AnswerSheet, int]:
    """The file of answers with rows to be asked about their label, and how many of them are new; written already.

    Asked again, the draw goes on where it ended, and every row's probability is that of the longer draw.

    Args:
        texts: the rows.
        path: the file, there or not; what is filled in stays.
        n: new rows to ask about.
        seed: another one draws other rows.
        goes_on: whether what is still open in the file is asked first, without new rows.

    Raises:
        UserError: the file is no file of such answers, or cannot be written.
    """
    answers = open_answers(path, [LABEL])
    if any(not row.get(CHANCE, "").strip() for row in answers.rows):
        found = f"holds rows without '{CHANCE}': they were not asked about errors"
        raise DataError(found, where=str(path), hint="name another file with --answers")
    if goes_on and answers.list_open([LABEL]):
        return answers, 0
    before = len(answers.rows)
    drawn = _draw(texts, before + n, f"seed {seed}:errors")
    chances = dict(zip(texts.records.ids[drawn.rows].astype(str), drawn.chances, strict=True))
    for row in answers.rows:
        if row[ID] in chances:
            row[CHANCE] = f"{chances[row[ID]]:.6g}"
    there = {row[ID] for row in answers.rows}
    new = np.array([str(texts.records.ids[row]) not in there for row in drawn.rows], dtype=np.bool_)
    order = np.argsort(texts.records.ids[drawn.rows].astype(str), kind="stable")
    order = order[new[order]]
    asked = RowsToAsk(drawn.rows[order], drawn.is_uniform[order])
    choices = " | ".join(texts.records.label_names)
    answers.add(texts.records, asked, choices, drawn.chances[order].tolist())
    answers.save()
    return answers, len(answers.rows) - before


def _draw(texts: Texts, n: int, key: str) -> AskedSuspects:
    records = group_records(texts.records)
    folds = divide(records, ERROR_FOLDS, "data")
    n_labels = len(records.label_names)
    suspects = find_suspects(
        texts.vectors, records.labels, records.groups, folds, n_labels, texts=records.texts
    )
    return draw_suspects(records.ids, records.labels, suspects, n, key)
