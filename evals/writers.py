"""Written rows of writers whose worth is known: how the product uses them beside plain use, and beside no row at all.

Training sets are drawn as in `simple_ways` (15 rows of each rare label); a writer fills the rare labels, for no token.
Nothing is filtered: it is the use of rows that is looked at. Writers (one arm each):

- `real_rows`: real rows of the label that nobody has seen, the ceiling;
- `wrong_labels`: the same, of which three in ten carry the rare label wrongly;
- `gpt4`: what GPT-4 wrote from rows that are in the draw (`tweets_of_500` only);
- `headings`: real rows of other labels, all under a rare one;
- `gibberish`: words of the training texts in random order;
- `copies`: own rows of the rare label once more, with one word left out.

Metrics are macro-F1 on the test rows in different uses: `simple` (the way without tokens that the run chooses), `plain`
(rows added as they are, logits adjusted), `before` (half and half with own rows, written ones at a weight of 0.2: how
it was), `recommended` (what the product takes), `hindsight` (the best of these in the mean over draws).
`shortfall_points` is hindsight less recommended, `gain_points` recommended over simple.

    python -m evals writers --data DIR [--only cebab] [--seeds 5] [--quick]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.added_ways import AVERAGED, find_mixture
from counterpoise.students.base import fit_adjusted
from counterpoise.students.evidence import parse_evidence, read_shipped
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.validation import choose_best, recommend, score_arms
from counterpoise.students.weights import weigh_rows
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, find_file, interval, read_jsonl, resample_means
from evals.further_sets import SETS, list_kin
from evals.minority_text import Corpus, divide_draw, open_encoder
from evals.sampler import load_tweets
from evals.simple_ways import Draw, make_draw

PARENTS = "tweets_of_500"
PARTS = ("cebab", "sms_spam", "gpt_written_tweets", "davidson_hate", "two_topics", "film_sentences", PARENTS)
N_SEEDS = 3
USES = ("simple", "plain", "before", "recommended")
Texts = list[tuple[str, str, tuple[str, ...]]]
"""Text, label, texts that it was made from."""
Scores = dict[tuple[str, str, str], list[float]]
"""(writer, student, use) -> macro-F1 of every draw."""


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    encoder, found = open_encoder(), dict[str, Scores]()
    sets = {**SETS, PARENTS: load_parents}
    names = [name for name in settings.only if name in sets] or PARTS
    for name in names[:1] if settings.quick else names:
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            corpus = sets[name](settings.data)
            for key, value in run_draw(name, corpus, encoder, seed, settings.data).items():
                found.setdefault(name, {}).setdefault(key, []).append(value)
            print(f"{name}: draw {seed + 1}", file=sys.stderr, flush=True)
        yield from summarise(name, [found[name]])
    if len(found) > 1:
        yield from summarise("all", list(found.values()))


def run_draw(
    name: str, corpus: Corpus, encoder: Encoder, seed: int, folder: Path
) -> dict[tuple[str, str, str], float]:
    """One draw: (writer, student, use) -> macro-F1."""
    draw = make_draw(corpus, encoder, seed, with_pool=False)
    students, usual = choose_students(("default",), "minilm"), TREATMENTS.choose(["default"])
    ways = [way for way in usual if not way.uses_pool]
    counts = np.bincount(draw.own.labels, minlength=draw.n_labels)
    evidence = parse_evidence(read_shipped(), list_kin("gpt_written_tweets" if name == PARENTS else name))
    found: dict[tuple[str, str, str], float] = {}
    with threadpool_limits(1):
        scores = score_arms(draw.own, draw.folds, draw.n_labels, students, ways)
        simple = choose_best(scores, "macro_f1", ways, counts, evidence)
        for writer, texts in write(corpus, seed, folder).items():
            rows, folds, parents = join(draw, texts, corpus, encoder)
            mixtures = {student.name: find_mixture(student) for student in students}
            mixed = score_arms(
                rows, folds, draw.n_labels, students, [*dict.fromkeys(mixtures.values())], parents
            )
            chosen = recommend(scores, mixed, "macro_f1", counts, ways, mixtures, evidence)
            for student in students:
                used = {
                    "simple": simple[student.name],
                    "before": AVERAGED,
                    "recommended": chosen[student.name],
                }
                tables = predict_by_treatments(used.values(), student, rows, draw.test, draw.n_labels, seed)
                answers = {use: tables[way.name] for use, way in used.items()}
                answers["plain"] = fit_adjusted(student, rows, draw.test, draw.n_labels)
                for use, table in answers.items():
                    value = compute_macro_f1(table.argmax(axis=1), draw.test.labels, draw.n_labels)
                    found[writer, student.name, use] = value
    return found


def write(corpus: Corpus, seed: int, folder: Path) -> dict[str, Texts]:
    """What each writer gives for a draw."""
    train, extra, rest = divide_draw(corpus, seed)
    generator = random.Random(seed)
    rare = [(text, label) for text, label in extra if label in corpus.rare]
    others = [text for text, label in rest if label not in corpus.rare]
    generator.shuffle(others)
    words = [word for text, _ in train for word in text.split()]
    own = {label: [text for text, given in train if given == label] for label in corpus.rare}
    is_wrong = [generator.random() < 0.3 for _ in rare]
    sources = {label: generator.choices(texts, k=len(rare)) for label, texts in own.items()}
    written: dict[str, Texts] = {
        "real_rows": [(text, label, ()) for text, label in rare],
        "wrong_labels": [
            (others[row % len(others)] if wrong else text, label, ())
            for row, ((text, label), wrong) in enumerate(zip(rare, is_wrong, strict=True))
        ],
        "headings": [(others[row % len(others)], label, ()) for row, (_, label) in enumerate(rare)],
        "gibberish": [
            (" ".join(generator.choices(words, k=len(text.split()))), label, ()) for text, label in rare
        ],
        "copies": [
            (_drop_word(sources[label][row], generator), label, (sources[label][row],))
            for row, (_, label) in enumerate(rare)
        ],
    }
    if corpus.name == PARENTS:
        return {"gpt4": _read_gpt4(folder, own)}
    return written


def _drop_word(text: str, generator: random.Random) -> str:
    words = text.split()
    del words[generator.randrange(len(words))]
    return " ".join(words)


def _read_gpt4(folder: Path, own: Mapping[str, Sequence[str]]) -> Texts:
    """Texts whose parents are rows of the draw."""
    path = find_file(folder, "gpt_written_tweets/gpt-4_balanced.jsonl.gz")
    rows = [row for row in read_jsonl(path) if row["parent"] in own.get(row["label"], ())]
    return [(str(row["text"]), str(row["label"]), (str(row["parent"]),)) for row in rows]


def load_parents(folder: Path) -> Corpus:
    """Tweets by sentiment as in `gpt_written_tweets`, negative ones out of those that GPT-4 wrote from."""
    corpus = load_tweets(folder)
    rows = read_jsonl(find_file(folder, "gpt_written_tweets/real_500.jsonl.gz"))
    parents = dict.fromkeys((row["text"], row["label"]) for row in rows if row["label"] in corpus.rare)
    others = [(text, label) for text, label in corpus.rows if label not in corpus.rare]
    return replace(corpus, name=PARENTS, rows=[*parents, *others])


def join(draw: Draw, texts: Texts, corpus: Corpus, encoder: Encoder) -> tuple[Rows, Integers, Floats]:
    """Own and written rows, their folds, and of which folds the written ones were made."""
    names = sorted(corpus.labels)
    own, scorer = draw.own, SimilarityScorer(encoder, tuple(corpus.labels[name] for name in names))
    vectors = encoder.encode([text for text, *_ in texts])
    labels = np.array([*own.labels, *(names.index(label) for _, label, _ in texts)])
    is_written = np.arange(len(labels)) >= len(own)
    sources = np.empty(len(labels), dtype=object)
    sources[:] = [*((text,) for text in own.texts), *(parents for *_, parents in texts)]
    fold_of = dict(zip(own.texts, draw.folds, strict=True))
    made_of = np.zeros((len(labels), int(draw.folds.max()) + 1))
    for row, (*_, parents) in enumerate(texts, start=len(own)):
        for parent in parents:
            made_of[row, fold_of[parent]] = 1
    rows = make_rows(
        np.concatenate([own.texts, np.array([text for text, *_ in texts], dtype=object)]),
        np.concatenate([own.vectors, vectors]),
        labels,
        weights=weigh_rows(labels, is_written, draw.n_labels),
        original=~is_written,
        zero_shot=np.concatenate([own.zero_shot, scorer.score_vectors(vectors)]),
        sources=sources,
    )
    return rows, np.concatenate([draw.folds, np.full(len(texts), -1)]), made_of


def summarise(name: str, sets: Sequence[Scores]) -> Iterator[Result]:
    """Lines of one set, or means over several: draws are resampled within each."""
    for writer, student in dict.fromkeys((writer, who) for scores in sets for writer, who, _ in scores):
        mine = [scores for scores in sets if (writer, student, "simple") in scores]

        def draw(
            use: str, scores: Sequence[Scores] = mine, key: tuple[str, str] = (writer, student)
        ) -> Floats:
            parts = [resample_means(one[*key, use], seed=place) for place, one in enumerate(scores)]
            return np.asarray(np.mean(parts, axis=0))

        def mean(
            use: str, scores: Sequence[Scores] = mine, key: tuple[str, str] = (writer, student)
        ) -> float:
            return float(np.mean([np.mean(one[*key, use]) for one in scores]))

        best, n = max(USES, key=mean), len(mine[0][writer, student, "simple"])
        for use, taken in (*((use, use) for use in USES), ("hindsight", best)):
            extra = {"use": best} if use == "hindsight" else {}
            yield Result(
                "writers",
                f"{name}/{student}",
                writer,
                use,
                mean(taken),
                *interval(draw(taken)),
                n,
                extra=extra,
            )
        for metric, one, other in (
            ("shortfall_points", best, "recommended"),
            ("gain_points", "recommended", "simple"),
            ("over_before_points", "recommended", "before"),
        ):
            drawn = 100 * (draw(one) - draw(other))
            value = 100 * (mean(one) - mean(other))
            yield Result("writers", f"{name}/{student}", writer, metric, value, *interval(drawn), n, "points")
