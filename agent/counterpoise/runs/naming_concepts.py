"""`concepts: auto` in a run: the model names concepts before the run begins, and the run directory keeps them.

They are named from the training rows alone, for a tenth of the tokens at most. What was named goes into the resolved
job, so that a run that is resumed has the same list, and what it cost is counted each time alike. A person strikes out
by taking `concepts.yaml` from the run directory into a job of his own. Words of clusters, which nobody has checked,
never become cells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from counterpoise.core.files import write_whole
from counterpoise.data.encoder_choice import AUTO
from counterpoise.llm import TokenBudget, Usage
from counterpoise.llm.capabilities import learn_manner
from counterpoise.llm.connect import open_models
from counterpoise.runs.directory import RunDirectory
from counterpoise.runs.procedures import RunResources
from counterpoise.scorers.concepts.discovery import FoundConcept, write_concepts
from counterpoise.scorers.concepts.proposing import list_requests, look_around, propose_by_model
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.preparation import add_concepts

SHARE = 0.1
"""Of the tokens of a run (and its minutes) that naming concepts may cost."""

FILE = "concepts.yaml"
_KIND = "concepts"


async def name_concepts(job: Job, inputs: Inputs, resources: RunResources) -> tuple[Job, Inputs]:
    """The job with a list instead of `auto`, and its inputs with the concepts labelled; else both as they are.

    Raises:
        ServiceError: the model cannot be asked.
    """
    directory = resources.directory
    kept, is_new = directory.read(_KIND), False
    if job.concepts == AUTO:
        if not kept and not directory.read("run"):
            kept, is_new = await _ask(job, inputs, resources), True
            directory.write(_KIND, kept)
        concepts = {one["name"]: one["definition"] for one in kept.get("concepts", ())}
        job = job.model_copy(update={"concepts": concepts})
        inputs = add_concepts(inputs, job)
    if kept:
        resources.budget.settle(0, [Usage(int(kept["tokens"]), 0)], _KIND, paid=is_new)
        inputs = replace(inputs, notes=(*inputs.notes, str(kept["note"])))
    return job, inputs


async def _ask(job: Job, inputs: Inputs, resources: RunResources) -> dict[str, Any]:
    limit = None if job.budget.tokens is None else int(SHARE * job.budget.tokens)
    budget = TokenBudget(limit)
    if job.budget.minutes is not None:
        budget.end_after(60 * SHARE * job.budget.minutes)
    around = look_around(inputs.train.records, inputs.train.vectors, inputs.encoder)
    async with open_models(
        job.llm,
        store=resources.store,
        budget=budget,
        cache_dir=resources.cache_dir,
        masker=job.open_masker(),
    ) as models:
        await learn_manner(models.chat)
        proposed = await propose_by_model(models.chat, around, job.key, taboo=inputs.label_texts)
    concepts = [
        {"name": one.name, "definition": one.definition, "note": one.note}
        for one in proposed.concepts
        if proposed.is_checked
    ]
    note = f"concepts: {proposed.note}"
    if not concepts:
        note += (
            " The run goes on without concepts; `label --concepts auto` writes those words for you to edit."
        )
    return {"concepts": concepts, "tokens": budget.used, "note": note}


def write_named(directory: RunDirectory) -> None:
    """Write what the model named into the run directory, for a person to strike out; nothing where none was asked."""
    kept = directory.read(_KIND)
    if kept:
        found = [FoundConcept(one["name"], one["definition"], one["note"]) for one in kept["concepts"]]
        write_whole(directory.path / FILE, write_concepts(found, {}))


def estimate_naming(job: Job, inputs: Inputs) -> str:
    """What naming concepts would cost, a sentence for a preview."""
    around = look_around(inputs.train.records, inputs.train.vectors, inputs.encoder)
    requests = list_requests(around, job.key)
    limit = "" if job.budget.tokens is None else f", for {int(SHARE * job.budget.tokens):,} tokens at most"
    return (
        f"concepts: the model would be asked to name them in {len(requests)} requests and twice about each name"
        f"{limit}; what depends on concepts is not in this preview"
    )
