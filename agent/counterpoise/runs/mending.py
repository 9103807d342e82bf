"""The first thing that a run does: labels that are wrong are mended, as the action that offers it has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from counterpoise.actions import ACTIONS
from counterpoise.actions.base import ActionData
from counterpoise.core.plans import Cell, Plan, PlanItem
from counterpoise.data.patches.values import LabelChange, Patch
from counterpoise.llm.models import Models
from counterpoise.runs.acting import act, ask_actions
from counterpoise.runs.ledger import JudgedProposals, Ledger
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.mending import change_labels, find_wrong_labels

_REASON = "labels are mended before anything is measured"


@dataclass(frozen=True, slots=True)
class Mended:
    """The data once its labels were mended.

    Args:
        inputs: with the labels as they are now, and which are in doubt.
        patch: what was decided; None where nothing could be told.
        plan: the labels that gain records; None where none does.
        changes: what changed.
    """

    inputs: Inputs
    patch: Patch | None = None
    plan: Plan | None = None
    changes: tuple[LabelChange, ...] = ()

    def open_ledger(self) -> Ledger:
        """A ledger in which the changes are settled."""
        ledger = Ledger()
        if self.plan is not None:
            nothing = np.empty((0, self.inputs.train.vectors.shape[1]), np.float32)
            ledger.settle(self.plan, JudgedProposals((), (), nothing, None, self.changes))
        return ledger


async def mend_labels(job: Job, inputs: Inputs, models: Models, *, is_wanted: bool = True) -> Mended:
    """Ask the action what it offers for every label, and do it.

    Args:
        job: what to do.
        inputs: the data as it was read.
        models: handed to the action; it is asked nothing.
        is_wanted: False for runs that were begun before labels were mended in them.
    """
    actions = [one for one in ACTIONS.choose(job.actions) if getattr(one, "changes_labels", False)]
    found = find_wrong_labels(job, inputs) if actions and is_wanted else None
    if found is None:
        return Mended(inputs)
    doubtful = found.doubtful if found.doubtful.any() else None
    inputs = replace(inputs, doubtful=doubtful, notes=(*inputs.notes, *found.notes))
    names = inputs.train.records.label_names
    headings = dict(zip(names, inputs.label_texts, strict=True))
    data = ActionData(inputs.train, inputs.encoder, headings, job.key, inputs.concepts, changes=found.changes)
    items: list[PlanItem] = []
    for name in names:
        for action, offer in ask_actions(actions, Cell(name), data, models).items():
            items.append(PlanItem(action, Cell(name), offer.most or 0, 0, len(items)))
    if not items:
        return Mended(inputs, found.patch)
    changes: list[LabelChange] = []
    known = {action.name: action for action in actions}
    for item in items:
        async for outcome in act(known[item.action], item, data, models, job.as_task()):
            if isinstance(outcome, LabelChange):
                changes.append(outcome)
    plan = Plan(0, tuple(items), _REASON)
    return Mended(change_labels(inputs, changes), found.patch, plan, tuple(changes))
