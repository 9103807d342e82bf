"""Fine-tunes text classifiers and scores texts; a process of its own, because torch and FAISS do not always share one.

Reads a file of specifications (a JSON object a line) and prints (n, k) logits of the scored texts, a line for each::

    texts   a JSON file of all texts
    model   the folder of the weights
    train   [place of a text, label index], one for each training row
    score   places of the texts to score; their labels are not here
    labels  k
    seed    of the head, of dropout and of the order of batches
    how     settings that replace those of `HOW`

All weights of the encoder and a linear layer on the mean of its token vectors, in full precision: AdamW, a linear
schedule with warm-up. Batches are drawn from a shuffled epoch in which neighbours of similar length are put together.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HOW: dict[str, Any] = {
    "rate": 3e-5,
    "epochs": 3,
    "fewest_updates": 94,
    "batch": 16,
    "max_tokens": 96,
    "warm_up": 0.1,
    "decay": 0.01,
}
"""`fewest_updates`: so many batches at least, so 150 texts are seen ten times and 1,500 three times."""

_BATCHES_SORTED_TOGETHER = 8


def main() -> None:
    """Train and score what the file says, one classifier after the other."""
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        for line in file:
            print(json.dumps(train_and_score(json.loads(line))), flush=True)


def count_updates(n_rows: int, how: dict[str, Any]) -> int:
    """Batches that a training takes."""
    return int(max(math.ceil(n_rows / how["batch"]) * how["epochs"], how["fewest_updates"]))


def iterate_batches(lengths: Sequence[int], seed: int, how: dict[str, Any]) -> Iterator[list[int]]:
    """Positions of training rows, every row once an epoch, as many batches as `count_updates` says."""
    source = random.Random(seed)
    left = count_updates(len(lengths), how)
    size = how["batch"] * _BATCHES_SORTED_TOGETHER
    while left > 0:
        order = source.sample(range(len(lengths)), len(lengths))
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            part = sorted(order[start : start + size], key=lambda row: lengths[row])
            batches += [part[place : place + how["batch"]] for place in range(0, len(part), how["batch"])]
        source.shuffle(batches)
        yield from batches[:left]
        left -= len(batches)


def train_and_score(spec: dict[str, Any]) -> list[list[float]]:
    """(n, k) logits of the texts to score, in their order."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(spec["seed"])
    torch.set_num_threads(1)
    how = HOW | spec["how"]
    texts = json.loads(Path(spec["texts"]).read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(spec["model"], local_files_only=True)
    model = AutoModel.from_pretrained(spec["model"], local_files_only=True, dtype=torch.float32)
    head = torch.nn.Linear(model.config.hidden_size, spec["labels"])
    torch.nn.init.normal_(head.weight, std=model.config.initializer_range)
    torch.nn.init.zeros_(head.bias)
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=how["rate"], weight_decay=how["decay"], fused=True)
    n_updates = count_updates(len(spec["train"]), how)
    n_warm = max(1, round(how["warm_up"] * n_updates))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / n_warm, (n_updates - step) / max(1, n_updates - n_warm)),
    )

    def tokenise(places: Sequence[int]) -> list[list[int]]:
        found = tokenizer([texts[place] for place in places], truncation=True, max_length=how["max_tokens"])
        return list(found["input_ids"])

    def classify(rows: Sequence[Sequence[int]]) -> Any:
        width = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        means = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return head(means)

    rows = tokenise([place for place, _ in spec["train"]])
    labels = torch.tensor([label for _, label in spec["train"]])
    model.train()
    for batch in iterate_batches([len(row) for row in rows], spec["seed"], how):
        loss = torch.nn.functional.cross_entropy(classify([rows[row] for row in batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    scored = tokenise(spec["score"])
    order = sorted(range(len(scored)), key=lambda row: len(scored[row]))
    logits: list[list[float]] = [[] for _ in scored]
    with torch.no_grad():
        for start in range(0, len(order), 32):
            part = order[start : start + 32]
            for row, values in zip(part, classify([scored[row] for row in part]).tolist(), strict=True):
                logits[row] = [round(value, 4) for value in values]
    return logits


if __name__ == "__main__":
    main()
