"""A run over retrieval instances: check, relabel, check again, and a run directory with a report.

The directory holds `job.yaml`, `dataset/instances.jsonl` (the repaired file, in the form of the given one),
`decisions.jsonl`, `report.json`, `report.html`, and `FINISHED`, written last. Stopped, it is started again: stored
replies are used, and the same questions lead to the same decisions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
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
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.event_kinds import Finished
from counterpoise.core.events import tell_event
from counterpoise.data.encoders import open_cached
from counterpoise.data.instances import Instance, Passage, find_form, write_instances
from counterpoise.report.retrieval_page import render_retrieval_report
from counterpoise.report.run_page import write_report
from counterpoise.runs.directory import RunDirectory
from counterpoise.tasks.job import as_plain
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.retrieval.steps import load_corpus, load_instances, relabel_job

if TYPE_CHECKING:
    from counterpoise_retrievers.encoders import Encoder

N_EXAMPLES = 12


async def run_retrieval(job: RetrievalJob) -> dict[str, Any]:
    """Run a job over retrieval instances; gives its report.

    Raises:
        UserError: a mistake in the job or the data.
        ServiceError: a server, a download or a disk failed; run it again to go on.
    """
    with RunDirectory(Path(job.output)) as directory:
        instances = load_instances(job)
        corpus = load_corpus(job.corpus) if job.corpus else []
        directory.begin(job.dump(), f"{job.fingerprint()}-{_fingerprint(instances, corpus)}")
        cache_dir = find_cache_dir(Path(job.cache_dir) if job.cache_dir else None)
        encoder = open_cached(job.encoder, cache_dir)
        sources = [str(one.extra.get(job.source_field, "")) for one in instances]
        before = check_retrieval(instances, sources, corpus, encoder)
        done = await relabel_job(job, instances)
        kept = [source for place, source in enumerate(sources) if place not in done.ambiguous]
        after = check_retrieval(done.after, kept, corpus, encoder)
        form = find_form(Path(job.data)) if job.form == "auto" else job.form
        rows = make_training_rows(done, form)
        report = make_retrieval_report(job, done, before, after, rows)
        folder = directory.path / "dataset"
        folder.mkdir(exist_ok=True)
        write_instances(folder / "instances.jsonl", rows.instances, form)
        done.write_decisions(directory.path / "decisions.jsonl")
        write_report(directory.path, report, render_retrieval_report)
        directory.finish()
        tell_event(
            Finished(
                directory=str(directory.path),
                report=str(directory.path / "report.html"),
                accepted=done.outcomes[Outcome.RELABEL],
                stopped=report["stopped"],
            )
        )
        return report


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


def _fingerprint(instances: Sequence[Instance], corpus: Sequence[Passage]) -> str:
    """A hash of the data, 16 hex digits."""
    digest = blake2b(digest_size=8)
    for one in instances:
        passages = [(passage.id, passage.full_text) for passage in (*one.positives, *one.negatives)]
        line = json.dumps(
            [one.query_id, one.query, len(one.positives), passages, dict(one.extra)], default=str
        )
        digest.update(line.encode())
    for passage in corpus:
        digest.update(json.dumps([passage.id, passage.full_text]).encode())
    return digest.hexdigest()
