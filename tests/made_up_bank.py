"""A small bank of made-up sentences in a cache folder of its own, as `evals bank build` would leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import bank, bank_files
from evals.bank_files import ROWS, write_file
from evals.bank_sets import list_rows
from evals.bank_store import Bank, read_bank
from evals.bank_writers import BankRows, derive
from evals.common import Settings
from evals.minority_text import Corpus
from tests.made_up import ENCODER, write_sentences

LABELS = {"bad": "cold rude dull", "good": "lovely warm great"}


def write_bank(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> BankRows:
    """A set `made` of 200 bad and 300 good rows, of which 20 and 30 are sealed, and two writers without a model."""
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(cache_dir))
    monkeypatch.setattr(bank_files, "RECIPE", cache_dir / "recipe.json")
    texts, labels = write_sentences(200, 300, 4)
    rows = [
        (f"{text} {row}", ("bad", "good")[label])
        for row, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    corpus = Corpus("made", rows, [*rows[:20], *rows[200:230]], [], frozenset({"bad"}), 60, LABELS, 1)
    header = {"labels": LABELS, "rare": ["bad"], "full": 60, "groups": 12, "shown": 5}
    write_file("made", ROWS, header, list_rows(corpus))
    read = bank.read_rows("made")
    for writer in ("gibberish", "copies"):
        derive(read, writer, Path())
    return read


def open_bank() -> Bank:
    """The same, read again."""
    return read_bank(Settings(Path("absent")), "made", ENCODER)
