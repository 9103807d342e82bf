"""Wrong labels of people (Noisy AG News) and planted ones: found, repaired, and what is promised of it.

`true_label` is read for the known rows (200 drawn at random a seed) and for scoring, never otherwise. Known rows are
left out of detection_auprc, change_precision, drop_precision and the promises; residual_wrong_ratio, fixed_ratio and
clean_test_accuracy are of the whole data, the known rows mended and dropped rows gone, as a user would have it (the
cleanlab arms mend nothing that cleanlab does not find). Dropped rows are not counted as fixed; drop_precision is the
share of them whose label was wrong. promise_broken_ratio is of changed labels, drop_promise_broken_ratio of rows that
were dropped, or would have been if they had not been relabelled. `...@40` are means over forty other draws of the known
rows (`passed_ratio@40`: draws in which any label but a known one changed), `...@200` over two hundred, with judges of
60%, 75% and 90% accuracy that the same known rows audit (`judge_used_ratio`: draws in which one passed). The test is
2,000 clean texts; the student is logistic regression on MiniLM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from counterpoise.actions.relabel.label_promises import LabelSettings
from counterpoise.actions.relabel.label_queue import QUEUE_RATIO, LabelledRows
from counterpoise.actions.relabel.labels import Decisions, decide_labels
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects, find_suspects, score_labels
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.splits import assign_folds, keyed_hash, sample_by_rank
from counterpoise.data.encoders import make_encoder
from counterpoise_retrievers.encoders import CachedEncoder
from evals.common import Result, Settings, find_file, interval, read_csv, resample_means
from evals.mended_runs import run_mended
from evals.planted_confusions import replace_by_cleanlab, run_confusions
from evals.scripted_labels import ScriptedJudge

N_SEEDS = 5
N_GOLD = 200
N_DRAWS = 40
JUDGE_ACCURACY = 0.9
N_JUDGED_DRAWS = 200
JUDGED = (0.6, 0.75, 0.9)
"""Accuracies of judges that pass their audit seldom, half of the time, and nearly always."""

PROMISES = (0.7, 0.8, 0.9)
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
NAME = "label_noise"


class News:
    """Noisy AG News with its vectors; what costs time is computed once."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data / "noisy_ag_news"
        rows = read_csv(find_file(folder, "noisy_5k.csv.gz"))
        clean = read_csv(find_file(folder, "clean_test_2k.csv.gz"))
        if settings.quick:
            rows, clean = rows[:1500], clean[:500]
        self.names = tuple(sorted({row["true_label"] for row in rows}))
        number = {name: place for place, name in enumerate(self.names)}
        self.texts = np.array([row["text"] for row in rows], dtype=object)
        self.given = np.array([number[row["noisy_label"]] for row in rows])
        self.truth = np.array([number[row["true_label"]] for row in rows])
        self.test_truth = np.array([number[row["true_label"]] for row in clean])
        cache_dir = find_cache_dir()
        encoder = CachedEncoder(make_encoder("", cache_dir, ignore), cache_dir / "vectors")
        self.vectors = encoder.encode([str(text) for text in self.texts])
        self.test_vectors = encoder.encode([row["text"] for row in clean])

    def make_records(self, labels: Integers) -> tuple[Records, Integers]:
        """Records with the given labels, and their folds."""
        ids = np.array([f"{keyed_hash('row', str(text)):016x}" for text in self.texts], dtype=object)
        records = Records(ids, self.texts, labels, self.names, groups=ids)
        return records, assign_folds(records, 5, "folds")

    def score_student(self, labels: Integers, kept: NDArray[np.bool_] | None = None) -> float:
        """Accuracy on the clean test texts of a student trained on these labels."""
        kept = np.ones(len(labels), dtype=np.bool_) if kept is None else kept
        model = LogisticRegression(C=3.0, max_iter=1000).fit(self.vectors[kept], labels[kept])
        return float(model.score(self.test_vectors, self.test_truth))


def run(settings: Settings) -> Iterator[Result]:
    """All parts, or those named.

    `--only noisy_ag_news`, `draws` (forty draws of known rows), `judged_draws` (two hundred, with judges), `planted`,
    `confusions` (few wrong labels among many labels), `runs` (mended in a run, before it, or not).
    """
    for part, measure_part in (("confusions", run_confusions), ("runs", run_mended)):
        if not settings.only or part in settings.only:
            for data, arm, metric, values in measure_part(settings):
                if any(value == value for value in values):
                    yield make_result(data, arm, metric, values)
    if settings.only and set(settings.only) <= {"confusions", "runs"}:
        return
    news = News(settings)
    if not settings.only or {"noisy_ag_news", "draws", "judged_draws"} & set(settings.only):
        records, folds = news.make_records(news.given)
        bare = find_suspects(
            news.vectors, news.given, records.groups, folds, len(news.names), texts=news.texts
        )
        if not settings.only or "noisy_ag_news" in settings.only:
            yield from run_human_noise(news, records, folds, bare, settings)
        if not settings.only or "draws" in settings.only:
            yield from run_draws(news, records, folds, bare, settings)
        if not settings.only or "judged_draws" in settings.only:
            yield from run_judged_draws(news, records, folds, bare, settings)
    if not settings.only or "planted" in settings.only:
        yield from run_planted_noise(news, settings)


def run_human_noise(
    news: News, records: Records, folds: Integers, bare: Suspects, settings: Settings
) -> Iterator[Result]:
    """People's mistakes, with and without known labels, with and without a judge."""
    seeds = settings.seeds or N_SEEDS
    wrong = news.given != news.truth
    lines: dict[tuple[str, str], list[float]] = {}

    def note(arm: str, metric: str, value: float) -> None:
        lines.setdefault((arm, metric), []).append(value)

    found = dict(rank_by_cleanlab(news.given, bare.views["classifier"]))
    replaced = replace_by_cleanlab(news.given, bare.views["classifier"])
    student = {
        "nothing": news.score_student(news.given),
        "true_labels": news.score_student(news.truth),
        "cleanlab": news.score_student(replaced),
    }
    for seed in range(seeds):
        gold = draw_known(news, records, f"gold {seed}")
        rest = gold == UNKNOWN
        for name, value in student.items():
            note(name, "clean_test_accuracy", value)
        note("nothing", "residual_wrong_ratio", float(wrong.mean()))
        note("cleanlab", "residual_wrong_ratio", float((replaced != news.truth).mean()))
        changed = replaced != news.given
        note("cleanlab", "change_precision", float((replaced == news.truth)[changed].mean()))
        note("cleanlab", "fixed_ratio", float((replaced == news.truth)[wrong].mean()))
        scores = {
            method: float(average_precision_score(wrong[rest], found[method][rest])) for method in found
        }
        note("cleanlab", "detection_auprc", max(scores.values()))
        note(
            "counterpoise_without_gold",
            "detection_auprc",
            float(average_precision_score(wrong[rest], bare.scores[rest])),
        )
        suspects = find_with(news, records, folds, gold, bare)
        note(
            "counterpoise",
            "detection_auprc",
            float(average_precision_score(wrong[rest], suspects.scores[rest])),
        )
        note("known_rows_only", "clean_test_accuracy", score_known_only(news, np.flatnonzero(~rest)))
        for promised in PROMISES:
            for judge in (
                None,
                ScriptedJudge(
                    dict(zip(news.texts, news.truth, strict=True)),
                    len(news.names),
                    JUDGE_ACCURACY,
                    f"judge {seed}",
                ),
            ):
                arm = f"counterpoise{'_judge_90' if judge else ''}_at_{promised}"
                decisions = decide(news, records, folds, gold, suspects, promised, judge)
                for metric, value in measure(news, decisions, gold).items():
                    note(arm, metric, value)
    for (arm, metric), values in lines.items():
        if all(value != value for value in values):
            continue  # no label changed in any draw: there is no precision
        yield make_result("noisy_ag_news", arm, metric, values)


def run_draws(
    news: News, records: Records, folds: Integers, bare: Suspects, settings: Settings
) -> Iterator[Result]:
    """Forty other draws of known rows: what is mended on average, and how often the promise breaks.

    What a draw mends depends on the ten to twenty known rows among the surest changes, so five draws say little of it.
    The promise may break in one minus the confidence.
    """
    n_draws = 4 if settings.quick else N_DRAWS
    passed: dict[float, list[float]] = {promised: [] for promised in PROMISES}
    residual: dict[float, list[float]] = {promised: [] for promised in PROMISES}
    broken: dict[float, list[float]] = {promised: [] for promised in PROMISES}
    fixed: dict[float, list[float]] = {promised: [] for promised in PROMISES}
    drops: dict[float, list[float]] = {promised: [] for promised in PROMISES}
    accuracy: dict[float, list[float]] = {}
    for draw in range(n_draws):
        gold = draw_known(news, records, f"promise {draw}")
        suspects = find_with(news, records, folds, gold, bare)
        for promised in PROMISES:
            decisions = decide(news, records, folds, gold, suspects, promised, queue_ratio=0.01)
            told = measure(news, decisions, gold, with_student=promised == PROMISES[0])
            broken[promised].append(float(told["change_precision"] < promised))
            drops[promised].append(float(measure_drops(news, decisions, gold) < promised))
            fixed[promised].append(told["fixed_ratio"])
            residual[promised].append(told["residual_wrong_ratio"])
            passed[promised].append(float(told["changed_labels"] > 0))
            if "clean_test_accuracy" in told:
                accuracy.setdefault(promised, []).append(told["clean_test_accuracy"])
    for name, tables in (
        ("promise_broken_ratio", broken),
        ("drop_promise_broken_ratio", drops),
        (f"passed_ratio@{n_draws}", passed),
        (f"fixed_ratio@{n_draws}", fixed),
        (f"residual_wrong_ratio@{n_draws}", residual),
        (f"clean_test_accuracy@{n_draws}", accuracy),
    ):
        for promised, values in tables.items():
            yield make_result("noisy_ag_news", f"counterpoise_at_{promised}", name, values)


def run_judged_draws(
    news: News, records: Records, folds: Integers, bare: Suspects, settings: Settings
) -> Iterator[Result]:
    """How often the promise breaks where the same known rows decide whether a judge is believed, and what passes."""
    n_draws = 4 if settings.quick else N_JUDGED_DRAWS
    truth = dict(zip(news.texts, news.truth, strict=True))
    found: dict[tuple[str, str], list[float]] = {}
    for draw in range(n_draws):
        gold = draw_known(news, records, f"judged {draw}")
        suspects = find_with(news, records, folds, gold, bare)
        for accuracy in JUDGED:
            judge = ScriptedJudge(truth, len(news.names), accuracy, f"judged {draw}")
            for promised in PROMISES[:2]:
                decisions = decide(news, records, folds, gold, suspects, promised, judge)
                told = measure(news, decisions, gold, with_student=False)
                arm = f"counterpoise_judge_{100 * accuracy:.0f}_at_{promised}"
                for metric, value in (
                    ("judge_used_ratio", float(decisions.trial is not None and decisions.trial.is_used)),
                    ("passed_ratio", float(told["changed_labels"] > 0)),
                    ("promise_broken_ratio", float(told["change_precision"] < promised)),
                    ("drop_promise_broken_ratio", float(measure_drops(news, decisions, gold) < promised)),
                ):
                    found.setdefault((arm, f"{metric}@{n_draws}"), []).append(value)
    for (arm, metric), values in found.items():
        yield make_result("noisy_ag_news", arm, metric, values)


def run_planted_noise(news: News, settings: Settings) -> Iterator[Result]:
    """A tenth and a fifth of the true labels replaced at random, a perfect judge: what is surfaced is repaired."""
    for ratio in (0.1, 0.2):
        values: dict[str, list[float]] = {}
        for seed in range(settings.seeds or N_SEEDS):
            planted = news.truth.copy()
            n_planted = round(ratio * len(planted))
            texts = [str(text) for text in news.texts]
            hit = sample_by_rank(texts, n_planted, f"planted {seed}")
            shifts = [1 + keyed_hash(f"shift {seed}", texts[row]) % (len(news.names) - 1) for row in hit]
            planted[hit] = (planted[hit] + shifts) % len(news.names)
            records, folds = news.make_records(planted)
            gold = draw_known(news, records, f"gold {seed}")
            judge = ScriptedJudge(dict(zip(texts, news.truth, strict=True)), len(news.names), 1.0, "perfect")
            suspects = find_suspects(
                news.vectors, planted, records.groups, folds, len(news.names), gold, texts=news.texts
            )
            wrong = (planted != news.truth) & (gold == UNKNOWN)
            queue = suspects.queue[gold[suspects.queue] == UNKNOWN]
            for multiple in (0.5, 1.0, 1.5, 2.0):
                inside = np.zeros(len(planted), dtype=np.bool_)
                inside[queue[: round(multiple * wrong.sum())]] = True
                values.setdefault(f"surfaced_ratio@{multiple}", []).append(
                    float(wrong[inside].sum() / wrong.sum())
                )
            # The queue of the method itself, at twice the number of labels it thinks wrong.
            decisions = decide(news, records, folds, gold, suspects, 0.7, judge)
            relabelled = decisions.outcomes == "relabel"
            right = relabelled & (decisions.after == news.truth)
            size = round(2.0 * suspects.scores.sum())
            asked = np.zeros(len(planted), dtype=np.bool_)
            asked[suspects.queue[:size]] = True
            values.setdefault("surfaced_ratio", []).append(float((wrong & asked).sum() / wrong.sum()))
            values.setdefault("fixed_ratio", []).append(float((wrong & right).sum() / wrong.sum()))
            values.setdefault("queue_over_noise_ratio", []).append(
                float(asked[gold == UNKNOWN].sum() / wrong.sum())
            )
        for metric, draws in values.items():
            yield make_result(f"planted_{ratio}", "counterpoise_judge_perfect", metric, draws)


def draw_known(news: News, records: Records, key: str) -> Integers:
    """(n,) the true labels of rows drawn by hash, `UNKNOWN` of the others."""
    gold = np.full(len(news.truth), UNKNOWN)
    known = sample_by_rank(records.ids, N_GOLD, key)
    gold[known] = news.truth[known]
    return gold


def decide(
    news: News,
    records: Records,
    folds: Integers,
    gold: Integers,
    suspects: Suspects,
    promised: float,
    judge: ScriptedJudge | None = None,
    queue_ratio: float = QUEUE_RATIO,
) -> Decisions:
    """What the product makes of these suspects."""
    return asyncio.run(
        decide_labels(
            LabelledRows(records, news.vectors, folds, gold),
            settings=LabelSettings(promised, queue_ratio=queue_ratio),
            judge=judge,
            suspects=suspects,
        )
    )


def find_with(news: News, records: Records, folds: Integers, gold: Integers, bare: Suspects) -> Suspects:
    """`find_suspects` with known rows; the views that do not depend on them are taken over."""
    return find_suspects(
        news.vectors, news.given, records.groups, folds, len(news.names), gold, views=bare.views
    )


def measure(
    news: News, decisions: Decisions, gold: Integers, *, with_student: bool = True
) -> dict[str, float]:
    """What a set of decisions is worth; training the student on the result is most of the time it takes."""
    relabelled, dropped = decisions.outcomes == "relabel", decisions.outcomes == "drop"
    labels = np.where(relabelled, decisions.after, news.given)
    unknown = relabelled & (gold == UNKNOWN)
    wrong = news.given != news.truth
    right = labels == news.truth
    found = {
        "changed_labels": float(unknown.sum()),
        "dropped_rows": float(dropped.sum()),
        "change_precision": _take_mean(right[unknown]),
        "drop_precision": _take_mean(wrong[dropped]),
        "fixed_ratio": float(right[wrong].mean()),
        "fixed_without_known_ratio": float(right[wrong & (gold == UNKNOWN)].mean()),
        "residual_wrong_ratio": float(1.0 - right[~dropped].mean()),
    }
    if with_student:
        found["clean_test_accuracy"] = news.score_student(labels, ~dropped)
    return found


def measure_drops(news: News, decisions: Decisions, gold: Integers) -> float:
    """Share of wrong labels among the rows that the promise about dropping speaks of; NaN where there are none."""
    promise, suspects = decisions.drop_promise, decisions.suspects
    if promise is None or not promise.is_kept:
        return float("nan")
    changed = (decisions.outcomes == "relabel") | (decisions.outcomes == "drop")
    spoken = changed & (gold == UNKNOWN) & (suspects.scores >= promise.threshold)
    return _take_mean((news.given != news.truth)[spoken])


def _take_mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def rank_by_cleanlab(labels: Integers, probabilities: Floats) -> Iterator[tuple[str, Floats]]:
    """Suspicion by every score cleanlab has."""
    from cleanlab.rank import get_label_quality_scores

    for method in METHODS:
        yield method, -score_labels(labels, probabilities, method)
        if method != METHODS[-1]:
            yield (
                f"{method}, adjusted",
                -get_label_quality_scores(labels, probabilities, method=method, adjust_pred_probs=True),
            )


def score_known_only(news: News, known: Integers) -> float:
    """The student trained on the known rows alone: what they are worth without the others."""
    model = LogisticRegression(C=3.0, max_iter=1000).fit(news.vectors[known], news.truth[known])
    return float(model.score(news.test_vectors, news.test_truth))


def make_result(data: str, arm: str, metric: str, values: Sequence[float]) -> Result:
    """Mean over draws with a bootstrap interval; draws without a value (nothing changed) are left out and counted."""
    there = [value for value in values if value == value]
    if not there:
        return Result(NAME, data, arm, metric, float("nan"), float("nan"), float("nan"), 0)
    low, high = interval(resample_means(there))
    return Result(
        NAME, data, arm, metric, float(np.mean(there)), low, high, len(there), extra={"draws": len(values)}
    )
