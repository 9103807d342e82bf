"""The held-out table by cell of made answers, as reports have it: a concept speaks against a label in some arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from counterpoise.core.plain import to_plain
from counterpoise.core.records import ConceptColumns, State
from counterpoise.runs.held_out_cells import describe_cells
from counterpoise.students.held_out import HeldOutScore
from tests.made_up import as_objects, make_records


def make_cells(
    n: int,
    labels: tuple[str, ...],
    concepts: tuple[str, ...],
    arms: Mapping[str, float],
    before: str,
    *,
    students: Sequence[str],
    n_seeds: int = 5,
) -> Any:
    """The table of n rows.

    Args:
        n: rows; a tenth have an unknown state of the first concept.
        labels: names.
        concepts: names.
        arms: how many more of a hundred answers are wrong where the first label has the first concept.
        before: the arm that differences are taken from.
        students: who was trained.
        n_seeds: repetitions.
    """
    generator = np.random.default_rng(n)
    truth = generator.integers(0, len(labels), n)
    states = (generator.random((n, len(concepts))) < 0.4).astype(np.int8)
    states[: n // 10, 0] = State.UNKNOWN
    records = make_records(
        [f"record {row}" for row in range(n)],
        truth.tolist(),
        labels,
        attributes={"source": [("web", "paper", "letter")[row % 5 % 3] for row in range(n)]},
        concepts=ConceptColumns(concepts, states, np.full(states.shape, 0.5)),
        ids=[f"{0x5A17E0 + 7919 * row:x}-0" for row in range(n)],
    )
    records = replace(records, groups=as_objects([str(identity) for identity in records.ids]))
    against = (states[:, 0] == State.PRESENT) & (truth == 0)
    base = generator.random(n)
    scores = []
    for student in students:
        for arm, more in arms.items():
            noise = generator.normal(0, 0.03, (n_seeds, n))
            wrong = base + noise < 0.12 + more / 100 * against
            scores.append(
                HeldOutScore(arm, student, {}, {}, np.where(wrong, (truth + 1) % len(labels), truth))
            )
    table = describe_cells(records, records, scores, dict.fromkeys(students, before))
    said = "Whether a held-out row has a concept is what the scorer says that decides about it (service: similarity)."
    return to_plain(replace(table, states=said))
