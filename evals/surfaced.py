"""Natural false negatives of Cranfield among the first 30 candidates of mining: dense, BM25, fused.

Cranfield codes one passage a query -1: not judged, and by all signs the paper the query came from. A miner that is to
feed a judge has to surface these. `known_ratio` is the same for the passages that were judged relevant. Intervals are
Wilson's for the shares and a paired bootstrap over pairs for the differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.intervals import wilson_interval
from evals.common import Result, Settings, interval, resample_means
from evals.false_negatives import load_collection

K = 30


def run(settings: Settings) -> Iterator[Result]:
    """Three ways to find candidates."""
    collection = load_collection(settings, "cranfield")
    place = {name: number for number, name in enumerate(collection.corpus)}
    texts = [passage.full_text for passage in collection.corpus.values()]
    found = rank_all(texts, [query.text for query in collection.queries.values()])
    row_of = {name: number for number, name in enumerate(collection.queries)}
    for metric, is_natural in (("surfaced_ratio", True), ("known_ratio", False)):
        pairs = [
            (row_of[query], place[name])
            for query, judged in collection.qrels.items()
            for name, relevance in judged.items()
            if (relevance == -1) == is_natural
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
