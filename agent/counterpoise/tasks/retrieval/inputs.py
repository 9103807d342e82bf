"""What a run over retrieval instances works on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from counterpoise.data.instances import Instance, Passage
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.retrieval.steps import load_corpus, load_instances


@dataclass(frozen=True, slots=True)
class RetrievalInputs:
    """What a run over retrieval instances works on.

    Args:
        instances: the training instances, in the order of the file.
        sources: where each comes from, as the job's `source_field` says; "" where it says nothing.
        corpus: passages in which further candidates are mined.
        fingerprint: hash of both.
    """

    instances: Sequence[Instance]
    sources: Sequence[str]
    corpus: Sequence[Passage]
    fingerprint: str


def prepare_retrieval(job: RetrievalJob) -> RetrievalInputs:
    """Read what a job names.

    Raises:
        DataError: a file that cannot be used.
    """
    instances = load_instances(job)
    corpus = load_corpus(job.corpus)
    sources = [str(one.extra.get(job.source_field, "")) for one in instances]
    return RetrievalInputs(instances, sources, corpus, _hash_data(instances, corpus))


def _hash_data(instances: Sequence[Instance], corpus: Sequence[Passage]) -> str:
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
