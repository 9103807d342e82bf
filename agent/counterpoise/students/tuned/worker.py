"""Trains the weights of an encoder on labelled texts: the child of `trainer`.

It is a process of its own because torch and FAISS bring an OpenMP each. `python -m counterpoise.students.tuned.worker`
reads lines of JSON from standard input: its parent's number, then folders, each with `task.json`:

    method    `fine_tuned` or `contrastive`
    encoder   `config` (a mapping), `model` (a safetensors file), `tokenizer` (tokenizer.json)
    training  a name for all that the trained weights depend on: asked for again, they are not trained again
    texts     to train on, with `labels` (0 to k - 1, each of them there) and `weights`
    score     texts to score
    how       see `HOW`
    is_timed  only measure how long it takes

It answers with lines of JSON, how many batches are done and how many there are, and writes `answer.npy` into the
folder: (m, k) logits of the texts to score, or (n + m, d) vectors, of those trained on first.

All weights are trained in full precision on one thread: AdamW, a linear schedule with warm-up, and a fixed seed, so one
machine gives the same bytes each time. `fine_tuned` puts a linear layer on the mean of the token vectors and trains it
by cross-entropy. `contrastive` is SetFit (Tunstall et al., 2022, Efficient few-shot learning without prompts): pairs of
texts whose cosine is to be 1 where their labels are equal, else 0. Labels are drawn alike for the pairs; drawn from all
pairs of rows, as the package setfit does, of fifteen rows beside a hundred and fifty hardly a pair would come.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.processes import end_with_parent

HOW: dict[str, dict[str, Any]] = {
    "fine_tuned": {"rate": 3e-5, "passes": 3, "fewest": 94, "most": 1_000_000},
    "contrastive": {"rate": 2e-5, "passes": 5, "fewest": 60, "most": 300},
}
"""Rate of learning; how often each row is seen (or pairs a row), and how many batches at least and at most."""

BATCH = 16
MOST_TOKENS = 128
_WARM_UP = 0.1
_DECAY = 0.01
_SEED = 0
_SORTED_TOGETHER = 8  # batches within which rows are put together by length
_SCORED_TOGETHER = 32
_N_TIMED = 6  # batches
_N_TIMED_TEXTS = 64

Tell = Callable[[int, int], None]


def count_updates(n_rows: int, how: dict[str, Any]) -> int:
    """Batches that a training takes."""
    return int(np.clip(math.ceil(n_rows * how["passes"] / BATCH), how["fewest"], how["most"]))


def iterate_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of rows without an end, each once an epoch, rows of like length together."""
    source = np.random.default_rng(_SEED)
    size = BATCH * _SORTED_TOGETHER
    while True:
        order = source.permutation(len(lengths)).tolist()
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            part = sorted(order[start : start + size], key=lambda row: lengths[row])
            batches += [part[place : place + BATCH] for place in range(0, len(part), BATCH)]
        yield from (batches[place] for place in source.permutation(len(batches)))


def iterate_pairs(labels: Sequence[int], weights: Sequence[float]) -> Iterator[list[tuple[int, int, float]]]:
    """Batches of pairs without an end: positions of two rows, and what their cosine is to be; half of them each.

    Labels are drawn alike, rows of a label by their weights. A label with one row makes a pair of it with itself, from
    which nothing is learned.
    """
    source = np.random.default_rng(_SEED)
    every, given = np.array(labels), np.array(weights, dtype=np.float64)
    members = [np.flatnonzero(every == label) for label in np.unique(every)]

    def draw(rows: NDArray[np.int64], n: int) -> list[int]:
        shares = given[rows] / given[rows].sum()
        return [int(row) for row in source.choice(rows, n, replace=len(rows) < n, p=shares)]

    while True:
        batch = []
        for place in range(BATCH):
            if place % 2:
                picked = source.choice(len(members), 2, replace=False)
                first, second = (draw(members[label], 1)[0] for label in picked)
            else:
                first, second = draw(members[source.integers(len(members))], 2)
            batch.append((first, second, float(place % 2 == 0)))
        yield batch


class Learner:
    """An encoder that is trained.

    Args:
        task: as the head of the module says.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoConfig

        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(_SEED)
        self.task, self.how = task, task["how"]
        config = AutoConfig.for_model(**task["encoder"]["config"])
        self.tokenizer = Tokenizer.from_file(task["encoder"]["tokenizer"])
        self.tokenizer.no_padding()
        longest = int(getattr(config, "max_position_embeddings", None) or MOST_TOKENS)
        self.tokenizer.enable_truncation(min(MOST_TOKENS, longest))
        self.model = _load(config, task["encoder"]["model"])
        self.pad = int(getattr(config, "pad_token_id", None) or 0)
        self.head: Any = None
        if task["method"] == "fine_tuned":
            self.head = torch.nn.Linear(config.hidden_size, max(task["labels"]) + 1)
            torch.nn.init.normal_(self.head.weight, std=float(getattr(config, "initializer_range", 0.02)))
            torch.nn.init.zeros_(self.head.bias)
        self.rows = self.tokenise(task["texts"])

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """The token numbers of each text, cut to the window."""
        return [one.ids for one in self.tokenizer.encode_batch(list(texts))]

    def train(self, tell: Tell, n_updates: int | None = None) -> None:
        """Go through the batches, or through the first ones."""
        import torch

        n_all = count_updates(len(self.rows), self.how)
        parameters = [*self.model.parameters(), *(self.head.parameters() if self.head else ())]
        optimizer = torch.optim.AdamW(parameters, lr=self.how["rate"], weight_decay=_DECAY, fused=True)
        n_warm = max(1, round(_WARM_UP * n_all))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / n_warm, (n_all - step) / max(1, n_all - n_warm))
        )
        self.model.train()
        losses = self._iterate_losses()
        for done in range(n_all if n_updates is None else min(n_updates, n_all)):
            optimizer.zero_grad()
            next(losses).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            tell(done + 1, n_all)
        self.model.eval()

    def _iterate_losses(self) -> Iterator[Any]:
        import torch

        labels = torch.tensor(self.task["labels"])
        weights = torch.tensor(self.task["weights"], dtype=torch.float32)
        weights = weights / weights.mean()
        if self.head:
            for batch in iterate_batches([len(row) for row in self.rows]):
                each = torch.nn.functional.cross_entropy(
                    self.score([self.rows[row] for row in batch]), labels[batch], reduction="none"
                )
                yield (each * weights[batch]).mean()
        for pairs in iterate_pairs(self.task["labels"], self.task["weights"]):
            firsts, seconds, wanted = zip(*pairs, strict=True)
            # Each row once, rows of like length together: half the work of all of them in one batch.
            used = sorted({*firsts, *seconds}, key=lambda row: (len(self.rows[row]), row))
            parts = [used[start : start + BATCH] for start in range(0, len(used), BATCH)]
            vectors = torch.cat([self.score([self.rows[row] for row in part]) for part in parts])
            places = {row: place for place, row in enumerate(used)}
            one, other = ([places[row] for row in side] for side in (firsts, seconds))
            cosines = (vectors[one] * vectors[other]).sum(dim=1)
            yield torch.nn.functional.mse_loss(cosines, torch.tensor(wanted))

    def score(self, rows: Sequence[Sequence[int]]) -> Any:
        """(b, k) logits or (b, d) vectors of length 1."""
        import torch

        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        means = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return self.head(means) if self.head else torch.nn.functional.normalize(means, dim=-1)

    def score_all(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """(m, k) or (m, d) float32 of all rows, in batches of like length."""
        import torch

        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        scored: list[Any] = [None] * len(rows)
        with torch.no_grad():
            for start in range(0, len(order), _SCORED_TOGETHER):
                part = order[start : start + _SCORED_TOGETHER]
                for row, values in zip(part, self.score([rows[row] for row in part]).numpy(), strict=True):
                    scored[row] = values
        return np.stack(scored)


def _load(config: Any, path: str) -> Any:
    """The model of a configuration with the weights of a file, whatever heads the file has beside it."""
    from safetensors.torch import load_file
    from transformers import AutoModel

    model = AutoModel.from_config(config)
    prefix = f"{model.base_model_prefix}."
    weights = {name.removeprefix(prefix): values.float() for name, values in load_file(path).items()}
    missing = [
        name for name in model.load_state_dict(weights, strict=False).missing_keys if "pooler" not in name
    ]
    if missing:
        raise ValueError(f"the weights are not those of its config.json: {missing[0]} is missing")
    return model


class Desk:
    """What the child does with a folder; it keeps what it trained last."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._learner: Learner | None = None

    def carry_out(self, folder: Path) -> dict[str, float]:
        """Train, score and write, or measure; gives what was measured."""
        task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
        if task["is_timed"]:
            return self._measure(task)
        if self._learner is None or self._learner.task["training"] != task["training"]:
            self._learner = None
            learner = Learner(task)
            learner.train(self._tell)
            self._learner = learner
        rows = self._learner.tokenise(task["score"])
        scored = self._learner.score_all([*(() if self._learner.head else self._learner.rows), *rows])
        np.save(folder / "answer.npy", scored, allow_pickle=False)
        return {}

    def _measure(self, task: dict[str, Any]) -> dict[str, float]:
        """Seconds of all batches and of scoring a text, from a few of each; the first one warms up."""
        learner, times = Learner(task), list[float]()
        learner.train(lambda done, total: times.append(perf_counter()), _N_TIMED)
        n_updates = count_updates(len(learner.rows), learner.how)
        some = learner.rows[:_N_TIMED_TEXTS]
        started = perf_counter()
        learner.score_all(some)
        seconds = (times[-1] - times[0]) / (len(times) - 1)
        return {"training": n_updates * seconds, "text": (perf_counter() - started) / len(some)}


def serve() -> None:
    """Answer until the parent is gone."""
    # Whatever a library prints is not taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**found: Any) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    desk = Desk(lambda done, total: answer(done=done, total=total))
    end_with_parent(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        try:
            answer(found=desk.carry_out(Path(json.loads(line))))
        except Exception as error:  # the parent says it
            answer(error=" ".join(f"{type(error).__name__}: {error}".split())[:300])


if __name__ == "__main__":
    serve()
