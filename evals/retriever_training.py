"""What relabelling is worth to a retriever that is really trained on the data.

SciFact: claims and the abstracts they were judged by. A quarter of the queries is held out. For 30% of the others, or
for all, an unlisted relevant abstract is put among the hard negatives: a judged one where the query has two or more,
else the only one with every third sentence taken out. Then the same retriever is trained on

- `untrained`: nothing;
- `clean`: nothing planted;
- `planted`: as planted;
- `remove`: instances in which the two judges found something are left out;
- `drop`: what they found is taken out of the negatives;
- `relabel_all`: what they found becomes a positive;
- `relabel`: as the product does it: near copies of a known positive are dropped without a judge, and what the judges
  find becomes a positive only where gold, a tenth of the candidates, proves seven of ten of it right;
- `relabel_without_gold`: the same where there is no gold, so that all that the judges find becomes a positive;
- `drop_all`: everything that the product relabelled or dropped is taken out of the negatives.

The first three of the treatments are the cascade as it was published. The judges err at the rates of `scripted_judges`;
every draw goes through prompts and replies, and what they find is checked against the same decisions without them.
nDCG@10 on held-out queries, over all judged abstracts and others up to 2,000. Two retrievers: `adapter`, a square
matrix on the frozen vectors of the pinned encoder (20 seeds), and `minilm`, the last layer of all-MiniLM-L6-v2 in full
precision (3 seeds; the weights are upstream's, pinned by hash). Trained runs are kept in the cache, so an evaluation
that was stopped goes on.

Several positives become rows in one of two ways, the same for every arm. `pairs`: an epoch has a row for each query and
positive, as sentence-transformers trains and as our files in its form are written; relabelling adds rows, and so steps.
`row_a_query`: an epoch has one row for each query, with one of its positives, as Tevatron, the form of the RLHN data,
does; the steps are as many in every arm, and a relabelled positive takes the place of the known one half of the time.

The adapter's learning rate is the best of four for the clean arm, on a quarter of the training queries of five other
draws (100 to 104): with 12 epochs at temperature 0.05 nDCG@10 was 0.794 at 1e-4, 0.820 at 3e-4, 0.809 at 1e-3, 0.792
at 3e-3, and 0.734 untrained. MiniLM's is the best of three on draw 100: 0.693 at 1e-4, 0.706 at 3e-4, 0.696 at 1e-3,
and 0.662 untrained (it reads 96 tokens, the pinned encoder more). Cranfield has the settings chosen on SciFact.

Four further parts. `run_why` adds one thing at a time to clean data. `run_cranfield_training` hides other documents
instead of copies: half of each query's relevant ones, where mining finds them. `run_other_draws` repeats the adapter on
draws that nobody had looked at when the product's rules were made: what the first twenty showed of `relabel_all` was
the reason for them. `run_break_even` measures on Cranfield which precision they should ask for; it was 0.5 at first.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.actions.relabel.cascade import Decision, Outcome
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.balance.intervals import wilson_interval
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.splits import keyed_rank
from counterpoise.data.instances import Collection, Instance, Passage
from counterpoise_retrievers.hard_negatives import mine_hard_negatives
from evals.common import Floats, Result, Settings, interval, need_packages, resample_means
from evals.false_negatives import (
    Planted,
    encode,
    is_confirmed,
    is_repeat,
    load_collection,
    plant_cranfield,
    relabel,
)
from evals.minilm_weights import find_weights
from evals.scripted_judges import FIRST, SECOND, DirectJudges, Rates
from evals.trained_runs import train_missing

CORPUS_SIZE = 2_000
N_NEGATIVES = 10
HELD_OUT_SHARE = 0.25
N_SEEDS = {"adapter": 20, "minilm": 3}
HOW: dict[str, dict[str, Any]] = {
    "adapter": {"epochs": 12, "batch": 32, "rate": 3e-4, "negatives": 7, "temperature": 0.05},
    "minilm": {
        "epochs": 1,
        "batch": 16,
        "rate": 3e-4,
        "negatives": 2,
        "temperature": 0.05,
        "layers": 1,
        "tokens": 96,
    },
}
OTHER_DRAWS = range(20, 40)
BREAK_EVEN_DRAWS = range(100, 160)
FALSE_ALARMS = (0.0, 0.003, 0.006, 0.014, 0.024, 0.037, 0.056)
"""Shares of the wrong candidates that both judges let pass: precisions of 1 to about 0.5."""
KEPT_ARMS = ("clean", "planted", "remove", "drop", "relabel_without_gold", "relabel")
ROWS = {"adapter": ("pairs", "queries"), "minilm": ("pairs",)}
"""Of what an epoch has a row: of every query and positive, or of every query."""
PLANTED_SHARES = {"adapter": (0.30, 1.0), "minilm": (1.0,)}
"""Shares of the training queries that get a false negative."""


@dataclass(frozen=True)
class Set:
    """SciFact as it is used here.

    Args:
        texts: of queries, passages and shortened passages; everything else is places in it.
        vectors: (texts, dimension) of the pinned encoder.
        queries: query id -> its place.
        passages: passage id -> its place; those of shortened ones end in `~`.
        corpus: ids of what is searched.
        qrels: query id -> ids of its relevant abstracts.
    """

    texts: list[str]
    vectors: Floats
    queries: dict[str, int]
    passages: dict[str, int]
    corpus: list[str]
    qrels: dict[str, list[str]]

    def make_passage(self, name: str) -> Passage:
        """A passage by id."""
        return Passage(name, self.texts[self.passages[name]])


@dataclass(frozen=True)
class Draw:
    """One draw of the split and of what is hidden.

    Args:
        arms: training instances of every arm.
        held_out: ids of the held-out queries.
        facts: what the product's cascade did: `near_copies` dropped without a judge, `relabelled`, `dropped` of what
            the judges found, `precision` as it estimates it (with `precision_low`), and `precision_true`.
    """

    arms: dict[str, list[Instance]]
    held_out: list[str]
    facts: dict[str, float] = field(default_factory=dict)


def run_scifact(settings: Settings) -> Iterator[Result]:
    """Both retrievers, or with `--only adapter` (or `minilm`) one; with `quick` the adapter."""
    need_packages("torch", "sentence_transformers")
    data = load_set(load_collection(settings, "scifact"))
    kinds = [kind for kind in N_SEEDS if kind in settings.only] or list(N_SEEDS)[
        : 1 if settings.quick else None
    ]
    for kind in kinds:
        n_seeds = settings.seeds or (2 if settings.quick else N_SEEDS[kind])
        draws = {
            share: [make_arms(data, seed, share) for seed in range(n_seeds)] for share in PLANTED_SHARES[kind]
        }
        for rows in ROWS[kind]:
            for share in PLANTED_SHARES[kind]:
                scores, facts = score_arms(data, kind, draws[share], rows)
                name = f"scifact/{kind}" + ("" if share < 1 else "/all_planted")
                yield from report(name + ("" if rows == "pairs" else "/row_a_query"), scores, facts)


def run_cranfield_training(settings: Settings) -> Iterator[Result]:
    """The adapter where what was hidden are other documents, as mining finds them, and no copies of the known one."""
    collection = load_collection(settings, "cranfield")
    data = load_cranfield(collection)
    n_seeds = settings.seeds or (2 if settings.quick else N_SEEDS["adapter"])
    draws = [make_cranfield_arms(data, collection, seed) for seed in range(n_seeds)]
    for rows in ROWS["adapter"]:
        scores, facts = score_arms(data, "adapter", draws, rows)
        yield from report("cranfield/adapter" + ("" if rows == "pairs" else "/row_a_query"), scores, facts)


def run_other_draws(settings: Settings) -> Iterator[Result]:
    """The adapter, all planted, on draws that had no part in making the rules; the arms that matter for the target."""
    data = load_set(load_collection(settings, "scifact"))
    seeds = OTHER_DRAWS[: settings.seeds or (2 if settings.quick else None)]
    draws = []
    for seed in seeds:
        draw = make_arms(data, seed, 1.0)
        arms = {arm: draw.arms[arm] for arm in KEPT_ARMS}
        draws.append(replace(draw, arms=arms))
    scores, facts = score_arms(data, "adapter", draws, "pairs", first_seed=seeds[0])
    yield from report("scifact/adapter/all_planted/other_draws", scores, facts)


def run_break_even(settings: Settings) -> Iterator[Result]:
    """From which precision on relabelling is better than dropping: Cranfield, second judges of another specificity.

    What the product asks of precision (`min_precision`) was set by it, on draws that are no others' here.
    """
    collection = load_collection(settings, "cranfield")
    data = load_cranfield(collection)
    seeds = BREAK_EVEN_DRAWS[: settings.seeds or (2 if settings.quick else None)]
    draws = {seed: plant_cranfield_training(data, collection, seed) for seed in seeds}
    for false_alarms in FALSE_ALARMS:
        specs: list[dict[str, Any]] = []
        n_right, n_found = 0, 0
        for seed, (case, held_out) in draws.items():
            judges = DirectJudges(
                FIRST,
                Rates(SECOND.sensitivity, 1 - false_alarms / (1 - FIRST.specificity)),
                case.relevant,
                seed=seed,
            )
            found = [{p.id for p in one.negatives if judges.relabels(one.query, p)} for one in case.instances]
            pairs = {
                (one.query_id, name)
                for one, names in zip(case.instances, found, strict=True)
                for name in names
            }
            n_right, n_found = n_right + len(pairs & case.hidden), n_found + len(pairs)
            for instances in (drop(case.instances, found), make_positive(case.instances, found, found)):
                specs.append(specify(data, "adapter", seed, instances, held_out, "queries"))
        scores = np.asarray(train_all(data, "adapter", specs)).reshape(-1, 2)
        gain = scores[:, 1] - scores[:, 0]
        low, high = interval(resample_means(gain.tolist()))
        yield Result(
            "false_negatives",
            "cranfield/adapter/break_even",
            f"relabel_all-drop, precision {n_right / n_found:.2f}",
            "ndcg@10_difference",
            float(gain.mean()),
            low,
            high,
            len(gain),
            extra={"precision": round(n_right / n_found, 4), "false_alarms": false_alarms},
        )


def run_why(settings: Settings) -> Iterator[Result]:
    """What it is in relabelling that costs: clean data with one thing added, the adapter, all planted."""
    data = load_set(load_collection(settings, "scifact"))
    n_seeds = settings.seeds or (2 if settings.quick else N_SEEDS["adapter"] // 2)
    draws = [take_apart(make_arms(data, seed, 1.0)) for seed in range(n_seeds)]
    for rows in ROWS["adapter"]:
        scores, _ = score_arms(data, "adapter", draws, rows)
        for arm in list(scores)[1:]:
            change = np.asarray(scores[arm]) - np.asarray(scores["clean"])
            low, high = interval(resample_means(change.tolist()))
            name = "scifact/adapter/why" + ("" if rows == "pairs" else "/row_a_query")
            yield Result(
                "false_negatives", name, arm, "ndcg@10_difference", float(change.mean()), low, high, n_seeds
            )


def take_apart(draw: Draw) -> Draw:
    """Clean data; with each positive twice; with what was planted, all of it or only judged abstracts, as positives.

    And with only the judges' false alarms as positives.
    """
    arms = draw.arms
    extras: dict[str, list[tuple[Passage, ...]]] = {}
    for clean, planted, relabelled in zip(arms["clean"], arms["planted"], arms["relabel_all"], strict=True):
        hidden = planted.negatives[:1]
        found = relabelled.positives[len(clean.positives) :]
        extras.setdefault("clean", []).append(())
        extras.setdefault("positive_twice", []).append(clean.positives)
        extras.setdefault("all_relabelled", []).append(hidden)
        extras.setdefault("judged_relabelled", []).append(
            tuple(one for one in hidden if not one.id.endswith("~"))
        )
        extras.setdefault("false_alarms", []).append(tuple(one for one in found if one not in hidden))
    apart = {
        arm: [
            replace(
                one,
                positives=(*one.positives, *extra),
                negatives=tuple(p for p in one.negatives if p not in extra),
            )
            for one, extra in zip(arms["clean"], some, strict=True)
        ]
        for arm, some in extras.items()
    }
    return Draw(apart, draw.held_out)


def report(
    data: str, scores: Mapping[str, Sequence[float]], facts: Sequence[Mapping[str, float]] = ()
) -> Iterator[Result]:
    """Means over seeds, and what is paired: loss by planting, gains over it, their share of the loss, differences.

    Args:
        data: name of the set.
        scores: arm -> nDCG@10 of each draw.
        facts: of each draw, what the product's cascade did; a line says in how many it relabelled, and lists them.
    """
    n = len(scores["clean"])
    table = {arm: np.asarray(values) for arm, values in scores.items()}
    for arm, values in table.items():
        low, high = interval(resample_means(values.tolist()))
        yield Result("false_negatives", data, arm, "ndcg@10", float(values.mean()), low, high, n)
    loss = table["clean"] - table["planted"]
    low, high = interval(resample_means(loss.tolist()))
    yield Result("false_negatives", data, "planted", "ndcg@10_loss", float(loss.mean()), low, high, n)
    is_lost = low > 0  # a share of nothing is noise
    for arm in ("remove", "drop", "relabel_all", "drop_all", "relabel_without_gold", "relabel"):
        if arm not in table:
            continue
        gain = table[arm] - table["planted"]
        draws = resample_means(gain.tolist())
        low, high = interval(draws)
        yield Result("false_negatives", data, arm, "ndcg@10_gain", float(gain.mean()), low, high, n)
        if is_lost:
            low, high = interval(draws / resample_means(loss.tolist()))
            ratio = float(gain.mean() / loss.mean())
            yield Result("false_negatives", data, arm, "loss_recovered_ratio", ratio, low, high, n)
        if arm != "relabel":
            ahead = table["relabel"] - table[arm]
            low, high = interval(resample_means(ahead.tolist()))
            yield Result(
                "false_negatives",
                data,
                f"relabel-{arm}",
                "ndcg@10_difference",
                float(ahead.mean()),
                low,
                high,
                n,
            )
    if facts:
        k = sum(one["relabelled"] > 0 for one in facts)
        low, high = wilson_interval(k, len(facts))
        told = {
            name: [None if one[name] != one[name] else round(one[name], 3) for one in facts]
            for name in facts[0]
        }
        yield Result(
            "false_negatives", data, "relabel", "draws_relabelled_ratio", k / n, low, high, n, extra=told
        )


def load_set(collection: Collection) -> Set:
    """Queries that were judged, all judged abstracts with others up to `CORPUS_SIZE`, and shortened abstracts."""
    qrels = {
        query: [name for name, relevance in judged.items() if relevance > 0]
        for query, judged in collection.qrels.items()
    }
    judged = dict.fromkeys(name for names in qrels.values() for name in names)
    corpus = list(dict.fromkeys([*judged, *collection.corpus]))[:CORPUS_SIZE]
    queries = {name: collection.queries[name].text for name in qrels}
    passages = {name: collection.corpus[name].full_text for name in corpus}
    passages |= {f"{name}~": shorten(collection.corpus[name]) for name in judged}
    return make_set(queries, passages, corpus, qrels)


def load_cranfield(collection: Collection) -> Set:
    """All documents, all judged queries; relevant is what is judged above 0."""
    corpus = [name for name, passage in collection.corpus.items() if passage.full_text]
    queries = {name: query.text for name, query in collection.queries.items() if name in collection.qrels}
    passages = {name: collection.corpus[name].full_text for name in corpus}
    relevant = {
        query: [name for name, score in collection.qrels[query].items() if score > 0 and name in passages]
        for query in queries
    }
    qrels = {query: names for query, names in relevant.items() if names}
    return make_set(queries, passages, corpus, qrels)


def make_set(
    queries: Mapping[str, str],
    passages: Mapping[str, str],
    corpus: list[str],
    qrels: dict[str, list[str]],
) -> Set:
    """Put texts by id together, queries first."""
    texts = [*queries.values(), *passages.values()]
    return Set(
        texts,
        encode(texts),
        {name: place for place, name in enumerate(queries)},
        {name: len(queries) + place for place, name in enumerate(passages)},
        corpus,
        qrels,
    )


def shorten(passage: Passage) -> str:
    """An abstract without every third sentence, and without its title."""
    sentences = re.split(r"(?<=[.!?]) +", passage.text)
    kept = [sentence for place, sentence in enumerate(sentences) if place % 3 != 0]
    return " ".join(kept or sentences)


def score_arms(
    data: Set, kind: str, draws: Iterable[Draw], rows: str, *, first_seed: int = 0
) -> tuple[dict[str, list[float]], list[dict[str, float]]]:
    """Mean nDCG@10 of each arm in each draw, and the facts of each draw."""
    places: dict[str, list[int]] = {}
    specs: list[dict[str, Any]] = []
    facts = []
    for seed, draw in enumerate(draws, start=first_seed):
        facts.append(draw.facts)
        for arm, instances in draw.arms.items():
            places.setdefault(arm, []).append(len(specs))
            specs.append(specify(data, kind, seed, instances, draw.held_out, rows))
    scores = train_all(data, kind, specs)
    return {arm: [scores[place] for place in some] for arm, some in places.items()}, facts


def split(data: Set, seed: int) -> tuple[list[str], list[str]]:
    """Held-out queries and the others."""
    names = sorted(data.qrels)
    order = [names[int(place)] for place in keyed_rank(names, f"held out {seed}")]
    n_held_out = round(HELD_OUT_SHARE * len(order))
    return order[:n_held_out], order[n_held_out:]


def make_arms(data: Set, seed: int, planted_share: float) -> Draw:
    """The training instances of every arm, and the held-out queries."""
    held_out, train_names = split(data, seed)
    n_planted = round(planted_share * len(train_names))
    ranked = [train_names[int(place)] for place in keyed_rank(train_names, f"planted {seed}")]
    chosen = set(ranked[:n_planted])
    places = {name: place for place, name in enumerate(data.corpus)}
    mined = mine_hard_negatives(
        data.vectors[[data.queries[name] for name in train_names]],
        data.vectors[[data.passages[name] for name in data.corpus]],
        [[places[one] for one in data.qrels[name]] for name in train_names],
        n_negatives=N_NEGATIVES,
    ).indices
    clean: list[Instance] = []
    planted: list[Instance] = []
    hidden: set[tuple[str, str]] = set()
    relevant: set[tuple[str, str]] = set()
    for name, row in zip(train_names, mined, strict=True):
        judged = sorted(data.qrels[name])
        listed = judged[:1] if name in chosen else judged
        extra = (judged[1:2] or [f"{judged[0]}~"]) if name in chosen else []
        query = data.texts[data.queries[name]]
        negatives = tuple(data.make_passage(data.corpus[int(place)]) for place in row if place >= 0)
        one = Instance(name, query, tuple(map(data.make_passage, listed)), negatives)
        clean.append(one)
        planted.append(replace(one, negatives=(*map(data.make_passage, extra), *negatives)))
        hidden |= {(name, passage) for passage in extra}
        relevant |= {(query, data.texts[data.passages[passage]]) for passage in (*judged, *extra)}
    return treat(clean, Planted(planted, hidden, relevant), seed, held_out)


def make_cranfield_arms(data: Set, collection: Collection, seed: int) -> Draw:
    """The same where half of each query's relevant documents are hidden among what is mined."""
    case, held_out = plant_cranfield_training(data, collection, seed)
    clean = [
        replace(one, negatives=tuple(p for p in one.negatives if (one.query_id, p.id) not in case.hidden))
        for one in case.instances
    ]
    return treat(clean, case, seed, held_out)


def plant_cranfield_training(data: Set, collection: Collection, seed: int) -> tuple[Planted, list[str]]:
    """The planted instances of the training queries, and the held-out queries."""
    held_out, train_names = split(data, seed)
    queries = [name for name in collection.queries if name in collection.qrels]
    everything = plant_cranfield(
        collection,
        {
            "queries": data.vectors[[data.queries[name] for name in queries]],
            "corpus": data.vectors[[data.passages[name] for name in data.corpus]],
        },
        seed,
    )
    known = set(train_names)
    planted = [one for one in everything.instances if one.query_id in known and one.positives]
    return replace(everything, instances=planted), held_out


def treat(clean: list[Instance], case: Planted, seed: int, held_out: list[str]) -> Draw:
    """What is trained on in every arm."""
    planted = case.instances
    judges = DirectJudges(FIRST, SECOND, case.relevant, seed=seed)
    found = [{p.id for p in one.negatives if judges.relabels(one.query, p)} for one in planted]
    done = relabel(case, FIRST, SECOND, seed)
    decided = [done.decisions.get(place, ()) for place in range(len(planted))]
    proposed = [list_names(some, is_confirmed) for some in decided]
    repeats = [list_names(some, is_repeat) for some in decided]
    # Prompts and replies, and the same without them.
    assert proposed == [one - other for one, other in zip(found, repeats, strict=True)], done.sentence
    changed = [
        list_names(some, lambda one: one.outcome in (Outcome.RELABEL, Outcome.DROP)) for some in decided
    ]
    arms = {
        "untrained": [],
        "clean": clean,
        "planted": planted,
        "remove": [one for one, names in zip(planted, found, strict=True) if not names],
        "drop": drop(planted, found),
        "relabel_all": make_positive(planted, found, found),
        "drop_all": drop(planted, changed),
        "relabel_without_gold": make_positive(planted, changed, proposed),
        "relabel": done.after,
    }
    return Draw(arms, held_out, list_facts(done, case, proposed))


def drop(instances: Sequence[Instance], names: Sequence[set[str]]) -> list[Instance]:
    """Instances without the negatives of these ids."""
    return [
        replace(one, negatives=tuple(p for p in one.negatives if p.id not in some))
        for one, some in zip(instances, names, strict=True)
    ]


def make_positive(
    instances: Sequence[Instance], gone: Sequence[set[str]], names: Sequence[set[str]]
) -> list[Instance]:
    """Instances without the negatives of the ids in `gone`, of which those in `names` are positives now."""
    return [
        replace(one, positives=(*one.positives, *(p for p in before.negatives if p.id in some)))
        for before, one, some in zip(instances, drop(instances, gone), names, strict=True)
    ]


def list_names(decisions: Sequence[Decision], is_wanted: Callable[[Decision], bool]) -> set[str]:
    """Ids of the candidates of some decisions."""
    return {one.candidate.passage.id for one in decisions if is_wanted(one)}


def list_facts(done: RelabelledInstances, case: Planted, proposed: Sequence[set[str]]) -> dict[str, float]:
    """What the product's cascade did in a draw; see `Draw`."""
    assert done.estimates is not None, done.sentence
    precision = done.estimates.precision
    pairs = [
        (one.query_id, name) for one, names in zip(case.instances, proposed, strict=True) for name in names
    ]
    return {
        "near_copies": done.n_repeats,
        "relabelled": done.outcomes[Outcome.RELABEL],
        "dropped": done.outcomes[Outcome.DROP] - done.n_repeats,
        "precision": precision.value,
        "precision_low": precision.low,
        "precision_true": len(case.hidden.intersection(pairs)) / max(len(pairs), 1),
    }


def specify(
    data: Set, kind: str, seed: int, instances: Sequence[Instance], held_out: Sequence[str], rows: str
) -> dict[str, Any]:
    """What the worker is told of one retriever."""
    how = {**HOW[kind], "rows": rows}
    if not instances:
        how["epochs"] = 0
    if all(len(one.positives) == 1 for one in instances):
        how["rows"] = "pairs"  # the same, and trained already
    return {
        "kind": kind,
        "seed": seed,
        "how": how,
        "instances": [
            [
                data.queries[one.query_id],
                [data.passages[passage.id] for passage in one.positives],
                [data.passages[passage.id] for passage in one.negatives],
            ]
            for one in instances
        ],
        "corpus": [data.passages[name] for name in data.corpus],
        "held_out": [
            [data.queries[name], [data.passages[one] for one in data.qrels[name]]] for name in held_out
        ],
    }


def train_all(data: Set, kind: str, specs: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean nDCG@10 of each retriever; what was trained before is read back, the others share one process."""
    cache = find_cache_dir() / "evals" / "false_negatives"
    cache.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    code = (here / "retriever_worker.py").read_bytes()
    if kind == "minilm":
        code += (here / "minilm_worker.py").read_bytes()
    shared = hashlib.sha256(code + data.vectors.tobytes() + json.dumps(data.texts).encode())
    paths = []
    for spec in specs:
        content = shared.copy()
        content.update(json.dumps(spec, sort_keys=True).encode())
        paths.append(cache / f"{content.hexdigest()[:24]}.json")
    missing = {path: spec for path, spec in zip(paths, specs, strict=True) if not path.is_file()}
    if missing:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "vectors.npy", data.vectors)
            (folder / "texts.json").write_text(json.dumps(data.texts), encoding="utf-8")
            inputs = {
                "vectors": str(folder / "vectors.npy"),
                "texts": str(folder / "texts.json"),
                "model": str(find_weights()) if kind == "minilm" else "",
            }
            lines = "\n".join(json.dumps({**spec, **inputs}) for spec in missing.values())
            (folder / "specs.jsonl").write_text(lines, encoding="utf-8")
            train_missing("retriever_worker", folder / "specs.jsonl", list(missing))
    return [float(np.mean(json.loads(path.read_text(encoding="utf-8")))) for path in paths]
