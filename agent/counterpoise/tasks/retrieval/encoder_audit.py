"""An audit of an encoder on the user's own corpus: does it prefer short, early, literal, repetitive to the answer?

The five tests are those of `counterpoise_retrievers.bias_tests`. What an encoder prefers, its candidates inherit: a
miner or a relabeller that rests on it alone looks at the wrong passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from counterpoise.core.errors import DataError
from counterpoise.data.encoders import EncoderPair
from counterpoise.data.instances import Collection
from counterpoise_retrievers.bias_tests import BiasTest, Floats, make_items, run_bias_tests

LEAST_ITEMS = 30

_SAID = {
    "brevity": "the evidence alone beats the evidence among other sentences",
    "position": "the evidence in front beats the evidence at the end",
    "literal": "the query's own words beat the same words in another form",
    "repetition": "repeating the head word beats saying it once",
    "foil": "the passage with the answer beats a short one that repeats the head word and answers nothing",
}
_ADVICE = (
    "fuse its candidates with BM25's (`--way fused` of `mine`, the default), cut passages to equal lengths, "
    "and judge candidates on their content"
)


@dataclass(frozen=True)
class EncoderAudit:
    """What the five tests found.

    Args:
        encoder: its name.
        n_items: queries the pairs were made from.
        source: where the queries came from.
        tests: the results.
    """

    encoder: str
    n_items: int
    source: str
    tests: tuple[BiasTest, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the tests that have a bar and miss it."""
        return tuple(test.name for test in self.tests if test.passes is False)

    @property
    def advice(self) -> str:
        """One sentence."""
        if not self.failed:
            return f"{self.encoder} passes: its candidates need no correction for these"
        return f"{self.encoder} fails {' and '.join(self.failed)}: {_ADVICE}"

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        tests = [{**asdict(test), "says": _SAID[test.name]} for test in self.tests]
        return {
            "encoder": self.encoder,
            "items": self.n_items,
            "queries": self.source,
            "tests": tests,
            "failed": list(self.failed),
            "advice": self.advice,
        }


def audit_encoder(
    encoders: EncoderPair, passages: Sequence[str], asked: Sequence[tuple[str, int]] = (), n_items: int = 250
) -> EncoderAudit:
    """Run the five tests.

    Args:
        encoders: what is audited.
        passages: the user's corpus.
        asked: queries with the place of a passage that answers; sentences of the corpus stand in where there are none.
        n_items: queries at most.

    Raises:
        DataError: the corpus gives fewer than 30 queries: its passages are too short or share no words.
        ServerError: the endpoint does not answer.
    """
    source = "the corpus' own queries"
    items = make_items(passages, asked, n_items) if asked else []
    if len(items) < LEAST_ITEMS:
        source = "halves of sentences of the corpus"
        items = make_items(passages, (), n_items)
    if len(items) < LEAST_ITEMS:
        raise DataError(
            f"the corpus gives {len(items)} pairs to test an encoder on",
            hint=f"{LEAST_ITEMS} are needed, from passages of five sentences or more that share words",
        )

    def score(queries: Sequence[str], texts: Sequence[str]) -> Floats:
        left = encoders.encode_queries(list(queries)).astype(np.float64)
        right = encoders.encode_passages(list(texts)).astype(np.float64)
        return np.asarray(np.einsum("nd,nd->n", left, right))

    return EncoderAudit(encoders.name, len(items), source, tuple(run_bias_tests(items, score)))


def list_asked(collection: Collection) -> tuple[list[str], list[tuple[str, int]]]:
    """The passages of a collection, and its queries with the place of their first most relevant passage."""
    places = {name: place for place, name in enumerate(collection.corpus)}
    asked = []
    for query in collection.queries.values():
        judged = {name: score for name, score in collection.qrels.get(query.id, {}).items() if score > 0}
        relevant = [name for name in judged if name in places]
        if relevant:
            best = max(relevant, key=lambda name: (judged[name], -places[name]))
            asked.append((query.text, places[best]))
    return [passage.full_text for passage in collection.corpus.values()], asked


def describe_test(test: BiasTest) -> tuple[str, str, str, str]:
    """A line of the table: what, win share with interval, the paired t test, the verdict."""
    verdict = {True: "passes", False: "fails", None: "reported"}[test.passes]
    return (
        _SAID[test.name],
        f"{test.win_ratio:.1%} ({test.low:.1%} to {test.high:.1%}) of {test.n}",
        f"{test.difference:+.3f} ({test.difference_low:+.3f} to {test.difference_high:+.3f}), t = {test.t:.1f}",
        verdict,
    )
