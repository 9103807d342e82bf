"""Who may judge labels, where judges err as people and models do: on the texts that are hard, towards the likely label.

Of a skewed draw 40 rows are known, by chance, as in `label_ladder`; a judge is weighed on these, and who then decides
labels the other rows. Real judges:

- `one_vote`: one vote of those that annotators gave a text (CEBaB's stars, davidson's tweets), drawn; right is what
  most of them say. `noisy_label`: what people said of noisy_ag_news, where right is known.
- `first_stage`, `second_stage` (rlhn_sample: a passage answers a query or not): the verdicts of one model where those
  of the other stand for right, as there is no human gold; `scripted_cascade`, two scripted judges one after the other.
- what a server answers that has one of `adversaries`, asked by the product's own prompts (Business and World of
  noisy_ag_news); `server_honest_writer` is one that knows the labels.

Beside them scripted judges and the adversaries of `label_ladder`, on the same rows and on tweets with their sentiment.
No rule was set on any of these sets but davidson_hate; `real-judges` has the means over all judges that are right more
often than chance, apart for the two kinds of sets.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_hash, sample_by_rank
from counterpoise.data.instances import Passage
from counterpoise.llm import ChatClient
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.scorers.label_choice import LabelChoice, LabelQuestion
from counterpoise_retrievers.encoders import Encoder
from evals.adversaries import ORDER, AdversaryServer, Knowledge, make_adversaries, quote
from evals.common import Result, Settings, find_file, read_csv, read_jsonl
from evals.label_ladder import (
    ADVERSARIES,
    MOST_ROWS,
    N_KNOWN,
    N_REPEATS,
    N_TESTED,
    SILENT,
    Corpus,
    Side,
    divide,
    judge,
    make_line,
    score_choice,
    write_letters,
)
from evals.scripted_judges import FIRST, SECOND, DirectJudges

REAL = "real"
RULED = frozenset({"davidson_hate"})
"""Sets that a rule of the product was set on."""

N_DRAWS = 3
_SCRIPTED = tuple((kind, right) for kind in ("uniform", "confused") for right in (0.75, 0.9))
_N_SERVED = 300  # rows of a draw that a server is asked about

Say = Callable[[Integers, np.random.Generator], Integers]
"""(n,) label indices that a judge says of the rows at n positions."""


@dataclass(frozen=True)
class JudgedSet:
    """A set with the judges that there are for it.

    Args:
        name: of the set.
        corpus: its texts and right labels.
        judges: by name.
        n_rare: own rows of the rarest label.
        n_plenty: own rows of each other label.
    """

    name: str
    corpus: Corpus
    judges: Mapping[str, Say] = field(default_factory=dict)
    n_rare: int = 15
    n_plenty: int = 150


def run_real_judges(settings: Settings, encoder: Encoder) -> Iterator[Result]:
    """A line a set, judge and metric, then the means."""
    n_draws = 1 if settings.quick else settings.seeds or N_DRAWS
    pairs = (partial(read_pairs, right=1), partial(read_pairs, right=0))
    readers = pairs[:1] if settings.quick else (read_stars, read_tweets, read_topics, read_moods, *pairs)
    regrets: dict[bool, list[float]] = defaultdict(list)
    for read in readers:
        one = read(settings, encoder)
        for (arm, metric), values in measure(one, n_draws).items():
            unit = "ratio" if metric == "used_ratio" else "points"
            yield make_line(f"real-judges/{one.name}", arm, metric, values, unit)
            if metric == "accuracy_regret_points" and arm not in ADVERSARIES:
                regrets[one.name in RULED].append(float(np.mean(values)))
    if not settings.quick:
        for (arm, metric), values in measure_served(read_two_topics(settings, encoder), n_draws).items():
            unit = "ratio" if metric == "used_ratio" else "points"
            yield make_line("real-judges/two_topics", arm, metric, values, unit)
    for is_ruled, values in regrets.items():
        arm = "sets_of_a_rule" if is_ruled else "other_sets"
        yield make_line("real-judges", arm, "accuracy_regret_points", values, "points")


def measure(one: JudgedSet, n_draws: int) -> dict[tuple[str, str], list[float]]:
    """By judge and metric a value a draw of rows and of known rows."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    k = one.corpus.n_labels
    for draw in range(n_draws):
        source = np.random.default_rng([draw, k])
        own_rows, own, rest_rows, rest = _divide(one, source)
        said: dict[str, tuple[Floats, Floats]] = {}
        for name, say in one.judges.items():
            said[name] = (
                write_letters(say(own_rows, source), k),
                write_letters(say(rest_rows, source), k),
            )
        for kind, right in (*_SCRIPTED, *((name, 0.0) for name in ADVERSARIES)):
            arm = f"{kind}_{round(100 * right)}" if right else kind
            said[arm] = judge(kind, right, own, source), judge(kind, right, rest, source)
        for _ in range(N_REPEATS):
            known = source.permutation(len(own.labels))[:N_KNOWN]
            for arm, (mine, others) in said.items():
                _note(found, arm, own.take(known), mine[known], rest, others)
        print(f"{one.name}: draw {draw}", file=sys.stderr, flush=True)
    return found


def measure_served(one: JudgedSet, n_draws: int) -> dict[tuple[str, str], list[float]]:
    """The same for what servers answer that mean harm or know nothing, and for an honest one."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    names = ("Business", "World")
    for draw in range(min(2, n_draws)):
        source = np.random.default_rng([draw, 2])
        own_rows, own, rest_rows, rest = _divide(one, source)
        rest_rows = rest_rows[:_N_SERVED]
        rest = rest.take(np.arange(len(rest_rows)))
        rows = np.concatenate([own_rows, rest_rows])
        texts = [hide_order(one.corpus.texts[row]) for row in rows]
        truth = {quote(text): names[one.corpus.labels[row]] for text, row in zip(texts, rows, strict=True)}
        written = {name: [text for text in texts if truth[quote(text)] == name] for name in names}
        known = Knowledge({name: name for name in names}, written, truth, f"draw {draw}")
        for name, adversary in make_adversaries(known).items():
            with AdversaryServer(adversary, name) as server:
                factors = asyncio.run(_ask(server.url, names, texts))
            said, asked = factors[: len(own_rows)], factors[len(own_rows) :]
            for _ in range(N_REPEATS):
                picked = source.permutation(len(own.labels))[:N_KNOWN]
                _note(found, f"server_{name}", own.take(picked), said[picked], rest, asked)
        print(f"{one.name}: draw {draw}", file=sys.stderr, flush=True)
    return found


def hide_order(text: str) -> str:
    """A text with an order to the model in it, one in five of them."""
    return text if keyed_hash("order", text) % 5 else ORDER + text


async def _ask(url: str, names: Sequence[str], texts: Sequence[str]) -> Floats:
    async with ChatClient([OpenAIEngine(url, "")], concurrency=8) as chat:
        choice = LabelChoice(chat, tuple(names))
        return (await choice.answer([LabelQuestion(text) for text in texts])).factors


def _note(
    found: dict[tuple[str, str], list[float]],
    arm: str,
    known: Side,
    said: Floats,
    rest: Side,
    asked: Floats,
) -> None:
    is_silent = bool(np.isnan(said).any())
    scores = dict(SILENT) if is_silent else score_choice(known, said, rest, asked)
    if not np.isnan(asked).any():
        scores["judge_right_points"] = 100 * float((asked.argmax(axis=1) == rest.labels).mean())
    for metric, value in scores.items():
        found[arm, metric].append(value)


def _divide(one: JudgedSet, source: np.random.Generator) -> tuple[Integers, Side, Integers, Side]:
    sizes = np.full(one.corpus.n_labels, one.n_plenty)
    sizes[np.bincount(one.corpus.labels).argmin()] = one.n_rare
    own_rows, own, rest_rows, rest = divide(one.corpus, sizes, source)
    n = min(N_TESTED, len(rest.labels))
    return own_rows, own, rest_rows[:n], rest.take(np.arange(n))


def read_stars(settings: Settings, encoder: Encoder) -> JudgedSet:
    """CEBaB's stars, one text of each original review."""
    rows = read_jsonl(find_file(settings.data, "cebab/train_exclusive.jsonl.gz"))
    for name in ("dev", "test"):
        more = read_jsonl(find_file(settings.data, f"cebab/{name}.jsonl.gz"))
        rows += [row for row in more if row["is_original"]]
    rows = [row for row in rows if row["review_majority"] in set("12345")]
    names = tuple("12345")
    votes = np.array([[row["review_votes"].get(name, 0) for name in names] for row in rows], dtype=float)
    labels = [int(row["review_majority"]) - 1 for row in rows]
    lines = tuple(f"a review with {name} of 5 stars" for name in names)
    return JudgedSet(
        "cebab",
        make_corpus([str(row["text"]) for row in rows], labels, lines, encoder),
        {"one_vote": draw_votes(votes)},
        n_plenty=100,
    )


def read_tweets(settings: Settings, encoder: Encoder) -> JudgedSet:
    """Davidson's tweets."""
    rows = read_csv(find_file(settings.data, "davidson_hate/tweets.csv.gz"))
    names = ("hate", "neither", "offensive")
    rows = list({row["text"]: row for row in rows}.values())
    rows = [rows[place] for place in sample_by_rank([row["text"] for row in rows], MOST_ROWS, "ladder")]
    votes = np.array([[float(row[f"{name}_votes"]) for name in names] for row in rows])
    labels = [names.index(row["label"]) for row in rows]
    corpus = make_corpus([row["text"] for row in rows], labels, names, encoder)
    return JudgedSet("davidson_hate", corpus, {"one_vote": draw_votes(votes)})


def read_topics(
    settings: Settings, encoder: Encoder, names: tuple[str, ...] = ("Business", "Sci/Tech", "Sports", "World")
) -> JudgedSet:
    """The news of some topics, and what people took them for."""
    rows = read_csv(find_file(settings.data, "noisy_ag_news/noisy_5k.csv.gz"))
    rows = list({row["text"]: row for row in rows}.values())
    rows = [row for row in rows if row["true_label"] in names and row["noisy_label"] in names]
    said = np.array([names.index(row["noisy_label"]) for row in rows])
    labels = [names.index(row["true_label"]) for row in rows]
    corpus = make_corpus([row["text"] for row in rows], labels, names, encoder)
    return JudgedSet("noisy_ag_news", corpus, {"noisy_label": lambda rows, source: said[rows]})


def read_moods(settings: Settings, encoder: Encoder) -> JudgedSet:
    """Tweets with their sentiment, for scripted judges."""
    rows = read_jsonl(find_file(settings.data, "gpt_written_tweets/test_4k.jsonl.gz"))
    pairs = {str(row["text"]): str(row["label"]) for row in rows}
    names = tuple(sorted(set(pairs.values())))
    labels = [names.index(label) for label in pairs.values()]
    return JudgedSet("tweet_sentiment", make_corpus(list(pairs), labels, names, encoder))


def read_two_topics(settings: Settings, encoder: Encoder) -> JudgedSet:
    """Those of two topics, which servers are asked about."""
    one = read_topics(settings, encoder, ("Business", "World"))
    return JudgedSet("two_topics", one.corpus, n_plenty=75)


def read_pairs(settings: Settings, encoder: Encoder, right: int) -> JudgedSet:
    """Queries and passages of FiQA that two models gave a verdict on: it answers (1) or not (0).

    Args:
        settings: where the file lies.
        encoder: of queries and passages; a pair is shown by where both point together.
        right: the stage whose verdicts stand for right, 0 or 1; the other one is a judge.
    """
    pairs: list[tuple[str, Passage]] = []
    said: list[list[int]] = []
    for row in read_jsonl(find_file(settings.data, "rlhn_sample/fiqa.jsonl.gz")):
        stages = [row["stage1_gpt4o_mini"], row["stage2_gpt4o"]]
        if not all(stages):
            continue
        found = [{*one["false_negative_ids"], *one["worse_relevant_ids"]} for one in stages]
        for passage in row["negatives"]:
            pairs.append((row["query"], Passage(passage["id"], passage["text"])))
            said.append([int(passage["id"] in ids) for ids in found])
    verdicts = np.array(said)
    queries = encoder.encode([query for query, _ in pairs])
    products = queries * encoder.encode([passage.text for _, passage in pairs])
    cosines = products.sum(axis=1).astype(np.float64)
    products /= np.maximum(np.linalg.norm(products, axis=1, keepdims=True), 1e-9)
    answering = verdicts[:, right] == 1
    relevant = {
        (query, passage.full_text)
        for (query, passage), answers in zip(pairs, answering, strict=True)
        if answers
    }
    cascade = DirectJudges(FIRST, SECOND, relevant, seed=0)
    judged = np.array([int(cascade.relabels(*pair)) for pair in pairs])
    corpus = Corpus(
        [f"{query}\n{passage.text}" for query, passage in pairs],
        products,
        verdicts[:, right],
        np.column_stack([np.full(len(pairs), cosines.mean()), cosines]),
    )
    judges: dict[str, Say] = {
        ("second_stage", "first_stage")[right]: lambda rows, source: verdicts[rows, 1 - right],
        "scripted_cascade": lambda rows, source: judged[rows],
    }
    name = f"rlhn/right_by_{('first', 'second')[right]}_stage"
    return JudgedSet(name, corpus, judges, n_rare=10, n_plenty=90)


def draw_votes(votes: Floats) -> Say:
    """A judge that says one of the votes of a text, drawn; (n, k) counts of them."""

    def say(rows: Integers, source: np.random.Generator) -> Integers:
        shares = np.cumsum(votes[rows], axis=1)
        drawn = source.random((len(rows), 1)) * shares[:, -1:]
        return np.asarray((shares <= drawn).sum(axis=1))

    return say


def make_corpus(texts: list[str], labels: Sequence[int], lines: Sequence[str], encoder: Encoder) -> Corpus:
    """Texts with vectors, right labels and similarity to a line a label."""
    vectors = encoder.encode(texts)
    zero_shot = SimilarityScorer(encoder, tuple(lines)).score_vectors(vectors)
    return Corpus(texts, vectors, np.array(labels), zero_shot)
