"""Skewed texts: is a data set with written or adopted records worth more than the simple ways?

For each draw a training set is made skew (300 rows against 15 of CEBaB's original reviews, and alike on other
sets), the agent runs on it, and every arm trains two students that are scored on the same test rows. Gains count
from the best arm that costs no token, chosen with hindsight on the test rows: the hardest baseline there is.
`gap_closed_ratio` is (ours - best zero-token) / (real data - best zero-token) in macro-F1, `auroc_gap_closed_ratio`
the same in AUROC; their intervals resample draws. With `_beyond_usual_arms` the zero-shot prior, which is ours, is no
baseline. `macro_f1_natural` is the macro-F1 that the same answers have where labels are as common as in the whole set.
Lines of macro-F1 and AUROC carry the value of every draw (`draws`) and, where inner validation measured the arm, what
it said of it before the test rows were scored (`validation`): what the evaluation `forecast` compares.

Rare labels have 15 rows; the parts `NAME@5` and `NAME@50` (`+pool`: with a pool of unlabelled rows) have
another number of them, and fewer draws.

An action that is not in the default list is tried by its name behind a part (`cebab@15+NAME`).

    python -m evals minority_text --data DIR [--only cebab@15] [--only cebab@5+pool] [--seeds 10]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

import counterpoise
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.core.splits import keyed_rank
from counterpoise.data.encoders import make_encoder
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.metrics import compute_auroc, compute_macro_f1
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.weights import weigh_rows
from counterpoise.tasks.text.job import Job, job_from
from counterpoise_retrievers.encoders import CachedEncoder, Encoder
from evals.common import (
    Floats,
    Result,
    Settings,
    find_file,
    interval,
    open_engine,
    read_csv,
    read_jsonl,
    resample_means,
)
from evals.easy_augmentation import fill_labels
from evals.students import STUDENTS, has_arm, make_features, name_mixture, predict

SIMPLE_ARMS = (*TREATMENTS.defaults, "smote", "easy_augmentation")
RIVAL_WAYS = {"": "nothing", "_adjusted": "logit_adjustment", "_our_way": "added_rows"}
"""How rows that others made are used, where there are any (`peers`): ending of the arm's name -> way."""

OUR_ARMS = ("unverified", "added_rows", "averaged", "counterpoise")
N_RARE = 15
QUICK_BUDGET = "3k"
N_OTHER_SEEDS = 3
"""Draws with another number of rare rows."""
METRICS = ("macro_f1", "macro_f1_natural", "auroc")
GAPS = {"macro_f1": "gap_closed_ratio", "auroc": "auroc_gap_closed_ratio"}


@dataclass(frozen=True)
class Corpus:
    """A data set for this evaluation.

    Args:
        name: as `data` in the results.
        rows: training texts with labels.
        test: test texts with labels.
        pool: further texts for the pool, whatever their labels.
        rare: labels that are made rare.
        full: rows of every other label, and of all of them in the reference with real data.
        labels: label -> one line that says what such texts are.
        seeds: draws by default.
        budget: tokens a draw.
        n_rare: rows of each rare label.
        action: one that is listed before the default ones, "" for these alone.
    """

    name: str
    rows: list[tuple[str, str]]
    test: list[tuple[str, str]]
    pool: list[tuple[str, str]]
    rare: frozenset[str]
    full: int
    labels: Mapping[str, str]
    seeds: int
    budget: str = "120k"
    n_rare: int = N_RARE
    action: str = ""


def load_cebab(folder: Path) -> Corpus:
    """Original reviews, 4-5 stars against 1-2; tests are those of dev and test (431)."""

    def read(name: str) -> list[dict[str, Any]]:
        return read_jsonl(find_file(folder, f"cebab/{name}.jsonl.gz"))

    def label(row: Mapping[str, Any]) -> str:
        return {"4": "positive", "5": "positive", "1": "negative", "2": "negative"}.get(
            row["review_majority"], ""
        )

    train = [row for row in read("train_inclusive") if label(row)]
    test = [row for name in ("dev", "test") for row in read(name) if row["is_original"] and label(row)]
    return Corpus(
        "cebab",
        [(row["text"], label(row)) for row in train if row["is_original"]],
        [(row["text"], label(row)) for row in test],
        [(row["text"], label(row)) for row in train if not row["is_original"]],
        frozenset({"negative"}),
        300,
        {
            "positive": "Positive restaurant reviews written by happy customers",
            "negative": "Negative restaurant reviews written by unhappy customers",
        },
        10,
    )


def load_sms(folder: Path) -> Corpus:
    """Text messages: spam made rare; tests are a fixed fifth of the distinct texts."""
    rows = dict.fromkeys(
        (row["text"], row["label"]) for row in read_csv(find_file(folder, "sms_spam/sms.csv.gz"))
    )
    return divide_corpus(
        "sms_spam",
        list(rows),
        frozenset({"spam"}),
        {
            "ham": "Ordinary text messages between friends and family",
            "spam": "Spam text messages: adverts, prizes and offers",
        },
    )


def load_hate(folder: Path) -> Corpus:
    """Tweets: hate speech made rare beside offensive language and neither."""
    rows = dict.fromkeys(
        (row["text"], row["label"]) for row in read_csv(find_file(folder, "davidson_hate/tweets.csv.gz"))
    )
    names = sorted({label for _, label in rows})
    rare = next(name for name in names if "hate" in name)
    descriptions = {
        name: {
            "hate": "Tweets with hate speech against a group of people",
            "offe": "Tweets with offensive language",
        }.get(name[:4], "Ordinary tweets that offend nobody")
        for name in names
    }
    return divide_corpus(
        "davidson_hate",
        list(rows),
        frozenset({rare}),
        descriptions,
    )


def load_clinc(folder: Path) -> Corpus:
    """Intents of the banking domain: five of the fifteen made rare."""
    about = "Requests to a bank's assistant about: "
    return load_domain(folder, "clinc150", "banking", about)


def load_domain(folder: Path, name: str, domain: str, about: str, first: int = 0) -> Corpus:
    """Intents of one domain of clinc150: every third made rare, from the one at place `first`."""
    rows = [
        row for row in read_csv(find_file(folder, "clinc150/data_full.csv.gz")) if row["domain"] == domain
    ]
    pairs = {
        part: [(row["text"], row["label"]) for row in rows if row["split"] == part]
        for part in ("train", "test")
    }
    names = sorted({label for _, label in pairs["train"]})
    return Corpus(
        name,
        pairs["train"],
        pairs["test"],
        [],
        frozenset(names[first::3]),
        100,
        {intent: about + intent.replace("_", " ") for intent in names},
        3,
    )


def divide_corpus(
    name: str,
    rows: list[tuple[str, str]],
    rare: frozenset[str],
    labels: Mapping[str, str],
    *,
    full: int = 300,
    seeds: int = 3,
) -> Corpus:
    """The first fifth by keyed hash, at most 150 a label, is the test part: the same for every draw."""
    order = keyed_rank([text for text, _ in rows], f"{name}:test")
    n_test = len(rows) // 5
    test = []
    for label in sorted(labels):
        test += [rows[row] for row in order[:n_test] if rows[row][1] == label][:150]
    return Corpus(name, [rows[row] for row in order[n_test:]], test, [], rare, full, labels, seeds)


CORPORA: dict[str, Callable[[Path], Corpus]] = {
    "cebab": load_cebab,
    "davidson_hate": load_hate,
    "sms_spam": load_sms,
    "clinc150": load_clinc,
}


def run(settings: Settings) -> Iterator[Result]:
    """Run all parts, or those named with `--only`."""
    encoder = open_encoder()
    with open_engine(settings.engine) as llm:
        for wanted in settings.only or ("",):
            part, action = divide_action(wanted)
            yield from run_parts([part] if part else [], action, llm, encoder, settings)


def run_parts(
    only: Sequence[str], action: str, llm: Mapping[str, Any], encoder: Encoder, settings: Settings
) -> Iterator[Result]:
    """Some parts, with another action beside the default list where one is named."""
    for name, n_rare, with_pool in list_parts(only, quick=settings.quick):
        corpus = replace(CORPORA[name](settings.data), n_rare=n_rare, action=action)
        if n_rare != N_RARE:
            corpus = replace(corpus, seeds=N_OTHER_SEEDS)
        if settings.quick:
            corpus = replace(corpus, budget=QUICK_BUDGET, seeds=1)
        yield from run_corpus(corpus, llm, encoder, settings, with_pool=with_pool)


def divide_action(wanted: str) -> tuple[str, str]:
    """A part, and the action behind it that is to be tried there.

    >>> divide_action("cebab@5+pool"), divide_action("cebab@15+mine.own")
    (('cebab@5+pool', ''), ('cebab@15', 'mine.own'))
    """
    part, plus, action = wanted.rpartition("+")
    return (wanted, "") if not plus or action == "pool" else (part, action)


def list_parts(only: Sequence[str], *, quick: bool) -> list[tuple[str, int, bool]]:
    """Data set, rows of a rare label, and whether there is a pool, of each part.

    >>> list_parts(["cebab@5+pool", "sms_spam"], quick=False)
    [('cebab', 5, True), ('sms_spam', 15, False), ('sms_spam', 15, True)]
    """
    if not only:
        sizes = (N_RARE,) if quick else (N_RARE, 5, 50)
        names = ("cebab", "sms_spam") if quick else tuple(CORPORA)
        return [(name, size, pool) for size in sizes for name in names for pool in (False, True)]
    parts = []
    for wanted in only:
        name, _, size = wanted.removesuffix("+pool").partition("@")
        pools = (True,) if wanted.endswith("+pool") else (False,) if size else (False, True)
        if name in CORPORA:
            parts += [(name, int(size or N_RARE), pool) for pool in pools]
    return parts


def open_encoder() -> Encoder:
    """The product's own encoder with its cache of vectors."""
    folder = find_cache_dir()
    return CachedEncoder(make_encoder("", folder, ignore), folder / "vectors")


def run_corpus(
    corpus: Corpus, llm: Mapping[str, Any], encoder: Encoder, settings: Settings, *, with_pool: bool
) -> Iterator[Result]:
    """All draws of one data set."""
    n_seeds = settings.seeds or corpus.seeds
    scores: dict[tuple[str, str, str], list[float]] = {}
    validation: dict[tuple[str, str, str], list[float]] = {}
    tokens: list[float] = []
    facts: list[dict[str, Any]] = []
    for seed in range(n_seeds):
        started = monotonic()
        drawn = run_draw(corpus, llm, encoder, seed, with_pool=with_pool)
        for key, value in drawn["scores"].items():
            scores.setdefault(key, []).append(value)
            validation.setdefault(key, []).append(drawn["validation"].get(key, float("nan")))
        tokens.append(drawn["tokens_per_accepted"])
        facts.append(drawn["facts"])
        print(
            f"{corpus.name}{' with pool' if with_pool else ''}: draw {seed + 1} of {n_seeds}, "
            f"{monotonic() - started:.0f} s, {drawn['facts']}",
            file=sys.stderr,
            flush=True,
        )
    data = corpus.name + (f"@{corpus.n_rare}" if corpus.n_rare != N_RARE else "")
    data += ("+pool" if with_pool else "") + (f"+{corpus.action}" if corpus.action else "")
    yield from summarise(data, scores, validation, tokens, facts)


def run_draw(
    corpus: Corpus,
    llm: Mapping[str, Any],
    encoder: Encoder,
    seed: int,
    *,
    with_pool: bool,
    rival: Callable[[int], Mapping[str, Sequence[tuple[str, str]]]] | None = None,
) -> dict[str, Any]:
    """One draw: make the data skew, run the agent, train and score every arm.

    Args:
        corpus: the data.
        llm: the `llm` key of a job.
        encoder: of the texts.
        seed: of the draw.
        with_pool: whether there is a pool of unlabelled texts.
        rival: from the tokens that the agent used to the rows that each of some others made with as many.
    """
    names = sorted(corpus.labels)
    train, extra, rest = divide_draw(corpus, seed)
    pool = draw_pool(corpus, rest, seed) if with_pool else []
    with tempfile.TemporaryDirectory() as folder:
        run_ = counterpoise.run(make_job(corpus, train, pool, llm, seed, folder))
        added = [row for row in run_.dataset["train"] if row["provenance"]["kind"] != "original"]
        refused = [row for row in run_.rejected if row["reason"] not in ("empty", "refusal", "prompt_echo")]
        spend = run_.report_data["spend"]
        ways = run_.report_data["ways"]
        own_ways = {student: str(ways[student]["added_rows"]) for student in STUDENTS}
        chosen = {student: str(ways[student]["chosen"]) for student in STUDENTS}
        best = run_.report_data["validation"]["best_zero_token"]
        mixed = {student: name_mixture(student, best[student]) for student in STUDENTS}
        validation = read_validation(run_.report_data["validation"]["rows"], chosen, mixed)
    text_of = {row["provenance"]["id"]: row["text"] for row in run_.dataset["train"]}
    truth_of_pool = dict(pool)
    adopted = [row for row in added if row["provenance"]["kind"] == "adopted"]
    n_right = sum(truth_of_pool.get(row["text"]) == row["label"] for row in adopted)

    def rows_of(pairs: Sequence[tuple[str, str]], extra_rows: Sequence[Mapping[str, Any]] = ()) -> Rows:
        texts = np.array([text for text, _ in pairs] + [row["text"] for row in extra_rows], dtype=object)
        labels = np.array(
            [names.index(label) for _, label in pairs] + [names.index(row["label"]) for row in extra_rows]
        )
        written = np.array(
            [False] * len(pairs)
            + [(row.get("kind") or row["provenance"]["kind"]) != "adopted" for row in extra_rows]
        )
        vectors = encoder.encode(list(texts))
        sources = np.empty(len(texts), dtype=object)
        sources[:] = [(text,) for text, _ in pairs] + [
            tuple(text_of[one] for one in row.get("provenance", {}).get("parents", ()) if one in text_of)
            for row in extra_rows
        ]
        return make_rows(
            texts,
            vectors,
            labels,
            weights=weigh_rows(labels, written, len(names)),
            sources=sources,
            original=np.arange(len(labels)) < len(pairs),
            zero_shot=SimilarityScorer(encoder, tuple(corpus.labels[name] for name in names)).score_vectors(
                vectors
            ),
        )

    own = rows_of(train)
    test = rows_of(corpus.test)
    unlabelled = rows_of(pool) if pool else None
    shares = np.bincount(
        [names.index(label) for _, label in dict.fromkeys(corpus.rows)], minlength=len(names)
    )
    trains = {arm: ("nothing" if arm == "smote" else arm, own) for arm in SIMPLE_ARMS}
    trains["easy_augmentation"] = ("nothing", rows_of([*train, *fill_labels(train, seed)]))
    trains["counterpoise"] = ("counterpoise", rows_of(train, added))
    trains |= {arm: (arm, trains["counterpoise"][1]) for arm in ("added_rows", "averaged")}
    trains["unverified"] = ("added_rows", rows_of(train, [*added, *refused]))
    trains["real_data"] = ("nothing", rows_of([*train, *extra]))
    if rival is not None:
        for who, made in rival(int(spend["used"])).items():
            rows = rows_of([*train, *made])
            weighed = rows_of(train, [{"text": text, "label": label, "kind": who} for text, label in made])
            for ending, way in RIVAL_WAYS.items():
                trains[f"{who}{ending}"] = (way, weighed if way == "added_rows" else rows)
    scores = {}
    with threadpool_limits(1):
        for arm, (way, rows) in trains.items():
            for student in STUDENTS:
                if not has_arm(arm, student):
                    continue
                if arm == "smote":
                    table = predict_smote(student, rows, test, len(names), seed)
                else:
                    mine = {"counterpoise": chosen, "added_rows": own_ways, "averaged": mixed}.get(
                        way, {}
                    ).get(student, way)
                    table = predict(mine, student, rows, test, len(names), seed, unlabelled)
                ranks = softmax(table, axis=1) if len(names) > 2 else table
                answers = table.argmax(axis=1)
                scores[arm, student, "macro_f1"] = compute_macro_f1(answers, test.labels, len(names))
                scores[arm, student, "macro_f1_natural"] = compute_macro_f1(
                    answers, test.labels, len(names), shares=shares
                )
                scores[arm, student, "auroc"] = compute_auroc(ranks, test.labels)
    return {
        "scores": scores,
        "validation": validation,
        "tokens_per_accepted": spend["tokens_per_accepted"] or float("nan"),
        "facts": {
            "added": len(added),
            "adopted": len(adopted),
            "adopted_right": round(n_right / len(adopted), 3) if adopted else None,
            "refused": len(refused),
            "tokens": spend["used"],
            "chosen": list(chosen.values()),
        },
    }


def read_validation(
    rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, str], mixed: Mapping[str, str]
) -> dict[tuple[str, str, str], float]:
    """What a run's inner validation said of each arm: (arm, student, metric) -> value.

    Args:
        rows: `validation` of the report.
        chosen: student -> the way that the run chose; what was said of it is said of the arm `counterpoise`.
        mixed: student -> the way that the arm `averaged` stands for.
    """
    said: dict[tuple[str, str, str], float] = {}
    for row in rows:
        for metric in GAPS:
            said[row["arm"], row["student"], metric] = row[metric]
    for student, way in chosen.items():
        arm = "averaged" if way == mixed[student] else way
        for metric in GAPS:
            said["counterpoise", student, metric] = said[arm, student, metric]
    return said


def make_job(
    corpus: Corpus,
    train: Sequence[tuple[str, str]],
    pool: Sequence[tuple[str, str]],
    llm: Mapping[str, Any],
    seed: int,
    folder: str,
) -> Job:
    """The job of a draw; its run directory lies in `folder`."""
    return job_from(
        data=_as_columns(train),
        held_out=_as_columns(corpus.test),
        text="text",
        label="label",
        labels=dict(corpus.labels),
        llm=dict(llm),
        budget=corpus.budget,
        actions=[*([corpus.action] if corpus.action else []), "default"],
        seed=seed,
        output=str(Path(folder) / "run"),
        **({"pool": {"text": [text for text, _ in pool]}} if pool else {}),
    )


def _as_columns(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    return {"text": [text for text, _ in pairs], "label": [label for _, label in pairs]}


def divide_draw(
    corpus: Corpus, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """The skewed training rows, the real rows that would make it even, and what is left."""
    train: list[tuple[str, str]] = []
    extra: list[tuple[str, str]] = []
    rest: list[tuple[str, str]] = []
    for label in sorted(corpus.labels):
        members = [row for row in dict.fromkeys(corpus.rows) if row[1] == label]
        ranked = [members[row] for row in keyed_rank([text for text, _ in members], f"draw {seed}")]
        kept = corpus.n_rare if label in corpus.rare else corpus.full
        train += ranked[:kept]
        extra += ranked[kept : corpus.full]
        rest += ranked[kept:]
    return train, extra, rest


def draw_pool(
    corpus: Corpus, rest: Sequence[tuple[str, str]], seed: int, size: int = 1000
) -> list[tuple[str, str]]:
    """Unlabelled texts: what the draw left over, filled up with others of the set; labels only to count with."""
    tests = {text for text, _ in corpus.test}
    pool = [rest[row] for row in keyed_rank([text for text, _ in rest], f"pool {seed}")[:size]]
    order = keyed_rank([text for text, _ in corpus.pool], f"pool {seed}")
    return (pool + [corpus.pool[row] for row in order if corpus.pool[row][0] not in tests])[:size]


def predict_smote(student: str, train: Rows, test: Rows, n_labels: int, seed: int) -> np.ndarray[Any, Any]:
    """SMOTE (Chawla et al. 2002) on the student's features, as many neighbours as the rarest label allows."""
    from imblearn.over_sampling import SMOTE

    from counterpoise.students.linear import fit_log_probabilities

    features, test_features = make_features(student, train, test)
    rarest = int(np.bincount(train.labels).min())
    if rarest < 2:
        return predict("oversampling", student, train, test, n_labels, seed)
    sampler = SMOTE(k_neighbors=min(5, rarest - 1), random_state=seed)
    more, labels = sampler.fit_resample(features, train.labels)
    return fit_log_probabilities(more, labels, np.ones(len(labels)), test_features, n_labels)


def summarise(
    data: str,
    scores: Mapping[tuple[str, str, str], Sequence[float]],
    validation: Mapping[tuple[str, str, str], Sequence[float]],
    tokens: Sequence[float],
    facts: Sequence[Mapping[str, Any]],
) -> Iterator[Result]:
    """Means over draws, and the part of the gap to real data that each of our arms closes."""
    for student in STUDENTS:
        name = f"{data}/{student}"
        for metric in METRICS:
            mine = {
                arm: list(values)
                for (arm, who, what), values in scores.items()
                if (who, what) == (student, metric)
            }
            for arm, values in mine.items():
                low, high = interval(resample_means(values))
                said = validation.get((arm, student, metric), [])
                extra: dict[str, Any] = {}
                if metric in GAPS:
                    extra["draws"] = [round(value, 5) for value in values]
                if any(value == value for value in said):
                    extra["validation"] = [round(value, 5) if value == value else None for value in said]
                yield Result(
                    "minority_text",
                    name,
                    arm,
                    metric,
                    float(np.mean(values)),
                    low,
                    high,
                    len(values),
                    extra=extra,
                )
            if metric not in GAPS:
                continue
            gap = GAPS[metric]
            yield from compare(name, metric, gap, mine, [arm for arm in SIMPLE_ARMS if arm in mine])
            usual = [arm for arm in SIMPLE_ARMS if arm in mine and arm != "zero_shot_prior"]
            yield from compare(name, "", f"{gap}_beyond_usual_arms", mine, usual)
    known = [value for value in tokens if value == value]
    if known:
        low, high = interval(resample_means(known))
        yield Result(
            "minority_text",
            data,
            "counterpoise",
            "tokens_per_accepted",
            float(np.mean(known)),
            low,
            high,
            len(known),
            "tokens",
        )
    right = [fact["adopted_right"] for fact in facts if fact["adopted_right"] is not None]
    if right:
        low, high = interval(resample_means(right))
        yield Result(
            "minority_text",
            data,
            "counterpoise",
            "adopted_right_ratio",
            float(np.mean(right)),
            low,
            high,
            len(right),
        )


def find_best(scores: Mapping[str, Sequence[float] | Floats], arms: Iterable[str]) -> str:
    """The arm that is best on the mean over its draws, of those that were measured; the first of equals."""
    return max((arm for arm in arms if arm in scores), key=lambda arm: float(np.mean(scores[arm])))


def compare(
    name: str, metric: str, gap: str, scores: Mapping[str, Sequence[float]], baselines: Sequence[str]
) -> Iterator[Result]:
    """Gap closed by each of our arms beyond the best of `baselines`, and with `metric` the paired difference."""
    best = find_best(scores, baselines)
    base = resample_means(scores[best])
    room = resample_means(scores["real_data"]) - base
    extra = {"baseline": best}
    for arm in OUR_ARMS:
        difference = np.asarray(scores[arm]) - np.asarray(scores[best])
        ratio = difference.mean() / (np.mean(scores["real_data"]) - np.mean(scores[best]))
        low, high = interval((resample_means(scores[arm]) - base) / room)
        yield Result("minority_text", name, arm, gap, float(ratio), low, high, len(scores[arm]), extra=extra)
        if metric:
            low, high = interval(resample_means(list(difference)))
            value = float(difference.mean())
            yield Result(
                "minority_text",
                name,
                arm,
                f"{metric}_difference",
                value,
                low,
                high,
                len(difference),
                extra=extra,
            )
