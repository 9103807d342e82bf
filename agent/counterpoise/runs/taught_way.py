"""In which way the rows that a model labelled teach a classifier: chosen on such rows, left out by halves.

The mixture that a run recommends is tuned on own rows, of which a job that begins with few has no more than a hundred.
Rows of the pool that were taken in are many, and nine in ten of their labels are right as a rule, so they tell
ways apart that the own rows cannot: those of one half are scored by who has learned from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Integers
from counterpoise.core.splits import keyed_hash
from counterpoise.runs.recipe.data import RecipeData
from counterpoise.runs.recipe.estimator import Recipe
from counterpoise.students.added_rows import ADDED_ROWS
from counterpoise.students.metrics import compute_macro_f1


def choose_taught_way(
    open_recipe: Callable[[str], Recipe], first: str, others: Sequence[str] = (ADDED_ROWS.name,)
) -> str:
    """The way with the highest macro-F1 on adopted rows that were left out; the earlier of equals.

    Args:
        open_recipe: gives the recipe of a way, not fitted.
        first: the way that is taken where fewer rows were adopted than there are own ones.
        others: what it is compared with; by default own and added rows alike.
    """
    ways = tuple(dict.fromkeys((first, *others)))
    data = open_recipe(first).data
    adopted = np.empty(0, np.int64) if data is None else find_adopted(data)
    if data is None or len(adopted) < data.original.sum() or len(ways) < 2:
        return first
    halves = np.array([keyed_hash("taught way", str(data.texts[row])) % 2 for row in adopted])
    places = {str(value): place for place, value in enumerate(data.classes)}
    scores = []
    for way in ways:
        said = np.zeros(len(adopted), np.int64)
        for side in (0, 1):
            scored = adopted[halves == side]
            if len(scored):
                part = take(data, ~np.isin(np.arange(len(data.texts)), scored))
                recipe = open_recipe(way).set_params(data=part).fit()
                answers = recipe.predict([str(data.texts[row]) for row in scored])
                said[halves == side] = [places[str(one)] for one in answers]
        scores.append(compute_macro_f1(said, data.labels[adopted], len(data.classes)))
    return ways[int(np.argmax(scores))]


def find_adopted(data: RecipeData) -> Integers:
    """Positions of added rows that were made from no own row."""
    if data.sources is None:
        return np.empty(0, np.int64)
    own = {name for made in data.sources[data.original] for name in made}
    added = np.flatnonzero(~data.original)
    return np.array([row for row in added if own.isdisjoint(data.sources[row])], dtype=np.int64)


def take(data: RecipeData, kept: NDArray[np.bool_]) -> RecipeData:
    """The rows under a mask; marks, which no way with added rows looks at, are left out."""
    return replace(
        data,
        texts=data.texts[kept],
        labels=data.labels[kept],
        weights=data.weights[kept],
        original=data.original[kept],
        sources=None if data.sources is None else data.sources[kept],
        zero_shot=None if data.zero_shot is None else data.zero_shot[kept],
        trusted=None if data.trusted is None else data.trusted[kept],
        marks=None,
        n_concepts=0,
    )
