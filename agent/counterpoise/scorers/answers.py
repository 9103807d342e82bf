"""The file of answers: rows that a person is asked about, one after the other here or in a spreadsheet.

It is a CSV with id, text, `ask` (see `gold`), and a column a question. Each answer is on the disk before the next
question is asked, so Ctrl-C, or anything worse, loses none: asked again, one goes on where one stopped. What a person
has filled in or added, other columns too, stays as it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.core.errors import DataError
from counterpoise.core.files import write_whole, writing
from counterpoise.core.records import Integers, Records
from counterpoise.scorers.gold import (
    ASK,
    AUDIT,
    CHANCE,
    CHOICES,
    ID,
    TEXT,
    TRAINING,
    RowsToAsk,
    read_answer_lines,
)

_FORMULAS = ("=", "+", "-", "@", "\t")


@dataclass
class AnswerSheet:
    """A file of answers in memory; a row is a mapping of column -> cell.

    Args:
        path: the file.
        columns: its columns, in order.
        rows: its rows, in order.
        delimiter: between cells.
        encoding: `utf-8`, or `utf-8-sig` as spreadsheets write it.
    """

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    delimiter: str = ","
    encoding: str = "utf-8"

    def find_asked(self, records: Records) -> Integers:
        """Positions of the records that were asked about already, and of others with the same text."""
        ids = {row[ID] for row in self.rows}
        texts = {row[TEXT] for row in self.rows}
        return np.array(
            [
                place
                for place, (identity, text) in enumerate(zip(records.ids, records.texts, strict=True))
                if str(identity) in ids or _shield(str(text)) in texts
            ],
            dtype=np.int64,
        )

    def add(
        self, records: Records, asked: RowsToAsk, choices: str = "", chances: Sequence[float] | None = None
    ) -> None:
        """Add rows to be answered.

        Args:
            records: the rows `asked` speaks of.
            asked: those that are added.
            choices: the answers to choose from, shown beside each text; "" for none.
            chances: of each row, with what probability it was drawn; None where nobody knows.
        """
        if chances is not None and CHANCE not in self.columns:
            self.columns.insert(self.columns.index(ASK) + 1, CHANCE)
        if choices and CHOICES not in self.columns:
            self.columns.insert(self.columns.index(TEXT) + 1, CHOICES)
        for number, (place, is_audit) in enumerate(zip(asked.rows, asked.is_audit, strict=True)):
            row = dict.fromkeys(self.columns, "")
            row |= {ID: str(records.ids[place]), TEXT: _shield(str(records.texts[place]))}
            row[ASK] = AUDIT if is_audit else TRAINING
            if choices:
                row[CHOICES] = _shield(choices)
            if chances is not None:
                row[CHANCE] = f"{chances[number]:.6g}"
            self.rows.append(row)

    def save(self) -> None:
        """Write the file; it is there whole, the old or the new one, whatever happens meanwhile.

        Raises:
            JobError: it cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, delimiter=self.delimiter)
        writer.writeheader()
        writer.writerows(self.rows)
        with writing(self.path, "name a file in a folder that can be written to"):
            write_whole(self.path, text.getvalue().encode(self.encoding))

    def list_open(self, questions: Sequence[str]) -> list[tuple[int, str]]:
        """Row and question of what is open: all behind the last answer (an empty cell before it was skipped)."""
        cells = [(place, question) for place in range(len(self.rows)) for question in questions]
        answered = [
            number for number, (place, question) in enumerate(cells) if self.rows[place][question].strip()
        ]
        return cells[answered[-1] + 1 :] if answered else cells

    def ask(
        self,
        questions: Mapping[str, str],
        ask: Callable[[str], str],
        show: Callable[[str], None],
        check: Callable[[str, str], bool],
    ) -> None:
        """Ask what is open, and save each answer; an empty one leaves the question open.

        Args:
            questions: name -> what is asked.
            ask: prompts for one answer.
            show: prints a line.
            check: whether an answer to a question can be read.
        """
        shown = -1
        for place, name in self.list_open(list(questions)):
            if place != shown:
                show(f"\n{place + 1}/{len(self.rows)}  {self.rows[place][TEXT]}")
                shown = place
            said = ask(questions[name]).strip()
            while said and not check(name, said):
                show("that is none of the answers; leave it empty to skip")
                said = ask(questions[name]).strip()
            if said:
                self.rows[place][name] = said
                self.save()


def open_answers(path: Path, questions: Sequence[str]) -> AnswerSheet:
    """Read a file of answers, or begin one.

    Args:
        path: where it is, or will be.
        questions: what is asked; a file that has no column for one of them gets it.

    Raises:
        JobError: it cannot be read.
        DataError: it is no file of answers.
    """
    columns = [ID, ASK, TEXT]
    if not path.exists():
        return AnswerSheet(path, [*columns, *questions], [])
    found, rows, delimiter, encoding = read_answer_lines(path)
    if not set(columns) <= set(found):
        hint = "name another file with --answers"
        raise DataError(
            f"is no file of answers (a CSV with columns {', '.join(columns)})", where=str(path), hint=hint
        )
    new = [question for question in questions if question not in found]
    return AnswerSheet(
        path, [*found, *new], [row | dict.fromkeys(new, "") for row in rows], delimiter, encoding
    )


def _shield(text: str) -> str:
    """A spreadsheet would run a text that begins so as a formula."""
    return f"'{text}" if text[:1] in _FORMULAS else text
