"""What the agent makes of a draw of `concept_bias`: concepts it predicts, texts adopted, written, filtered."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.actions.adopt import find_adoptable, list_candidates, propose_adoptions
from counterpoise.balance.counts import find_deficits
from counterpoise.core.plans import PlanItem
from counterpoise.core.records import ConceptColumns, Floats, Integers, Records, State
from counterpoise.core.splits import assign_folds, keyed_rank
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.scorers.concepts.labeller import fit_concepts
from counterpoise.students.cell_choice import score_unlabelled
from counterpoise.students.cell_marks import CellMarks, make_marks
from counterpoise.students.rows import Rows, make_rows
from counterpoise_retrievers.encoders import Encoder
from counterpoise_retrievers.faiss_index import FaissIndex
from evals.concept_texts import Draw, Texts
from evals.edit_cases import CONCEPTS, Case, load_cebab

N_POOL = 1000
UNCONTRADICTED_FROM = 0.2
LABELS = {
    "negative": "Negative restaurant reviews written by unhappy customers",
    "positive": "Positive restaurant reviews written by happy customers",
}


def as_rows(texts: Texts, encoder: Encoder) -> Rows:
    """Texts as the students see them, with their nearness to the descriptions of the labels."""
    scorer = SimilarityScorer(encoder, tuple(LABELS.values()))
    return make_rows(texts.texts, texts.vectors, texts.labels, zero_shot=scorer.score_vectors(texts.vectors))


def as_records(texts: Texts, concepts: ConceptColumns) -> Records:
    """Texts as the agent's records."""
    return Records(
        ids=np.array([f"row {row:05d}" for row in range(len(texts))], dtype=object),
        texts=texts.texts,
        labels=texts.labels,
        label_names=tuple(LABELS),
        concepts=concepts,
    )


def take_gold(texts: Texts) -> ConceptColumns:
    """The concepts people named."""
    states = np.where(texts.concepts < 0, State.UNKNOWN, texts.concepts).astype(np.int8)
    return ConceptColumns(tuple(CONCEPTS), states, np.where(texts.concepts < 0, 0.5, texts.concepts))


def predict_concepts(own: Texts, others: Texts, encoder: Encoder) -> tuple[ConceptColumns, ConceptColumns]:
    """The concepts of both, as the product labels them where nobody has answered anything."""
    both = own.join(others) if len(others) else own
    ids = [f"row {row:05d}" for row in range(len(both))]
    labeller = fit_concepts(list(both.texts), both.vectors, ids, CONCEPTS, encoder)
    found = labeller.label(list(both.texts), both.vectors)
    rows = np.arange(len(both))
    return found.take(rows[: len(own)]), found.take(rows[len(own) :])


def draw_pool(train: Texts, draw: Draw, seed: int) -> Texts:
    """1,000 other texts, none an edit of one in the draw."""
    used = set(train.originals[draw.biased])
    others = [row for row in range(len(train)) if train.originals[row] not in used]
    ranked = keyed_rank([str(train.texts[row]) for row in others], f"pool {seed}")
    return train.take(np.array([others[place] for place in ranked[:N_POOL]]))


def adopt(
    own: Texts,
    concepts: ConceptColumns,
    pool: Texts,
    pool_concepts: ConceptColumns,
    encoder: Encoder,
    seed: int,
) -> dict[str, tuple[Texts, Integers]]:
    """What the agent adopts, with the labels it predicts; no token is spent.

    Returns:
        `pool`: for the cells that lack records, as the plan would. `pool_all`: every text whose label is sure. Each
        with the positions in the pool.
    """
    own_records, pool_records = as_records(own, concepts), as_records(pool, pool_concepts)
    folds = assign_folds(own_records, 5, f"seed {seed}:folds")
    rows, marks = as_rows(own, encoder), make_marks(own_records)
    _, out_of_fold, scores = score_unlabelled(rows, marks, folds, as_rows(pool, encoder), 2)
    adoptable = find_adoptable(out_of_fold, own.labels, scores)
    index = FaissIndex(encoder.dimension)
    index.add(pool.vectors)
    taken: dict[str, str] = {}
    for number, deficit in enumerate(find_deficits(own_records, "equal", ["concept"])):
        thin = own.vectors[own.labels == own_records.label_names.index(deficit.cell.label)]
        found = list_candidates(deficit.cell, pool_records, adoptable, frozenset(taken), thin, index)
        item = PlanItem("adopt", deficit.cell, deficit.need, 1, number)
        for proposal in propose_adoptions(item, pool_records, found, f"seed {seed}"):
            taken[proposal.source_id] = proposal.label
    places = {str(identity): place for place, identity in enumerate(pool_records.ids)}
    picked = np.array([places[identity] for identity in taken], dtype=np.int64)
    labels = np.array([own_records.label_names.index(label) for label in taken.values()], dtype=np.int64)
    sure = np.flatnonzero(adoptable.sure >= 0)
    return {
        "pool": (replace(pool.take(picked), labels=labels), picked),
        "pool_all": (replace(pool.take(sure), labels=adoptable.sure[sure]), sure),
    }


def stack_marks(first: CellMarks, second: CellMarks) -> CellMarks:
    """The marks of some rows and of further ones."""
    return CellMarks(
        first.names,
        np.concatenate([first.states, second.states]),
        np.concatenate([first.levels, second.levels]),
    )


def write(
    train: Texts, draw: Draw, encoder: Encoder, seed: int, llm: Mapping[str, Any], budget: str
) -> tuple[Texts, Floats, CellMarks, int]:
    """The data set that the agent makes of a draw, through the public API: texts, weights, marks, tokens used."""
    import counterpoise
    from counterpoise.tasks.text.job import job_from

    own = train.take(draw.biased)
    names = tuple(LABELS)
    held_out = train.take(np.setdiff1d(draw.original, draw.biased)[:40])  # read by the report only
    with tempfile.TemporaryDirectory() as folder:
        run_ = counterpoise.run(
            job_from(
                data={"text": list(own.texts), "label": [names[label] for label in own.labels]},
                held_out={"text": list(held_out.texts), "label": [names[label] for label in held_out.labels]},
                text="text",
                label="label",
                labels=dict(LABELS),
                concepts=dict(CONCEPTS),
                llm=dict(llm),
                budget=budget,
                seed=seed,
                output=str(Path(folder) / "run"),
            )
        )
        rows = list(run_.dataset["train"])
        tokens = int(run_.report_data["spend"]["used"])
        reasons: dict[str, int] = {}
        for row in run_.rejected:
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
        kinds: dict[str, int] = {}
        for row in rows:
            kinds[row["provenance"]["kind"]] = kinds.get(row["provenance"]["kind"], 0) + 1
        print(f"thin: {kinds}, refused {reasons}", file=sys.stderr, flush=True)
    texts = [row["text"] for row in rows]
    made = Texts(
        np.array(texts, dtype=object),
        np.array([names.index(row["label"]) for row in rows]),
        np.full((len(rows), len(CONCEPTS)), State.UNKNOWN, dtype=np.int64),
        np.array([""] * len(rows), dtype=object),
        encoder.encode(texts),
    )
    return made, np.array([float(row["weight"]) for row in rows]), _read_marks(rows), tokens


def _read_marks(rows: Sequence[Mapping[str, Any]]) -> CellMarks:
    """The concepts of written rows: not listed is absent."""
    states = np.zeros((len(rows), len(CONCEPTS)), dtype=np.int8)
    levels = np.zeros((len(rows), len(CONCEPTS)))
    for place, row in enumerate(rows):
        for concept in row["concepts"]:
            column = list(CONCEPTS).index(concept["name"])
            states[place, column] = 1 if concept["state"] == "present" else -1
            levels[place, column] = 1.0 if concept["state"] == "present" else 0.5
    return CellMarks(tuple(CONCEPTS), states, levels)


def load_published(folder: Path, encoder: Encoder) -> dict[str, dict[str, Texts]]:
    """ChatGPT injections of label 0 that start from training texts, by concept: before and after the filters.

    `published` is all of them, `published_filtered` what the filters of the product keep, and
    `published_uncontradicted` what they would keep if a label needed no confirmation, only no contradiction.
    """
    from evals.counterfactual_quality import make_filter_panel, verify
    from evals.edit_cases import CONFIRMED_FROM

    reviews = load_cebab(folder)
    cases = [case for case in reviews.published if case.label == "negative" and case.concept in CONCEPTS]
    wanted, passing = verify(reviews, cases, make_filter_panel(reviews, encoder), encoder)
    confirmed = passing & (wanted >= np.array([CONFIRMED_FROM[case.nature] for case in cases]))
    masks = {
        "published": np.ones(len(cases), dtype=np.bool_),
        "published_filtered": confirmed,
        "published_uncontradicted": passing & (wanted >= UNCONTRADICTED_FROM),
    }
    found: dict[str, dict[str, Texts]] = {}
    for concept in CONCEPTS:
        mine = np.array([case.concept == concept for case in cases])
        if mine.any():
            found[concept] = {
                name: _as_texts([cases[place] for place in np.flatnonzero(mine & mask)], encoder)
                for name, mask in masks.items()
            }
            sizes = {name: len(texts) for name, texts in found[concept].items()}
            print(f"published {concept}: {sizes}", file=sys.stderr, flush=True)
    return found


def _as_texts(cases: Sequence[Case], encoder: Encoder) -> Texts:
    texts = [case.text for case in cases]
    states = [[int(name == case.concept) for name in CONCEPTS] for case in cases]
    return Texts(
        np.array(texts, dtype=object),
        np.zeros(len(cases), dtype=np.int64),
        np.array(states),
        np.array([case.group for case in cases], dtype=object),
        encoder.encode(texts),
    )
