"""Concept bias: does a student take a concept for a sign of the label, and what helps against it?

CEBaB, 4-5 stars against 1-2; tests are dev and test together. Two settings:

- `wide-CONCEPT`: 1,500 training texts, of which those of label 0 that have one concept are removed but 15.
- `thin`: 150 training texts, 75 a label, all four concepts skewed at once: of the texts of label 0 at most four have
  food and four ambiance, of those of label 1 at most four service and four noise.

A concept is present where its majority vote is positive or negative and absent where it is "unknown"; other texts are
left out for it. `bias_at_c` is (accuracy on label 1 with the concept - without) - (the same of label 0), `acc_at_c`
and `acc_at_noc` are means over the labels, `worst_group_accuracy` the least of the four (concept, label) accuracies: in
percent, of each draw, then averaged. `-mean` is the mean over the concepts, for bias of absolute values. Intervals
resample draws and, because test texts are edits of 534 originals, originals; differences are paired and taken from the
best arm that costs no token, chosen with hindsight on the test rows.

    python -m evals concept_bias --data DIR [--only wide] [--only thin] [--only generate] [--seeds 20]
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from counterpoise.assets import find_cache_dir
from counterpoise.records import Floats, Integers, Records, State
from counterpoise.splits import keyed_rank
from counterpoise.students import STUDENTS, fit_log_probabilities, log_prior
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, find_file, interval, open_engine, read_jsonl
from evals.edit_cases import CONCEPTS, Case, label_by_similarity, load_cebab
from evals.minority_text import open_encoder

N_WIDE, N_KEPT = 1500, 15
N_THIN, CAP_THIN = 150, 4
N_POOL = 1000
N_BAGS = 10
N_RESAMPLES = 400
MOST_REPEATS = 20
SKEW = {("food", 0), ("ambiance", 0), ("service", 1), ("noise", 1)}
"""In the thin setting: (concept, label) that is made rare."""

METRICS = ("bias_at_c", "acc_at_c", "acc_at_noc", "worst_group_accuracy")
SIMPLE = ("group_weights", "oversampling", "downsampling", "logit_adjustment", "balanced_bags")
LABELS = {
    "negative": "Negative restaurant reviews written by unhappy customers",
    "positive": "Positive restaurant reviews written by happy customers",
}


@dataclass(frozen=True)
class Texts:
    """Texts with labels and concepts.

    Args:
        texts: (n,) strings.
        labels: (n,) 0 or 1.
        concepts: (n, 4) 1 present, 0 absent, -1 unknown.
        originals: (n,) what each is an edit of.
        vectors: (n, d).
    """

    texts: NDArray[np.object_]
    labels: Integers
    concepts: Integers
    originals: NDArray[np.object_]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Integers) -> Texts:
        """The texts at `rows`."""
        return Texts(
            self.texts[rows], self.labels[rows], self.concepts[rows], self.originals[rows], self.vectors[rows]
        )

    def join(self, other: Texts) -> Texts:
        """These and others."""
        return Texts(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("texts", "labels", "concepts", "originals", "vectors")
            )
        )


def load_texts(folder: Path, names: Sequence[str], encoder: Encoder) -> Texts:
    """All texts of some files of CEBaB with 4-5 or 1-2 stars."""
    binary = {"4": 1, "5": 1, "1": 0, "2": 0}
    known = {"Positive": 1, "Negative": 1, "unknown": 0}
    rows = [
        row
        for name in names
        for row in read_jsonl(find_file(folder, f"cebab/{name}.jsonl.gz"))
        if row["review_majority"] in binary
    ]
    texts = [row["text"] for row in rows]
    return Texts(
        np.array(texts, dtype=object),
        np.array([binary[row["review_majority"]] for row in rows]),
        np.array([[known.get(row[concept], -1) for concept in CONCEPTS] for row in rows]),
        np.array([row["original_id"] for row in rows], dtype=object),
        encoder.encode(texts),
    )


@dataclass(frozen=True)
class Draw:
    """One draw: rows of the training texts.

    Args:
        original: before anything was removed.
        biased: what is left.
        real: `biased` with as many other real texts of the thin cells as were removed.
        columns: the concepts that are skewed.
    """

    original: Integers
    biased: Integers
    real: Integers
    columns: tuple[int, ...]


def draw_wide(train: Texts, column: int, seed: int) -> Draw:
    """1,500 texts; those of label 0 with the concept are removed but 15."""
    valid = np.flatnonzero(train.concepts[:, column] >= 0)
    order = valid[np.random.default_rng([seed, column]).permutation(len(valid))]
    original, rest = order[:N_WIDE], order[N_WIDE:]
    thin = (train.labels == 0) & (train.concepts[:, column] == 1)
    members = original[thin[original]]
    biased = np.concatenate([original[~thin[original]], members[:N_KEPT]])
    more = rest[thin[rest]][: len(members) - N_KEPT]
    return Draw(original, biased, np.concatenate([biased, more]), (column,))


def draw_thin(train: Texts, seed: int) -> Draw:
    """150 texts, 75 a label, all four concepts skewed; the original draw knows no cap."""
    valid = np.flatnonzero((train.concepts >= 0).all(axis=1))
    order = valid[np.random.default_rng([seed, 99]).permutation(len(valid))]
    half = N_THIN // 2
    original = np.concatenate([order[train.labels[order] == label][:half] for label in (0, 1)])
    names = list(CONCEPTS)
    picked: list[int] = []
    counts = dict.fromkeys(SKEW, 0)
    left = {0: half, 1: half}
    for row in order:
        label = int(train.labels[row])
        mine = [key for key in SKEW if key[1] == label and train.concepts[row, names.index(key[0])] == 1]
        if left[label] and all(counts[key] < CAP_THIN for key in mine):
            picked.append(int(row))
            left[label] -= 1
            for key in mine:
                counts[key] += 1
    biased = np.array(picked)
    rest = np.setdiff1d(order, biased, assume_unique=True)
    rest = order[np.isin(order, rest)]
    rare = np.zeros(len(train), dtype=np.bool_)
    for concept, label in SKEW:
        rare |= (train.labels == label) & (train.concepts[:, names.index(concept)] == 1)
    more = rest[rare[rest]]
    real = [more[train.labels[more] == label][:half] for label in (0, 1)]
    return Draw(original, biased, np.concatenate([biased, *real]), tuple(range(len(names))))


def weigh_cells(labels: Integers, concepts: Integers, columns: Sequence[int]) -> Floats:
    """(n,) mean over the concepts of weights that give each (concept, label) cell the same total; mean 1."""
    weights = np.zeros(len(labels))
    for column in columns:
        cells = 2 * concepts[:, column] + labels
        counts = np.bincount(cells, minlength=4)
        weights += len(labels) / ((counts > 0).sum() * counts[cells])
    return weights / len(columns)


def repeat_cells(labels: Integers, concepts: Integers, columns: Sequence[int]) -> Integers:
    """Rows with those of thin cells repeated until they are as many as the other label's with the concept."""
    repeats = np.ones(len(labels), dtype=np.int64)
    for column in columns:
        counts = np.bincount(labels[concepts[:, column] == 1], minlength=2)
        for label in (0, 1):
            rows = (labels == label) & (concepts[:, column] == 1)
            ratio = counts[1 - label] / max(1, counts[label])
            repeats[rows] = np.maximum(repeats[rows], min(MOST_REPEATS, round(ratio)))
    return np.repeat(np.arange(len(labels)), repeats)


def shrink_cells(labels: Integers, concepts: Integers, columns: Sequence[int], order: Integers) -> Integers:
    """Rows in the given order as far as no label has more texts with a concept than the other label has."""
    most = {column: np.bincount(labels[concepts[:, column] == 1], minlength=2).min() for column in columns}
    counts: dict[tuple[int, int], int] = {}
    kept = []
    for row in order:
        keys = [(column, int(labels[row])) for column in columns if concepts[row, column] == 1]
        if all(counts.get(key, 0) < most[key[0]] for key in keys):
            kept.append(int(row))
            for key in keys:
                counts[key] = counts.get(key, 0) + 1
    return np.array(kept)


class Bench:
    """Trains a student in the way of an arm and gives the answers on the test texts."""

    def __init__(self, test: Texts, student: str) -> None:
        self.test = test
        self.student = student

    def score(self, train: Texts, weights: Floats | None = None, rows: Integers | None = None) -> Floats:
        """(n, 2) log-probabilities of the test texts."""
        part = train if rows is None else train.take(rows)
        weights = np.ones(len(part)) if weights is None else weights
        if self.student == "minilm_lr":
            features, tests = part.vectors, self.test.vectors
        else:
            vectoriser = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32)
            features, tests = (
                vectoriser.fit_transform(part.texts),
                vectoriser.transform(self.test.texts),
            )
        return fit_log_probabilities(features, part.labels, weights, tests, 2)

    def run_arms(
        self, trains: Mapping[str, Texts], columns: Sequence[int], seed: int
    ) -> dict[str, NDArray[np.bool_]]:
        """Each arm's answers; kept in the cache, so that a long evaluation can be gone on with."""
        digest = sha256(f"{self.student} {list(columns)} {seed} {SIMPLE}".encode())
        for arm in sorted(trains):
            digest.update(
                "\0".join([arm, *map(str, trains[arm].texts), str(trains[arm].labels.tolist())]).encode()
            )
        path = find_cache_dir() / "evals" / f"concept_bias-{digest.hexdigest()[:20]}.npz"
        if path.is_file():
            with np.load(path) as stored:
                return dict(zip(sorted(trains), stored["right"], strict=True))
        with threadpool_limits(1):
            found = {arm: self.run_arm(arm, texts, columns, seed) for arm, texts in trains.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, right=np.stack([found[arm] for arm in sorted(found)]))
        return found

    def run_arm(self, arm: str, train: Texts, columns: Sequence[int], seed: int) -> NDArray[np.bool_]:
        """(n,) whether each test text is answered rightly."""
        labels, concepts = train.labels, train.concepts
        generator = np.random.default_rng([seed, 5])
        if arm == "group_weights":
            table = self.score(train, weigh_cells(labels, concepts, columns))
        elif arm == "oversampling":
            table = self.score(train, rows=repeat_cells(labels, concepts, columns))
        elif arm == "downsampling":
            order = generator.permutation(len(labels))
            table = self.score(train, rows=shrink_cells(labels, concepts, columns, order))
        elif arm == "logit_adjustment":
            table = self.score(train) - log_prior(labels, np.ones(len(labels)), 2)
        elif arm == "balanced_bags":
            bags = []
            for _ in range(N_BAGS):
                order = generator.permutation(len(labels))
                bags.append(np.exp(self.score(train, rows=shrink_cells(labels, concepts, columns, order))))
            table = np.mean(bags, axis=0)
        else:
            table = self.score(train)
        return np.asarray(table.argmax(axis=1) == self.test.labels)


Answers = dict[str, list[NDArray[np.bool_]]]


def run(settings: Settings) -> Iterator[Result]:
    """The settings, or those named with `--only`; `generate` is the thin one with the model of `--engine`."""
    encoder = open_encoder()
    train = load_texts(settings.data, ["train_inclusive"], encoder)
    test = load_texts(settings.data, ["dev", "test"], encoder)
    n_seeds = settings.seeds or (3 if settings.quick else 20)
    parts = settings.only or ("wide", "thin")
    if "wide" in parts:
        yield from run_wide(settings.data, train, test, encoder, n_seeds)
    if "thin" in parts or "generate" in parts:
        yield from run_thin(train, test, encoder, n_seeds, settings if "generate" in parts else None)


def run_wide(folder: Path, train: Texts, test: Texts, encoder: Encoder, n_seeds: int) -> Iterator[Result]:
    """Each concept by itself, the student of FACTS: logistic regression on sentence vectors."""
    published = load_published(folder, encoder)
    bench = Bench(test, "minilm_lr")
    answers: dict[str, Answers] = {}
    for column, concept in enumerate(CONCEPTS):
        mine: Answers = {}
        for seed in range(n_seeds):
            draw = draw_wide(train, column, seed)
            trains = {arm: train.take(draw.biased) for arm in ("biased", *SIMPLE)}
            trains |= {"original": train.take(draw.original), "real_data": train.take(draw.real)}
            if concept in published:
                for arm, added in zip(("published", "published_filtered"), published[concept], strict=True):
                    trains[arm] = trains["biased"].join(added)
            for arm, right in bench.run_arms(trains, draw.columns, seed).items():
                mine.setdefault(arm, []).append(right)
        print(f"wide: {concept} done", file=sys.stderr, flush=True)
        answers[concept] = mine
    yield from summarise("wide", "minilm_lr", answers, test)


def load_published(folder: Path, encoder: Encoder) -> dict[str, tuple[Texts, Texts]]:
    """ChatGPT injections of label 0 that start from training texts: all, and those that pass our filters."""
    from counterpoise.edit_filters import CONFIRMED_FROM
    from evals.counterfactual_quality import make_filter_panel, verify

    reviews = load_cebab(folder)
    cases = [case for case in reviews.published if case.label == "negative" and case.concept in CONCEPTS]
    wanted, passing = verify(reviews, cases, make_filter_panel(reviews, encoder), encoder)
    kept = passing & (wanted >= np.array([CONFIRMED_FROM[case.kind] for case in cases]))
    found = {}
    for concept in CONCEPTS:
        mine = [place for place, case in enumerate(cases) if case.concept == concept]
        if mine:
            passed = [place for place in mine if kept[place]]
            found[concept] = (
                _as_texts([cases[place] for place in mine], encoder),
                _as_texts([cases[place] for place in passed], encoder),
            )
            print(f"published {concept}: {len(passed)} of {len(mine)} pass", file=sys.stderr, flush=True)
    return found


def _as_texts(cases: Sequence[Case], encoder: Encoder) -> Texts:
    texts = [case.text for case in cases]
    states = [[int(name == case.concept) for name in CONCEPTS] for case in cases]
    return Texts(
        np.array(texts, dtype=object),
        np.zeros(len(cases), dtype=np.int64),
        np.array(states),
        np.array([case.group for case in cases], dtype=object),
        encoder.encode(texts),
    )


def run_thin(
    train: Texts, test: Texts, encoder: Encoder, n_seeds: int, settings: Settings | None
) -> Iterator[Result]:
    """All four concepts at once, both students; with `settings` the agent writes too."""
    answers: dict[str, Answers] = {student: {} for student in STUDENTS}
    benches = {student: Bench(test, student) for student in STUDENTS}

    def record(arm: str, student: str, right: NDArray[np.bool_]) -> None:
        answers[student].setdefault(arm, []).append(right)

    with open_engine(settings.engine) if settings else contextlib.nullcontext() as llm:
        for seed in range(n_seeds):
            draw = draw_thin(train, seed)
            adopted = adopt(train, draw, encoder, seed)
            written = write(train, draw, encoder, seed, llm) if llm else None
            for student, bench in benches.items():
                biased = train.take(draw.biased)
                trains = dict.fromkeys(("biased", *SIMPLE), biased)
                trains |= {"original": train.take(draw.original), "pool": biased.join(adopted)}
                trains["real_data"] = train.take(draw.real)
                for arm, right in bench.run_arms(trains, draw.columns, seed).items():
                    record(arm, student, right)
                if written is not None:
                    texts, weights = written
                    with threadpool_limits(1):
                        table = bench.score(texts, weights) - log_prior(texts.labels, weights, 2)
                    record("counterpoise", student, table.argmax(axis=1) == test.labels)
            n_written = len(written[0]) - len(draw.biased) if written else 0
            print(
                f"thin: draw {seed + 1} of {n_seeds}, adopted {len(adopted)}, written {n_written}",
                file=sys.stderr,
                flush=True,
            )
    for student in STUDENTS:
        each = dict.fromkeys(CONCEPTS, answers[student])
        yield from summarise("thin", student, each, test)


def adopt(train: Texts, draw: Draw, encoder: Encoder, seed: int) -> Texts:
    """What the agent adopts from 1,000 other texts: labels and concepts as it predicts them, no token spent."""
    from counterpoise.adopt import find_adoptable, list_candidates, propose_adoptions
    from counterpoise.balance import find_deficits
    from counterpoise.records import Action, PlanItem
    from counterpoise.scorers import ClassifierScorer, cross_fit
    from counterpoise.splits import assign_folds
    from counterpoise_retrievers.faiss_index import FaissIndex

    used = set(train.originals[draw.biased])
    others = [row for row in range(len(train)) if train.originals[row] not in used]
    ranked = keyed_rank([str(train.texts[row]) for row in others], f"pool {seed}")
    rows = np.array([others[place] for place in ranked[:N_POOL]])
    own, pool = train.take(draw.biased), train.take(rows)
    own_records = _as_records(own, label_by_similarity(own.vectors, encoder, own.vectors))
    pool_records = _as_records(pool, label_by_similarity(pool.vectors, encoder, own.vectors))
    folds = assign_folds(own_records, 5, f"seed {seed}:folds")
    out_of_fold, _ = cross_fit(own.vectors, own.labels, folds, 2)
    scorer = ClassifierScorer(encoder, own.vectors, own.labels, 2)
    adoptable = find_adoptable(out_of_fold, own.labels, scorer.score_vectors(pool.vectors))
    index = FaissIndex(encoder.dimension)
    index.add(pool.vectors)
    taken: dict[str, str] = {}
    for number, deficit in enumerate(find_deficits(own_records, "equal", ["concept"])):
        thin = own.vectors[own.labels == own_records.label_names.index(deficit.cell.label)]
        found = list_candidates(deficit.cell, pool_records, adoptable, frozenset(taken), thin, index)
        item = PlanItem(Action.ADOPT, deficit.cell, deficit.need, 1, number)
        for proposal in propose_adoptions(item, pool_records, found, f"seed {seed}"):
            taken[proposal.source_id] = proposal.label
    places = {str(identity): place for place, identity in enumerate(pool_records.ids)}
    picked = pool.take(np.array([places[identity] for identity in taken], dtype=np.int64))
    labels = np.array([own_records.label_names.index(label) for label in taken.values()], dtype=np.int64)
    return Texts(picked.texts, labels, picked.concepts, picked.originals, picked.vectors)


def _as_records(texts: Texts, concepts: Any) -> Records:
    return Records(
        ids=np.array([f"row {row:05d}" for row in range(len(texts))], dtype=object),
        texts=texts.texts,
        labels=texts.labels,
        label_names=tuple(LABELS),
        concepts=concepts,
    )


def write(
    train: Texts, draw: Draw, encoder: Encoder, seed: int, llm: Mapping[str, Any]
) -> tuple[Texts, Floats]:
    """The data set that the agent makes of a draw, through the public API, and its weights."""
    import counterpoise
    from counterpoise.job import job_from

    own = train.take(draw.biased)
    names = tuple(LABELS)
    held_out = train.take(np.setdiff1d(draw.original, draw.biased)[:40])  # read by the report only
    with tempfile.TemporaryDirectory() as folder:
        run_ = counterpoise.run(
            job_from(
                data={"text": list(own.texts), "label": [names[label] for label in own.labels]},
                held_out={"text": list(held_out.texts), "label": [names[label] for label in held_out.labels]},
                text="text",
                label="label",
                labels=dict(LABELS),
                concepts=dict(CONCEPTS),
                llm=dict(llm),
                budget="60k",
                seed=seed,
                output=str(Path(folder) / "run"),
            )
        )
        rows = list(run_.dataset["train"])
        reasons: dict[str, int] = {}
        for row in run_.rejected:
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
        kinds: dict[str, int] = {}
        for row in rows:
            kinds[row["provenance"]["kind"]] = kinds.get(row["provenance"]["kind"], 0) + 1
        print(f"thin: {kinds}, refused {reasons}", file=sys.stderr, flush=True)
    texts = [row["text"] for row in rows]
    made = Texts(
        np.array(texts, dtype=object),
        np.array([names.index(row["label"]) for row in rows]),
        np.full((len(rows), len(CONCEPTS)), State.UNKNOWN, dtype=np.int64),
        np.array([""] * len(rows), dtype=object),
        encoder.encode(texts),
    )
    return made, np.array([float(row["weight"]) for row in rows])


def summarise(setting: str, student: str, answers: Mapping[str, Answers], test: Texts) -> Iterator[Result]:
    """Metrics of each concept and their means, and differences from the best arm without tokens."""
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
    # The published injections cover three concepts: before against after the filters, on these.
    some = [concept for concept in answers if ("published", concept) in tables]
    if some:
        before, after = (_average(tables, arm, some) for arm in ("published", "published_filtered"))
        for metric in ("abs_bias_at_c", "worst_group_accuracy"):
            yield _result(
                f"{setting}-published/{student}",
                "published_filtered",
                f"{metric}_difference",
                after[metric] - before[metric],
                n_draws,
                {"baseline": "published"},
            )


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
    cells = np.zeros((len(test), 4))
    for cell in range(4):
        present, label = divmod(cell, 2)
        cells[:, cell] = weights * ((test.concepts[:, column] == present) & (test.labels == label))
    accuracy = 100.0 * (right[draws].astype(np.float64) @ cells) / cells.sum(axis=0)
    no_0, no_1, has_0, has_1 = accuracy.T
    each = np.stack(
        [(has_1 - no_1) - (has_0 - no_0), (has_0 + has_1) / 2, (no_0 + no_1) / 2, accuracy.min(axis=1)]
    )
    return np.asarray(each.mean(axis=1))


def _result(
    data: str, arm: str, metric: str, values: Floats, n: int, extra: dict[str, Any] | None = None
) -> Result:
    low, high = interval(values[1:])
    return Result("concept_bias", data, arm, metric, float(values[0]), low, high, n, "percent", extra or {})
