"""Concept bias: does a student take a concept for a sign of the label, and what helps against it?

CEBaB, 4-5 stars against 1-2; tests are dev and test together. Two settings:

- `wide-CONCEPT`: 1,500 training texts, of which those of label 0 that have one concept are removed but 15.
- `thin`: 150 training texts, 75 a label, all four concepts skewed at once: of the texts of label 0 at most four have
  food and four ambiance, of those of label 1 at most four service and four noise. Every arm knows the concepts as the
  agent predicts them without an answer from anybody; in `thin_gold` every arm knows those that people named.

A concept is present where its majority vote is positive or negative and absent where it is "unknown"; other texts are
left out for it. `bias_at_c` is (accuracy on label 1 with the concept - without) - (the same of label 0), `acc_at_c`
and `acc_at_noc` are means over the labels, `worst_group_accuracy` the least of the four (concept, label) accuracies: in
percent, of each draw, then averaged. `-mean` is the mean over the concepts, for bias of absolute values. Intervals
resample draws and, because test texts are edits of 534 originals, originals; differences are paired. They are taken
from the best of the usual ways (`SIMPLE`), `regret` from the best arm of all that cost no token, both chosen with
hindsight on the test rows.

`counterpoise` takes the way that `cell_choice` names for the training rows; `pool` adopts from 1,000 unlabelled texts
besides, for the cells that lack records, `pool_all` every one whose label is sure; `written` lets the model of
`--engine` write too. How `cell_choice` decides was settled on draws 100 to 115 out of one half of the training texts,
scored on the other half, when the results of the simple arms on test texts had been seen; how sure it must be against
the descriptions of the labels on draws 100 to 159, when its own had been seen, too (a regret of 1.1 on `thin`).

    python -m evals concept_bias --data DIR [--only wide|thin|thin_gold|generate] [--seeds 20]
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import assign_folds
from counterpoise.students.cell_marks import CellMarks, make_marks
from counterpoise.students.concept_bias import measure_bias, score_cells
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.weights import log_prior
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, describe_spend, interval, open_engine
from evals.concept_agent import (
    adopt,
    as_records,
    as_rows,
    draw_pool,
    load_published,
    predict_concepts,
    stack_marks,
    take_gold,
    write,
)
from evals.concept_texts import (
    Texts,
    draw_thin,
    draw_wide,
    load_texts,
    repeat_cells,
    shrink_cells,
    weigh_cells,
)
from evals.edit_cases import CONCEPTS
from evals.minority_text import QUICK_BUDGET, open_encoder
from evals.students import (
    STUDENTS,
    VECTORS,
    choose_by_cells,
    list_ways_by_cells,
    make_features,
    predict_by_cells,
)

N_BAGS = 10
N_RESAMPLES = 400
N_WRITTEN = 5
"""Draws of the part in which a model writes."""
BUDGET = "60k"
"""Tokens of each of them."""
QUICK = (2500, 600)
"""Training and test texts of the small version."""

METRICS = ("bias_at_c", "acc_at_c", "acc_at_noc", "worst_group_accuracy")
SIMPLE = ("group_weights", "oversampling", "downsampling", "logit_adjustment", "balanced_bags")
OURS = ("cell_downsampling", "cell_bags", "raking", "back_door", "cell_mixture", "zero_shot")
"""Ways of the product that cost no token, beyond the usual ones; label shares are taken out of the subsets."""
WRITTEN = ("written", "written_mixture")
"""Both are trained on the data set that the agent wrote."""

_VERSION = 2  # of what is kept in the cache

Right = NDArray[np.bool_]
Answers = dict[str, list[Right]]


class Bench:
    """Trains a student in the way of an arm and gives the answers on the test texts."""

    def __init__(self, test: Texts, encoder: Encoder, student: str) -> None:
        self.test = test
        self.encoder = encoder
        self.rows = as_rows(test, encoder)
        self.student = student

    def run_simple(self, train: Texts, marks: CellMarks, seed: int, arms: Sequence[str]) -> dict[str, Right]:
        """The answers of the usual ways, which know the marks alone."""
        columns = list(range(len(marks.names)))
        labels, states = train.labels, np.maximum(marks.states, 0).astype(np.int64)
        features, tests = make_features(self.student, as_rows(train, self.encoder), self.rows)
        generator = np.random.default_rng([seed, 5])

        def score(weights: Floats | None = None, rows: Integers | None = None) -> Floats:
            picked = np.arange(len(labels)) if rows is None else rows
            given = np.ones(len(picked)) if weights is None else weights
            return fit_log_probabilities(features[picked], labels[picked], given, tests, 2)

        def shrink() -> Integers:
            return shrink_cells(labels, states, columns, generator.permutation(len(labels)))

        found = {}
        for arm in arms:
            if arm == "group_weights":
                table = score(weigh_cells(labels, states, columns))
            elif arm == "oversampling":
                table = score(rows=repeat_cells(labels, states, columns))
            elif arm == "downsampling":
                table = score(rows=shrink())
            elif arm == "logit_adjustment":
                table = score() - log_prior(labels, np.ones(len(labels)), 2)
            elif arm == "balanced_bags":
                table = np.mean([np.exp(score(rows=shrink())) for _ in range(N_BAGS)], axis=0)
            else:
                table = score()
            found[arm] = self._judge(table)
        return found

    def run_ways(self, train: Texts, marks: CellMarks, seed: int, chosen: str) -> dict[str, Right]:
        """The answers of the product's ways, and of the one it chose (`counterpoise`)."""
        rows = as_rows(train, self.encoder)
        ways = [way for way in OURS if way in list_ways_by_cells(self.student)]
        tables = predict_by_cells([*ways, chosen], self.student, rows, marks, self.rows, 2, seed)
        found = {way: self._judge(tables[way]) for way in ways}
        return {**found, "counterpoise": self._judge(tables[chosen])}

    def choose(self, train: Texts, marks: CellMarks, seed: int) -> str:
        """The way that the product chooses."""
        rows = as_rows(train, self.encoder)
        folds = assign_folds(as_records(train, take_gold(train)), 5, f"seed {seed}:folds")
        choice = choose_by_cells(self.student, rows, marks, folds, 2)
        print(f"  {self.student}: {choice.way.name}, {choice.reason}", file=sys.stderr, flush=True)
        return choice.way.name

    def run_way(self, way: str, train: Texts, marks: CellMarks, seed: int) -> Right:
        """The answers of one way."""
        rows = as_rows(train, self.encoder)
        return self._judge(predict_by_cells([way], self.student, rows, marks, self.rows, 2, seed)[way])

    def _judge(self, table: Floats) -> Right:
        return np.asarray(table.argmax(axis=1) == self.test.labels)


def keep(name: str, train: Texts, marks: CellMarks, compute: Any) -> dict[str, Right]:
    """What `compute()` gives, kept in the cache, so that a long evaluation can be gone on with."""
    digest = sha256(f"{_VERSION} {name} {SIMPLE} {OURS} {train.labels.tolist()}".encode())
    digest.update("\0".join(map(str, train.texts)).encode())
    digest.update(marks.states.tobytes() + np.ascontiguousarray(marks.levels).tobytes())
    path = find_cache_dir() / "evals" / f"concept_bias-{digest.hexdigest()[:20]}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return {arm: stored[arm] for arm in stored.files}
    with threadpool_limits(1):
        found: dict[str, Right] = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **found)
    return found


def run(settings: Settings) -> Iterator[Result]:
    """The settings, or those named; `generate`, the thin one with the model of `--engine`, has fewer draws."""
    encoder = open_encoder()
    most = QUICK if settings.quick else (None, None)
    train = load_texts(settings.data, ["train_inclusive"], encoder, most[0])
    test = load_texts(settings.data, ["dev", "test"], encoder, most[1])
    n_seeds = settings.seeds or (2 if settings.quick else 20)
    n_written = settings.seeds or (1 if settings.quick else N_WRITTEN)
    parts = settings.only or ("wide", "thin", "thin_gold", "generate")
    if "wide" in parts:
        yield from run_wide(None if settings.quick else settings.data, train, test, encoder, n_seeds)
    for part in ("thin", "thin_gold", "generate"):
        if part in parts:
            n_draws = n_written if part == "generate" else n_seeds
            yield from run_thin(part, train, test, encoder, n_draws, settings)


def run_wide(
    folder: Path | None, train: Texts, test: Texts, encoder: Encoder, n_seeds: int
) -> Iterator[Result]:
    """Each concept by itself, logistic regression on sentence vectors; without a folder no published injections."""
    published = load_published(folder, encoder) if folder else {}
    bench = Bench(test, encoder, VECTORS)
    answers: dict[str, Answers] = {concept: {} for concept in CONCEPTS}
    for seed in range(n_seeds):
        for column, concept in enumerate(CONCEPTS):
            draw = draw_wide(train, column, seed)
            biased = train.take(draw.biased)
            marks = mark(biased, (column,))

            def compute(
                biased: Texts = biased, marks: CellMarks = marks, seed: int = seed
            ) -> dict[str, Right]:
                return {
                    **bench.run_simple(biased, marks, seed, ("biased", *SIMPLE)),
                    **bench.run_ways(biased, marks, seed, bench.choose(biased, marks, seed)),
                }

            found = keep(f"wide {seed}", biased, marks, compute)
            others = {"original": train.take(draw.original), "real_data": train.take(draw.real)}
            for arm, added in draw_published(published.get(concept, {}), seed).items():
                others[arm] = biased.join(added)
            for arm, texts in others.items():
                found |= run_added(bench, arm, texts, mark(texts, (column,)), seed)
            for arm, right in found.items():
                answers[concept].setdefault(arm, []).append(right)
        print(f"wide: draw {seed + 1} of {n_seeds}", file=sys.stderr, flush=True)
    yield from summarise("wide", VECTORS, answers, test)


def run_added(bench: Bench, arm: str, texts: Texts, marks: CellMarks, seed: int) -> dict[str, Right]:
    """Texts as they are; with injections the cells weighed besides, as the product does."""

    def compute() -> dict[str, Right]:
        found = {arm: bench.run_simple(texts, marks, seed, ("biased",))["biased"]}
        if arm.startswith("published"):
            found[f"{arm}_weighed"] = bench.run_way("group_weights", texts, marks, seed)
        return found

    return keep(f"added {bench.student} {arm} {seed}", texts, marks, compute)


def draw_published(published: Mapping[str, Texts], seed: int) -> dict[str, Texts]:
    """Published injections, and as many of them, drawn by chance, as the filters keep (`published_fewer`)."""
    if not published:
        return {}
    order = np.random.default_rng([seed, 7]).permutation(len(published["published"]))
    fewer = published["published"].take(order[: len(published["published_filtered"])])
    return {**published, "published_fewer": fewer}


def run_adopted(bench: Bench, arm: str, texts: Texts, marks: CellMarks, seed: int) -> dict[str, Right]:
    """Adopted texts beside the own ones: balanced subsamples, with the descriptions for the student that has them."""

    def compute() -> dict[str, Right]:
        allowed = list_ways_by_cells(bench.student)
        way = "zero_shot_bags" if "zero_shot_bags" in allowed else "cell_bags"
        return {arm: bench.run_way(way, texts, marks, seed)}

    return keep(f"adopted {bench.student} {arm} {seed}", texts, marks, compute)


def mark(texts: Texts, columns: Sequence[int]) -> CellMarks:
    """The concepts that people named, as marks; only some of them."""
    marks = make_marks(as_records(texts, take_gold(texts)))
    picked = list(columns)
    return CellMarks(
        tuple(marks.names[column] for column in picked), marks.states[:, picked], marks.levels[:, picked]
    )


def run_thin(
    part: str, train: Texts, test: Texts, encoder: Encoder, n_seeds: int, settings: Settings
) -> Iterator[Result]:
    """All four concepts at once, both students; in the part `generate` the agent writes too."""
    answers: dict[str, Answers] = {student: {} for student in STUDENTS}
    benches = {student: Bench(test, encoder, student) for student in STUDENTS}
    tokens: list[int] = []
    n_written: list[int] = []
    with open_engine(settings.engine) if part == "generate" else contextlib.nullcontext() as llm:
        for seed in range(n_seeds):
            draw = draw_thin(train, seed)
            own, pool = train.take(draw.biased), draw_pool(train, draw, seed)
            concepts, pool_concepts = predict_concepts(own, pool, encoder)
            if part == "thin_gold":
                concepts = take_gold(own)
            marks = make_marks(as_records(own, concepts))
            adopted = adopt(own, concepts, pool, pool_concepts, encoder, seed)
            pool_marks = make_marks(as_records(pool, pool_concepts))
            for student, bench in benches.items():
                with threadpool_limits(1):
                    chosen = bench.choose(own, marks, seed)

                def compute(bench: Bench = bench, chosen: str = chosen) -> dict[str, Right]:
                    return {
                        **bench.run_simple(own, marks, seed, ("biased", *SIMPLE)),  # noqa: B023
                        **bench.run_ways(own, marks, seed, chosen),  # noqa: B023
                    }

                found = keep(f"thin {student} {seed} {chosen}", own, marks, compute)
                for arm, (texts, places) in adopted.items():
                    both = stack_marks(marks, pool_marks.take(places))
                    found |= run_adopted(bench, arm, own.join(texts), both, seed)
                for arm, rows in {"original": draw.original, "real_data": draw.real}.items():
                    texts = train.take(rows)
                    found |= run_added(bench, arm, texts, mark(texts, draw.columns), seed)
                for arm, right in found.items():
                    answers[student].setdefault(arm, []).append(right)
            said = {
                arm: f"{len(texts)}, {(texts.labels == pool.labels[places]).sum()} rightly"
                for arm, (texts, places) in adopted.items()
            }
            print(f"{part}: draw {seed + 1} of {n_seeds}, adopted {said}", file=sys.stderr, flush=True)
            if llm:
                budget = QUICK_BUDGET if settings.quick else BUDGET
                texts, weights, written_marks, used = write(train, draw, encoder, seed, llm, budget)
                tokens.append(used)
                n_written.append(len(texts) - len(own))
                for student, bench in benches.items():
                    for arm, right in run_written(
                        bench, texts, weights, written_marks, len(own), seed
                    ).items():
                        answers[student].setdefault(arm, []).append(right)
    for student in STUDENTS:
        yield from summarise(part, student, dict.fromkeys(CONCEPTS, answers[student]), test, tokens)
    if tokens:
        yield from describe_spend("concept_bias", part, "written", tokens, n_written)


def run_written(
    bench: Bench, texts: Texts, weights: Floats, marks: CellMarks, n_own: int, seed: int
) -> dict[str, Right]:
    """The data set that the agent wrote: with its weights and label shares taken out, and in the chosen way."""
    features, tests = make_features(bench.student, as_rows(texts, bench.encoder), bench.rows)
    with threadpool_limits(1):
        table = fit_log_probabilities(features, texts.labels, weights, tests, 2)
        table -= log_prior(texts.labels, weights, 2)
        found = {
            "written": np.asarray(table.argmax(axis=1) == bench.test.labels),
            "written_mixture": bench.run_way("cell_mixture", texts, marks, seed),
        }
    if n_own == len(texts):
        print(f"  draw {seed + 1}: nothing was written", file=sys.stderr, flush=True)
    return found


def summarise(
    setting: str, student: str, answers: Mapping[str, Answers], test: Texts, tokens: Sequence[int] = ()
) -> Iterator[Result]:
    """Metrics of each concept and their means, differences from the best usual way, and the regret of the choice.

    What tokens buy is told in points of worst-group accuracy for ten thousand of them, not in tokens a point: a gain
    about zero has no such price.

    Args:
        setting: what was made skew, and how.
        student: who is trained.
        answers: concept -> arm -> for each draw which test texts were answered rightly.
        test: the test texts.
        tokens: of each draw, for the arms that a model wrote for.
    """
    generator = np.random.default_rng(11)
    names, members = np.unique(test.originals, return_inverse=True)
    n_draws = len(next(iter(next(iter(answers.values())).values())))
    picks: list[tuple[Integers, Floats]] = [
        (
            generator.integers(0, n_draws, n_draws).astype(np.int64),
            np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))[members].astype(
                np.float64
            ),
        )
        for _ in range(N_RESAMPLES)
    ]
    whole: tuple[Integers, Floats] = (np.arange(n_draws), np.ones(len(test)))
    tables: dict[tuple[str, str], Floats] = {}
    for concept, mine in answers.items():
        column = list(CONCEPTS).index(concept)
        for arm, right in mine.items():
            tables[arm, concept] = np.array(
                [measure(np.array(right), test, column, *pick) for pick in (whole, *picks)]
            )
    arms = list(dict.fromkeys(arm for arm, _ in tables))
    for arm in arms:
        have = [concept for concept in answers if (arm, concept) in tables]
        for concept in have:
            name = f"{setting}-{concept}/{student}"
            for place, metric in enumerate(METRICS):
                yield _result(name, arm, metric, tables[arm, concept][:, place], n_draws)
        if len(have) == len(answers):
            for metric, values in _average(tables, arm, have).items():
                yield _result(f"{setting}-mean/{student}", arm, metric, values, n_draws)
    full = [arm for arm in arms if all((arm, concept) in tables for concept in answers)]
    worst = {arm: _average(tables, arm, list(answers))["worst_group_accuracy"] for arm in full}
    best = max((arm for arm in SIMPLE if arm in worst), key=lambda arm: float(worst[arm][0]))
    for arm in full:
        if arm != best:
            difference = worst[arm] - worst[best]
            yield _result(
                f"{setting}-mean/{student}",
                arm,
                "worst_group_accuracy_difference",
                difference,
                n_draws,
                {"baseline": best},
            )
        if arm in WRITTEN:
            used = np.array([np.take(tokens, draws).mean() for draws, _ in (whole, *picks)])
            yield _result(
                f"{setting}-mean/{student}",
                arm,
                "worst_group_points_per_10k_tokens",
                10_000 * (worst[arm] - worst[best]) / used,
                n_draws,
                {"baseline": best},
                "points",
            )
    if "counterpoise" in worst:
        rival = max(
            (arm for arm in ("biased", *SIMPLE, *OURS) if arm in worst), key=lambda arm: float(worst[arm][0])
        )
        yield _result(
            f"{setting}-mean/{student}",
            "counterpoise",
            "regret",
            worst[rival] - worst["counterpoise"],
            n_draws,
            {"baseline": rival},
        )
    yield from _compare_published(setting, student, list(answers), tables, n_draws)


def _compare_published(
    setting: str, student: str, concepts: Sequence[str], tables: Mapping[tuple[str, str], Floats], n: int
) -> Iterator[Result]:
    """Published injections after the filters against before, on the three concepts they cover."""
    some = [concept for concept in concepts if ("published", concept) in tables]
    for suffix in ("", "_weighed") if some else ():
        before = _average(tables, f"published{suffix}", some)
        for name in ("published", "published_fewer", "published_filtered", "published_uncontradicted"):
            arm = f"{name}{suffix}"
            after = _average(tables, arm, some)
            for metric in ("abs_bias_at_c", "worst_group_accuracy"):
                data = f"{setting}-published/{student}"
                yield _result(data, arm, metric, after[metric], n)
                if name != "published":
                    baseline = {"baseline": f"published{suffix}"}
                    difference = after[metric] - before[metric]
                    yield _result(data, arm, f"{metric}_difference", difference, n, baseline)


def _average(
    tables: Mapping[tuple[str, str], Floats], arm: str, concepts: Sequence[str]
) -> dict[str, Floats]:
    """Means over concepts of each metric, row by row; the bias in absolute values."""
    stacked = np.stack([tables[arm, concept] for concept in concepts])
    found = {metric: stacked[:, :, place].mean(axis=0) for place, metric in enumerate(METRICS) if place}
    return {"abs_bias_at_c": np.abs(stacked[:, :, 0]).mean(axis=0), **found}


def measure(right: NDArray[np.bool_], test: Texts, column: int, draws: Integers, weights: Floats) -> Floats:
    """(4,) metrics in percent.

    Args:
        right: (d, n) whether each draw's student answers each test text rightly.
        test: the test texts.
        column: of the concept.
        draws: which draws, repeated as a resample has them.
        weights: (n,) how often each test text is in the resample.
    """
    states = test.concepts[:, column]
    cells = [(states == present) & (test.labels == label) for present in (0, 1) for label in (0, 1)]
    accuracy = 100.0 * score_cells(right[draws], np.column_stack(cells).astype(np.float64), weights)
    found = measure_bias(present=accuracy[:, 2:], absent=accuracy[:, :2])
    return np.array([getattr(found, metric).mean() for metric in METRICS])


def _result(
    data: str,
    arm: str,
    metric: str,
    values: Floats,
    n: int,
    extra: dict[str, Any] | None = None,
    unit: str = "percent",
) -> Result:
    low, high = interval(values[1:])
    return Result("concept_bias", data, arm, metric, float(values[0]), low, high, n, unit, extra or {})
