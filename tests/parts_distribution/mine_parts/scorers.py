"""A scorer that is a rule: it counts words of praise and of blame."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from counterpoise.scorers.family import ScorerRows

_PRAISE = frozenset({"loved", "wonderful", "happily", "kind", "gladly", "joy", "lovely", "fresh", "friendly"})
_BLAME = frozenset({"hated", "awful", "greasy", "badly", "rude", "shameless", "never", "misery", "stale"})


class RuleScorer:
    """Good where praise outweighs blame; of other labels it knows nothing."""

    name = "mine.rule"
    price = 0.0
    question = "Which label has the text? Words of praise against words of blame"

    def score(self, rows: ScorerRows) -> NDArray[np.float64]:
        """(n, k) probabilities of the labels."""
        table = np.ones((len(rows), len(rows.label_names)))
        places = {name: place for place, name in enumerate(rows.label_names)}
        for row, text in enumerate(rows.texts):
            words = re.findall(r"[a-z]+", str(text).lower())
            odds = sum(word in _PRAISE for word in words) - sum(word in _BLAME for word in words)
            for label, sign in (("good", 1), ("bad", -1)):
                if label in places:
                    table[row, places[label]] = np.exp(np.clip(sign * odds, -20, 20))
        return np.asarray(table / table.sum(axis=1, keepdims=True))
