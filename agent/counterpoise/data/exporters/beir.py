"""Instances as a BEIR collection: a corpus, queries, and judgements of which passage answers which query."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from counterpoise.core.instances import Collection, Instance, Passage, Query
from counterpoise.data.beir import write_beir
from counterpoise.data.exporters.base import Exporter

SPLIT = "train"


class Beir(Exporter):
    """A folder with `corpus.jsonl`, `queries.jsonl` and `qrels/train.tsv`: positives are judged 1, negatives 0."""

    name = "beir"
    holds_query = True

    def write(self, path: Path, instances: Iterable[Instance]) -> int:
        """Write the folder; gives the number of judgements. Of a passage judged both ways the 1 stays."""
        corpus: dict[str, Passage] = {}
        queries: dict[str, Query] = {}
        qrels: dict[str, dict[str, int]] = {}
        for instance in instances:
            queries.setdefault(instance.query_id, Query(instance.query_id, instance.query))
            judged = qrels.setdefault(instance.query_id, {})
            for passage in instance.negatives:
                judged.setdefault(passage.id, 0)
            judged |= {passage.id: 1 for passage in instance.positives}
            corpus |= {passage.id: passage for passage in (*instance.positives, *instance.negatives)}
        write_beir(path, Collection(corpus, queries, qrels), SPLIT)
        return sum(map(len, qrels.values()))
