"""What a classifier sees of a row: the encoder's vector of it, or its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from counterpoise.students.linear import Features
from counterpoise.students.rows import Rows

_MOST_WORDS = 200_000

_WORDS_IMPORTS = "from sklearn.feature_extraction.text import TfidfVectorizer\n"
_VECTORS_IMPORTS = """\
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.data.encoders import make_encoder
"""
_WORDS_MAKE = """words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32, max_features=200_000)
    encode = words.fit(part["content"]).transform"""
_VECTORS_MAKE = "# the vectors of a text are the same for every part"
_SERVED = "ServedEncoder("
"""How an encoder behind a server is spelled as code."""

_SERVED_IMPORT = "from counterpoise.data.served_encoder import ServedEncoder\n\n"
_VECTORS_SETTING = """encoder = {encoder}


def encode(texts):
    return encoder.encode(list(texts))

"""

Transform: TypeAlias = Callable[[Rows], Features]
"""From m rows to their (m, d) features."""


class Representation(ABC):
    """What a classifier sees of a row.

    Attributes:
        meaning: `words`, as in "logistic regression on words".
        is_sparse: whether its features are sparse matrices.
        make: lines of the recipe, see `recipe_lines.StudentCode`.
    """

    meaning: str
    is_sparse: bool
    make: str

    @abstractmethod
    def learn(self, train: Rows) -> tuple[Features, Transform]:
        """(n, d) of training rows, and what gives the (m, d) of others."""

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """(n, d) and (m, d), learned on the training side only."""
        own, transform = self.learn(train)
        return own, transform(test)

    @abstractmethod
    def join_imports(self, classifier: str) -> str:
        """The recipe's imports for it and, given as lines, for the classifier."""

    @abstractmethod
    def write_setting(self, encoder: str) -> str:
        """The recipe's lines before `fit`; `encoder` is the job's, a server's as code, "" for the pinned one."""


class SentenceVectors(Representation):
    """The encoder's vectors, as they are."""

    meaning = "sentence vectors"
    is_sparse = False
    make = _VECTORS_MAKE

    def learn(self, train: Rows) -> tuple[Features, Transform]:
        """The rows' vectors."""
        return train.vectors, lambda rows: rows.vectors

    def join_imports(self, classifier: str) -> str:
        """Those of the encoder behind the classifier's."""
        return f"{classifier}\n{_VECTORS_IMPORTS}"

    def write_setting(self, encoder: str) -> str:
        """Open the encoder."""
        if encoder.startswith(_SERVED):
            return _SERVED_IMPORT + _VECTORS_SETTING.replace("{encoder}", f"{encoder}.open()")
        return _VECTORS_SETTING.replace("{encoder}", f"make_encoder({encoder!r}, find_cache_dir(), ignore)")


class Words(Representation):
    """Words and pairs of words, weighted by how rare they are (TF-IDF)."""

    meaning = "words"
    is_sparse = True
    make = _WORDS_MAKE

    def learn(self, train: Rows) -> tuple[Features, Transform]:
        """Sparse counts; one column of zeros where the training rows have not one word."""
        vectoriser = TfidfVectorizer(
            sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32, max_features=_MOST_WORDS
        )
        analyse = vectoriser.build_analyzer()
        if not any(analyse(text) for text in train.texts):  # nothing but the label shares is left
            return np.zeros((len(train), 1), np.float32), lambda rows: np.zeros((len(rows), 1), np.float32)
        return vectoriser.fit_transform(train.texts), lambda rows: vectoriser.transform(rows.texts)

    def join_imports(self, classifier: str) -> str:
        """Those of the vectoriser before the classifier's."""
        return f"{_WORDS_IMPORTS}{classifier}"

    def write_setting(self, encoder: str) -> str:
        """Nothing: the words are learned from the rows."""
        return ""


REPRESENTATIONS: dict[str, type[Representation]] = {"vectors": SentenceVectors, "words": Words}
"""By the word that says which one a classifier of a user's is put on."""
