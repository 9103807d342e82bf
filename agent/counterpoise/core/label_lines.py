"""Short lines about each label, to train on beside the rows: made of its description, so they cost no token.

Gao et al. (2023), The benefits of label-description training for zero-shot text classification, collect such lines by
hand and from dictionaries. Here they are the user's own line, sentences around it, and its words that tell the label
from others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Integers, Objects

_TEMPLATES = (
    "{}",
    "{}.",
    "Topic: {}",
    "Label: {}",
    "This is about: {}",
    "It is {}",
    "Example of {}",
    "A text of the kind: {}",
)
_WORD = re.compile(r"\w+")
_MOST_WORDS = 40


@dataclass(frozen=True, slots=True)
class LabelLines:
    """Lines about the labels with their vectors.

    Args:
        texts: (n,) strings.
        vectors: (n, d) of them.
        labels: (n,) label indices.
    """

    texts: Objects
    vectors: NDArray[np.float32]
    labels: Integers


def write_lines(descriptions: Sequence[str]) -> list[list[str]]:
    """8 to 48 lines about each label: its description, sentences around it, its words that few other labels have.

    Args:
        descriptions: one line a label.

    >>> write_lines(["Negative reviews of meals", "Positive reviews of meals"])[0][-2:]
    ['A text of the kind: Negative reviews of meals', 'negative']
    """
    words = [list(dict.fromkeys(_WORD.findall(text.lower()))) for text in descriptions]
    n_labels = Counter(word for mine in words for word in mine)
    written = []
    for text, mine in zip(descriptions, words, strict=True):
        telling = [word for word in mine if n_labels[word] <= len(descriptions) / 2]
        written.append([template.replace("{}", text) for template in _TEMPLATES] + telling[:_MOST_WORDS])
    return written


def encode_lines(
    encode: Callable[[Sequence[str]], NDArray[np.float32]], descriptions: Sequence[str]
) -> LabelLines:
    """The lines of all labels.

    Args:
        encode: gives the vectors of texts.
        descriptions: one line a label, in the order of label indices.
    """
    written = write_lines(descriptions)
    texts = [line for mine in written for line in mine]
    labels = np.repeat(np.arange(len(written)), [len(mine) for mine in written])
    return LabelLines(np.array(texts, dtype=object), encode(texts), labels)
