"""Who may judge concepts: each scorer, and the stack of them, against people's answers on CEBaB's test split.

A seed asks for 40 answers a concept on the training split: half drawn at random, which only audits see, half spread
over the range of the similarity, which scorers are trained on. Everything is then measured on the test split, which
nothing was chosen on. `stacked_with_noise` has random numbers in the place of the language model, forced into the
stack (`auc_difference`: what that costs); `stacked_with_scripted` a model that is right nine times of ten.

`chosen` is the scorer that the audits let decide (AUROC 0.5 where none may), `chosen_with_...` beside one of the two
models: `auc_regret` is what the best of the scorers it was chosen from has more, `used_ratio` how often what the model
said decides, directly or by the student it taught. Rules of choice were tried on other draws of the answers (seeds 100
and up).

The language model itself is asked about a sample of the test texts (zero-shot, two wordings, two orders, contextual
calibration); n says how many. `stacked_with_embedded` is the stack with it forced in although its pilot refuses it,
measured on the same texts (`auc_difference`: with it less without).

Judges of labels have ladders of their own, see `label_ladder` (`--only labels`, `--only pool`) and `real_judges`
(`--only real`).

    python -m evals judges --data DIR [--seeds 10] [--engine embedded|URL] [--only free|llm|labels|pool|real]
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.data.encoders import make_encoder
from counterpoise.llm import ChatClient, ReplyStore, TokenBudget
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.servers.embedded import N_SLOTS
from counterpoise.scorers.audits import audit, measure_kappa
from counterpoise.scorers.concepts.labeller import (
    AuditedScorer,
    choose_scorer,
    fit_candidates,
    is_worth_its_price,
    standardise_model,
)
from counterpoise.scorers.concepts.model import ModelPilot, make_concept_scorer, run_pilot
from counterpoise.scorers.concepts.passages import make_passages
from counterpoise.scorers.concepts.rankers import FREE_RANKERS, cross_fit_ranker, fit_ranker
from counterpoise.scorers.concepts.stacks import Stack, weigh_scorers
from counterpoise.scorers.concepts.views import Views, make_anchors, make_views, take_views
from counterpoise.scorers.gold import Gold, choose_rows_to_ask
from counterpoise.students.metrics import compute_auroc
from counterpoise_retrievers.encoders import CachedEncoder
from evals.common import Result, Settings, find_file, interval, open_engine, read_jsonl, resample_means
from evals.label_ladder import LABELS, POOL, run_ladder
from evals.real_judges import REAL, run_real_judges

CONCEPTS = {
    "food": "what was eaten or drunk",
    "service": "waiters and staff",
    "ambiance": "the atmosphere and decor of the place",
    "noise": "how loud or quiet it was",
}
N_ASKED, QUICK_N_ASKED = 40, 20
BUDGET = 2_000_000
"""Tokens of the run that the pilot's share is counted from: the default of a job."""

_TEXTS_FOR_MODEL = 60
_NOTHING = float("nan")


class Split:
    """One file of CEBaB with views and people's answers."""

    def __init__(self, settings: Settings, name: str, encoder: CachedEncoder) -> None:
        rows = read_jsonl(find_file(settings.data, f"cebab/{name}.jsonl.gz"))
        if settings.quick:
            rows = rows[: 300 if name.startswith("train") else 30]
        texts = [str(row["text"]) for row in rows]
        passages = make_passages(texts, encoder.encode(texts), encoder)
        self.views: dict[str, Views] = {
            concept: make_views(passages, make_anchors(concept, meaning, encoder))
            for concept, meaning in CONCEPTS.items()
        }
        self.truth: dict[str, Integers] = {
            concept: np.array([read_truth(row[concept]) for row in rows]) for concept in CONCEPTS
        }
        column = np.empty(len(rows), dtype=object)
        column[:] = texts
        ids = np.array([str(row["id"]) for row in rows], dtype=object)
        self.records = Records(ids, column, np.zeros(len(rows), dtype=np.int64), ("any",))


def read_truth(vote: str) -> int:
    """1 where the majority says that it is mentioned, 0 where not, -1 where nobody says."""
    return {"Positive": 1, "Negative": 1, "unknown": 0}.get(vote, -1)


def ask(train: Split, concept: str, seed: int, n: int = N_ASKED) -> Gold:
    """The `n` answers of one seed, out of those that people gave."""
    known = np.flatnonzero(train.truth[concept] >= 0)
    scores = train.views[concept].similarity[known][:, None]
    asked = choose_rows_to_ask(train.records.take(known), n, f"seed {seed}", scores)
    rows, truth = known[asked.rows], train.truth[concept]
    audited, trained = rows[asked.is_audit], rows[~asked.is_audit]
    return Gold(audited, truth[audited], trained, truth[trained])


def script(truth: Integers, generator: np.random.Generator) -> Floats:
    """Probabilities of a model that is right nine times of ten."""
    right = generator.random(len(truth)) < 0.9
    return np.where(right == (truth == 1), 0.95, 0.05)


def run(settings: Settings) -> Iterator[Result]:
    """The lines of this evaluation; those of the language model, which take longest, come last."""
    cache_dir = find_cache_dir(None)
    encoder = CachedEncoder(make_encoder("", cache_dir, ignore), cache_dir / "vectors")
    if not settings.only or {LABELS, POOL} & set(settings.only):
        yield from run_ladder(settings, encoder)
    if not settings.only or REAL in settings.only:
        yield from run_real_judges(settings, encoder)
    if settings.only and not {"free", "llm"} & set(settings.only):
        return
    train, test = Split(settings, "train_exclusive", encoder), Split(settings, "test", encoder)
    seeds = list(range(settings.seeds or (1 if settings.quick else 10)))
    n = QUICK_N_ASKED if settings.quick else N_ASKED
    gold = {seed: {concept: ask(train, concept, seed, n) for concept in CONCEPTS} for seed in seeds}
    if not settings.only or "free" in settings.only:
        yield from report_free(train, test, gold)
    if not settings.only or "llm" in settings.only:
        with open_engine(settings.engine) as llm:
            n_texts = 4 if settings.quick else _TEXTS_FOR_MODEL
            asked = asyncio.run(_ask_model(llm, train, test, gold, cache_dir, n_texts))
        yield from report_model(test, *asked[:3])
        yield from report_forced(train, test, gold, asked[1], asked[3])


def report_free(train: Split, test: Split, gold: Mapping[int, Mapping[str, Gold]]) -> Iterator[Result]:
    """The scorers that cost no token, their stack, and the stack with two made-up models."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    chosen: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for seed, answers in gold.items():
        fitted: dict[str, dict[str, list[tuple[AuditedScorer, float]]]] = defaultdict(dict)
        for concept in CONCEPTS:
            _measure(concept, seed, answers[concept], train, test, found, fitted)
        _choose(fitted, chosen)
    for (concept, arm, metric), values in found.items():
        low, high = interval(resample_means(values))
        n, extra = int((test.truth[concept] >= 0).sum()), {"seeds": len(values)}
        yield Result(
            "judges", f"cebab/{concept}", arm, metric, float(np.mean(values)), low, high, n, extra=extra
        )
    for concept in CONCEPTS:
        full = np.array(found[concept, "stacked", "auc"])
        falls = [float(value) for value in np.array(found[concept, "stacked_with_noise", "auc"]) - full]
        low, high = interval(resample_means(falls))
        value = float(np.mean(falls))
        yield Result(
            "judges", f"cebab/{concept}", "stacked_with_noise", "auc_difference", value, low, high, len(falls)
        )
    for (concept, arm, metric), values in chosen.items():
        low, high = interval(resample_means(values)) if metric.startswith("auc") else (_NOTHING, _NOTHING)
        yield Result(
            "judges", f"cebab/{concept}", arm, metric, float(np.mean(values)), low, high, len(values)
        )


def report_model(
    test: Split, pilots: Mapping[int, ModelPilot], judged: Mapping[str, Floats], tokens: list[float]
) -> Iterator[Result]:
    """The language model: its pilots, and what it says of a sample of the test texts."""
    for concept in CONCEPTS:
        table, truth = judged[concept], test.truth[concept]
        rows = np.flatnonzero(~np.isnan(table[:, 0]) & (truth >= 0))
        if not len(rows) or len(np.unique(truth[rows])) < 2:
            continue
        result = audit(table[rows], truth[rows])
        for metric, value, low, high in (
            ("auc", result.auc, result.auc_low, result.auc_high),
            ("accuracy", result.accuracy, result.low, result.high),
            ("kappa", result.kappa, result.kappa_low, result.kappa_high),
        ):
            yield Result("judges", f"cebab/{concept}", "llm", metric, value, low, high, len(rows))
    refused = [float(not pilot.passes) for pilot in pilots.values()]
    value = float(np.mean(refused))
    yield Result("judges", "cebab", "llm", "refused_ratio", value, _NOTHING, _NOTHING, len(refused))
    kappas = [pilot.result.kappa for pilot in pilots.values() if pilot.result]
    if kappas:
        value = float(np.mean(kappas))
        yield Result("judges", "cebab", "llm", "pilot_kappa", value, min(kappas), max(kappas), len(kappas))
    yield Result(
        "judges",
        "cebab",
        "llm",
        "audit_token_ratio",
        max(tokens) / BUDGET,
        _NOTHING,
        _NOTHING,
        len(tokens),
        extra={"tokens": int(max(tokens)), "budget": BUDGET},
    )


def report_forced(
    train: Split,
    test: Split,
    gold: Mapping[int, Mapping[str, Gold]],
    judged: Mapping[str, Floats],
    said: Mapping[tuple[int, str], Floats],
) -> Iterator[Result]:
    """The stack with the language model forced into it, pilot or not: what that costs on the sample of test texts.

    Args:
        train: the split of the answers.
        test: the other.
        gold: by seed and concept the answers.
        judged: by concept (n, 2) the model's probabilities for test texts, NaN where it was not asked.
        said: by seed and concept (t,) its probabilities of yes for the training rows.
    """
    for concept in CONCEPTS:
        truth = test.truth[concept]
        rows = np.flatnonzero(~np.isnan(judged[concept][:, 0]) & (truth >= 0))
        if len(np.unique(truth[rows])) < 2:
            continue
        views, found = take_views(test.views[concept], rows), []
        for seed, answers in gold.items():
            own = answers[concept]
            good = ~np.isnan(said[seed, concept])
            asked = replace(
                own, training_rows=own.training_rows[good], training_truth=own.training_truth[good]
            )
            pair = force_model(
                train.views[concept], asked, said[seed, concept][good], views, judged[concept][rows, 1]
            )
            found.append([compute_auroc(np.column_stack([-one, one]), truth[rows]) for one in pair])
        table = np.array(found)
        for metric, values in (("auc", table[:, 1]), ("auc_difference", table[:, 1] - table[:, 0])):
            low, high = interval(resample_means(values.tolist()))
            extra = {"seeds": len(values)}
            arm, mean = "stacked_with_embedded", float(values.mean())
            yield Result("judges", f"cebab/{concept}", arm, metric, mean, low, high, len(rows), extra=extra)


def force_model(
    reference: Views, gold: Gold, said: Floats, views: Views, judged: Floats
) -> tuple[Floats, Floats]:
    """(n,) scores of the stack of free scorers, and of the same with a model in it, weighed by the same answers.

    Args:
        reference: texts that scorers are scaled on.
        gold: answers; the training half is read.
        said: (t,) the model's probabilities for that half.
        views: of n texts to score.
        judged: (n,) the model's probabilities for these.
    """
    rows, truth = gold.training_rows, gold.training_truth
    fitted = {name: fit_ranker(one, reference, rows, truth) for name, one in FREE_RANKERS.items()}
    rankers = {name: ranker for name, ranker in fitted.items() if ranker is not None}
    crossed = {name: cross_fit_ranker(FREE_RANKERS[name], reference, rows, truth) for name in rankers}
    shown = {name: column for name, column in crossed.items() if column is not None}
    scaled = standardise_model(np.concatenate([said, judged]))
    mine, others = scaled[: len(said)], {"llm": scaled[len(said) :]}
    without = Stack(rankers, weigh_scorers(shown, truth))
    with_model = Stack(rankers, weigh_scorers({**shown, "llm": mine}, truth))
    return without.score(views), with_model.score(views, others)


def _measure(
    concept: str,
    seed: int,
    gold: Gold,
    train: Split,
    test: Split,
    found: dict[tuple[str, str, str], list[float]],
    fitted: dict[str, dict[str, list[tuple[AuditedScorer, float]]]],
) -> None:
    known = np.flatnonzero(test.truth[concept] >= 0)
    views, truth = take_views(test.views[concept], known), test.truth[concept][known]
    generator = np.random.default_rng([seed, *concept.encode()])
    reference = train.views[concept]
    noise, noise_test = generator.random(len(train.records)), generator.random(len(known))
    scripted, scripted_test = script(train.truth[concept], generator), script(truth, generator)
    sets: dict[str, tuple[list[AuditedScorer], dict[str, Floats]]] = {
        "": (fit_candidates(reference, gold), {}),
        "noise": (fit_candidates(reference, gold, noise, 1000.0), {"llm": standardise_model(noise_test)}),
        "scripted": (
            fit_candidates(reference, gold, scripted, 1000.0),
            {"llm": standardise_model(scripted_test)},
        ),
    }
    for kind, (candidates, given) in sets.items():
        fitted[kind][concept] = []
        for candidate in candidates:
            probabilities = candidate.stack.predict(views, given)
            auc = compute_auroc(probabilities, truth)
            fitted[kind][concept].append((candidate, auc))
            named = {"stacked_with_llm": f"stacked_with_{kind}", "llm": kind}
            arm = named.get(candidate.name, "") if kind else candidate.name
            if not arm:
                continue
            answers = probabilities.argmax(axis=1)
            found[concept, arm, "auc"].append(auc)
            found[concept, arm, "accuracy"].append(float((answers == truth).mean()))
            found[concept, arm, "kappa"].append(measure_kappa(answers, truth)[0])


def _choose(
    fitted: Mapping[str, Mapping[str, list[tuple[AuditedScorer, float]]]],
    chosen: dict[tuple[str, str, str], list[float]],
) -> None:
    """Which scorer decides in each concept, with no model and with each of the two, and what a better choice gains."""
    for kind, concepts in fitted.items():
        pays = is_worth_its_price([[candidate for candidate, _ in pairs] for pairs in concepts.values()])
        for concept, pairs in concepts.items():
            nowhere = np.empty((0, 0), np.float32)
            candidates = [candidate for candidate, _ in pairs]
            decided = choose_scorer(concept, nowhere, candidates, is_paid_worthwhile=pays).chosen
            worth = {id(candidate): auc for candidate, auc in pairs}
            auc = worth[id(decided)] if decided else 0.5
            arm = f"chosen_with_{kind}" if kind else "chosen"
            chosen[concept, arm, "auc"].append(auc)
            chosen[concept, arm, "auc_regret"].append(max(worth.values()) - auc)
            chosen[concept, arm, "decided_ratio"].append(float(decided is not None))
            if not kind:
                for name in (*FREE_RANKERS, "stacked"):
                    is_it = decided is not None and decided.name == name
                    chosen[concept, name, "used_ratio"].append(float(is_it))
                continue
            is_used = decided is not None and bool({"llm", "student"} & set(decided.stack.weights))
            chosen[concept, kind, "used_ratio"].append(float(is_used))


async def _ask_model(
    llm: Mapping[str, Any],
    train: Split,
    test: Split,
    gold: Mapping[int, Mapping[str, Gold]],
    cache_dir: Any,
    n_texts: int,
) -> tuple[dict[int, ModelPilot], dict[str, Floats], list[float], dict[tuple[int, str], Floats]]:
    """The pilots, the answers about a sample of test texts, what each pilot cost, the answers about training rows."""
    pilots, tokens, said = {}, [], {}
    judged = {concept: np.full((len(test.records), 2), np.nan) for concept in CONCEPTS}

    def open_chat(store: ReplyStore, limit: int | None) -> ChatClient:
        engine = OpenAIEngine(llm["url"], "", api_key=os.environ.get(llm.get("api_key_env", ""), ""))
        return ChatClient([engine], store, TokenBudget(limit), concurrency=llm.get("concurrency", N_SLOTS))

    with ReplyStore(cache_dir / "replies.sqlite") as store:
        for seed, answers in gold.items():
            async with open_chat(store, BUDGET) as chat:
                pilots[seed] = await run_pilot(chat, train.records, CONCEPTS, answers, f"seed {seed}")
                tokens.append(float(chat.budget.used))
                print(f"seed {seed}: {pilots[seed].note}", file=sys.stderr, flush=True)
        async with open_chat(store, None) as chat:
            for concept, meaning in CONCEPTS.items():
                known = np.flatnonzero(test.truth[concept] >= 0)
                rows = known[sample_by_rank(test.records.ids[known], n_texts, "judges")]
                scorer = make_concept_scorer(chat, concept, meaning)
                judged[concept][rows] = await scorer.score(test.records.take(rows))
                for seed, answers in gold.items():
                    asked = train.records.take(answers[concept].training_rows)
                    said[seed, concept] = (await scorer.score(asked))[:, 1]
                print(f"{concept}: the model was asked", file=sys.stderr, flush=True)
    return pilots, judged, tokens, said
