"""What the recipe of the way `tuned_added` calls: the folds of own rows, those together that were shown together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoise.students.source_folds import divide_rows


def divide_frame(own: pd.DataFrame, added: pd.DataFrame, label: str) -> pd.Series:
    """Folds of the user's own rows, see `source_folds.assign_own_folds`.

    Args:
        own: these rows, with their text in the column `content`, and `provenance`.
        added: the rows that were added.
        label: the label column.
    """
    numbers = np.unique(own[label].astype(str), return_inverse=True)[1]
    ids = [source["id"] for source in own["provenance"]]
    parents = [source["parents"] for source in added["provenance"]]
    folds = divide_rows(own["content"].to_numpy(dtype=object), numbers, ids, parents)
    return pd.Series(folds, index=own.index)
