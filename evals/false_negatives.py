"""False negatives among mined training negatives: does the cascade find them, and is it honest about what it missed?

Nine parts (`--only`):

- `cranfield`: half of each query's known relevant documents are hidden among mined negatives; judges with set error
  rates (and perfect ones) relabel them. Precision and recall are measured, computed from the rates, and compared with
  what the cascade itself estimates from planted positives and a sample of gold.
- `coverage`: the same without prompts and replies, a thousand times: how often what the cascade says of itself holds.
- `fiqa`: the recorded verdicts of the published cascade, parsed and decided by our code, against the recorded lists.
- `model`: a real model, by default the embedded one, as both judges: what it is allowed to change.
- `scifact`: a retriever trained on clean triples, on triples with planted false negatives, and on these after removing
  the instance, dropping the negative, relabelling it, or what the product does; nDCG@10 on held-out queries. See
  `retriever_training`.
- `scifact_other_draws`: the same with the adapter on draws that had no part in making the product's rules.
- `scifact_why`: what in relabelling costs or pays there, one thing at a time.
- `cranfield_training`: the same where half of each query's relevant documents are hidden among what is mined.
- `break_even`: from which share of right ones on relabelling is better than dropping.

    python -m evals false_negatives --data DIR [--only cranfield] [--seeds N]
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise import relabel_negatives
from counterpoise.actions.relabel.cascade import Decision, Outcome
from counterpoise.actions.relabel.passages import relabel_instances
from counterpoise.actions.relabel.preparation import CascadeSettings
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.actions.relabel.verdicts import Judgement
from counterpoise.balance.intervals import wilson_interval
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.core.splits import keyed_hash, keyed_rank
from counterpoise.data.encoders import make_encoder
from counterpoise.data.instances import Collection, Instance, Passage, read_beir
from counterpoise_retrievers.encoders import CachedEncoder
from counterpoise_retrievers.hard_negatives import mine_hard_negatives
from evals.common import Floats, MissingDataError, Result, Settings, find_file, open_engine, read_jsonl
from evals.published_cascade import decide_from_lists, read_published
from evals.scripted_judges import FIRST, PERFECT, SECOND, Rates, make_judge

N_CANDIDATES = 30
GOLD_SHARE = 0.10
N_SEEDS = 5
QUICK = (40, 200)
"""Queries and passages of a collection with `--quick`."""
QUICK_MODEL_ROWS = 1
N_MODEL_NEGATIVES = 3
"""Negatives of an instance that a real model reads; its audit needs the positives most of all."""


def run(settings: Settings) -> Iterator[Result]:
    """All parts, or those named."""
    parts = settings.only or (
        "cranfield",
        "coverage",
        "fiqa",
        "model",
        "scifact",
        "scifact_other_draws",
        "scifact_why",
        "cranfield_training",
        "break_even",
    )
    if "cranfield" in parts:
        yield from run_cranfield(settings)
    if "coverage" in parts:
        from evals.estimate_coverage import run_coverage

        yield from run_coverage(settings)
    if "fiqa" in parts:
        yield from run_fiqa(settings)
    if "model" in parts:
        yield from run_model(settings)
    if "scifact" in parts:
        from evals.retriever_training import run_scifact

        yield from run_scifact(settings)
    if "scifact_other_draws" in parts:
        from evals.retriever_training import run_other_draws

        yield from run_other_draws(settings)
    if "scifact_why" in parts:
        from evals.retriever_training import run_why

        yield from run_why(settings)
    if "break_even" in parts:
        from evals.retriever_training import run_break_even

        yield from run_break_even(settings)
    if "cranfield_training" in parts:
        from evals.retriever_training import run_cranfield_training

        yield from run_cranfield_training(settings)


def encode(texts: Sequence[str]) -> Floats:
    """Vectors of the pinned encoder, cached."""
    cache = find_cache_dir()
    encoder = CachedEncoder(make_encoder("", cache, ignore), cache / "vectors")
    return np.asarray(encoder.encode(texts), dtype=np.float32)


def load_collection(settings: Settings, name: str) -> Collection:
    """A collection, with `quick` a small part of it, or the one clear line that it is absent."""
    folder = settings.data / name
    if not folder.is_dir():
        raise MissingDataError(f"data set absent: {folder}; name the folder that has it with --data")
    collection = read_beir(folder)
    return cut(collection, *QUICK) if settings.quick else collection


def cut(collection: Collection, n_queries: int, n_passages: int) -> Collection:
    """Some of the judged queries, what is judged for them, and further passages up to `n_passages`."""
    names = [name for name in collection.queries if name in collection.qrels]
    kept = [names[int(place)] for place in keyed_rank(names, "quick")[:n_queries]]
    judged = dict.fromkeys(
        name for query in kept for name in collection.qrels[query] if name in collection.corpus
    )
    passages = list(dict.fromkeys([*judged, *collection.corpus]))[: max(n_passages, len(judged))]
    return Collection(
        corpus={name: collection.corpus[name] for name in passages},
        queries={name: collection.queries[name] for name in kept},
        qrels={name: collection.qrels[name] for name in kept},
    )


@dataclass(frozen=True)
class Planted:
    """Instances with hidden relevant documents.

    Args:
        instances: query, listed positives, mined negatives.
        hidden: (query id, passage id) of all hidden relevant documents, surfaced by mining or not.
        relevant: query and text of everything relevant, for the scripted judges.
    """

    instances: list[Instance]
    hidden: set[tuple[str, str]]
    relevant: set[tuple[str, str]]

    @property
    def surfaced(self) -> set[tuple[str, str]]:
        """Those of the hidden that mining put among the negatives."""
        mined = {(one.query_id, passage.id) for one in self.instances for passage in one.negatives}
        return self.hidden & mined


def plant_cranfield(collection: Collection, vectors: Mapping[str, Floats], seed: int) -> Planted:
    """Hide half of each query's relevant documents and mine 30 negatives; what is coded -1 is left out of both."""
    corpus = [passage for passage in collection.corpus.values() if passage.full_text]
    places = {passage.id: place for place, passage in enumerate(corpus)}
    queries = [query for query in collection.queries.values() if query.id in collection.qrels]
    listed: list[list[str]] = []
    hidden: set[tuple[str, str]] = set()
    relevant: set[tuple[str, str]] = set()
    for query in queries:
        judged = collection.qrels[query.id]
        names = sorted(name for name, score in judged.items() if score > 0 and name in places)
        order = [names[int(one)] for one in keyed_rank(names, f"hidden {seed} {query.id}")]
        n_hidden = len(order) // 2
        hidden |= {(query.id, name) for name in order[:n_hidden]}
        listed.append(order[n_hidden:])
        relevant |= {(query.text, collection.corpus[name].full_text) for name in names}
    unclear = [
        [name for name, score in collection.qrels[query.id].items() if score < 0 and name in places]
        for query in queries
    ]
    excluded = [[places[name] for name in (*one, *other)] for one, other in zip(listed, unclear, strict=True)]
    mined = mine_hard_negatives(vectors["queries"], vectors["corpus"], excluded, n_negatives=N_CANDIDATES)
    instances = [
        Instance(
            query.id,
            query.text,
            tuple(collection.corpus[name] for name in names),
            tuple(corpus[int(place)] for place in row if place >= 0),
        )
        for query, names, row in zip(queries, listed, mined.indices, strict=True)
    ]
    return Planted(instances, hidden, relevant)


def relabel(planted: Planted, first: Rates, second: Rates, seed: int) -> RelabelledInstances:
    """The cascade with scripted judges; gold is a random tenth of the candidates, as an annotator would give it."""
    gold = {
        (one.query_id, passage.id): (one.query_id, passage.id) in planted.hidden
        for one in planted.instances
        for passage in one.negatives
        if keyed_hash(f"gold {seed}", f"{one.query_id}\0{passage.id}") < GOLD_SHARE * 2**64
    }
    return asyncio.run(
        relabel_instances(
            planted.instances,
            make_judge("first", first, planted.relevant, seed=seed),
            make_judge("second", second, planted.relevant, seed=seed),
            settings=CascadeSettings(most_relabels=None),
            gold=gold,
        )
    )


def is_confirmed(decision: Decision) -> bool:
    """Whether both judges call a candidate relevant, so that it would be relabelled."""
    first, second = decision.first, decision.second
    return bool(first and first.is_flag and second and second.is_flag)


def is_repeat(decision: Decision) -> bool:
    """Whether a negative was dropped without a judge."""
    return decision.first is None and decision.outcome is Outcome.DROP


def run_cranfield(settings: Settings) -> Iterator[Result]:
    """Measured, computed and estimated precision and recall."""
    collection = load_collection(settings, "cranfield")
    corpus = [passage for passage in collection.corpus.values() if passage.full_text]
    queries = [query for query in collection.queries.values() if query.id in collection.qrels]
    vectors = {
        "corpus": encode([passage.full_text for passage in corpus]),
        "queries": encode([query.text for query in queries]),
    }
    n_seeds = settings.seeds or N_SEEDS
    for arm, first, second in (("perfect_judges", PERFECT, PERFECT), ("scripted_judges", FIRST, SECOND)):
        counts = np.zeros(6, dtype=np.int64)
        covered = {"precision": 0, "recall": 0}
        estimates: dict[str, list[float]] = {"precision": [], "recall": []}
        for seed in range(n_seeds):
            planted = plant_cranfield(collection, vectors, seed)
            done = relabel(planted, first, second, seed)
            found, repeats = (
                {
                    (planted.instances[place].query_id, one.candidate.passage.id)
                    for place, decided in done.decisions.items()
                    for one in decided
                    if is_wanted(one)
                }
                for is_wanted in (is_confirmed, is_repeat)
            )
            # What repeats a known positive never reached the judges, whose rates these are.
            surfaced = planted.surfaced - repeats
            n_candidates = sum(len(one.negatives) for one in planted.instances) - len(repeats)
            mine = np.array(
                [
                    len(found & surfaced),
                    len(found),
                    len(surfaced),
                    len(planted.hidden),
                    n_candidates,
                    len(repeats & planted.hidden),
                ],
                dtype=np.int64,
            )
            counts += mine
            assert done.estimates is not None, done.sentence
            precision, recall = done.estimates.precision, done.estimates.recall
            ends = {"precision": (precision.low, precision.high), "recall": (recall.low, recall.high)}
            truth = {"precision": mine[0] / mine[1], "recall": mine[0] / mine[2]}
            for metric, said in (("precision", precision.value), ("recall", recall.value)):
                low, high = ends[metric]
                covered[metric] += bool(low - 1e-9 <= truth[metric] <= high + 1e-9)
                estimates[metric].append(said)
        yield from _report_cranfield(arm, first, second, counts, n_seeds)
        for metric, values in estimates.items():
            yield _line(f"{arm}/estimated", metric, float(np.mean(values)), min(values), max(values), n_seeds)
            yield _share(f"{arm}/estimated", f"{metric}_covered_ratio", covered[metric], n_seeds)


def _report_cranfield(
    arm: str, first: Rates, second: Rates, counts: np.ndarray[Any, np.dtype[np.int64]], n_seeds: int
) -> Iterator[Result]:
    n_right, n_found, n_surfaced, n_hidden, n_candidates, n_repeats = (int(one) for one in counts)
    yield _share(arm, "surfaced_ratio", n_surfaced + n_repeats, n_hidden, seeds=n_seeds)
    yield _share(arm, "near_copies_of_surfaced_ratio", n_repeats, n_surfaced + n_repeats, seeds=n_seeds)
    yield _share(arm, "precision", n_right, n_found, seeds=n_seeds)
    yield _share(arm, "recall", n_right, n_surfaced, seeds=n_seeds)
    yield _share(arm, "recall_of_all_hidden", n_right + n_repeats, n_hidden, seeds=n_seeds)
    sensitivity = first.sensitivity * second.sensitivity
    false_alarms = (1 - first.specificity) * (1 - second.specificity)
    wanted = sensitivity * n_surfaced
    alarms = false_alarms * (n_candidates - n_surfaced)
    computed = {
        "precision": wanted / (wanted + alarms),
        "recall": sensitivity,
        "recall_of_all_hidden": (wanted + n_repeats) / n_hidden,
    }
    for metric, value in computed.items():
        yield _line(f"{arm}/computed", metric, value, value, value, n_hidden)


def run_fiqa(settings: Settings) -> Iterator[Result]:
    """Recorded verdicts of the published cascade, parsed and decided again."""
    rows = read_jsonl(find_file(settings.data / "rlhn_sample", "fiqa.jsonl.gz"))
    counts = {"parsed_ratio": [0, 0], "outcomes_reproduced_ratio": [0, 0]}
    for place, row in enumerate(rows):
        negatives = [Passage(one["id"], one["text"], one["title"]) for one in row["negatives"]]
        said: list[list[Judgement] | None] = []
        for stage in ("stage1_gpt4o_mini", "stage2_gpt4o"):
            recorded = row[stage]
            if recorded is None:
                said.append(None)
                continue
            judgements = read_published(recorded["response"], len(negatives))
            said.append(judgements)
            lists = [
                [one.id for one, other in zip(negatives, judgements, strict=True) if other.grade == grade]
                for grade in ("better_or_equal", "worse")
            ]
            wanted = [recorded["false_negative_ids"], recorded["worse_relevant_ids"]]
            counts["parsed_ratio"][0] += [set(one) for one in lists] == [set(one) for one in wanted]
            counts["parsed_ratio"][1] += 1
        assert said[0] is not None
        last = row["stage2_gpt4o"] or {"false_negative_ids": [], "worse_relevant_ids": []}
        for decision in decide_from_lists(place, negatives, said[0], said[1]):
            name = decision.candidate.passage.id
            recorded_outcome = (
                Outcome.RELABEL
                if name in last["false_negative_ids"]
                else Outcome.DROP
                if name in last["worse_relevant_ids"]
                else Outcome.KEEP
            )
            counts["outcomes_reproduced_ratio"][0] += decision.outcome is recorded_outcome
            counts["outcomes_reproduced_ratio"][1] += 1
    for metric, (k, n) in counts.items():
        low, high = wilson_interval(k, n)
        yield Result("false_negatives", "fiqa", "recorded_verdicts", metric, k / n, low, high, n)


def run_model(settings: Settings) -> Iterator[Result]:
    """How much a model relabels after its audit; the sentence says why."""
    rows = read_jsonl(find_file(settings.data / "rlhn_sample", "fiqa.jsonl.gz"))
    rows = rows[:QUICK_MODEL_ROWS] if settings.quick else rows

    def read(passages: Sequence[Mapping[str, str]]) -> tuple[Passage, ...]:
        return tuple(Passage(one["id"], one["text"], one["title"]) for one in passages)

    instances = [
        Instance(
            row["query_id"], row["query"], read(row["positives"]), read(row["negatives"][:N_MODEL_NEGATIVES])
        )
        for row in rows
    ]
    with open_engine(settings.engine) as engine:
        done = relabel_negatives(instances, model=engine)
    n_candidates = sum(len(one.negatives) for one in instances)
    n_relabelled = done.outcomes.get(Outcome.RELABEL, 0)
    low, high = wilson_interval(n_relabelled, n_candidates)
    arm = "embedded" if settings.engine == "embedded" else done.audits[0].model
    told = {"sentence": done.sentence, "audits": [one.sentence for one in done.audits]}
    yield Result(
        "false_negatives",
        "fiqa",
        arm,
        "relabelled_ratio",
        n_relabelled / n_candidates,
        low,
        high,
        n_candidates,
        extra=told,
    )


def _share(arm: str, metric: str, k: int, n: int, **extra: Any) -> Result:
    low, high = wilson_interval(k, n)
    return Result("false_negatives", "cranfield", arm, metric, k / max(n, 1), low, high, n, extra=extra)


def _line(arm: str, metric: str, value: float, low: float, high: float, n: int) -> Result:
    return Result("false_negatives", "cranfield", arm, metric, value, low, high, n)
