"""What the recipe of the way `labelled_pool` calls: the pool with its labels, as rows to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.records import Floats
from counterpoise.students.pool_labels import LabelledPool
from counterpoise.students.pool_ways import list_examples, weigh_by_shares
from counterpoise.students.rows import Rows, make_rows


def label_pool(
    own: pd.DataFrame,
    label: str,
    pool: Sequence[str],
    encode: Callable[[Sequence[str]], Vectors],
    compare: Callable[[Sequence[str]], Floats],
) -> pd.DataFrame:
    """The own rows, then the pool's rows, each once for every label that it may have.

    Args:
        own: the user's rows, with their text in the column `content`.
        label: the label column.
        pool: texts without a label; there may be none.
        encode: from texts to (m, d) vectors.
        compare: from texts to (m, k) log-scores of the labels' descriptions, labels in order.

    Returns:
        Columns `content`, `label` as the label column is called, and `weight`: 1, or the probability of the label.
    """
    names = np.array(sorted(set(own[label])))

    def view(texts: Sequence[str], labels: Any) -> Rows:
        column = np.array(texts, dtype=object)
        return make_rows(column, encode(texts), labels, zero_shot=np.exp(compare(texts)))

    rows = pd.DataFrame({"content": own["content"], label: own[label], "weight": 1.0})
    if not len(pool):
        return rows
    known = view(own["content"].tolist(), np.searchsorted(names, own[label].to_numpy()))
    asked = view(list(pool), np.zeros(len(pool), dtype=np.int64))
    probabilities = weigh_by_shares(LabelledPool().label(known, asked, len(names)))
    places, labels = list_examples(probabilities)
    taught = pd.DataFrame(
        {
            "content": asked.texts[places],
            label: names[labels],
            "weight": probabilities[places, labels],
        }
    )
    return pd.concat([rows, taught], ignore_index=True)
