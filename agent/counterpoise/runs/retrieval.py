"""A run over retrieval instances: count, relabel, count again.

Beside what every run writes, its directory holds `dataset/instances.jsonl` (the repaired file, in the form of the given
one) and `decisions.jsonl`. Stopped, it is started again: stored replies are used, and the same questions lead to the
same decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.actions.relabel.cascade import Outcome
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.actions.relabel.training_rows import TrainingRows, make_training_rows
from counterpoise.balance.retrieval import (
    RetrievalBalance,
    count_positives,
    count_suspects,
    find_topics,
    list_passages,
)
from counterpoise.data.encoders import open_cached
from counterpoise.data.exporters import EXPORTERS
from counterpoise.data.instances import Instance, Passage, find_form
from counterpoise.runs.procedures import PreparedRun, RunResources, RunResult
from counterpoise.runs.retrieval_preview import RetrievalPreview, preview_relabelling
from counterpoise.tasks.job import as_plain
from counterpoise.tasks.retrieval.inputs import prepare_retrieval
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.retrieval.steps import judge_prepared, prepare_job

if TYPE_CHECKING:
    from counterpoise_retrievers.encoders import Encoder

N_EXAMPLES = 12


@dataclass(frozen=True, slots=True)
class RetrievalRun:
    """What a run over retrieval instances does, see `procedures.Procedure`."""

    name: str = "retrieval"

    async def prepare(self, job: RetrievalJob, resources: RunResources) -> PreparedRun:
        """Read instances and corpus."""
        inputs = prepare_retrieval(job)
        return PreparedRun(job, inputs, inputs.fingerprint)

    async def carry_out(self, prepared: PreparedRun, resources: RunResources) -> RunResult:
        """Count, relabel, count again, and write the repaired file and the decisions."""
        job, inputs, folder = prepared.job, prepared.inputs, resources.directory.path
        cases = prepare_job(
            job, inputs.instances, inputs.corpus
        )  # gold that will not do is told before all else
        encoder = open_cached(job.encoder, resources.cache_dir)
        before = check_retrieval(inputs.instances, inputs.sources, inputs.corpus, encoder)
        done = await judge_prepared(job, cases, resources.store, resources.budget, resources.cache_dir)
        kept = [source for place, source in enumerate(inputs.sources) if place not in done.ambiguous]
        after = check_retrieval(done.after, kept, inputs.corpus, encoder)
        exporter = EXPORTERS.find(find_form(Path(job.data)) if job.form == "auto" else job.form)
        rows = make_training_rows(done, exporter)
        (folder / "dataset").mkdir(exist_ok=True)
        exporter.write(folder / "dataset" / "instances.jsonl", rows.instances)
        done.write_decisions(folder / "decisions.jsonl")
        report = make_retrieval_report(job, done, before, after, rows)
        return RunResult(report, done.outcomes[Outcome.RELABEL])

    async def preview(self, job: RetrievalJob) -> RetrievalPreview:
        """Requests, tokens and time."""
        return preview_relabelling(job)


def check_retrieval(
    instances: Sequence[Instance], sources: Sequence[str], corpus: Sequence[Passage], encoder: Encoder
) -> RetrievalBalance:
    """Positives a query, suspected false negatives, and topics without training queries."""
    passages = list_passages(instances, corpus)
    texts = list(passages)
    vectors = np.asarray(encoder.encode(texts), dtype=np.float32)
    by_text = dict(zip(texts, vectors, strict=True))
    queries = np.asarray(encoder.encode([one.query for one in instances]), dtype=np.float32)
    places = {text: place for place, text in enumerate(texts)}
    answered = np.array(
        [places[passage.full_text] for one in instances for passage in one.positives], dtype=np.int64
    )
    topics, n_topics = find_topics(texts, vectors, answered)
    return RetrievalBalance(
        count_positives(instances), count_suspects(instances, sources, queries, by_text), topics, n_topics
    )


def make_retrieval_report(
    job: RetrievalJob,
    done: RelabelledInstances,
    before: RetrievalBalance,
    after: RetrievalBalance,
    rows: TrainingRows | None = None,
) -> dict[str, Any]:
    """The report as plain values; `rows` are those that were written."""
    summary = done.summary()
    if rows is not None:
        summary |= {"written": rows.as_dict()}
        summary["notes"] = [*summary["notes"], *([rows.sentence] if rows.sentence else [])]
    if done.failed_audits:
        stopped = "a judge failed its audit."
    else:
        stopped = "the budget is spent." if done.is_cut else "everything was judged."
    return {
        "task": "retrieval",
        "title": job.name,
        "version": version("counterpoise"),
        "headline": done.sentence,
        "stopped": stopped,
        "summary": summary,
        "balance": {"before": before.as_dict(), "after": after.as_dict()},
        "examples": list_examples(done),
        "settings": {name: value for name, value in as_plain(job).items() if name != "cache_dir"},
    }


def list_examples(done: RelabelledInstances) -> list[dict[str, str]]:
    """A few relabelled and dropped passages with their query, in the order of the data."""
    return [
        {
            "query": done.before[place].query,
            "passage": one.candidate.passage.full_text,
            "evidence": one.second.evidence if one.second else "",
            "outcome": str(one.outcome),
            "reason": one.reason,
        }
        for place, decided in done.decisions.items()
        for one in decided
        if one.outcome in (Outcome.RELABEL, Outcome.DROP)
    ][:N_EXAMPLES]
