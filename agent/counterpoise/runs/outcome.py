"""The result of a run: the data set as it is written, and its rows as the students see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Kind, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Objects, Provenance, State
from counterpoise.data.card import AddedRecord, CardFacts, ConceptValue, RelabelledRecord
from counterpoise.data.patches.values import LabelChange
from counterpoise.data.rejected import RejectedProposal, write_rejected
from counterpoise.data.result_rows import Part
from counterpoise.data.sources import name_source
from counterpoise.data.writing import content_hash, load_result, write_result
from counterpoise.report.arm_words import ADOPTED, OURS, UNVERIFIED, WRITTEN
from counterpoise.runs.ledger import JudgedProposals, Ledger
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.weights import weigh_rows
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.parts import RunContext


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What was written, and training rows for the arms that use added ones.

    Args:
        content_hash: of the written data set; does not depend on the order of rows.
        ours: original and accepted rows.
        unverified: original rows and all proposals, whatever the filters said.
        apart: original rows with the adopted ones alone (`adopted`) and with the written ones alone (`written`); empty
            where there is only one kind of them.
        origins: (m,) who brought each added row of `ours`: `adopted`, or the kind of a record, with the writer that the
            job names (`KIND:angry`).
        groups: `own`, or an arm with added rows -> (n,) group names of its rows.
    """

    content_hash: str
    ours: Rows
    unverified: Rows
    apart: dict[str, Rows]
    origins: tuple[str, ...]
    groups: dict[str, NDArray[np.object_]]


def write_outcome(
    dataset: Path,
    rejected: Path,
    job: Job,
    context: RunContext,
    ledger: Ledger,
    weights: Floats | None = None,
) -> RunOutcome:
    """Write `dataset/` and `rejected/`, and gather the rows for the held-out table.

    Args:
        dataset: folder of the data set.
        rejected: folder of the rejected proposals.
        job: for the names of columns and the data card.
        context: the data.
        ledger: all settled rounds.
        weights: (n,) of the own rows, where these are weighed and nothing is added.

    Raises:
        StorageError: the disk is full.
    """
    inputs = context.inputs
    ours = _gather(inputs, ledger, lambda judged: judged.kept)
    if weights is not None:
        ours = replace(ours, weights=weights)
    keeps_all = all(_list_written(judged) == judged.kept for _, judged in ledger.rounds)
    unverified = ours if keeps_all else _gather(inputs, ledger, _list_written)
    apart = {
        name: _gather(inputs, ledger, pick)
        for name, pick in ((ADOPTED, _list_adopted), (WRITTEN, _list_kept_written))
    }
    if any(len(rows) == len(inputs.train) for rows in apart.values()):
        apart = {}
    own = len(inputs.train)
    added = [
        _make_added(proposal, verdict, float(ours.weights[own + place]), concepts, inputs)
        for place, (proposal, verdict, concepts) in enumerate(_iterate_kept(ledger))
    ]
    prompts = sorted({record.provenance.prompt for record in added if record.provenance.prompt})
    models = sorted({record.provenance.model for record in added if record.provenance.model})
    write_result(
        dataset,
        task=job.as_task(),
        train=_restore(inputs.tables.train, replace(inputs.train, records=inputs.given)),
        held_out=_restore(inputs.tables.held_out, inputs.held_out),
        added=added,
        relabelled={name: _make_relabelled(change) for name, change in inputs.relabelled.items()},
        weights=ours.weights[:own][inputs.train.user_order],
        answered=inputs.answered,
        card=CardFacts(
            name=job.name,
            source=name_source(job.data).rsplit("/", 1)[-1],
            models=models,
            prompts=prompts,
            notes=inputs.notes,
        ),
    )
    write_rejected(
        rejected, (RejectedProposal(proposal, verdict) for proposal, verdict in ledger.list_rejected())
    )
    train_groups = inputs.train.records.groups
    return RunOutcome(
        content_hash=content_hash(load_result(dataset)),
        ours=ours,
        unverified=unverified,
        apart=apart,
        origins=tuple(_name_origin(proposal) for proposal, *_ in _iterate_kept(ledger)),
        groups={
            "own": train_groups,
            OURS: _name_groups(train_groups, len(ours)),
            UNVERIFIED: _name_groups(train_groups, len(unverified)),
            **{name: _name_groups(train_groups, len(rows)) for name, rows in apart.items()},
        },
    )


def _name_groups(train_groups: NDArray[np.object_], n: int) -> NDArray[np.object_]:
    extra = np.array([f"added {place}" for place in range(n - len(train_groups))], dtype=object)
    return np.concatenate([train_groups, extra])


def _name_origin(proposal: Proposal) -> str:
    if proposal.nature.is_real:
        return ADOPTED
    return f"{proposal.kind}:{proposal.writer}" if proposal.writer else proposal.kind


def _iterate_kept(ledger: Ledger) -> list[tuple[Proposal, Verdict, list[ConceptValue]]]:
    kept = []
    for _, judged in ledger.rounds:
        for place in judged.kept:
            kept.append(
                (judged.proposals[place], judged.verdicts[place], _list_concepts(judged.concepts, place))
            )
    return kept


def _list_concepts(concepts: ConceptColumns | None, row: int) -> list[ConceptValue]:
    if concepts is None:
        return []
    return [
        ConceptValue(name, State(int(state)), float(probability), concepts.scorer)
        for name, state, probability in zip(
            concepts.names, concepts.states[row], concepts.probabilities[row], strict=True
        )
        if state != State.ABSENT
    ]


def _make_added(
    proposal: Proposal, verdict: Verdict, weight: float, concepts: list[ConceptValue], inputs: Inputs
) -> AddedRecord:
    return AddedRecord(
        text=proposal.text,
        label=proposal.label,
        weight=weight,
        attributes=proposal.attributes,
        columns=proposal.content,
        concepts=tuple(concepts),
        provenance=Provenance(
            id=proposal.id,
            kind=proposal.kind,
            parents=(proposal.source_id,) if proposal.source_id else proposal.parents,
            round=proposal.item.round,
            cell=str(proposal.item.cell),
            model=proposal.model,
            prompt=proposal.prompt,
            scores=verdict.scores,
        ),
    )


def _make_relabelled(change: LabelChange) -> RelabelledRecord:
    """The new label of a row of the user's, and where it comes from."""
    return RelabelledRecord(
        change.after,
        Provenance(
            id=change.id,
            kind=Kind.RELABELLED,
            cell=change.after,
            label_before=change.before,
            scores={"certainty": change.score},
        ),
    )


def _restore(table: Dataset, encoded: EncodedRecords) -> Part:
    """The rows in the user's order, with the concepts that were found."""
    return Part(table, encoded.records.take(encoded.user_order))


def _gather(inputs: Inputs, ledger: Ledger, pick: Callable[[JudgedProposals], list[int]]) -> Rows:
    """Original rows and the picked proposals for the students."""
    train = inputs.train
    names = {name: place for place, name in enumerate(train.records.label_names)}
    proposals: list[Proposal] = []
    vectors = [np.empty((0, train.vectors.shape[1]), np.float32)]
    for _, judged in ledger.rounds:
        places = pick(judged)
        proposals += [judged.proposals[place] for place in places]
        vectors.append(judged.vectors[places])
    added = np.concatenate(vectors)
    labels = np.concatenate(
        [train.records.labels, np.array([names[item.label] for item in proposals], dtype=np.int64)]
    )
    written = np.array([False] * len(train) + [not item.nature.is_real for item in proposals], dtype=np.bool_)
    original = np.arange(len(labels)) < len(train)
    texts = np.concatenate([train.records.texts, np.array([item.text for item in proposals], dtype=object)])
    return make_rows(
        texts,
        np.concatenate([train.vectors, added]),
        labels,
        weights=weigh_rows(labels, written, len(names)),
        original=original,
        zero_shot=np.concatenate(
            [train.zero_shot, SimilarityScorer(inputs.encoder, inputs.label_texts).score_vectors(added)]
        ),
        lines=train.lines,
        sources=_list_sources(train.records.ids, proposals),
    )


def _list_sources(own: Objects, proposals: Sequence[Proposal]) -> Objects:
    """(n,) ids of what each row came from, see `Rows`."""
    made = [(*item.parents, *((item.source_id,) if item.source_id else ())) for item in proposals]
    sources = np.empty(len(own) + len(made), dtype=object)
    sources[:] = [*((str(one),) for one in own), *made]
    return sources


def _list_adopted(judged: JudgedProposals) -> list[int]:
    return [place for place in judged.kept if judged.proposals[place].nature.is_real]


def _list_kept_written(judged: JudgedProposals) -> list[int]:
    return [place for place in judged.kept if not judged.proposals[place].nature.is_real]


def _list_written(judged: JudgedProposals) -> list[int]:
    """Proposals that are a text at all: those without any vector were empty, refusals or echoes."""
    return [int(place) for place in np.flatnonzero(np.abs(judged.vectors).sum(axis=1) > 0)]
