"""What counterfactuals do downstream: edits beside the originals, before and after the filters, for plain students.

Corpora: CAD IMDb (film reviews with human revisions: 900 for training, 300 for tests) and CEBaB (restaurant reviews
with human edits), two labels. A draw is n originals, half of each label, each of which people have edited to the other
label; n is 100 or 300. Arms:

- `nothing`: the originals alone; `simple`: the same in the way without tokens that a run would choose;
  `more_originals`: as many again, other originals: what the edits have to beat;
- `human_all`: one human edit to the other label of each; `lexicon_all`: one by changing and deleting words, learned
  from the n originals alone;
- `..._kept`: what a run on the n originals would keep of them, by all its filters.

Students: logistic regression on sentence vectors (`vectors:minilm`) and on words (`words`), label shares taken out.
Tests: `originals` and `edited` (human edits of them: contrast-like) of the corpus' test part, `both` is the share of
such pairs of which both are right, `means` the mean of the first two, `elsewhere` are originals of the other corpus.
Accuracy in percent. Intervals resample draws, and originals with their edits; differences are paired, in tables of
their own. Rules were set on cebab and judged on cad_imdb.

    python -m evals counterfactual_training --data DIR [--only cad_imdb|cebab] [--only 100|300] [--seeds 5]
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.lexicon_edit import learn_lexicon
from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_rank
from counterpoise.runs.judging import judge
from counterpoise.runs.ledger import Ledger
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.validation import choose_best, score_arms
from counterpoise.tasks.text.parts import RunContext
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, find_file, interval, read_csv, read_jsonl
from evals.edit_cases import CONCEPTS, Case
from evals.minority_text import open_encoder
from evals.run_contexts import open_run_context
from evals.students import STUDENTS, predict

LABELS = ("negative", "positive")
SIZES = (100, 300)
N_SEEDS = 5
N_RESAMPLES = 1000
QUICK_SIZE = 40
N_CAD = {"train": 900, "test": 300}
"""Pairs of CAD IMDb: long reviews take long to encode."""

_STARS = {"1": 0, "2": 0, "4": 1, "5": 1}

Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """An original and a human edit of it to the other label.

    Args:
        original: the text.
        label: its label index.
        group: what names it.
        edit: the edit, "" where there is none.
        concepts: of the original, as `Row` has them.
    """

    original: str
    label: int
    group: str
    edit: str
    concepts: Mapping[str, bool | None]


@dataclass(frozen=True)
class Corpus:
    """A corpus.

    Args:
        name: as `data` in the results.
        train: originals, with an edit where people made one.
        test: the same of the test part.
    """

    name: str
    train: Sequence[Pair]
    test: Sequence[Pair]


def load_cad(folder: Path) -> Corpus:
    """CAD IMDb."""
    parts = []
    for name in ("train", "test"):
        rows = read_csv(find_file(folder, f"cad_imdb/{name}.csv.gz"))
        edits = {row["pair_id"]: row["text"] for row in rows if row["kind"] == "revised"}
        names = sorted(edits)
        drawn = {names[place] for place in keyed_rank(names, "pairs")[: N_CAD[name]]}
        parts.append(
            [
                Pair(
                    row["text"],
                    int(row["label"] == "Positive"),
                    f"pair {row['pair_id']}",
                    edits[row["pair_id"]],
                    {},
                )
                for row in rows
                if row["kind"] == "original" and row["pair_id"] in drawn
            ]
        )
    return Corpus("cad_imdb", parts[0], parts[1])


def load_reviews(folder: Path) -> Corpus:
    """CEBaB; an edit is one that people's votes give the other label, the first by hash where there are several."""
    parts = []
    for names in (("train_inclusive",), ("dev", "test")):
        rows = [
            row
            for name in names
            for row in read_jsonl(find_file(folder, f"cebab/{name}.jsonl.gz"))
            if row["review_majority"] in _STARS
        ]
        originals = [row for row in rows if row["is_original"]]
        labels = {row["original_id"]: _STARS[row["review_majority"]] for row in originals}
        edits: dict[str, str] = {}
        for place in keyed_rank([row["text"] for row in rows], "edits"):
            row = rows[place]
            if labels.get(row["original_id"]) == 1 - _STARS[row["review_majority"]]:
                edits.setdefault(row["original_id"], row["text"])
        known: dict[str, bool | None] = {"Positive": True, "Negative": True, "unknown": False}
        parts.append(
            [
                Pair(
                    row["text"],
                    labels[row["original_id"]],
                    row["original_id"],
                    edits.get(row["original_id"], ""),
                    {name: known.get(row[name]) for name in CONCEPTS},
                )
                for row in originals
            ]
        )
    return Corpus("cebab", parts[0], parts[1])


def run(settings: Settings) -> Iterator[Result]:
    """Both corpora and sizes, or those named with `--only`."""
    encoder = open_encoder()
    corpora = {"cad_imdb": load_cad(settings.data), "cebab": load_reviews(settings.data)}
    sizes = [size for size in SIZES if str(size) in settings.only] or SIZES
    named = [name for name in corpora if name in settings.only]
    for name, corpus in corpora.items():
        if named and name not in named:
            continue
        other = next(one for key, one in corpora.items() if key != name)
        tests = make_tests(corpus, other, encoder, settings.quick)
        for size in (QUICK_SIZE,) if settings.quick else sizes:
            n_seeds = settings.seeds or (2 if settings.quick else N_SEEDS)
            answers: dict[str, dict[str, list[Right]]] = {student: {} for student in STUDENTS}
            added: dict[str, list[int]] = {}
            for seed in range(n_seeds):
                arms = draw_arms(corpus, size, seed, encoder)
                for arm, rows in arms.items():
                    added.setdefault(arm, []).append(len(rows) - size)
                    for student in STUDENTS:
                        scores = predict("logit_adjustment", student, rows, tests.rows, 2)
                        right = np.asarray(scores.argmax(axis=1) == tests.rows.labels)
                        answers[student].setdefault(arm, []).append(right)
                for student, right in answer_simply(arms["nothing"], tests, seed).items():
                    answers[student].setdefault("simple", []).append(right)
                added.setdefault("simple", []).append(0)
                print(f"{name}, {size}: draw {seed + 1} of {n_seeds}", file=sys.stderr, flush=True)
            means = {arm: float(np.mean(values)) for arm, values in added.items()}
            for student, found in answers.items():
                yield from summarise(f"{name}-{size}/{student}", found, means, tests)


@dataclass(frozen=True)
class Tests:
    """Rows to score: originals, their edits in the same order, originals of the other corpus.

    Args:
        rows: all of them, one after the other.
        n_pairs: p, number of originals, and of edits.
        has_edit: (p,) whether there is an edit.
    """

    rows: Rows
    n_pairs: int
    has_edit: Right


def make_tests(corpus: Corpus, other: Corpus, encoder: Encoder, quick: bool) -> Tests:
    """The test rows of a corpus; an eighth of them in the small version."""
    step = 8 if quick else 1
    pairs, others = list(corpus.test[::step]), list(other.test[::step])
    texts = [pair.original for pair in pairs]
    texts += [pair.edit or "-" for pair in pairs] + [pair.original for pair in others]
    labels = [pair.label for pair in pairs]
    labels += [1 - pair.label for pair in pairs] + [pair.label for pair in others]
    return Tests(as_rows(texts, labels, encoder), len(pairs), np.array([bool(pair.edit) for pair in pairs]))


def as_rows(texts: Sequence[str], labels: Sequence[int], encoder: Encoder) -> Rows:
    """Texts as the students see them."""
    return make_rows(
        np.array(list(texts), dtype=object), encoder.encode(list(texts)), np.array(labels, dtype=np.int64)
    )


def draw_arms(corpus: Corpus, size: int, seed: int, encoder: Encoder) -> dict[str, Rows]:
    """The training rows of every arm of a draw; the originals come first in each."""
    order = np.random.default_rng([seed, 21]).permutation(len(corpus.train))
    pairs = [corpus.train[row] for row in order]
    own = take_even([pair for pair in pairs if pair.edit], size)
    taken = {pair.group for pair in own}
    more = take_even([pair for pair in pairs if pair.group not in taken], size)
    added = {"human": [as_case(pair, pair.edit) for pair in own], "lexicon": edit_by_lexicon(own)}
    base = [(pair.original, pair.label) for pair in own]
    extra = [(pair.original, pair.label) for pair in more]
    found = {"nothing": base, "more_originals": base + extra}
    context = open_run_context(_name(base), _name(extra[::4]), seed)
    for name, cases in added.items():
        for suffix, rows in (("all", range(len(cases))), ("kept", keep(cases, context))):
            found[f"{name}_{suffix}"] = base + [
                (cases[row].text, LABELS.index(cases[row].label)) for row in rows
            ]
    return {
        name: as_rows([text for text, _ in rows], [label for _, label in rows], encoder)
        for name, rows in found.items()
    }


def _name(rows: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    return [(text, LABELS[label]) for text, label in rows]


def keep(cases: Sequence[Case], context: RunContext) -> list[int]:
    """Positions of the edits that a run would keep, all judged as one round."""
    records = context.inputs.train.records
    ids = {str(text): str(identity) for text, identity in zip(records.texts, records.ids, strict=True)}
    places, proposals = [], []
    for place, case in enumerate(cases):
        if case.source in ids:  # a run leaves out what stands in its data twice
            item = PlanItem("an_edit", Cell(case.label), 1, 1, LABELS.index(case.label))
            identity, parents = f"{item.id}-{place:05d}", (ids[case.source],)
            proposals.append(Proposal(identity, item, case.text, case.label, parents, "an_edit", case.nature))
            places.append(place)
    judged = judge(proposals, context, Ledger())
    reasons = Counter(verdict.reason for verdict in judged.verdicts)
    print(f"{cases[0].kind if cases else ''}: {dict(reasons)}", file=sys.stderr, flush=True)
    return [places[row] for row in judged.kept]


def answer_simply(rows: Rows, tests: Tests, seed: int) -> dict[str, Right]:
    """For each student whether it answers each test row rightly, in the way without tokens that a run chooses."""
    students = choose_students(("default",), "minilm")
    ways = [way for way in TREATMENTS.choose(["default"]) if not way.uses_pool and not way.needs_zero_shot]
    folds = np.arange(len(rows)) % 5
    scores = score_arms(rows, folds, 2, students, ways)
    best = choose_best(scores, "macro_f1", ways, np.bincount(rows.labels))
    return {
        student.name: np.asarray(
            predict(best[student.name].name, student.name, rows, tests.rows, 2, seed).argmax(axis=1)
            == tests.rows.labels
        )
        for student in students
    }


def take_even(pairs: Sequence[Pair], size: int) -> list[Pair]:
    """The first pairs, half of each label as far as there are so many."""
    return [pair for label in (0, 1) for pair in [pair for pair in pairs if pair.label == label][: size // 2]]


def as_case(pair: Pair, edit: str) -> Case:
    """An edit of a pair's original to the other label."""
    return Case("counterfactual_edit", pair.original, edit, LABELS[1 - pair.label], pair.group)


def edit_by_lexicon(own: Sequence[Pair]) -> list[Case]:
    """Edits by words learned from these originals alone; none of a text that the lexicon cannot turn."""
    lexicon = learn_lexicon([pair.original for pair in own], [pair.label for pair in own], 2)
    edited = [(pair, lexicon.edit(pair.original, 1 - pair.label)) for pair in own]
    return [as_case(pair, text) for pair, text in edited if text and text != pair.original]


def summarise(
    data: str, answers: Mapping[str, Sequence[Right]], sizes: Mapping[str, float], tests: Tests
) -> Iterator[Result]:
    """Accuracies on each test of every arm, and differences to the originals alone and to twice as many."""
    n_draws = len(answers["nothing"])
    n_others = len(tests.rows) - 2 * tests.n_pairs
    generator = np.random.default_rng(13)
    picks: list[tuple[Integers, Integers, Integers]] = [
        (np.arange(n_draws), np.ones(tests.n_pairs, np.int64), np.ones(n_others, np.int64))
    ]
    for _ in range(N_RESAMPLES):
        counts = [np.bincount(generator.integers(0, n, n), minlength=n) for n in (tests.n_pairs, n_others)]
        picks.append((generator.integers(0, n_draws, n_draws), counts[0], counts[1]))
    tables = {arm: measure(np.array(right), tests, picks) for arm, right in answers.items()}
    for arm, table in tables.items():
        extra = {"n_added": round(sizes[arm], 1)}
        for metric, values in table.items():
            yield _result(data, arm, metric, values, n_draws, extra)
    for arm, table in tables.items():
        for name, baseline in name_baselines(arm).items():
            for metric in ("originals", "edited", "means", "elsewhere"):
                difference = table[metric] - tables[baseline][metric]
                compared = {"baseline": baseline}
                yield _result(f"{data}/{metric}", arm, f"less_{name}", difference, n_draws, compared)


def name_baselines(arm: str) -> dict[str, str]:
    """What an arm is compared with: name of the comparison -> arm."""
    names = ("nothing", "simple", "more_originals")
    found = {name: name for name in names if arm not in ("nothing", "simple", name)}
    if arm.endswith("_kept"):
        found["all"] = arm.replace("_kept", "_all")
    return found


def measure(
    right: Right, tests: Tests, picks: Sequence[tuple[Integers, Integers, Integers]]
) -> dict[str, Floats]:
    """(r,) percent of each test under each resample.

    Args:
        right: (d, n) whether each draw's student answers each test row rightly.
        tests: the test rows.
        picks: draws that a resample has, and how often it has each pair and each row of the other corpus.
    """
    p = tests.n_pairs
    parts = {
        "originals": (right[:, :p], np.ones(p, np.bool_)),
        "edited": (right[:, p : 2 * p], tests.has_edit),
        "both": (right[:, :p] & right[:, p : 2 * p], tests.has_edit),
        "elsewhere": (right[:, 2 * p :], np.ones(right.shape[1] - 2 * p, np.bool_)),
    }
    found = {}
    for metric, (table, counted) in parts.items():
        values = []
        for draws, pairs, others in picks:
            weights = (others if metric == "elsewhere" else pairs) * counted
            values.append(100.0 * float(table[draws].mean(axis=0) @ weights) / weights.sum())
        found[metric] = np.array(values)
    found["means"] = (found["originals"] + found["edited"]) / 2
    return found


def _result(data: str, arm: str, metric: str, values: Floats, n: int, extra: Mapping[str, object]) -> Result:
    low, high = interval(values[1:])
    return Result(
        "counterfactual_training", data, arm, metric, float(values[0]), low, high, n, "percent", dict(extra)
    )
