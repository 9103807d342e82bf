"""Who may judge concepts: each scorer, and the stack of them, against people's answers on CEBaB's test split.

A seed asks for 40 answers a concept on the training split: half drawn at random, which only audits see, half spread
over the range of the similarity, which scorers are trained on. Everything is then measured on the test split, which
nothing was chosen on. `stacked_with_noise` has random numbers in the place of the language model, forced into the
stack (`auc_difference`: what that costs); `stacked_with_scripted` a model that is right nine times of ten.
The language model itself is asked about a sample of the test texts (zero-shot, two wordings, two orders, contextual
calibration); n says how many.

    python -m evals judges --data DIR [--seeds 10] [--engine embedded|URL] [--only free] [--only llm]
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from counterpoise.assets import find_cache_dir
from counterpoise.audits import audit, measure_kappa
from counterpoise.concept_model import Pilot, make_concept_scorer, run_pilot
from counterpoise.concept_scorers import FREE_SCORERS, Views, make_anchors, make_views, take_views
from counterpoise.concepts import (
    Candidate,
    choose_scorer,
    fit_candidates,
    is_worth_its_price,
    standardise_model,
)
from counterpoise.events import ignore
from counterpoise.gold import Gold, choose_rows_to_ask
from counterpoise.llm import ChatClient, ReplyStore, TokenBudget
from counterpoise.llm.openai_engine import OpenAIEngine
from counterpoise.llm.servers import N_SLOTS
from counterpoise.metrics import compute_auroc
from counterpoise.passages import make_passages
from counterpoise.preparation import make_encoder
from counterpoise.records import Floats, Integers, Records
from counterpoise.splits import sample_by_rank
from counterpoise_retrievers.encoders import CachedEncoder
from evals.common import Result, Settings, find_file, interval, open_engine, read_jsonl, resample_means

CONCEPTS = {
    "food": "what was eaten or drunk",
    "service": "waiters and staff",
    "ambiance": "the atmosphere and decor of the place",
    "noise": "how loud or quiet it was",
}
N_ASKED = 40
BUDGET = 2_000_000
"""Tokens of the run that the pilot's share is counted from: the default of a job."""

_TEXTS_FOR_MODEL = 60
_NOTHING = float("nan")


class Split:
    """One file of CEBaB with views and people's answers."""

    def __init__(self, settings: Settings, name: str, encoder: CachedEncoder) -> None:
        rows = read_jsonl(find_file(settings.data, f"cebab/{name}.jsonl.gz"))
        if settings.quick:
            rows = rows[:300]
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


def ask(train: Split, concept: str, seed: int) -> Gold:
    """Forty answers of one seed, out of those that people gave."""
    known = np.flatnonzero(train.truth[concept] >= 0)
    scores = train.views[concept].similarity[known][:, None]
    asked = choose_rows_to_ask(train.records.take(known), N_ASKED, f"seed {seed}", scores)
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
    train, test = Split(settings, "train_exclusive", encoder), Split(settings, "test", encoder)
    seeds = list(range(settings.seeds or (2 if settings.quick else 10)))
    gold = {seed: {concept: ask(train, concept, seed) for concept in CONCEPTS} for seed in seeds}
    if not settings.only or "free" in settings.only:
        yield from report_free(train, test, gold)
    if not settings.only or "llm" in settings.only:
        with open_engine(settings.engine) as llm:
            asked = asyncio.run(_ask_model(llm, train, test, gold, cache_dir))
        yield from report_model(test, *asked)


def report_free(train: Split, test: Split, gold: Mapping[int, Mapping[str, Gold]]) -> Iterator[Result]:
    """The scorers that cost no token, their stack, and the stack with two made-up models."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    chosen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed, answers in gold.items():
        fitted: dict[str, dict[str, list[Candidate]]] = defaultdict(dict)
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
    for (concept, arm), values in chosen.items():
        value = float(np.mean(values))
        yield Result("judges", f"cebab/{concept}", arm, "used_ratio", value, _NOTHING, _NOTHING, len(values))


def report_model(
    test: Split, pilots: Mapping[int, Pilot], judged: Mapping[str, Floats], tokens: list[float]
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


def _measure(
    concept: str,
    seed: int,
    gold: Gold,
    train: Split,
    test: Split,
    found: dict[tuple[str, str, str], list[float]],
    fitted: dict[str, dict[str, list[Candidate]]],
) -> None:
    known = np.flatnonzero(test.truth[concept] >= 0)
    views, truth = take_views(test.views[concept], known), test.truth[concept][known]
    generator = np.random.default_rng([seed, *concept.encode()])
    reference = train.views[concept]
    noise, noise_test = generator.random(len(train.records)), generator.random(len(known))
    scripted, scripted_test = script(train.truth[concept], generator), script(truth, generator)
    sets: dict[str, tuple[list[Candidate], dict[str, Floats]]] = {
        "": (fit_candidates(reference, gold), {}),
        "noise": (fit_candidates(reference, gold, noise, 1000.0), {"llm": standardise_model(noise_test)}),
        "scripted": (
            fit_candidates(reference, gold, scripted, 1000.0),
            {"llm": standardise_model(scripted_test)},
        ),
    }
    for kind, (candidates, given) in sets.items():
        for candidate in candidates:
            arm = (
                candidate.name
                if not kind
                else {"stacked_with_llm": f"stacked_with_{kind}", "llm": kind}.get(candidate.name, "")
            )
            if not arm:
                continue
            probabilities = candidate.stack.predict(views, given)
            answers = probabilities.argmax(axis=1)
            found[concept, arm, "auc"].append(compute_auroc(probabilities, truth))
            found[concept, arm, "accuracy"].append(float((answers == truth).mean()))
            found[concept, arm, "kappa"].append(measure_kappa(answers, truth)[0])
        fitted[kind][concept] = candidates


def _choose(
    fitted: Mapping[str, Mapping[str, list[Candidate]]], chosen: dict[tuple[str, str], list[float]]
) -> None:
    """Which scorer decides in each concept, with no model and with each of the two."""
    for kind, concepts in fitted.items():
        pays = is_worth_its_price(list(concepts.values()))
        for concept, candidates in concepts.items():
            nowhere = np.empty((0, 0), np.float32)
            decided = choose_scorer(concept, nowhere, candidates, is_paid_worthwhile=pays).chosen
            if kind:
                chosen[concept, kind].append(float(decided is not None and "llm" in decided.stack.weights))
                continue
            for name in (*FREE_SCORERS, "stacked"):
                chosen[concept, name].append(float(decided is not None and decided.name == name))


async def _ask_model(
    llm: Mapping[str, Any], train: Split, test: Split, gold: Mapping[int, Mapping[str, Gold]], cache_dir: Any
) -> tuple[dict[int, Pilot], dict[str, Floats], list[float]]:
    """The pilots of all seeds, the model's answers about a sample of the test texts, and what each pilot cost."""
    pilots, tokens = {}, []
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
                rows = known[sample_by_rank(test.records.ids[known], _TEXTS_FOR_MODEL, "judges")]
                scorer = make_concept_scorer(chat, concept, meaning)
                judged[concept][rows] = await scorer.score(test.records.take(rows))
    return pilots, judged, tokens
