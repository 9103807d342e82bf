"""The sets of the bank of bought texts: real rows, sealed test rows, and the donors of each rare label.

A model is shown five rows a prompt. So that two hundred draws can buy from the same texts, sixty rows of each rare
label (chosen by keyed hash of their text) are its donors, in twelve groups of five; every prompt shows one group, and a
draw of fifteen rows takes three groups: 220 draws. Rows of a label beyond the first 1,200 by keyed hash are left out.

`clinc150` has its validation rows among its rows, else nothing would be left of its common labels; `gpt_written_tweets`
has negative tweets that GPT wrote from as donors, and those of the validation part beside them as real rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from counterpoise.core.splits import keyed_rank
from evals.bank_files import ROWS, hash_text, write_file
from evals.common import find_file, read_csv, read_jsonl
from evals.further_sets import SETS
from evals.minority_text import Corpus
from evals.sampler import load_tweets

N_SHOWN = 5
N_GROUPS = 12
MOST_OF_A_LABEL = 1200
TWEETS = "gpt_written_tweets"
TEXTS_A_GROUP = {"clinc150": 24, "bbc_news": 30}
"""Texts that a writer gives from one group, where it is not `USUAL_TEXTS`: five rare labels, and long rows."""

USUAL_TEXTS = 60


def _load_clinc(folder: Path) -> Corpus:
    corpus = SETS["clinc150"](folder)
    rows = read_csv(find_file(folder, "clinc150/data_full.csv.gz"))
    more = [
        (row["text"], row["label"]) for row in rows if row["split"] == "val" and row["label"] in corpus.labels
    ]
    return replace(corpus, rows=[*corpus.rows, *more])


def _load_tweets(folder: Path) -> Corpus:
    real = load_tweets(folder)
    return replace(real, name=TWEETS, rows=[*find_parents(folder), *real.rows])


def find_parents(folder: Path) -> list[tuple[str, str]]:
    """The negative tweets that GPT wrote from."""
    rows = read_jsonl(find_file(folder, f"{TWEETS}/real_500.jsonl.gz"))
    return [(row["text"], row["label"]) for row in rows if row["label"] == "negative"]


BANK_SETS: dict[str, Callable[[Path], Corpus]] = {
    "cebab": SETS["cebab"],
    "sms_spam": SETS["sms_spam"],
    "clinc150": _load_clinc,
    "davidson_hate": SETS["davidson_hate"],
    TWEETS: _load_tweets,
    "bbc_news": SETS["bbc_news"],
}


def count_texts(name: str) -> int:
    """Texts that a writer gives from one group."""
    return TEXTS_A_GROUP.get(name, USUAL_TEXTS)


def write_rows(name: str, folder: Path) -> str:
    """Write the file of a set's rows from the folder of data; gives its hash."""
    corpus = BANK_SETS[name](folder)
    header = {
        "labels": dict(corpus.labels),
        "rare": sorted(corpus.rare),
        "full": corpus.full,
        "groups": N_GROUPS,
        "shown": N_SHOWN,
    }
    donors = {text for text, _ in find_parents(folder)} if name == TWEETS else None
    return write_file(name, ROWS, header, list_rows(corpus, donors))


def list_rows(corpus: Corpus, donors: set[str] | None = None) -> Iterator[dict[str, Any]]:
    """Each text once: those to train on with their group (-1 for no donor), then the sealed ones.

    Args:
        corpus: the set.
        donors: texts that may be donors; None for all.
    """
    tests = dict(reversed(corpus.test))
    rows = {text: label for text, label in reversed(corpus.rows) if text not in tests}
    for label in sorted(corpus.labels):
        mine = [text for text, given in rows.items() if given == label]
        mine = [mine[row] for row in keyed_rank(mine, f"{corpus.name}:donors")]
        given = [text for text in mine if label in corpus.rare and (donors is None or text in donors)]
        groups = {text: place // N_SHOWN for place, text in enumerate(given[: N_SHOWN * N_GROUPS])}
        kept = dict.fromkeys([*groups, *mine])
        for text in list(kept)[:MOST_OF_A_LABEL]:
            yield {
                "id": hash_text(text),
                "text": text,
                "label": label,
                "part": "train",
                "group": groups.get(text, -1),
            }
    for text, label in dict.fromkeys(corpus.test):
        if tests[text] == label:
            yield {"id": hash_text(text), "text": text, "label": label, "part": "test", "group": -1}
