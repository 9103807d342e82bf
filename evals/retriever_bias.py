"""What an encoder prefers to the answer: five tests on pairs from a corpus, for MiniLM, a planted bias and a control.

The share that the first passage of a pair wins, with Wilson's interval. `planted_length` is MiniLM with a direction
that short passages lean towards: the audit has to catch it (metric `caught`, 1 where brevity fails). `word_overlap` is
the control: the share of the query's words that a passage has, blind to order, length and repetition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from counterpoise.data.encoders import EncoderPair
from counterpoise.data.instances import read_beir
from counterpoise.tasks.retrieval.encoder_audit import audit_encoder, list_asked
from counterpoise_retrievers.arrays import Vectors
from counterpoise_retrievers.encoders import Encoder
from evals.common import Floats, MissingDataError, Result, Settings
from evals.minority_text import open_encoder


class LeaningEncoder:
    """Another encoder and one more direction, that texts lean towards the more the shorter they are."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = f"{encoder.name} leaning"
        self.dimension = encoder.dimension + 1
        self.max_tokens = encoder.max_tokens
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts."""
        lean = np.array([[20.0 / (20.0 + len(text.split()))] for text in texts])
        rows = np.hstack([self._encoder.encode(texts), lean])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def count_overlap(queries: Sequence[str], passages: Sequence[str]) -> Floats:
    """The share of each query's words that its passage has."""
    pairs = (
        (set(one.casefold().split()), set(other.casefold().split()))
        for one, other in zip(queries, passages, strict=True)
    )
    return np.array([len(one & other) / max(1, len(one)) for one, other in pairs])


def run(settings: Settings) -> Iterator[Result]:
    """Two corpora; MiniLM as it is, with a planted bias, and a scorer without any."""
    from counterpoise_retrievers.bias_tests import make_items, run_bias_tests

    encoder = open_encoder()
    for data in ("scifact", "cranfield"):
        if settings.only and data not in settings.only:
            continue
        if not (settings.data / data).is_dir():
            raise MissingDataError(f"data set absent: {settings.data / data}")
        passages, asked = list_asked(read_beir(settings.data / data))
        n_items = 40 if settings.quick else 250
        for arm, one in (("minilm", encoder), ("planted_length", LeaningEncoder(encoder))):
            audit = audit_encoder(EncoderPair(one, one), passages, asked, n_items)
            yield from list_results(data, arm, audit.tests)
            if arm == "planted_length":
                caught = float("brevity" in audit.failed)
                yield Result(
                    "retriever_bias", data, arm, "caught", caught, float("nan"), float("nan"), audit.n_items
                )
        tests = run_bias_tests(make_items(passages, asked, n_items), count_overlap)
        yield from list_results(data, "word_overlap", tests)


def list_results(data: str, arm: str, tests: Sequence[Any]) -> Iterator[Result]:
    """Win share of the first passage, with the paired t test beside it."""
    for test in tests:
        extra = {
            "t": round(test.t, 2),
            "p": test.p,
            "difference": round(test.difference, 4),
            "passes": test.passes,
        }
        yield Result(
            "retriever_bias",
            data,
            arm,
            f"{test.name}_win_ratio",
            test.win_ratio,
            test.low,
            test.high,
            test.n,
            extra=extra,
        )
