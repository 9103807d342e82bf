"""What every filter keeps, whoever wrote it: all that are registered, and one of a user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, Nature, Proposal, Verdict
from counterpoise.core.records import ConceptColumns
from counterpoise.filters.base import KEPT, Filter
from counterpoise.filters.batch import KeptTexts, ProposalBatch
from counterpoise.filters.chain import FilterData, ReadyFilter, ask_filters, fit_filters
from counterpoise.tasks.filters import FILTERS
from tests.made_up import WordEncoder, make_item, make_records, write_sentences
from tests.parts_distribution.mine_parts.filters import PrivacyFilter


class RememberingEncoder(WordEncoder):
    """Encodes each text once: some are long, and stand in many proposals."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([encode_once(text) for text in texts], np.float32).reshape(-1, self.dimension)


@cache
def encode_once(text: str) -> NDArray[np.float32]:
    (vector,) = WordEncoder().encode([text[:10_000]])
    return np.asarray(vector, np.float32)


ENCODER = RememberingEncoder()
N_ROWS = 120
N_CLASSES = (1, 2, 60)
ODD_TEXTS = (
    "",
    " \n",
    "a zero\0character",
    "half a character \ud83d of two",
    "Еда была отличной, 食物很好吃 😀👨‍👩‍👧",
    "@user @user @user @user",
    "I'm sorry, I cannot help with that",
    "write to anna@example.org or call +49 30 1234567",
    "The soup was cold and the waiter was rude, said guest 777777",
)
LONG = "x" * 500_000 + " the soup was cold." * 25_000
PARTS = [*FILTERS.names, PrivacyFilter.name]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):  # small matrices; more threads only wait for each other
        yield


def find(name: str) -> Filter:
    return PrivacyFilter() if name == PrivacyFilter.name else FILTERS.find(name)


@cache
def make_data(n_labels: int) -> FilterData:
    texts, _ = write_sentences(N_ROWS // 2, N_ROWS // 2)
    labels = [row % n_labels for row in range(N_ROWS)]
    names = tuple(f"label {label}" for label in range(n_labels))
    attributes = {"source": ["web" if row % 3 else "paper" for row in range(N_ROWS)]}
    concepts = label_concepts(texts, ENCODER.encode(texts))
    records = make_records(texts, labels, names, attributes=attributes, concepts=concepts)
    train = EncodedRecords(records, ENCODER.encode(texts))
    return FilterData(
        train=train,
        held_out=EncodedRecords(records.take([]), train.vectors[:0]),
        folds=np.arange(N_ROWS) // n_labels % 5,
        encoder=ENCODER,
        headings=names,
        concepts={"food": "what was eaten"},
        key="seed 0",
        label_scores=score_labels(n_labels, train.vectors),
        is_trusted=True,
        score_blind=lambda _, vectors, __: score_labels(n_labels, vectors),
    )


def score_labels(n_labels: int, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities that rest on the vectors alone."""
    places = np.abs(vectors[:, :1] * 100).astype(np.int64) % n_labels
    return np.where(np.arange(n_labels) == places, 0.8, 0.2) / (0.2 * n_labels + 0.6)


def label_concepts(texts: Sequence[str], _: NDArray[np.float32]) -> ConceptColumns:
    states = np.array([["soup" in text or "bread" in text] for text in texts], dtype=np.int8).reshape(-1, 1)
    return ConceptColumns(("food",), states, states.astype(np.float64), "made up")


def make_batch(data: FilterData, texts: Sequence[str], **changes: Any) -> ProposalBatch:
    """Each text as a proposal of each nature, for a label alone, with a concept and with an attribute."""
    records = data.train.records
    names = records.label_names
    natures = list(Nature)
    proposals = []
    for place, text in enumerate([text for text in texts for _ in range(3 * len(natures))]):
        label = names[place % len(names)]
        cell = (Cell(label), Cell(label, "food"), Cell(label, "", "source", "web"))[place % 3]
        item, nature = make_item(cell), natures[place // 3 % len(natures)]
        parents = () if nature.is_real else (str(records.ids[place % len(records)]),)
        proposals.append(
            Proposal(f"{item.id}-{place:05d}", item, text, label, parents, nature=nature, **changes)
        )
    return ProposalBatch(
        proposals,
        names,
        {str(identity): str(text) for identity, text in zip(records.ids, records.texts, strict=True)},
        KeptTexts([], data.train.vectors[:0]),
        ENCODER,
        lambda _, vectors: score_labels(len(names), vectors),
        label_concepts,
    )


@cache
def fit(name: str, n_labels: int) -> tuple[ReadyFilter, ...]:
    return fit_filters([find(name)], make_data(n_labels))


def judge(name: str, n_labels: int, texts: Sequence[str] = ODD_TEXTS, **changes: Any) -> Sequence[Verdict]:
    (ready,) = fit(name, n_labels)
    return ready.fitted.verdicts(make_batch(make_data(n_labels), texts, **changes))


@pytest.mark.parametrize("name", PARTS)
def test_it_says_why_it_refuses(name: str) -> None:
    part = find(name)
    assert part.name == name and part.reasons and KEPT not in part.reasons
    assert set(getattr(part, "remedies", {})) <= set(part.reasons)
    assert set(getattr(part, "off_target", ())) <= set(part.reasons)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("n_labels", N_CLASSES)
def test_no_text_makes_it_raise_and_each_has_its_verdict_with_a_reason(name: str, n_labels: int) -> None:
    batch = make_batch(make_data(n_labels), ODD_TEXTS)
    (ready,) = fit(name, n_labels)
    verdicts = ready.fitted.verdicts(batch)
    assert [verdict.proposal_id for verdict in verdicts] == [proposal.id for proposal in batch.proposals]
    for verdict in verdicts:
        assert verdict.reason == KEPT if verdict.kept else verdict.reason in ready.part.reasons
        assert all(isinstance(value, float) for value in verdict.scores.values())


@pytest.mark.parametrize("name", PARTS)
def test_the_same_proposals_get_the_same_verdicts(name: str) -> None:
    first = judge(name, 2)
    again = fit_filters([find(name)], make_data(2))[0].fitted.verdicts(make_batch(make_data(2), ODD_TEXTS))
    assert list(again) == list(first)


@pytest.mark.parametrize("name", PARTS)
def test_nothing_gets_no_verdict_and_what_has_no_text_no_error(name: str) -> None:
    assert list(judge(name, 2, [])) == []
    assert len(judge(name, 2, [""], failure="no_reply")) == 3 * len(Nature)
    cut = judge(name, 2, ODD_TEXTS[-1:], finish_reason="length")
    assert all(verdict.kept or verdict.reason in find(name).reasons for verdict in cut)


@pytest.mark.parametrize("name", PARTS)
def test_a_text_of_a_million_signs_is_judged_like_any_other(name: str) -> None:
    (ready,) = fit(name, 2)
    batch = make_batch(make_data(2), [LONG])
    once = {proposal.nature: proposal for proposal in batch.proposals}
    verdicts = ready.fitted.verdicts(replace(batch, proposals=list(once.values())))
    assert len(verdicts) == len(Nature) and all(verdict.reason for verdict in verdicts)


def test_all_together_give_one_verdict_a_proposal_and_the_first_no_counts() -> None:
    ready = fit_filters([*FILTERS.choose(FILTERS.defaults), PrivacyFilter()], make_data(2))
    assert [one.part.name for one in ready] == [*FILTERS.names[:-1], PrivacyFilter.name, FILTERS.names[-1]]
    batch = make_batch(make_data(2), ODD_TEXTS)
    verdicts = ask_filters(ready, batch)
    assert len(verdicts) == len(batch) and {verdict.reason for verdict in verdicts} > {"empty", "refusal"}
    assert [verdict.kept for verdict in verdicts] == batch.passing
    refused = replace(batch.proposals[0], failure="no_reply")
    (verdict,) = ask_filters(ready, replace(batch, proposals=[refused]))
    assert verdict.reason == "no_reply"
