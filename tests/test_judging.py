"""All filters together: which no a proposal gets, what its verdict carries, and what is compared with what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from counterpoise.actions.base import ActionData
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import PartError
from counterpoise.core.plans import Cell, Nature, Plan, PlanItem, Proposal, Verdict
from counterpoise.core.schema import TextClassification
from counterpoise.filters.base import Filter, make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.chain import FilterData, fit_filters
from counterpoise.runs.judging import judge
from counterpoise.runs.ledger import NOT_NEEDED, JudgedProposals, Ledger
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.tasks.filters import FILTERS
from counterpoise.tasks.text.parts import RunContext
from tests.made_up import ENCODER, make_item, make_records
from tests.test_trust import make_inputs

GOOD_TEXT = "Lovely, warm, fresh, friendly, sweet, great, superb and kind was the garden"
BAD_TEXT = "The waiter was rude and the fish was stale, said guest 888888"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):  # small matrices; more threads only wait for each other
        yield


INPUTS = make_inputs(60, 120)
HELD_OUT = ["The lamb was awful and the cake was dull, said guest 999999"]
CHEAP = ("text", "labels", "writers", "concepts", "copies")
"""Filters that are set by few rows."""


def make_data(*, is_trusted: bool) -> FilterData:
    records = make_records(HELD_OUT, [0])
    return FilterData(
        train=INPUTS.train,
        held_out=EncodedRecords(records, ENCODER.encode(HELD_OUT)),
        folds=INPUTS.folds,
        encoder=ENCODER,
        headings=("a guest who disliked it",),
        concepts={},
        key="seed 0",
        label_scores=np.full((len(INPUTS.train), 2), 0.5),
        is_trusted=is_trusted,
        score_blind=lambda _, vectors, __: np.full((len(vectors), 2), 0.5),
    )


def make_context(parts: Sequence[Filter] = FILTERS.choose(CHEAP), *, is_trusted: bool = True) -> RunContext:
    """What judges proposals for guests' sentences; nothing writes, edits or adopts."""
    inputs = INPUTS
    train = inputs.train
    return RunContext(
        inputs=inputs,
        scorer=ClassifierScorer(ENCODER, train.vectors, train.records.labels, 2),
        is_trusted=is_trusted,
        out_of_fold=np.full((len(train), 2), 0.5),
        schema=TextClassification(("text",), "label"),
        actions=(),
        data=ActionData(train, ENCODER, {}, "seed 0"),
        filters=fit_filters(parts, make_data(is_trusted=is_trusted)),
        target="equal",
        key="seed 0",
    )


CONTEXT = make_context()
COPY = str(CONTEXT.inputs.train.records.texts[100])  # a good one


def propose(text: str, place: int = 0, label: str = "bad", *, failure: str = "", most: int = 0) -> Proposal:
    item = replace(make_item(Cell(label)), most=most)
    return Proposal(f"{item.id}-{place:05d}", item, text, label, failure=failure)


def judge_all(
    *proposals: Proposal, context: RunContext = CONTEXT, ledger: Ledger | None = None
) -> JudgedProposals:
    return judge(proposals, context, ledger or Ledger())


def list_reasons(judged: JudgedProposals) -> list[str]:
    return [verdict.reason for verdict in judged.verdicts]


@pytest.mark.parametrize(
    ("proposal", "reason"),
    [
        (propose(BAD_TEXT), "kept"),
        (propose("", failure="quarantined"), "quarantined"),  # and not `empty`: why there is no text
        (propose(BAD_TEXT, failure="no_reply"), "no_reply"),
        (propose("  "), "empty"),
        (propose(f"I'm sorry, I cannot help. {GOOD_TEXT}"), "refusal"),  # before what the label scorer says
        (propose(f"a guest who disliked it: {GOOD_TEXT}"), "prompt_echo"),
        (propose(GOOD_TEXT), "label_contradicted"),
        (propose(COPY), "label_contradicted"),  # before what it is a copy of
        (propose(COPY, label="good"), "copy_of_data"),
        (propose("The lamb was awful and the cake was dull, said guest 999999"), "copy_of_held_out"),
    ],
)
def test_the_first_filter_that_says_no_gives_the_reason(proposal: Proposal, reason: str) -> None:
    (verdict,) = judge_all(proposal).verdicts
    assert (verdict.proposal_id, verdict.reason, verdict.kept) == (proposal.id, reason, reason == "kept")


def test_a_scorer_that_failed_its_audit_leaves_its_score_and_refuses_nothing() -> None:
    blind = make_context(is_trusted=False)
    judged = judge_all(propose(GOOD_TEXT), propose(COPY, 1), context=blind)
    assert list_reasons(judged) == ["kept", "copy_of_data"]
    assert judged.verdicts[0].scores["label_probability"] < 0.27


def test_a_verdict_carries_the_scores_of_every_filter_that_was_asked() -> None:
    kept, refused = judge_all(propose(BAD_TEXT), propose(GOOD_TEXT, 1)).verdicts
    copies = {"nearest_data", "nearest_held_out", "nearest_proposal"}
    assert copies | {"label_probability"} <= set(kept.scores)
    # Copies are looked for among what passed the others.
    assert "label_probability" in refused.scores and not copies & set(refused.scores)


def test_a_refused_text_does_not_shadow_a_good_one() -> None:
    wrong, right, again = propose(GOOD_TEXT), propose(GOOD_TEXT, 1, "good"), propose(GOOD_TEXT, 2, "good")
    assert list_reasons(judge_all(wrong, right, again)) == ["label_contradicted", "kept", "copy_of_proposal"]


def test_texts_are_compared_with_what_earlier_rounds_kept_and_not_with_what_they_refused() -> None:
    ledger, item = Ledger(), PlanItem(make_item().action, Cell("bad"), 2, 1, 0, 1)
    first = judge_all(propose(BAD_TEXT), propose(GOOD_TEXT, 1), ledger=ledger)
    ledger.settle(Plan(1, (item,)), first)
    later = judge_all(propose(BAD_TEXT, 2), propose(GOOD_TEXT, 3, "good"), ledger=ledger)
    assert list_reasons(later) == ["copy_of_proposal", "kept"]


def test_what_an_item_yields_beyond_its_most_is_not_needed() -> None:
    other = "The coffee was cold and the bread was salty, said guest 555555"
    judged = judge_all(propose(GOOD_TEXT, 0, most=1), propose(BAD_TEXT, 1, most=1), propose(other, 2, most=1))
    assert list_reasons(judged) == ["label_contradicted", "kept", NOT_NEEDED]
    assert judged.kept == [1] and "label_probability" in judged.verdicts[2].scores


def test_what_fails_on_its_face_gets_no_vector() -> None:
    judged = judge_all(propose("  "), propose(BAD_TEXT, 1), propose(BAD_TEXT, 2, failure="no_reply"))
    lengths = np.linalg.norm(judged.vectors, axis=1)
    np.testing.assert_allclose(lengths, [0, 1, 0], atol=1e-5)
    nothing = judge_all()
    assert nothing.vectors.shape == (0, ENCODER.dimension) and nothing.verdicts == ()


def test_parents_of_a_written_text_are_its_demonstrations() -> None:
    parent = str(CONTEXT.inputs.train.records.ids[0])
    shown = str(CONTEXT.inputs.train.records.texts[0])
    head = " ".join(shown.split()[:9])
    copied = replace(propose(f"{head} indeed"), parents=(parent,), kind="minority", nature=Nature.WRITTEN)
    (verdict,) = judge_all(copied).verdicts
    assert verdict.scores["overlap_with_shown"] > 0.5 and not verdict.kept


class RaisingFilter:
    """A filter of a user's own that is wrong."""

    name = "mine.wrong"
    reasons = ("mine",)

    def __init__(self, give: Callable[[ProposalBatch], Sequence[Verdict]]) -> None:
        self.verdicts = give


def test_a_filter_that_runs_first_spares_vectors() -> None:
    class Refuser:
        name = "mine.first"
        reasons = ("mine",)
        is_tried = False  # it refuses whatever there is

        def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
            return [make_verdict(proposal, "mine") for proposal in batch.proposals]

    judged = judge_all(propose(BAD_TEXT), context=make_context([Refuser(), *FILTERS.choose(CHEAP)]))
    assert list_reasons(judged) == ["mine"] and not judged.vectors.any()
    last = judge_all(propose(BAD_TEXT), context=make_context([*FILTERS.choose(CHEAP), Refuser()]))
    assert list_reasons(last) == ["mine"] and last.vectors.any()


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda batch: [][1], "filter 'mine.wrong': it raised IndexError: list index out of range; mend it"),
        (lambda batch: [], "it gave 0 verdicts for 1 proposals"),
        (lambda batch: [None], "it gave 1 verdicts for 1 proposals, or in another order"),
        (
            lambda batch: [make_verdict(batch.proposals[0], "other")],
            "it refused for 'other', which is none of its `reasons`",
        ),
    ],
)
def test_a_users_filter_that_fails_is_one_line(
    give: Callable[[ProposalBatch], Sequence[Verdict]], message: str
) -> None:
    context = make_context([*FILTERS.choose(CHEAP), RaisingFilter(give)])
    with pytest.raises(PartError, match=re.escape(message)) as caught:
        judge_all(propose(BAD_TEXT), context=context)
    assert caught.value.exit_code == 2 and "resume the run" in str(caught.value)


def test_a_part_that_cannot_judge_is_one_line() -> None:
    class Nothing:
        name = "mine.nothing"
        reasons = ("mine",)

    with pytest.raises(PartError, match=r"filter 'mine.nothing': it has no `verdicts`"):
        make_context([Nothing()])
