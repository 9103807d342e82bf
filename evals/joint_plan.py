"""Additions planned for all cells together, against one concept at a time: how many, and what students make of them.

CEBaB, 4-5 stars against 1-2, four concepts that people named, all of them skewed at once: of the texts of label 0 few
have food or ambiance, of those of label 1 few service or noise. Three sizes: `thin`, 150 own texts with at most four
in each thin cell, `middle`, 300 with at most fifteen, and `wide`, 600 with at most thirty, of which the texts that can
be bought run out. What is bought are real texts of the training part, none an edit of an own one, so a plan costs no
token and every record is as good as any other. Cells are the labels and every label with each concept; all are to be
even, to within a twentieth of the fullest.

- `one_concept_at_a_time`: for one concept after the other the labels that have fewer rows with it are filled with texts
  of the label that have it, whatever else they have; then the labels; and over again until all cells are even.
  `one_pass` does so once, as published, whatever is even then.
- `rounds`: what all cells lack is counted at once, bought cell by cell, labels for what named cells leave, then counted
  again: the planner before slices.
- `joint`, `joint_greedy`: one plan by profile, by integer programming and without, bought exactly.

`additions`, `saved_ratio` (1 - additions / those of one concept at a time, `saved_ratio_to_one_pass` to one pass),
`cells_even` (share of cells within a twentieth), and for logistic regression on words and vectors, label shares taken
out, `worst_cell_accuracy`: the least over labels with and without each concept on the test texts, dev and test together
(percent), with paired differences from both. Intervals resample draws. Real texts teach more than balance does: where
one plan buys a sixth of what another buys, that is in its accuracy, too.

    python -m evals joint_plan --data DIR [--only thin|middle|wide] [--seeds 20]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.balance.comparisons import list_comparisons
from counterpoise.balance.counts import CellFamily
from counterpoise.balance.deficits import TOLERATED_RATIO
from counterpoise.balance.joint import plan_jointly
from counterpoise.balance.profiles import Profile, count_profiles, sum_cells
from counterpoise.core.plans import Cell
from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.splits import keyed_rank
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.weights import log_prior
from evals.common import Result, Settings, interval, resample_means
from evals.concept_agent import as_records, take_gold
from evals.concept_texts import SKEW, Texts, load_texts
from evals.edit_cases import CONCEPTS
from evals.minority_text import open_encoder
from evals.students import STUDENTS, make_features

SIZES = {"thin": (150, 4), "middle": (300, 15), "wide": (600, 30)}
"""Part -> own texts, and texts of a thin cell at most."""

BASELINE, ONE_PASS = "one_concept_at_a_time", "one_pass"
FAMILIES: tuple[CellFamily, ...] = ("label", "concept")
FEWEST_TESTS = 30
MOST_PASSES = 60
QUICK = (2500, 600)


def run(settings: Settings) -> Iterator[Result]:
    """The sizes, or those named."""
    encoder = open_encoder()
    most = QUICK if settings.quick else (None, None)
    train = load_texts(settings.data, ["train_inclusive"], encoder, most[0])
    test = load_texts(settings.data, ["dev", "test"], encoder, most[1])
    n_seeds = settings.seeds or (2 if settings.quick else 20)
    for part, (n_own, cap) in SIZES.items():
        if settings.only and part not in settings.only:
            continue
        found = [run_draw(train, test, n_own, cap, seed, part) for seed in range(n_seeds)]
        yield from summarise(part, found)


Draw = Mapping[tuple[str, str], float]
"""(arm, metric) -> figure of one draw."""


def run_draw(
    train: Texts, test: Texts, n_own: int, cap: int, seed: int, part: str = ""
) -> dict[tuple[str, str], float]:
    """One draw: own texts, what each arm buys, and what students make of it."""
    own = draw_skewed(train, n_own, cap, seed)
    used = set(train.originals[own].tolist())
    is_free = (train.concepts >= 0).all(axis=1) & ~np.isin(train.originals, list(used))
    shop = Shop(train, np.flatnonzero(is_free), f"joint {seed}")
    bought = {
        "nothing": np.empty(0, np.int64),
        BASELINE: buy_in_turn(shop, own),
        ONE_PASS: buy_in_turn(shop, own, 1),
        "rounds": buy_in_rounds(shop, own),
        "joint": buy_jointly(shop, own),
        "joint_greedy": buy_jointly(shop, own, most_profiles=0),
    }
    found: dict[tuple[str, str], float] = {}
    for arm, rows in bought.items():
        texts = train.take(np.concatenate([own, rows]))
        found[arm, "additions"] = float(len(rows))
        found[arm, "saved_ratio"] = 1 - len(rows) / len(bought[BASELINE])
        found[arm, "saved_ratio_to_one_pass"] = 1 - len(rows) / len(bought[ONE_PASS])
        found[arm, "cells_even"] = measure_evenness(shop.count(np.concatenate([own, rows])))
        for student in STUDENTS:
            found[arm, f"worst_cell_accuracy:{student}"] = measure_worst(texts, test, student)
    said = {arm: len(rows) for arm, rows in bought.items()}
    print(f"{part}: draw {seed + 1}, {said}", file=sys.stderr, flush=True)
    return found


def draw_skewed(train: Texts, n_own: int, cap: int, seed: int) -> Integers:
    """Own texts, half of each label, at most `cap` in each thin cell."""
    valid = np.flatnonzero((train.concepts >= 0).all(axis=1))
    order = valid[np.random.default_rng([seed, 99]).permutation(len(valid))]
    names, counts, left = list(CONCEPTS), dict.fromkeys(SKEW, 0), {0: n_own // 2, 1: n_own // 2}
    picked = []
    for row in order:
        label = int(train.labels[row])
        mine = [key for key in SKEW if key[1] == label and train.concepts[row, names.index(key[0])] == 1]
        if left[label] and all(counts[key] < cap for key in mine):
            picked.append(int(row))
            left[label] -= 1
            for key in mine:
                counts[key] += 1
    return np.array(picked)


class Shop:
    """Real texts to buy, in the order of a keyed hash.

    Args:
        train: all texts.
        free: rows that can be bought.
        key: of the order.
    """

    def __init__(self, train: Texts, free: Integers, key: str) -> None:
        self.records: Records = as_records(train, take_gold(train))
        texts = [str(train.texts[row]) for row in free]
        self.rows = free[keyed_rank(texts, key)]
        columns = [self.records.labels[self.rows], *train.concepts[self.rows].T]
        names = self.records.label_names
        self._profiles = [
            Profile(names[label], tuple(sorted(c for c, has in zip(CONCEPTS, rest, strict=True) if has == 1)))
            for label, *rest in np.stack(columns, axis=1).tolist()
        ]

    def count(self, rows: Integers) -> dict[Cell, float]:
        """Rows of each cell, empty ones included."""
        part = self.records.take(rows)
        found = {cell: 0.0 for one in list_comparisons(part, "equal", FAMILIES) for cell in one.ratios}
        return found | {cell: float(n) for cell, n in sum_cells(count_profiles(part, FAMILIES)).items()}

    def buy(self, wanted: Cell | Profile, count: int, taken: set[int]) -> list[int]:
        """The next so many rows of a cell or a profile that are not taken yet; fewer where there are no more."""
        found: list[int] = []
        for row, profile in zip(self.rows.tolist(), self._profiles, strict=True):
            if len(found) >= count:
                break
            is_meant = profile == wanted if isinstance(wanted, Profile) else wanted in profile.cells
            if is_meant and row not in taken:
                found.append(row)
        taken.update(found)
        return found

    def stock(self) -> dict[Profile, int]:
        """How many rows there are of each profile."""
        counts: dict[Profile, int] = {}
        for profile in self._profiles:
            counts[profile] = counts.get(profile, 0) + 1
        return counts


def list_lacking(shop: Shop, rows: Sequence[int]) -> dict[tuple[str, str, str], dict[Cell, int]]:
    """Of each comparison the cells that lack more than a twentieth, and rows to come within it."""
    part, have = shop.records.take(np.array(rows)), shop.count(np.array(rows))
    found = {}
    for one in list_comparisons(part, "equal", FAMILIES):
        wants = {cell: np.ceil((1 - TOLERATED_RATIO) * want) for cell, want in one.find_wants(have).items()}
        first = next(iter(one.ratios))
        key = first.concept, first.attribute, first.value
        found[key] = {cell: int(want - have[cell]) for cell, want in wants.items() if want > have[cell]}
    return found


def buy_in_turn(shop: Shop, own: Integers, most_passes: int = MOST_PASSES) -> Integers:
    """One concept after the other, then the labels, until all cells are even or so many passes are made."""
    rows, taken = own.tolist(), set(own.tolist())
    for _ in range(most_passes):
        n_before = len(rows)
        keys = [key for key in list_lacking(shop, rows) if any(key)]
        for key in [*keys, ("", "", "")]:
            for cell, need in list_lacking(shop, rows)[key].items():
                rows += shop.buy(cell, need, taken)
        if len(rows) == n_before:
            break
    return np.array(rows[len(own) :], np.int64)


def buy_in_rounds(shop: Shop, own: Integers) -> Integers:
    """All cells are counted at once, named ones bought, labels for what these leave; until all are even."""
    rows, taken = own.tolist(), set(own.tolist())
    for _ in range(MOST_PASSES):
        n_before, lacking = len(rows), list_lacking(shop, rows)
        named = {cell: need for key, mine in lacking.items() if any(key) for cell, need in mine.items()}
        for cell, need in sorted(named.items(), key=lambda pair: (-pair[1], pair[0])):
            rows += shop.buy(cell, need, taken)
        if not named:
            for cell, need in lacking["", "", ""].items():
                rows += shop.buy(cell, need, taken)
        if len(rows) == n_before:
            break
    return np.array(rows[len(own) :], np.int64)


def buy_jointly(shop: Shop, own: Integers, most_profiles: int = 4_000) -> Integers:
    """One plan, bought by profile."""
    stock, part = shop.stock(), shop.records.take(own)
    plan = plan_jointly(
        dict.fromkeys(stock, 1.0),
        shop.count(own),
        list_comparisons(part, "equal", FAMILIES),
        available=stock,
        most_profiles=most_profiles,
    )
    taken: set[int] = set()
    bought = [shop.buy(profile, count, taken) for profile, count in plan.additions.items()]
    return np.array([row for rows in bought for row in rows], np.int64)


def measure_evenness(have: Mapping[Cell, float]) -> float:
    """Share of the cells that are within a twentieth of the fullest they are compared with."""
    groups: dict[str, list[float]] = {}
    for cell, count in have.items():
        groups.setdefault(cell.concept, []).append(count)
    even = [
        count >= np.floor((1 - TOLERATED_RATIO) * max(mine)) for mine in groups.values() for count in mine
    ]
    return float(np.mean(even))


def measure_worst(texts: Texts, test: Texts, student: str) -> float:
    """The least accuracy over labels with and without each concept, percent; of cells with enough test texts."""
    features, tests = make_features(student, _view(texts), _view(test))
    with threadpool_limits(1):
        ones = np.ones(len(texts))
        scores = fit_log_probabilities(features, texts.labels, ones, tests, 2) - log_prior(
            texts.labels, ones, 2
        )
    right = scores.argmax(axis=1) == test.labels
    found = []
    for column in range(test.concepts.shape[1]):
        for state in (0, 1):
            for label in (0, 1):
                inside = (test.concepts[:, column] == state) & (test.labels == label)
                if inside.sum() >= FEWEST_TESTS:
                    found.append(float(right[inside].mean()))
    return 100 * min(found)


def _view(texts: Texts) -> Rows:
    return make_rows(texts.texts, texts.vectors, texts.labels)


def summarise(part: str, draws: Sequence[Draw]) -> Iterator[Result]:
    """Means over draws, and paired differences of the worst cell from one concept at a time."""
    for arm, metric in draws[0]:
        values = np.array([draw[arm, metric] for draw in draws])
        kind, _, student = metric.partition(":")
        data = f"{part}/{student}" if student else part
        unit = "records" if kind == "additions" else "percent" if student else "ratio"
        yield _make(data, arm, kind, values, unit)
        for rival, name in ((BASELINE, "difference"), (ONE_PASS, "difference_to_one_pass")):
            if student and arm != rival:
                others = np.array([draw[rival, metric] for draw in draws])
                yield _make(data, arm, f"{kind}_{name}", values - others, "points")


def _make(data: str, arm: str, metric: str, values: Floats, unit: str) -> Result:
    low, high = interval(resample_means(values.tolist()))
    return Result("joint_plan", data, arm, metric, float(values.mean()), low, high, len(values), unit)
