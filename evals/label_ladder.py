"""Who may judge labels: a ladder of scripted judges beside the classifier, and what a good one makes of a pool.

`LABELS` (`judges/label-ladder`): of a skewed draw 40 rows are known, by chance, so that of rare labels few or none are.
A judge that is right so often, or an adversary, is weighed against the classifier on these (`scorers.weighing`), and
who then decides labels other rows: `accuracy_regret_points` is what the best of classifier, judge and stack has more,
in points of accuracy of what is decided; `used_ratio` how often the judge has a say, `changed_points` what that does.
Wrong answers are drawn evenly from what the judge is shown (`uniform`) or go to what the classifier holds likely
(`confused`). Above 20 labels a judge sees a shortlist, and knows when the right label is none of it.

`POOL` (clinc150 at 5 and 15 rows of each of 150 labels, the other rows a pool): a judge that is right in 90% is weighed
on 100 known rows and asked about the pool. `adopted_right_ratio` of what is then sure, `adopted_ratio` of the pool, and
`macro_f1` of logit adjustment on vectors with these rows beside the best simple way (in hindsight, those that see the
pool among them; `gain_points`). `answered_pool` has the true labels of the whole pool, so nothing can gain more, and
`gap_closed_ratio` says what part of that is reached; what is lost on the way: `adopted_answered` has the adopted rows
with their true labels, `unsure_too` all rows of the pool with the labels that are likeliest, sure or not.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.actions.adopt import SURE_FROM, weigh_by_shares
from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import sample_by_rank
from counterpoise.scorers.base import ClassifierScorer, SimilarityScorer, cross_fit
from counterpoise.scorers.letters import LETTERS
from counterpoise.scorers.shortlists import make_shortlists
from counterpoise.scorers.weighing import CLASSIFIER, MODEL, STACK, Weighing, weigh
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, find_file, interval, read_csv, resample_means

LABELS, POOL = "labels", "pool"
RIGHT = (0.6, 0.75, 0.8, 0.9, 0.95)
ADVERSARIES = ("random", "first_letter", "another_label", "mute")
FILES = {
    "clinc150": "clinc150/data_full.csv.gz",
    "sms_spam": "sms_spam/sms.csv.gz",
    "davidson_hate": "davidson_hate/tweets.csv.gz",
}
N_KNOWN, N_PILOT, N_DRAWS, N_TESTED = 40, 100, 5, 2_000
N_REPEATS = 4  # draws of known rows from one draw of the data
MOST_ROWS = 6_000  # of sets with few labels
_SURE, _REST = 0.9, 0.1  # what a written letter counts, see `llm.letters`
SILENT = {"accuracy_regret_points": 0.0, "used_ratio": 0.0, "changed_points": 0.0}
"""The score of a judge that says nothing."""
_WAYS = ("logit_adjustment", "tuned_prior", "labelled_pool", "neighbour_votes")


@dataclass(frozen=True)
class Side:
    """Rows with all that is known of them.

    Args:
        labels: (n,) right label indices.
        likely: (n, k) by the classifier, out of fold where they trained it.
        listed: (n, m) labels that a judge is shown.
    """

    labels: Integers
    likely: Floats
    listed: Integers

    def take(self, rows: Integers) -> Side:
        """Some of the rows."""
        return Side(self.labels[rows], self.likely[rows], self.listed[rows])


@dataclass(frozen=True)
class Corpus:
    """A set: texts, (n, d) vectors, labels, and (n, k) similarity to the labels' names."""

    texts: list[str]
    vectors: np.ndarray
    labels: Integers
    zero_shot: Floats

    @property
    def n_labels(self) -> int:
        """How many labels there are."""
        return int(self.zero_shot.shape[1])


def run_ladder(settings: Settings, encoder: Encoder) -> Iterator[Result]:
    """Both parts, or those named with `--only`."""
    parts = [part for part in (LABELS, POOL) if not settings.only or part in settings.only]
    n_draws = 1 if settings.quick else settings.seeds or N_DRAWS
    for name in list(FILES)[1:2] if settings.quick else FILES:
        corpus = read_corpus(settings, name, encoder)
        if LABELS in parts:
            yield from report_ladder(name, corpus, n_draws)
        if POOL in parts and name == "clinc150":
            yield from report_pool(name, corpus, n_draws)


def read_corpus(settings: Settings, name: str, encoder: Encoder) -> Corpus:
    """The distinct texts of a set."""
    lines = read_csv(find_file(settings.data, FILES[name]))
    pairs = {row["text"]: row["label"] for row in lines if row["label"] != "oos"}
    names, texts = sorted(set(pairs.values())), list(pairs)
    if len(names) <= len(LETTERS):
        texts = [texts[place] for place in sample_by_rank(texts, MOST_ROWS, "ladder")]
    vectors = encoder.encode(texts)
    lines_of = tuple(one.replace("_", " ") for one in names)
    zero_shot = SimilarityScorer(encoder, lines_of).score_vectors(vectors)
    return Corpus(texts, vectors, np.array([names.index(pairs[text]) for text in texts]), zero_shot)


def divide(
    corpus: Corpus, sizes: Integers, source: np.random.Generator
) -> tuple[Integers, Side, Integers, Side]:
    """Own rows, so many of each label, and all others: positions and what is known of them."""
    k = corpus.n_labels
    parts = [source.permutation(np.flatnonzero(corpus.labels == label))[: sizes[label]] for label in range(k)]
    own = np.concatenate(parts)
    others = source.permutation(np.setdiff1d(np.arange(len(corpus.labels)), own))
    folds = np.concatenate([np.arange(len(part)) % 5 for part in parts])
    with threadpool_limits(1):
        likely, _ = cross_fit(corpus.vectors[own], corpus.labels[own], folds, k)
        unseen = ClassifierScorer(None, corpus.vectors[own], corpus.labels[own], k)  # type: ignore[arg-type]
        scores = unseen.score_vectors(corpus.vectors[others])
    sides = [
        Side(corpus.labels[rows], table, list_shown(table, corpus.zero_shot[rows]))
        for rows, table in ((own, likely), (others, scores))
    ]
    return own, sides[0], others, sides[1]


def list_shown(likely: Floats, described: Floats) -> Integers:
    """(n, m) labels that a judge is shown: all of them, or the shortlist."""
    n, k = likely.shape
    return np.tile(np.arange(k), (n, 1)) if k <= len(LETTERS) else make_shortlists(likely, described)


def judge(kind: str, right: float, side: Side, source: np.random.Generator) -> Floats:
    """(n, k) what a judge says, as `LabelAnswers.factors` has it; NaN where it says nothing."""
    n, k = side.likely.shape
    n_shown = side.listed.shape[1]
    n_options = n_shown + (k > len(LETTERS))
    is_right = side.listed == side.labels[:, None]
    place = np.where(is_right.any(axis=1), is_right.argmax(axis=1), n_options - 1)
    if kind == "mute":
        return np.full((n, k), np.nan)
    odds = np.ones((n, n_options))
    if kind == "confused":
        odds[:, :n_shown] = np.take_along_axis(side.likely, side.listed, axis=1) ** 0.3
    odds[np.arange(n), place] = 0.0
    wrong = (np.cumsum(odds, axis=1) < source.random((n, 1)) * odds.sum(axis=1, keepdims=True)).sum(axis=1)
    said = np.where(source.random(n) < right, place, wrong)
    if kind == "random":
        said = source.integers(0, n_options, n)
    elif kind == "another_label":
        said = (place + 1) % n_options
    answers = write_letters(said, n_options)
    if kind == "first_letter":  # another answer in either order, in an order that is a hash of the text
        answers[:] = _REST / (n_options - 1)
        pair = np.argsort(source.random((n, n_options)), axis=1)[:, :2]
        np.put_along_axis(answers, pair, (_SURE + _REST / (n_options - 1)) / 2, axis=1)
    factors = np.repeat(answers[:, -1:], k, axis=1)
    np.put_along_axis(factors, side.listed, answers[:, :n_shown], axis=1)
    return factors


def write_letters(said: Integers, n_options: int) -> Floats:
    """(n, o) what is counted where n judges wrote the letter of one of o options."""
    answers = np.full((len(said), n_options), _REST / (n_options - 1))
    answers[np.arange(len(said)), said] = _SURE
    return answers


def decide(weighing: Weighing, who: str, side: Side, said: Floats) -> Integers:
    """(n,) the label that somebody gives each row, under the label shares that the rows show."""
    united = replace(weighing, decides=who).unite(side.likely, said)
    return np.asarray(weigh_by_shares(united).posteriors.argmax(axis=1))


def report_ladder(name: str, corpus: Corpus, n_draws: int) -> Iterator[Result]:
    """Regret and use of every judge."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    k = corpus.n_labels
    rungs = [(kind, right) for kind in ("uniform", "confused") for right in RIGHT]
    for draw in range(n_draws):
        source = np.random.default_rng(draw)
        sizes = np.full(k, 150)
        if k > len(LETTERS):
            sizes = np.where(np.isin(np.arange(k), source.permutation(k)[: k // 2]), 5, 15)
        else:
            sizes[np.bincount(corpus.labels).argmin()] = 15
        _, own, _, rest = divide(corpus, sizes, source)
        rest = rest.take(np.arange(min(N_TESTED, len(rest.labels))))
        for kind, right in [*rungs, *((one, 0.0) for one in ADVERSARIES)]:
            arm = f"{kind}_{round(100 * right)}" if right else kind
            said, asked = judge(kind, right, own, source), judge(kind, right, rest, source)
            for _ in range(N_REPEATS):
                known = source.permutation(len(own.labels))[:N_KNOWN]
                if np.isnan(said[known]).any():
                    score = dict(SILENT)
                else:
                    score = score_choice(own.take(known), said[known], rest, asked)
                for metric, value in score.items():
                    found[arm, metric].append(value)
        print(f"{name}: draw {draw}", file=sys.stderr, flush=True)
    for (arm, metric), values in found.items():
        unit = "ratio" if metric == "used_ratio" else "points"
        yield make_line(f"label-ladder/{name}", arm, metric, values, unit)


def score_choice(known: Side, said: Floats, rest: Side, asked: Floats) -> dict[str, float]:
    """Regret and use of a judge that said `said` of known rows and `asked` of others; in points but for the ratio."""
    weighing = weigh(known.likely, said, known.labels)
    right = {
        who: 100 * float((decide(weighing, who, rest, asked) == rest.labels).mean())
        for who in (CLASSIFIER, MODEL, STACK)
    }
    chosen = right[weighing.decides]
    return {
        "accuracy_regret_points": max(right.values()) - chosen,
        "used_ratio": float(weighing.is_earned),
        "changed_points": chosen - right[CLASSIFIER],
        "accuracy_points": chosen,
    }


def report_pool(name: str, corpus: Corpus, n_draws: int) -> Iterator[Result]:
    """What a judge that is right in 90% makes of a pool."""
    for size in (5, 15):
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for draw in range(n_draws):
            source = np.random.default_rng(100 + draw)
            own_rows, own, others, rest = divide(corpus, np.full(corpus.n_labels, size), source)
            is_test = np.arange(len(others)) < N_TESTED
            test_rows, pool_rows = others[is_test], others[~is_test]
            pool = rest.take(np.flatnonzero(~is_test))
            known = source.permutation(len(own_rows))[:N_PILOT]
            said = judge("uniform", 0.9, own.take(known), source)
            weighing = weigh(own.likely[known], said, own.labels[known])
            united = weigh_by_shares(
                weighing.unite(pool.likely, judge("uniform", 0.9, pool, source))
            ).posteriors
            sure = np.flatnonzero(united.max(axis=1) >= SURE_FROM)
            given = united.argmax(axis=1)[sure]
            found["judge_90", "adopted_right_ratio"].append(float((given == pool.labels[sure]).mean()))
            found["judge_90", "adopted_ratio"].append(len(sure) / len(pool.labels))
            sure_rows = pool_rows[sure]
            additions = {
                "judge_90": (sure_rows, given),
                "answered_pool": (pool_rows, pool.labels),
                "adopted_answered": (sure_rows, corpus.labels[sure_rows]),
                "unsure_too": (pool_rows, united.argmax(axis=1)),
            }
            scores = _train(corpus, own_rows, test_rows, pool_rows, additions)
            best = max(score for arm, score in scores.items() if arm in _WAYS)
            gain, most = scores["judge_90"] - best, scores["answered_pool"] - best
            found["judge_90", "gain_points"].append(100 * gain)
            found["judge_90", "gap_closed_ratio"].append(gain / most if most > 0.01 else float("nan"))
            for arm, score in scores.items():
                found[arm, "macro_f1"].append(score)
            print(f"{name}@{size}: draw {draw}", file=sys.stderr, flush=True)
        for (arm, metric), values in found.items():
            unit = "points" if metric.endswith("points") else "ratio"
            yield make_line(f"label-pool/{name}@{size}", arm, metric, values, unit)


def _train(
    corpus: Corpus,
    own: Integers,
    test: Integers,
    pool: Integers,
    additions: Mapping[str, tuple[Integers, Integers]],
) -> dict[str, float]:
    """Macro-F1 of the student on vectors: each simple way, and logit adjustment with rows of the pool and labels."""
    k = corpus.n_labels
    student = choose_students(("default",), "minilm")[0]

    def show(rows: Integers, labels: Integers) -> Rows:
        column = np.array([corpus.texts[row] for row in rows], dtype=object)
        return make_rows(column, corpus.vectors[rows], labels, zero_shot=corpus.zero_shot[rows])

    mine, tested = show(own, corpus.labels[own]), show(test, corpus.labels[test])
    unlabelled = show(pool, np.full(len(pool), -1))
    scores = {}
    with threadpool_limits(1):
        for name in _WAYS:
            way = TREATMENTS.find(name)
            table = predict_by_treatments(
                [way], student, mine, tested, k, 0, pool=unlabelled if way.uses_pool else None
            )
            scores[name] = compute_macro_f1(table[name].argmax(axis=1), tested.labels, k)
        for arm, (more, labels) in additions.items():
            both = show(np.concatenate([own, more]), np.concatenate([corpus.labels[own], labels]))
            table = predict_by_treatments([BASELINE], student, both, tested, k, 0)
            scores[arm] = compute_macro_f1(table[BASELINE.name].argmax(axis=1), tested.labels, k)
    return scores


def make_line(data: str, arm: str, metric: str, values: list[float], unit: str) -> Result:
    """The mean of values with its interval."""
    low, high = interval(resample_means(values))
    return Result("judges", data, arm, metric, float(np.mean(values)), low, high, len(values), unit)
