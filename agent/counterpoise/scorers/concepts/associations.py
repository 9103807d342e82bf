"""Which concepts go most with the label: these are asked about first, because there an error makes a shortcut.

What a text mentions is taken from its similarity to the concept, which costs nothing and is good enough for an order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from counterpoise.balance.association import count_strata, cramers_v
from counterpoise.core.records import Records
from counterpoise.scorers.concepts.passages import Passages
from counterpoise.scorers.concepts.rankers import SUREST_RATIO
from counterpoise.scorers.concepts.similarity import calibrate_similarities
from counterpoise.scorers.concepts.views import make_anchors, make_views
from counterpoise_retrievers.encoders import Encoder


def measure_associations(
    records: Records, passages: Passages, concepts: Mapping[str, str], encoder: Encoder
) -> dict[str, float]:
    """Cramér's V of each concept with the label, 0..1, in the order of the concepts.

    Args:
        records: n rows.
        passages: their clauses.
        concepts: name -> definition.
        encoder: of the clauses.
    """
    found = {}
    for name, definition in concepts.items():
        similarity = make_views(passages, make_anchors(name, definition, encoder)).similarity
        present = calibrate_similarities(similarity, similarity) > 0.5
        if len(similarity) and not present.any():  # no two groups: the nearest texts stand for it
            present = similarity >= np.quantile(similarity, 1 - SUREST_RATIO)
        tables = count_strata(records.labels, present.astype(np.int64), len(records.label_names), 2)
        found[name] = float(cramers_v(tables))
    return found
