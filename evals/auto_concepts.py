"""`concepts: auto` with a scripted model: which of people's concepts it proposes, and how right the cells then are.

Restaurant reviews of CEBaB, in English (three edits of an original at most, those of which people said of all four
concepts whether they are mentioned), and of SemEval 2016 in Dutch. The scripted model (`scripted_concepts`) names what
it finds in the excerpts that it is shown and errs in a tenth of its answers. Of what is proposed people's concepts are
kept, as a person would strike out the others; forty answers are given in all, on twenty rows about the two concepts
that go most with the label.

`cell_points` is the mean distance of the cells (label with concept, as a share of the label's rows, expected from the
probabilities) from people's, `cells_within_5_ratio` the share of cells within 5 points of all rows. Arms: `similarity`
(no answer, no model), `answers` (forty, no model), and the judges by how often they are right.

    python -m evals auto_concepts --data DIR [--seeds 10]
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.events import ignore
from counterpoise.core.records import Floats, Integers
from counterpoise.data.encoders import make_encoder
from counterpoise.llm import ChatClient, ScriptedChatClient, TokenBudget
from counterpoise.scorers.concepts.associations import measure_associations
from counterpoise.scorers.concepts.labeller import ModelScores, fit_concepts
from counterpoise.scorers.concepts.model import ask_model, run_pilot
from counterpoise.scorers.concepts.proposing import Surroundings, look_around, propose_by_model
from counterpoise.scorers.concepts.similarity import score_answered
from counterpoise.scorers.concepts.views import make_anchors, make_views
from counterpoise.scorers.gold import Gold, choose_rows_to_ask
from counterpoise_retrievers.encoders import CachedEncoder
from evals.common import Result, Settings, interval, resample_means
from evals.concept_sets import SETS, ConceptSet
from evals.scripted_concepts import ScriptedReader, quote_truth

N_ROWS, N_ASKED = 20, 2
"""Rows, and concepts a row: forty answers in all."""

BUDGET = 2_000_000
LABELLING_SHARE = 0.2
SKILLS = (0.9, 0.75, 0.6)
CLOSE = 0.05


@dataclass(frozen=True)
class Bench:
    """A data set with its vectors and clauses."""

    data: ConceptSet
    around: Surroundings
    encoder: CachedEncoder

    @property
    def rows(self) -> EncodedRecords:
        """Texts and vectors."""
        return EncodedRecords(self.around.records, self.around.vectors)

    def open_chat(self, skill: float, seed: int, limit: int | None = None) -> ChatClient:
        """A client of the scripted model."""
        reader = ScriptedReader(self.data.topics, quote_truth(self.data.truth), skill, seed)
        name = f"scripted {skill:g}"
        return ChatClient(ScriptedChatClient(reader, name=name), budget=TokenBudget(limit))


def run(settings: Settings) -> Iterator[Result]:
    """The lines of this evaluation."""
    cache_dir = find_cache_dir(None)
    encoder = CachedEncoder(make_encoder("", cache_dir, ignore), cache_dir / "vectors")
    seeds = range(settings.seeds or (1 if settings.quick else 10))
    for name, load in SETS.items():
        if settings.only and name not in settings.only:
            continue
        data = load(settings.data, quick=settings.quick)
        vectors = encoder.encode([str(text) for text in data.records.texts])
        bench = Bench(data, look_around(data.records, vectors, encoder), encoder)
        yield from report_names(bench, name, list(seeds)[:3])
        yield from report_cells(bench, name, seeds)


def report_names(bench: Bench, name: str, seeds: list[int]) -> Iterator[Result]:
    """Which of people's concepts are among what is proposed."""
    found: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        chat = bench.open_chat(SKILLS[0], seed)
        proposed = asyncio.run(propose_by_model(chat, bench.around, f"seed {seed}"))
        names = {concept.name for concept in proposed.concepts}
        found["gold_named"].append(float(len(names & set(bench.data.truth)) if proposed.is_checked else 0))
        found["proposed"].append(float(len(names)))
        found["tokens"].append(float(chat.budget.used))
    units = {"gold_named": "concepts", "proposed": "concepts", "tokens": "tokens"}
    for metric, values in found.items():
        low, high = min(values), max(values)
        mean, arm = float(np.mean(values)), f"judge_{SKILLS[0]:g}"
        extra = {"gold": len(bench.data.truth)}
        yield Result("auto_concepts", name, arm, metric, mean, low, high, len(values), units[metric], extra)


def report_cells(bench: Bench, name: str, seeds: range) -> Iterator[Result]:
    """How far the cells are from people's, with and without answers, and with judges."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in seeds:
        gold = give_answers(bench, seed)
        for arm, answers, skill in (
            ("similarity", {}, 0.0),
            ("answers", gold, 0.0),
            *((f"judge_{skill:g}", gold, skill) for skill in SKILLS),
        ):
            scores, passes = ask_judge(bench, answers, skill, seed) if skill else (None, False)
            distance, share = measure_cells(bench, label(bench, answers, scores))
            found[arm, "cell_points"].append(100 * float(distance.mean()))
            found[arm, "worst_cell_points"].append(100 * float(distance.max()))
            found[arm, "cells_within_5_ratio"].append(float((distance * share <= CLOSE).mean()))
            if skill:
                found[arm, "passes_ratio"].append(float(passes))
    for (arm, metric), values in found.items():
        low, high = interval(resample_means(values))
        unit = "points" if metric.endswith("points") else "ratio"
        yield Result("auto_concepts", name, arm, metric, float(np.mean(values)), low, high, len(values), unit)


def give_answers(bench: Bench, seed: int) -> dict[str, Gold]:
    """Forty answers of people's: twenty rows, the two concepts that go most with the label."""
    records, concepts = bench.around.records, bench.data.definitions
    strengths = measure_associations(records, bench.around.passages, concepts, bench.encoder)
    names = sorted(concepts, key=lambda one: (-strengths[one], one))[:N_ASKED]
    anchors = [make_anchors(one, concepts[one], bench.encoder) for one in names]
    scores = np.column_stack([make_views(bench.around.passages, one).similarity for one in anchors])
    asked = choose_rows_to_ask(records, N_ROWS, f"seed {seed}", scores)
    audited, trained = asked.rows[asked.is_audit], asked.rows[~asked.is_audit]
    truth = {one: read_column(bench, one) for one in names}
    return {one: Gold(audited, truth[one][audited], trained, truth[one][trained]) for one in names}


def read_column(bench: Bench, concept: str) -> Integers:
    """(n,) what people said of a concept."""
    known = bench.data.truth[concept]
    return np.array([known[str(text)] for text in bench.around.records.texts], dtype=np.int64)


def ask_judge(
    bench: Bench, gold: Mapping[str, Gold], skill: float, seed: int
) -> tuple[ModelScores | None, bool]:
    """What the scripted model labels, where its pilot lets it."""
    chat, concepts, key = bench.open_chat(skill, seed, BUDGET), bench.data.definitions, f"seed {seed}"
    free = score_answered(bench.rows, concepts, gold, bench.encoder)

    async def ask() -> tuple[ModelScores | None, bool]:
        pilot = await run_pilot(chat, bench.around.records, concepts, gold, key, similarity=free)
        if not pilot.passes:
            return None, False
        most = LABELLING_SHARE * BUDGET
        return await ask_model(chat, bench.around.records, concepts, pilot, most, key, gold), True

    return asyncio.run(ask())


def label(bench: Bench, gold: Mapping[str, Gold], scores: ModelScores | None) -> Floats:
    """(n, k) probabilities of the concepts."""
    records, vectors = bench.around.records, bench.around.vectors
    texts = [str(text) for text in records.texts]
    labeller = fit_concepts(texts, vectors, records.ids, bench.data.definitions, bench.encoder, gold, scores)
    if scores is None:
        return labeller.label(texts, vectors).probabilities
    return labeller.label(texts, vectors, scores.list_whole(), scores.probabilities).probabilities


def measure_cells(bench: Bench, probabilities: Floats) -> tuple[Floats, Floats]:
    """Distance of each cell's share of its label from people's, 0..1, and the label's share of all rows: (k * L,)."""
    labels = bench.around.records.labels
    distances, shares = [], []
    for column, concept in enumerate(bench.data.definitions):
        truth = read_column(bench, concept)
        for one in np.unique(labels):
            mine = labels == one
            distances.append(abs(float(probabilities[mine, column].mean() - truth[mine].mean())))
            shares.append(float(mine.mean()))
    return np.array(distances), np.array(shares)
