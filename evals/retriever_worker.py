"""Trains retrievers and scores them; a process of its own, because torch and FAISS do not always share one.

Reads a file of specifications (a JSON object a line) and prints nDCG@10 of each held-out query, a line for each::

    kind       adapter (a square matrix on frozen vectors) or minilm (its last layers; see `minilm_worker`)
    seed       order of the batches, choice among several positives
    how        epochs, batch, rate, negatives (hard ones a row), temperature, rows (what becomes of several positives;
               see `iterate_batches`); minilm: layers that are trained, tokens of a text that are read
    instances  [query, [positives], [negatives]], as places in `texts`
    corpus     places of the passages that are searched
    held_out   [query, [relevant passages]], as places
    texts      a JSON file of all texts; `vectors`, a .npy file of the same order
    model      for minilm: the folder of the weights

Both are trained by the same loss: cross entropy of the positive against the instance's hard negatives and the other
positives of the batch.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Train and score what the file says, one retriever after the other."""
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        for line in file:
            spec = json.loads(line)
            if spec["kind"] == "adapter":
                scores = train_adapter(spec)
            else:
                from evals.minilm_worker import train_minilm

                scores = train_minilm(spec)
            print(json.dumps(scores), flush=True)


def iterate_batches(spec: dict[str, Any]) -> Iterator[list[tuple[int, int, list[int]]]]:
    """Rows of a query, one of its positives, and its first hard negatives, in batches.

    With rows of `pairs` an epoch has a row for every query and positive; with rows of `queries` it has one for every
    query, with a positive chosen anew.
    """
    # Two sources, so that what has one positive a query is trained the same either way.
    orders, choices = random.Random(f"order {spec['seed']}"), random.Random(f"positive {spec['seed']}")
    how = spec["how"]
    n_negatives = how["negatives"]
    usable = [one for one in spec["instances"] if one[1] and len(one[2]) >= n_negatives]
    if how["rows"] == "pairs":
        usable = [
            (query, [positive], negatives) for query, positives, negatives in usable for positive in positives
        ]
    for _ in range(how["epochs"]):
        order = orders.sample(usable, len(usable))
        for start in range(0, len(order) - 1, how["batch"]):
            yield [
                (query, choices.choice(positives), negatives[:n_negatives])
                for query, positives, negatives in order[start : start + how["batch"]]
            ]


def compute_loss(
    torch: Any, queries: Any, positives: Any, negatives: Any, same: Any, temperature: float
) -> Any:
    """Cross entropy over in-batch positives (b, b) and own negatives (b, k); rows have length 1."""
    in_batch = (queries @ positives.T).masked_fill(same, -1e4)
    own = torch.einsum("bd,bkd->bk", queries, negatives)
    logits = torch.cat([in_batch, own], dim=1) / temperature
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(queries)))


def find_same(torch: Any, batch: Sequence[tuple[int, int, list[int]]], answers: dict[int, set[int]]) -> Any:
    """Where another instance's positive answers this query too, so that it is no negative."""
    rows = [
        [other != row and batch[other][1] in answers[query] for other in range(len(batch))]
        for row, (query, _, _) in enumerate(batch)
    ]
    return torch.tensor(rows)


def train_adapter(spec: dict[str, Any]) -> list[float]:
    """A square matrix, from the identity, on both sides."""
    import torch

    torch.manual_seed(spec["seed"])
    torch.set_num_threads(1)
    how = spec["how"]
    vectors = torch.from_numpy(np.load(spec["vectors"]).astype(np.float32))
    adapter = torch.nn.Linear(vectors.shape[1], vectors.shape[1], bias=False)
    torch.nn.init.eye_(adapter.weight)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=how["rate"], weight_decay=0.0)
    answers = {one[0]: set(one[1]) for one in spec["instances"]}

    def encode(places: Any) -> Any:
        return torch.nn.functional.normalize(adapter(vectors[torch.as_tensor(places)]), dim=-1)

    for batch in iterate_batches(spec):
        loss = compute_loss(
            torch,
            encode([one[0] for one in batch]),
            encode([one[1] for one in batch]),
            encode([one[2] for one in batch]),
            find_same(torch, batch, answers),
            how["temperature"],
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        corpus = encode(spec["corpus"]).numpy()
        queries = encode([one[0] for one in spec["held_out"]]).numpy()
    return score(queries @ corpus.T, spec)


def score(similarities: Any, spec: dict[str, Any]) -> list[float]:
    """nDCG@10 of each held-out query, relevance 0 or 1."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :10]
    discounts = 1 / np.log2(np.arange(2, 12))
    scores = []
    for row, (_, relevant) in zip(order, spec["held_out"], strict=True):
        wanted = set(relevant)
        gains = np.array([spec["corpus"][place] in wanted for place in row], dtype=np.float64)
        ideal = discounts[: min(len(wanted), 10)].sum()
        scores.append(float((gains * discounts[: len(gains)]).sum() / ideal))
    return scores


if __name__ == "__main__":
    main()
