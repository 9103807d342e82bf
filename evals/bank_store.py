"""A bank of bought texts: rules, filters, planners and ways to select buy from it, so that no token is spent.

    bank = read_bank(settings, "cebab")
    draw = bank.draw(seed=7)                      # 15 own rows of each rare label, the sealed rows, folds
    texts = bank.buy("smol_continue", draw)       # what the 135M model wrote from rows of this draw
    rows, folds, made_of = bank.join(draw, texts)

The text that a draw may buy is one whose parents are all among its own rows: as if the writer had been asked there and
then. Equal arguments give equal texts. Nothing here reads `--data`: `python -m evals bank build` did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.label_lines import LabelLines, encode_lines
from counterpoise.core.records import Floats, Integers, Objects, Records
from counterpoise.core.splits import assign_folds, keyed_rank
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.weights import weigh_rows
from counterpoise.tasks.text.preparation import N_FOLDS
from counterpoise_retrievers.encoders import Encoder
from evals.bank_files import ROWS, BankFile, check_hash, find_folder, load_vectors, read_file
from evals.common import MissingDataError, Settings
from evals.minority_text import N_RARE, Corpus, divide_draw, open_encoder
from evals.simple_ways import Draw

REAL, HEADINGS, WRONG = "real_rows", "headings", "wrong_labels"
VIEWS = (REAL, WRONG, HEADINGS)
"""Writers that hand out the set's own rows: unseen ones of the label, three in ten wrong, and of other labels."""

WRONG_SHARE = 0.3
UNKNOWN = -1
"""The true label of a text where nobody knows it, or where it is none."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of one writer.

    Args:
        writer: its name.
        texts: (n,) strings.
        labels: (n,) index of the label that each was asked for.
        truth: (n,) index of its true label, -1 where nobody knows it.
        parents: (n,) tuples of the texts of the rows that were shown.
        tokens: (n,) its price, prompt and completion.
        vectors: (n, d) of the bank's encoder.
        zero_shot: (n, k) similarity to the labels' descriptions.
    """

    writer: str
    texts: Objects
    labels: Integers
    truth: Integers
    parents: Objects
    tokens: Floats
    vectors: NDArray[np.float32]
    zero_shot: Floats

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.labels)

    def take(self, picked: NDArray[np.int64] | NDArray[np.bool_]) -> Texts:
        """The texts at `picked` (positions or a mask)."""
        return Texts(
            self.writer,
            self.texts[picked],
            self.labels[picked],
            self.truth[picked],
            self.parents[picked],
            self.tokens[picked],
            self.vectors[picked],
            self.zero_shot[picked],
        )


class Bank:
    """The rows of one set, and what writers gave for its rare labels.

    Args:
        file: of its rows.
        encoder: of all texts.
    """

    def __init__(self, file: BankFile, encoder: Encoder) -> None:
        self.name = str(file.header["set"])
        self.sha256 = file.sha256
        self.encoder = encoder
        labels = dict(file.header["labels"])
        parts = {
            part: [(str(line["text"]), str(line["label"])) for line in file.lines if line["part"] == part]
            for part in ("train", "test")
        }
        rare = frozenset(map(str, file.header["rare"]))
        self.corpus = Corpus(
            self.name, parts["train"], parts["test"], [], rare, int(file.header["full"]), labels, 1
        )
        self.labels = tuple(sorted(labels))
        self.rare = tuple(self.labels.index(label) for label in sorted(rare))
        self._file = file
        self._text_of = {line["id"]: str(line["text"]) for line in file.lines}
        self._row_of = {str(line["text"]): row for row, line in enumerate(file.lines)}
        self._n_shown = int(file.header["shown"])
        self._offers: dict[str, Texts] = {}
        self._orders: dict[tuple[str, int], list[tuple[int, ...]]] = {}

    def draw(self, seed: int, n_rare: int = N_RARE) -> Draw:
        """A skewed training set, the sealed rows, and folds, in the shape of `simple_ways.make_draw`.

        Each rare label has the rows of `n_rare / 5` of its groups of donors; another seed takes other groups until all
        choices are used up (of three out of twelve there are 220). Rows of other labels are drawn as everywhere.

        Args:
            seed: 0 or more.
            n_rare: rows of each rare label, a multiple of five.

        Raises:
            ValueError: no such number of rows can be had.
        """
        names = self.labels
        pairs = [pair for pair in divide_draw(self.corpus, seed)[0] if pair[1] not in self.corpus.rare]
        for label in sorted(self.corpus.rare):
            chosen = self._choose_groups(label, seed, n_rare)
            pairs += [(text, label) for text, group in self._donors[label] if group in chosen]
        own = self._take(sorted(pairs))
        records = Records(own.texts, own.texts, own.labels, names)
        return Draw(own, assign_folds(records, N_FOLDS, f"draw {seed}"), self.test, None, len(names))

    def buy(self, writer: str, draw: Draw, n: int | None = None, seed: int = 0) -> Texts:
        """What a writer gives for a draw: texts whose parents are all among its own rows, by keyed hash.

        Rows of the draw itself are never bought, nor are sealed ones.

        Args:
            writer: its name, see `list_writers`.
            draw: what the texts are for.
            n: texts of each rare label at most; None for as many as fill it up to the common labels.
            seed: another one gives others, where there are more.

        Raises:
            MissingDataError: the writer's file is absent, or another than the recipe names.
        """
        if writer == WRONG:
            return self._mix(draw, n, seed)
        offered, own = self._offer(writer), set(draw.own.texts)
        is_free = np.array(
            [
                own.issuperset(parents) and (bool(parents) or text not in own)
                for text, parents in zip(offered.texts, offered.parents, strict=True)
            ],
            np.bool_,
        )
        picked: list[int] = []
        for label in self.rare:
            mine = np.flatnonzero(is_free & (offered.labels == label))
            order = keyed_rank(_name_lines(offered.texts[mine]), f"{seed}:{writer}:{self.labels[label]}")
            picked += mine[order[: self._count_wanted(draw, label, n)]].tolist()
        return offered.take(np.array(picked, np.int64))

    def join(self, draw: Draw, texts: Texts) -> tuple[Rows, Integers, Floats]:
        """Own and bought rows, their folds (-1 for bought ones), and which folds each bought one was made from.

        Returns:
            n rows, (n,) folds, (n, n_folds) zeros and ones.
        """
        own = draw.own
        labels = np.concatenate([own.labels, texts.labels])
        is_written = np.arange(len(labels)) >= len(own)
        sources = np.empty(len(labels), dtype=object)
        sources[:] = [*((text,) for text in own.texts), *texts.parents]
        fold_of = dict(zip(own.texts, draw.folds, strict=True))
        made_of = np.zeros((len(labels), int(draw.folds.max()) + 1))
        for row, parents in enumerate(texts.parents, start=len(own)):
            made_of[row, [fold_of[parent] for parent in parents]] = 1
        rows = make_rows(
            np.concatenate([own.texts, texts.texts]),
            np.concatenate([own.vectors, texts.vectors]),
            labels,
            weights=weigh_rows(labels, is_written, draw.n_labels),
            original=~is_written,
            zero_shot=np.concatenate([own.zero_shot, texts.zero_shot]),
            lines=own.lines,
            sources=sources,
        )
        return rows, np.concatenate([draw.folds, np.full(len(texts), -1)]), made_of

    def list_writers(self) -> tuple[str, ...]:
        """All writers whose texts are here."""
        stems = {path.name.removesuffix(".jsonl.gz") for path in find_folder(self.name).glob("*.jsonl.gz")}
        return (*VIEWS, *sorted(stems - {ROWS}))

    @cached_property
    def test(self) -> Rows:
        """The sealed rows."""
        return self._take(self.corpus.test)

    @cached_property
    def lines(self) -> LabelLines:
        """Lines about the labels."""
        return encode_lines(self.encoder.encode, self._described)

    @cached_property
    def _described(self) -> tuple[str, ...]:
        return tuple(self.corpus.labels[name] for name in self.labels)

    @cached_property
    def _scorer(self) -> SimilarityScorer:
        return SimilarityScorer(self.encoder, self._described)

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return load_vectors(self._file, self.encoder)

    @cached_property
    def _zero_shot(self) -> Floats:
        return self._scorer.score_vectors(self._vectors)

    @cached_property
    def _donors(self) -> dict[str, list[tuple[str, int]]]:
        """Rare label -> texts of its donors with their groups."""
        donors: dict[str, list[tuple[str, int]]] = {}
        for line in self._file.lines:
            if line["group"] >= 0:
                donors.setdefault(line["label"], []).append((line["text"], line["group"]))
        return donors

    def _choose_groups(self, label: str, seed: int, n_rare: int) -> tuple[int, ...]:
        groups = sorted({group for _, group in self._donors[label]})
        n_taken, rest = divmod(n_rare, self._n_shown)
        if rest or not 1 <= n_taken <= len(groups):
            most = len(groups) * self._n_shown
            raise ValueError(f"n_rare={n_rare}: a multiple of {self._n_shown} up to {most} is right")
        if (label, n_taken) not in self._orders:
            choices = list(combinations(groups, n_taken))
            order = keyed_rank([repr(choice) for choice in choices], f"{self.name}:{label}:groups")
            self._orders[label, n_taken] = [choices[place] for place in order]
        choices = self._orders[label, n_taken]
        return choices[seed % len(choices)]

    def _take(self, pairs: Sequence[tuple[str, str]]) -> Rows:
        places = np.array([self._row_of[text] for text, _ in pairs], np.int64)
        texts = np.array([text for text, _ in pairs], dtype=object)
        labels = np.array([self.labels.index(label) for _, label in pairs], np.int64)
        return make_rows(
            texts, self._vectors[places], labels, zero_shot=self._zero_shot[places], lines=self.lines
        )

    def _count_wanted(self, draw: Draw, label: int, n: int | None) -> int:
        return self.corpus.full - int((draw.own.labels == label).sum()) if n is None else n

    def _mix(self, draw: Draw, n: int | None, seed: int) -> Texts:
        """Unseen rows of the label, of which three in ten are exchanged for some of other labels."""
        right, wrong = self.buy(REAL, draw, n, seed), self.buy(HEADINGS, draw, n, seed)
        parts: list[int] = []
        for label in self.rare:
            mine, other = (np.flatnonzero(texts.labels == label) for texts in (right, wrong))
            n_wrong = min(round(WRONG_SHARE * len(mine)), len(other))
            parts += [*mine[: len(mine) - n_wrong], *(len(right) + other[:n_wrong])]
        return _concatenate(WRONG, right, wrong).take(np.array(parts, np.int64))

    def _offer(self, writer: str) -> Texts:
        """All texts of a writer."""
        if writer not in self._offers:
            self._offers[writer] = self._view(writer) if writer in VIEWS else self._read(writer)
        return self._offers[writer]

    def _view(self, writer: str) -> Texts:
        rows = [
            (text, label, asked)
            for asked in sorted(self.corpus.rare)
            for text, label in self.corpus.rows
            if (label == asked if writer == REAL else label not in self.corpus.rare)
        ]
        places = np.array([self._row_of[text] for text, *_ in rows], np.int64)
        return Texts(
            writer,
            np.array([text for text, *_ in rows], dtype=object),
            self._index([asked for *_, asked in rows]),
            self._index([label for _, label, _ in rows]),
            _as_tuples(() for _ in rows),
            np.zeros(len(rows)),
            self._vectors[places],
            self._zero_shot[places],
        )

    def _read(self, writer: str) -> Texts:
        file = read_file(self.name, writer)
        check_hash(file, writer)
        if file.header["rows"] != self.sha256:
            raise MissingDataError(
                f"{file.path} was written for other rows of {self.name} (sha256 {file.header['rows'][:12]}...) than "
                f"these ({self.sha256[:12]}...): record the writer anew"
            )
        vectors = load_vectors(file, self.encoder)
        return Texts(
            writer,
            np.array([str(line["text"]) for line in file.lines], dtype=object),
            self._index([line["label"] for line in file.lines]),
            self._index([line["truth"] for line in file.lines]),
            _as_tuples(tuple(self._text_of[one] for one in line["parents"]) for line in file.lines),
            np.array([float(line["tokens"]) for line in file.lines]),
            vectors,
            self._scorer.score_vectors(vectors),
        )

    def _index(self, names: Sequence[str | None]) -> Integers:
        places: dict[str | None, int] = {name: place for place, name in enumerate(self.labels)}
        return np.array([places.get(name, UNKNOWN) for name in names], np.int64)


def read_bank(settings: Settings, name: str, encoder: Encoder | None = None) -> Bank:
    """The bank of a set, from the cache folder.

    Args:
        settings: of the evaluation; its data folder stands in the line that says how to build.
        name: of the set, see `bank_sets.BANK_SETS`.
        encoder: of all texts; None for the product's own.

    Raises:
        MissingDataError: there is none, or its rows are others than the recipe names; the line says what to do.
    """
    build = f"python -m evals bank build --only {name} --data {settings.data}"
    file = read_file(name, ROWS, build)
    check_hash(file, ROWS)
    return Bank(file, encoder or open_encoder())


def _name_lines(texts: Objects) -> list[str]:
    """A name for each text that depends on it alone, and on how often it stood before."""
    seen: dict[str, int] = {}
    names = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        names.append(f"{text}\0{seen[text]}")
    return names


def _as_tuples(rows: Iterator[tuple[str, ...]]) -> Objects:
    listed = list(rows)
    column = np.empty(len(listed), dtype=object)
    column[:] = listed
    return column


def _concatenate(writer: str, one: Texts, other: Texts) -> Texts:
    return Texts(
        writer,
        np.concatenate([one.texts, other.texts]),
        np.concatenate([one.labels, other.labels]),
        np.concatenate([one.truth, other.truth]),
        np.concatenate([one.parents, other.parents]),
        np.concatenate([one.tokens, other.tokens]),
        np.concatenate([one.vectors, other.vectors]),
        np.concatenate([one.zero_shot, other.zero_shot]),
    )
