"""Trains the last layers of MiniLM; see `retriever_worker`, whose rows, loss and scores it shares.

What lies below the trained layers never changes, so its states are computed once for each text. All layers would take
some six times as long, too long for several draws on two cores.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evals.retriever_worker import compute_loss, find_same, iterate_batches, score

BATCH = 32


class Trunk:
    """The frozen part of a sentence transformer, with the states it gave so far.

    Args:
        folder: of the weights.
        texts: what may be asked for, by place.
        tokens: of a text that are read, at most.
        n_trained: layers at the top that are not part of it; `layers` is what they are before training.
    """

    def __init__(self, folder: str, texts: Sequence[str], tokens: int, n_trained: int) -> None:
        from sentence_transformers import SentenceTransformer

        self.texts = texts
        self.model = SentenceTransformer(folder, device="cpu", local_files_only=True).eval()
        self.model.max_seq_length = tokens
        self.bert = self.model[0].auto_model
        every = list(self.bert.encoder.layer)
        self.layers = every[-n_trained:]
        self.bert.encoder.layer = type(self.bert.encoder.layer)(every[:-n_trained])
        self.states: dict[int, Any] = {}

    def fill(self, places: Iterable[int]) -> None:
        """Compute the states of these texts, each (tokens, dimension), in half precision to fit into memory."""
        import torch

        missing = sorted(set(places) - set(self.states), key=lambda place: len(self.texts[place]))
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            features = self.model.preprocess([self.texts[place] for place in some])
            names = ("input_ids", "attention_mask", "token_type_ids")
            with torch.no_grad():
                states = self.bert(**{name: features[name] for name in names if name in features})[0]
            lengths = features["attention_mask"].sum(dim=1).tolist()
            for place, length, one in zip(some, lengths, states, strict=True):
                self.states[place] = one[:length].to(torch.float16)

    def read(self, places: Sequence[int]) -> tuple[Any, Any]:
        """States (b, tokens, dimension) and what of them is text (b, tokens)."""
        import torch

        states = [self.states[place].float() for place in places]
        masks = [torch.ones(len(one)) for one in states]
        pad = torch.nn.utils.rnn.pad_sequence
        return pad(states, batch_first=True), pad(masks, batch_first=True)


class Head:
    """The trained layers, mean pooling, length 1."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk
        self.encoder = copy.deepcopy(trunk.bert.encoder)
        self.encoder.layer = type(self.encoder.layer)(copy.deepcopy(trunk.layers))

    def encode(self, places: Sequence[int]) -> Any:
        """Vectors (b, dimension) of texts whose states are there."""
        import torch

        states, mask = self.trunk.read(places)
        hidden_away = (1 - mask)[:, None, None, :] * torch.finfo(states.dtype).min
        out = self.encoder(states, attention_mask=hidden_away)[0]
        means = (out * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return torch.nn.functional.normalize(means, dim=-1)

    def encode_all(self, places: Sequence[int]) -> Any:
        """The same in batches of like length, without gradients."""
        import torch

        order = sorted(range(len(places)), key=lambda row: len(self.trunk.states[places[row]]))
        vectors = torch.empty(len(places), self.trunk.bert.config.hidden_size)
        with torch.no_grad():
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                vectors[rows] = self.encode([places[row] for row in rows])
        return vectors.numpy()


_TRUNKS: dict[tuple[str, int, int], Trunk] = {}


def train_minilm(spec: dict[str, Any]) -> list[float]:
    """The last `how["layers"]` layers; nDCG@10 of each held-out query."""
    import torch

    torch.manual_seed(spec["seed"])
    how = spec["how"]
    key = (spec["model"], how["tokens"], how["layers"])
    if key not in _TRUNKS:
        texts = json.loads(Path(spec["texts"]).read_text(encoding="utf-8"))
        _TRUNKS[key] = Trunk(spec["model"], texts, how["tokens"], how["layers"])
    trunk = _TRUNKS[key]
    asked = [one[0] for one in spec["held_out"]]
    used = [
        place
        for query, positives, negatives in spec["instances"]
        for place in (query, *positives, *negatives[: how["negatives"]])
    ]
    trunk.fill([*asked, *spec["corpus"], *used])
    head = Head(trunk)
    optimizer = torch.optim.AdamW(head.encoder.layer.parameters(), lr=how["rate"], weight_decay=0.01)
    answers = {one[0]: set(one[1]) for one in spec["instances"]}
    head.encoder.layer.train()
    for batch in iterate_batches(spec):
        loss = compute_loss(
            torch,
            head.encode([one[0] for one in batch]),
            head.encode([one[1] for one in batch]),
            head.encode([place for one in batch for place in one[2]]).reshape(
                len(batch), how["negatives"], -1
            ),
            find_same(torch, batch, answers),
            how["temperature"],
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.encoder.layer.parameters(), 1.0)
        optimizer.step()
    head.encoder.layer.eval()
    return score(head.encode_all(asked) @ head.encode_all(spec["corpus"]).T, spec)
