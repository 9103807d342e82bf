"""BM25 over texts: finds by words what an encoder does not find by meaning. Weights and postings are bm25s's.

index = BM25Index(["good food", "slow service"])
scores, positions = index.search(["the food"], k=2)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise_retrievers.arrays import Integers, Vectors


class BM25Index:
    """Texts that are searched by their words (Robertson's BM25 as Lucene has it: k1 1.5, b 0.75).

    Words are runs of two or more letters or digits, in lower case; a list of stop words may be left out.

    Args:
        texts: what is searched; their places are what searching gives.
        stop_words: words that are left out; `"english"` for bm25s's list, `""` for none.

    Raises:
        ValueError: there are no texts.
    """

    def __init__(self, texts: Sequence[str], *, stop_words: str = "english") -> None:
        import bm25s

        if len(texts) == 0:
            raise ValueError("BM25 needs at least one text")
        self._stop_words = stop_words
        self._n_texts = len(texts)
        self._model: Any = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
        words = self._split(texts)
        # bm25s cannot index texts that have no word at all between them.
        self._is_empty = not any(words)
        if not self._is_empty:
            self._model.index(words, show_progress=False)

    def __len__(self) -> int:
        """Number of texts."""
        return self._n_texts

    def search(self, queries: Sequence[str], k: int) -> tuple[Vectors, Integers]:
        """Find the texts with the largest weights.

        Args:
            queries: n texts.
            k: places wanted for each.

        Returns:
            Weights (n, min(k, texts)) float32 and places (n, min(k, texts)) int64, by falling weight, equal weights by
            rising place. Texts that share no word with a query are not found: weight 0 and place -1 stand there.

        Raises:
            ValueError: k is below 1.
        """
        if k < 1:
            raise ValueError(f"k: a positive number is needed, found {k}")
        k = min(k, len(self))
        weights = np.zeros((len(queries), k), dtype=np.float32)
        places = np.full((len(queries), k), -1, dtype=np.int64)
        for row, words in enumerate(self._split(queries)):
            known = [] if self._is_empty else [word for word in words if word in self._model.vocab_dict]
            if not known:
                continue
            scores = np.asarray(self._model.get_scores(known))
            found = np.flatnonzero(scores > 0)
            if len(found) > 4 * k:
                floor = np.partition(scores[found], len(found) - k)[len(found) - k]
                found = found[scores[found] >= floor]
            best = found[np.lexsort((found, -scores[found]))][:k]
            weights[row, : len(best)], places[row, : len(best)] = scores[best], best
        return weights, places

    def save(self, folder: Path) -> None:
        """Write the index into a folder; OSError where that fails, ValueError where there is nothing to write."""
        if self._is_empty:
            raise ValueError("no text has a word, so there is no index to save")
        folder.mkdir(parents=True, exist_ok=True)
        self._model.save(str(folder), show_progress=False)
        (folder / "stop_words.txt").write_text(self._stop_words, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> BM25Index:
        """Read an index that was saved; ValueError where the folder holds none."""
        import bm25s

        index = cls.__new__(cls)
        try:
            index._stop_words = (folder / "stop_words.txt").read_text(encoding="utf-8")
            index._model = bm25s.BM25.load(str(folder), show_progress=False, verbosity=0)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{folder}: no readable BM25 index: {error}") from error
        index._is_empty = False
        index._n_texts = int(index._model.scores["num_docs"])
        return index

    def _split(self, texts: Sequence[str]) -> list[list[str]]:
        import bm25s

        words: list[list[str]] = bm25s.tokenize(
            list(texts), stopwords=self._stop_words or [], return_ids=False, show_progress=False
        )
        return words
