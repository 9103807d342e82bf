"""One round of the loop: what is missing, what can be done about it, doing it, and judging what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from counterpoise.actions.adopt import Adoptable, list_candidates, propose_adoptions
from counterpoise.actions.base import EDIT_ACTIONS, Offer
from counterpoise.actions.edits import EditDesk, mark_injected
from counterpoise.actions.minority_text import MinorityText
from counterpoise.balance.corrected_counts import find_corrected_deficits
from counterpoise.balance.counts import count_cells, find_deficits
from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.events import Event, Listener
from counterpoise.core.plans import Action, Cell, Deficit, Plan, PlanItem, Proposal, Verdict
from counterpoise.core.records import Floats, Integers, Records, State
from counterpoise.core.splits import sample_by_rank
from counterpoise.filters.base import (
    KnownTexts,
    TextFilter,
    check_concepts,
    check_labels,
    combine_verdicts,
    find_copies,
    make_known_texts,
)
from counterpoise.filters.copy_limits import CopyLimits
from counterpoise.filters.writers import check_writers
from counterpoise.filters.written import SUPPORT, WrittenFilters
from counterpoise.llm import ChatClient
from counterpoise.llm.models import Models
from counterpoise.runs.ledger import Judged, Ledger, leave_out_surplus
from counterpoise.runs.planner import TOLERATED_RATIO, make_plan
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.tasks.text.attribute_filter import AttributeFilter
from counterpoise.tasks.text.inputs import Inputs
from counterpoise_retrievers.faiss_index import FaissIndex

MOST_DEMONSTRATIONS = 500
MOST_NAMED = 60
"""Named cells that one round plans for, those that lack most: a label with fifty values makes fifty."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all rounds share.

    Args:
        inputs: the data.
        scorer: the label scorer, trained on all training rows.
        is_trusted: whether it passed its audit; if not it neither adopts nor refuses.
        out_of_fold: (n, k) what it says of the training rows, cross-fitted.
        adoptable: what the pool offers.
        pool_index: of the pool's vectors.
        generator: writes texts.
        text_filter: bounds from real rows.
        known: texts that must not be repeated.
        target: as the job says.
        key: the run's key.
        desk: for edits of records; without one nothing is edited.
        attribute_filter: for texts written for an attribute value; without one they are taken for what they are to be.
        written: what is asked of texts that a model wrote; without, only what `filters` ask.
    """

    inputs: Inputs
    scorer: ClassifierScorer
    is_trusted: bool
    out_of_fold: Floats
    adoptable: Adoptable | None
    pool_index: FaissIndex
    generator: MinorityText
    text_filter: TextFilter
    known: Mapping[str, KnownTexts]
    target: Literal["equal"] | Mapping[str, float]
    key: str
    desk: EditDesk | None = None
    attribute_filter: AttributeFilter | None = None
    written: WrittenFilters | None = None


def count_records(shop: Workshop, ledger: Ledger) -> Records:
    """The training rows and all accepted ones: what is counted."""
    train = shop.inputs.train.records
    accepted = ledger.list_accepted()
    if not accepted:
        return train
    places = {name: place for place, name in enumerate(train.label_names)}
    attributes = {
        name: np.concatenate(
            [column, np.array([proposal.attributes.get(name, "") for proposal, _ in accepted], dtype=object)]
        )
        for name, column in train.attributes.items()
    }
    concepts = train.concepts
    if concepts is not None:
        added = [
            judged.concepts.take(np.array(judged.kept))
            for _, judged in ledger.rounds
            if judged.concepts and judged.kept
        ]
        concepts = replace(
            concepts,
            states=np.concatenate([concepts.states, *(part.states for part in added)]),
            probabilities=np.concatenate([concepts.probabilities, *(part.probabilities for part in added)]),
        )
    return Records(
        ids=np.concatenate([train.ids, np.array([proposal.id for proposal, _ in accepted], dtype=object)]),
        texts=np.concatenate(
            [train.texts, np.array([proposal.text for proposal, _ in accepted], dtype=object)]
        ),
        labels=np.concatenate([train.labels, np.array([places[proposal.label] for proposal, _ in accepted])]),
        label_names=train.label_names,
        attributes=attributes,
        concepts=concepts,
    )


def find_all_deficits(
    records: Records,
    inputs: Inputs,
    target: Literal["equal"] | Mapping[str, float],
    families: Sequence[Literal["label", "concept", "attribute"]],
) -> list[Deficit]:
    """Deficits of the cells; those of concepts with known answers from corrected counts, where they are sure."""
    plain = find_deficits(records, target, families)
    corrected = inputs.corrected
    if not corrected or "concept" not in families:
        return plain
    sure = find_corrected_deficits(records, corrected, target)
    kept = [deficit for deficit in plain if deficit.cell not in corrected]
    return sorted([*kept, *sure], key=lambda deficit: (-deficit.need, deficit.cell))


def is_short(deficit: Deficit) -> bool:
    """Whether a cell lacks enough to do something about it: three records, and a twentieth of what it should have."""
    return deficit.need >= max(3, TOLERATED_RATIO * deficit.want)


def list_short(shop: Workshop, ledger: Ledger) -> list[Deficit]:
    """All cells that lack records, whether anything can still be done about them or not; largest need first."""
    records = count_records(shop, ledger)
    found = find_all_deficits(records, shop.inputs, shop.target, ["label", "concept", "attribute"])
    return [deficit for deficit in found if is_short(deficit)]


def list_deficits(shop: Workshop, ledger: Ledger) -> list[Deficit]:
    """The short cells that a round plans for: those in which writing still pays, the labels and what they lack most."""
    gone = ledger.find_exhausted()
    found = [one for one in list_short(shop, ledger) if (Action.MINORITY, one.cell) not in gone]
    named = [deficit for deficit in found if deficit.cell.is_named]
    left_out = {deficit.cell for deficit in named[MOST_NAMED:]}
    return [deficit for deficit in found if deficit.cell not in left_out]


def plan_round(
    shop: Workshop,
    ledger: Ledger,
    models: Models,
    *,
    round_number: int,
    n_rounds: int | None,
    limit: int | None,
) -> Plan:
    """Count, and plan the next round.

    Args:
        shop: what all rounds share.
        ledger: settled rounds.
        models: the model; it is asked nothing, requests are estimated.
        round_number: from 1.
        n_rounds: rounds the job allows, None without a limit.
        limit: tokens of the budget, None without.
    """
    deficits = list_deficits(shop, ledger)
    offers = _make_offers(deficits, shop, ledger, models)
    remaining = None if limit is None else max(0, limit - models.chat.budget.used)
    return make_plan(
        deficits,
        offers,
        ledger.costs,
        round_number=round_number,
        n_rounds=n_rounds,
        remaining_tokens=remaining,
        exhausted=ledger.find_exhausted(),
    )


def _make_offers(
    deficits: Sequence[Deficit],
    shop: Workshop,
    ledger: Ledger,
    models: Models,
) -> dict[Cell, Offer]:
    """What each short cell, and the contrast cell of a label that is short alone, has to offer."""
    counts, gone = count_cells(count_records(shop, ledger)), ledger.find_exhausted()
    offers: dict[Cell, Offer] = {}
    for deficit in deficits:
        offers[deficit.cell] = _make_offer(shop, ledger, deficit.cell, models)
        # Several thin labels are each other's contrast; a single one needs records of another label beside it.
        alone = all(
            other.cell.label == deficit.cell.label
            for other in deficits
            if replace(other.cell, label="") == replace(deficit.cell, label="")
        )
        contrast = _find_contrast(deficit.cell, counts, shop.inputs.train.records) if alone else None
        if contrast is None or (Action.MINORITY, contrast) in gone:
            continue
        if contrast not in offers:
            offers[contrast] = _make_offer(shop, ledger, contrast, models)
        if offers[contrast].n_demonstrations:
            offers[deficit.cell] = replace(offers[deficit.cell], contrast=contrast)
    return offers


def foresee_records(shop: Workshop, models: Models, limit: int | None) -> dict[Action, dict[int, int]]:
    """How many records the labels that are short would get, the whole budget spent at once.

    Args:
        shop: the data; nothing of it was repaired yet.
        models: the model; it is asked nothing, requests are estimated.
        limit: tokens of the budget, None without.

    Returns:
        Action -> label index -> records, for adopting and for minority text.
    """
    ledger = Ledger()
    found = find_all_deficits(shop.inputs.train.records, shop.inputs, shop.target, ["label"])
    deficits = [deficit for deficit in found if is_short(deficit)]
    offers = _make_offers(deficits, shop, ledger, models)
    adopted = {deficit.cell: min(deficit.need, offers[deficit.cell].n_adoptable) for deficit in deficits}
    plan = make_plan(
        [replace(deficit, have=deficit.have + adopted[deficit.cell]) for deficit in deficits],
        {cell: replace(offer, n_adoptable=0) for cell, offer in offers.items()},
        {},
        round_number=1,
        n_rounds=1,
        remaining_tokens=limit,
    )
    written = {item.cell: item.count for item in plan.items if item.cell in adopted}
    names = shop.inputs.train.records.label_names
    return {
        action: {names.index(cell.label): count for cell, count in counts.items()}
        for action, counts in ((Action.ADOPT, adopted), (Action.MINORITY, written))
    }


async def carry_out(
    plan: Plan,
    shop: Workshop,
    ledger: Ledger,
    models: Models,
    listener: Listener,
) -> Judged:
    """Do what a plan says and judge every proposal, in the order of their ids."""
    proposals: list[Proposal] = []
    taken = ledger.list_offered()
    for item in plan.items:
        if item.action is Action.ADOPT:
            candidates = _list_adoptable(shop, item.cell, taken)
            adopted = propose_adoptions(item, shop.inputs.pool.records, candidates, shop.key)
            taken |= {
                proposal.source_id for proposal in adopted
            }  # a row for one cell of its label is none for another
            proposals += adopted
            continue
        if item.action in EDIT_ACTIONS and shop.desk is not None:
            material = shop.desk.gather(item.action, item.cell, models.capabilities)
            editor = shop.desk.editors[item.action]
            async for proposal in editor.propose(item, material, models):
                proposals.append(proposal)
                _report_progress(listener, item, proposals, models.chat)
            continue
        shown = choose_demonstrations(shop, item.cell)
        async for proposal in shop.generator.propose(item, shown, models):
            proposals.append(proposal)
            _report_progress(listener, item, proposals, models.chat)
    proposals.sort(key=lambda proposal: proposal.id)
    judged = judge(proposals, shop, ledger)
    reasons = Counter(verdict.reason for verdict in judged.verdicts if not verdict.kept)
    listener(
        Event(
            "judged",
            {"round": plan.round, "accepted": len(judged.kept), "rejected": dict(sorted(reasons.items()))},
        )
    )
    return judged


def judge(proposals: Sequence[Proposal], shop: Workshop, ledger: Ledger) -> Judged:
    """Pass proposals through all filters."""
    encoder = shop.inputs.encoder
    if not proposals:
        return Judged((), (), np.empty((0, encoder.dimension), np.float32), None)
    text_verdicts = [
        Verdict(proposal.id, False, proposal.failure) if proposal.failure else verdict
        for proposal, verdict in zip(proposals, shop.text_filter.verdicts(proposals), strict=True)
    ]
    # What fails on its face is not worth a vector; a zero vector is like nothing.
    passing = [place for place, verdict in enumerate(text_verdicts) if verdict.kept]
    vectors = np.zeros((len(proposals), encoder.dimension), np.float32)
    if passing:
        vectors[passing] = encoder.encode([proposals[place].text for place in passing])
    train = shop.inputs.train
    rows = {str(identity): row for row, identity in enumerate(train.records.ids)}
    parents = {
        parent: str(train.records.texts[rows[parent]])
        for proposal in proposals
        for parent in proposal.parents
    }
    earlier = make_known_texts(
        (proposal.text for proposal, _ in ledger.list_accepted()), ledger.stack_vectors(encoder.dimension)
    )
    concepts = None
    if shop.inputs.labeller is not None:
        told = [
            proposal.text if verdict.kept else ""
            for proposal, verdict in zip(proposals, text_verdicts, strict=True)
        ]
        concepts = shop.inputs.labeller.label(told, vectors)
    # Copies are looked for among what passed the other filters, so that a refused text cannot shadow a good one.
    probabilities, names = shop.scorer.score_vectors(vectors), train.records.label_names
    if shop.written is not None:
        passing_now = [verdict.kept for verdict in text_verdicts]
        written = shop.written.verdicts(proposals, vectors, probabilities, names, passing_now, parents)
        text_verdicts = combine_verdicts(text_verdicts, written)
    first = combine_verdicts(
        text_verdicts,
        check_labels(
            proposals,
            probabilities,
            names,
            is_trusted=shop.is_trusted,
            is_measured=shop.written is not None and shop.written.has_support,
        ),
        *([_audit_writers(proposals, text_verdicts, probabilities, shop)] if shop.is_trusted else []),
        check_concepts(proposals, concepts),
        *_check_attributes(proposals, text_verdicts, vectors, shop),
        *([shop.desk.judge(proposals, vectors, concepts)] if shop.desk is not None else []),
    )
    places = [place for place, verdict in enumerate(first) if verdict.kept]
    copies = find_copies(
        [proposals[place] for place in places],
        vectors[places],
        shop.known,
        earlier,
        parents,
        shop.written.copies if shop.written is not None else CopyLimits(),
        names,
    )
    verdicts = list(first)
    for place, copy in zip(places, copies, strict=True):
        verdicts[place] = combine_verdicts([first[place]], [copy])[0]
    verdicts = leave_out_surplus(proposals, verdicts)
    if concepts is not None:
        concepts = mark_injected(proposals, verdicts, concepts)
    return Judged(tuple(proposals), tuple(verdicts), vectors, concepts)


def _check_attributes(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], vectors: Vectors, shop: Workshop
) -> list[list[Verdict]]:
    """The layer of verdicts on attribute values; none without a filter."""
    if shop.attribute_filter is None:
        return []
    return [shop.attribute_filter.verdicts(proposals, [verdict.kept for verdict in verdicts], vectors)]


def _audit_writers(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], probabilities: Floats, shop: Workshop
) -> list[Verdict]:
    # What lacks support counts: a writer is judged by all that it wrote for the label.
    passing = [verdict.kept or verdict.reason == SUPPORT for verdict in verdicts]
    records = shop.inputs.train.records
    mildest = shop.written.list_mildest() if shop.written is not None else ()
    return check_writers(
        proposals, passing, probabilities, shop.out_of_fold, records.labels, records.label_names, mildest
    )


def choose_demonstrations(shop: Workshop, cell: Cell) -> EncodedRecords:
    """Real rows of a cell to show; where it has fewer than two, those of its label nearest to what it is about."""
    train = shop.inputs.train
    rows = _find_rows(train, cell)
    if len(rows) < 2:
        rows = _find_nearest(shop, cell)
    picked = rows[sample_by_rank(train.records.ids[rows], MOST_DEMONSTRATIONS, f"{shop.key}:demonstrations")]
    return EncodedRecords(train.records.take(picked), train.vectors[picked])


def _find_rows(side: EncodedRecords, cell: Cell) -> Integers:
    records = side.records
    mask = records.labels == records.label_names.index(cell.label)
    if cell.attribute:
        mask &= records.attributes[cell.attribute] == cell.value
    if cell.concept and records.concepts is not None:
        mask &= records.concepts.states[:, records.concepts.names.index(cell.concept)] == State.PRESENT
    return np.flatnonzero(mask)


def _find_nearest(shop: Workshop, cell: Cell) -> Integers:
    """The ten rows of the cell's label that are nearest to its concept, or to the rows of its attribute value."""
    train = shop.inputs.train
    rows = _find_rows(train, Cell(cell.label))
    if cell.concept:
        anchor = shop.inputs.encoder.encode([shop.inputs.concepts[cell.concept]])[0]
    elif cell.attribute:
        members = np.flatnonzero(train.records.attributes[cell.attribute] == cell.value)
        anchor = train.vectors[members].mean(axis=0) if len(members) else train.vectors[rows].mean(axis=0)
    else:
        return rows
    order = np.argsort(-(train.vectors[rows] @ anchor), kind="stable")
    return rows[np.sort(order[:10])]


def add_margin(request_tokens: int) -> int:
    """Demonstrations differ in length from request to request; a margin keeps the plan inside the budget."""
    return request_tokens + request_tokens // 4


def _make_offer(shop: Workshop, ledger: Ledger, cell: Cell, models: Models) -> Offer:
    shown = choose_demonstrations(shop, cell)
    request_tokens = 0
    if len(shown):
        probe = PlanItem(Action.MINORITY, cell, 1, 0, 0, n_requests=8)
        requests = shop.generator.make_requests(probe, shown, models.capabilities)
        request_tokens = add_margin(max(models.chat.estimate(request) for request in requests))
    taken = ledger.list_offered()
    edits = {}
    if shop.desk is not None:
        drawn = {action: costs.requests for (action, other), costs in ledger.costs.items() if other == cell}
        edits = shop.desk.make_offers(cell, models, drawn)
    return Offer(request_tokens, len(_list_adoptable(shop, cell, taken)), len(shown), edits=edits)


def _list_adoptable(shop: Workshop, cell: Cell, taken: frozenset[str]) -> Integers:
    if shop.adoptable is None or not shop.is_trusted:
        return np.empty(0, dtype=np.int64)
    thin = shop.inputs.train.vectors[_find_rows(shop.inputs.train, cell)]
    return list_candidates(cell, shop.inputs.pool.records, shop.adoptable, taken, thin, shop.pool_index)


def _find_contrast(cell: Cell, counts: Mapping[Cell, int], train: Records) -> Cell | None:
    """The cell of the label that has most beside this one; None where it is this one."""
    siblings = [replace(cell, label=label) for label in train.label_names]
    largest = max(siblings, key=lambda sibling: (counts.get(sibling, 0), sibling.label))
    return None if largest == cell else largest


def _report_progress(
    listener: Listener, item: PlanItem, proposals: Sequence[Proposal], chat: ChatClient
) -> None:
    listener(
        Event(
            "progress",
            {
                "round": item.round,
                "proposed": len(proposals),
                "tokens_used": chat.budget.used,
                "tokens_paid": chat.budget.paid,
                "limit": chat.budget.limit,
            },
        )
    )
