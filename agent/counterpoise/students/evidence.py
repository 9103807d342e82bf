"""What the simple ways gave on other data sets: where to begin where few rows cannot tell them apart.

The macro-F1 of five or fifteen rows of a label is mostly noise, so the highest of a dozen ways is the luckiest. What
ways gave elsewhere is a better guide until the user's own rows say otherwise. The table that ships, `evidence.csv`, has
a line for each data set, student, number of rows of a rare label and way: points of macro-F1 over logit adjustment on
test rows, mean over draws. `python -m evals.evidence` writes it from the results of `evals simple_ways`.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

FIELDS = ("data", "student", "rows", "way", "gain")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What ways gave over logit adjustment, mean over data sets.

    Args:
        gains: kind of student, way -> by number of rows of a rare label points of macro-F1.
        hash: sixteen hex digits of the table; "" for none.
        n_sets: how many data sets it is of.
    """

    gains: Mapping[tuple[str, str], Mapping[int, float]]
    hash: str
    n_sets: int

    def expect(self, student: str, way: str, n_rows: int) -> float | None:
        """Points of macro-F1 over logit adjustment; None where nothing is known.

        Args:
            student: its name; `vectors:minilm` is of the kind `vectors`.
            way: name of the treatment.
            n_rows: of the label that has the fewest; between numbers of the table the gain is interpolated over logs.
        """
        known = self.gains.get((student.partition(":")[0], way))
        if not known:
            return None
        sizes = sorted(known)
        return float(np.interp(np.log(max(n_rows, 1)), np.log(sizes), [known[size] for size in sizes]))


NO_EVIDENCE = Evidence({}, "", 0)


def read_shipped() -> str:
    """The table that ships, as text."""
    return files(__package__).joinpath("evidence.csv").read_text(encoding="utf-8")


def parse_evidence(table: str, leave_out: Collection[str] = ()) -> Evidence:
    """A table of gains, mean over data sets.

    Args:
        table: CSV with the columns `FIELDS`; "" gives no evidence.
        leave_out: data sets that take no part: an evaluation leaves out the one that it scores, and its kin.
    """
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    sets = set()
    for line in csv.DictReader(table.splitlines()):
        if line["data"] not in leave_out:
            found[line["student"], line["way"]][int(line["rows"])].append(float(line["gain"]))
            sets.add(line["data"])
    if not sets:
        return NO_EVIDENCE
    means = {key: {size: float(np.mean(one)) for size, one in sizes.items()} for key, sizes in found.items()}
    return Evidence(means, hashlib.sha256(table.encode()).hexdigest()[:16], len(sets))
