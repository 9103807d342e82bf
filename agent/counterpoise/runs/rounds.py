"""One round of the loop: what is missing, what can be done about it, doing it, and judging what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from counterpoise.actions import ACTIONS
from counterpoise.balance.counts import count_labels
from counterpoise.balance.deficits import choose_cells, list_short_cells
from counterpoise.core.event_kinds import Judged, TokensUsed
from counterpoise.core.events import tell_event
from counterpoise.core.guards import fault
from counterpoise.core.plans import Deficit, Plan, PlanItem, Proposal
from counterpoise.data.patches.values import LabelChange
from counterpoise.llm import ChatClient
from counterpoise.llm.models import Models
from counterpoise.runs.acting import act
from counterpoise.runs.hearing import hear_about
from counterpoise.runs.judging import judge
from counterpoise.runs.ledger import JudgedProposals, Ledger, add_accepted
from counterpoise.runs.measured_gains import open_gains
from counterpoise.runs.need_planner import plan_by_need
from counterpoise.runs.offers import make_offers, view_data
from counterpoise.runs.planner import make_plan
from counterpoise.runs.stopping import cap_written
from counterpoise.tasks.text.parts import RunContext


def list_short(context: RunContext, ledger: Ledger) -> list[Deficit]:
    """All cells that lack records, whether anything can still be done about them or not; largest need first."""
    inputs = context.inputs
    return list_short_cells(add_accepted(inputs.train.records, ledger), inputs.corrected, context.target)


def list_deficits(context: RunContext, ledger: Ledger) -> list[Deficit]:
    """The short cells that a round plans for: in which something still pays, labels and what they lack most."""
    return bound_written(choose_cells(list_short(context, ledger), ledger.find_vain()), context, ledger)


def bound_written(deficits: Sequence[Deficit], context: RunContext, ledger: Ledger) -> list[Deficit]:
    """What of some deficits may be written, where the job bounds what a model may have made."""
    if context.max_synthetic_share is None:
        return list(deficits)
    records = context.inputs.train.records
    counts = count_labels(records.labels, len(records.label_names)).tolist()
    n_own = dict(zip(records.label_names, counts, strict=True))
    return cap_written(deficits, ledger, n_own, context.max_synthetic_share)


def plan_round(
    context: RunContext,
    ledger: Ledger,
    models: Models,
    *,
    round_number: int,
    n_rounds: int | None,
    limit: int | None,
) -> Plan:
    """Count, and plan the next round.

    Args:
        context: what all rounds share.
        ledger: settled rounds.
        models: the model; it is asked nothing, requests are estimated.
        round_number: from 1.
        n_rounds: rounds the job allows, None without a limit.
        limit: tokens of the budget, None without.
    """
    deficits = list_deficits(context, ledger)
    offers = make_offers(deficits, context, ledger, models, by_writer=context.in_slices)
    remaining = None if limit is None else max(0, limit - models.chat.budget.used)
    plan = partial(make_plan, key=context.key, gains=open_gains(context, deficits, ledger))
    return (plan if context.in_slices else plan_by_need)(
        deficits,
        offers,
        ledger.costs,
        round_number=round_number,
        n_rounds=n_rounds,
        remaining_tokens=remaining,
        exhausted=ledger.find_exhausted(),
    )


async def carry_out(
    plan: Plan,
    context: RunContext,
    ledger: Ledger,
    models: Models,
) -> JudgedProposals:
    """Do what a plan says and judge every proposal, in the order of their ids."""
    proposals: list[Proposal] = []
    data, actions = view_data(context, ledger), {action.name: action for action in context.actions}
    for item in plan.items:
        # A row that was taken for one cell of its label is none for another.
        taken = data.taken | {proposal.source_id for proposal in proposals if proposal.source_id}
        known = replace(data, taken=taken)
        async for outcome in act(actions[item.action], item, known, models, context.schema):
            if isinstance(outcome, LabelChange):
                said = "it changes a label in a round; with `changes_labels = True` it does so before them"
                raise fault(ACTIONS, actions[item.action], said)
            proposals.append(outcome)
            if item.n_requests:
                _report_progress(item, proposals, models.chat)
    proposals.sort(key=lambda proposal: proposal.id)
    heard = await hear_about(proposals, context)
    judged = judge(proposals, heard, ledger)
    reasons = Counter(verdict.reason for verdict in judged.verdicts if not verdict.kept)
    tell_event(
        Judged(
            round=plan.round,
            accepted=len(judged.kept),
            rejected=dict(sorted(reasons.items())),
        )
    )
    return judged


def _report_progress(item: PlanItem, proposals: Sequence[Proposal], chat: ChatClient) -> None:
    tell_event(
        TokensUsed(
            round=item.round,
            proposed=len(proposals),
            tokens_used=chat.budget.used,
            tokens_paid=chat.budget.paid,
            limit=chat.budget.limit,
        )
    )
