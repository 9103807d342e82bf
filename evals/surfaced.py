"""Natural false negatives of Cranfield among the first 30 candidates of mining: dense, BM25, fused.

Cranfield codes one passage a query -1: not judged, and by all signs the paper the query came from. A miner that is to
feed a judge has to surface these. `known_ratio` is the same for the passages that were judged relevant. Intervals are
Wilson's for the shares and a paired bootstrap over pairs for the differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance import wilson_interval
from evals.common import Result, Settings, find_file, interval, read_csv, read_jsonl, resample_means

K = 30
QUICK = (40, 300)
"""Queries and passages with `--quick`."""


def run(settings: Settings) -> Iterator[Result]:
    """Three ways to find candidates."""
    folder = settings.data / "cranfield"
    corpus = read_jsonl(find_file(folder, "corpus.jsonl.gz"))
    queries = read_jsonl(find_file(folder, "queries.jsonl.gz"))
    judged = read_csv(find_file(folder, "qrels.csv.gz"))
    if settings.quick:
        queries = queries[: QUICK[0]]
        asked = {row["_id"] for row in queries}
        judged = [row for row in judged if row["query_id"] in asked]
        wanted = {row["doc_id"] for row in judged}
        corpus = sorted(corpus, key=lambda row: row["_id"] not in wanted)[: max(QUICK[1], len(wanted))]
    place = {row["_id"]: number for number, row in enumerate(corpus)}
    texts = [f"{row['title']} {row['text']}".strip() for row in corpus]
    found = rank_all(texts, [row["text"] for row in queries])
    row_of = {row["_id"]: number for number, row in enumerate(queries)}
    for metric, is_natural in (("surfaced_ratio", True), ("known_ratio", False)):
        pairs = [
            (row_of[row["query_id"]], place[row["doc_id"]])
            for row in judged
            if (int(row["relevance"]) == -1) == is_natural
        ]
        hits = {
            arm: np.array([target in ranking[query] for query, target in pairs])
            for arm, ranking in found.items()
        }
        for arm, is_hit in hits.items():
            low, high = wilson_interval(int(is_hit.sum()), len(is_hit))
            yield Result("surfaced", "cranfield", arm, metric, float(is_hit.mean()), low, high, len(is_hit))
        best = max(("dense", "bm25"), key=lambda arm: hits[arm].mean())
        difference = hits["fused"].astype(float) - hits[best]
        low, high = interval(resample_means(difference.tolist()))
        yield Result(
            "surfaced",
            "cranfield",
            f"fused - {best}",
            metric,
            float(difference.mean()),
            low,
            high,
            len(difference),
        )


def rank_all(texts: list[str], queries: list[str]) -> dict[str, NDArray[np.int64]]:
    """The first candidates of each way: (queries, K) places."""
    from counterpoise_retrievers.bm25 import BM25Index
    from counterpoise_retrievers.faiss_index import FaissIndex
    from counterpoise_retrievers.fusion import fuse_rankings
    from evals.minority_text import open_encoder

    encoder = open_encoder()
    index = FaissIndex(encoder.dimension)
    index.add(encoder.encode(texts))
    _, dense = index.search(encoder.encode(queries), 100)
    _, words = BM25Index(texts).search(queries, 100)
    return {"dense": dense[:, :K], "bm25": words[:, :K], "fused": fuse_rankings([dense, words], K)[1]}
