"""Hard negatives for retrieval data: from queries with their positives to training instances.

mined = mine_hard_negatives(queries, corpus, way="fused")

Dense retrievers prefer short, early and literal passages (see `encoder_audit`), so by default the candidates of the
encoder and of BM25 are fused by rank. The positive-aware band holds for both: what scores above 95% of the lowest
positive's cosine is left out, whoever found it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.core.errors import DataError, JobError
from counterpoise.core.events import Listener
from counterpoise.core.html_views import make_view
from counterpoise.core.instances import gather_positives
from counterpoise.data.encoders import EncoderPair, open_encoders
from counterpoise.data.instances import Collection, Instance, Passage
from counterpoise.report.progress import open_progress
from counterpoise.tasks.retrieval.candidate_search import WAYS, SearchSettings, SearchSpace, find_candidates
from counterpoise_retrievers.arrays import Integers
from counterpoise_retrievers.encoders import Encoder
from counterpoise_retrievers.hard_negatives import ScoreLimits

_DEPTH = 100
"""Candidates of each way that are fused, at least."""


@dataclass(frozen=True)
class MiningResult:
    """What mining gave.

    Args:
        instances: a query each, with its positives and the negatives found, nearest first; a negative's `extra` says
            its cosine to the query as `score`.
        n_passages: passages that were searched.
        n_short: queries with fewer negatives than were wanted.
        n_left_out: queries without a positive, which cannot become instances.
        n_repeats: rows that were left out because they differ from another one in their negatives only.
    """

    instances: list[Instance]
    n_passages: int
    n_short: int
    n_left_out: int
    n_repeats: int = 0

    def _repr_html_(self) -> str:
        """What a notebook shows: the counts, and the nearest negative of the first queries."""
        counts = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in self.to_dict().items())
        rows = [(one.query, one.negatives[0].full_text if one.negatives else "") for one in self.instances]
        return make_view("Mined negatives", [counts], ("query", "nearest negative"), rows)

    def to_dict(self) -> dict[str, Any]:
        """The counts."""
        n_negatives = sum(len(each.negatives) for each in self.instances)
        return {
            "queries": len(self.instances),
            "passages": self.n_passages,
            "negatives": n_negatives,
            "queries_with_fewer": self.n_short,
            "queries_without_positive": self.n_left_out,
            "rows_that_repeat": self.n_repeats,
        }


def list_queries(collection: Collection) -> list[Instance]:
    """The queries of a collection with their relevant passages, in the order of the file, without negatives.

    Raises:
        DataError: a judgement names a passage that is not in the corpus.
    """
    found = []
    for query in collection.queries.values():
        relevant = [name for name, score in collection.qrels.get(query.id, {}).items() if score > 0]
        for name in relevant:
            if name not in collection.corpus:
                raise DataError(
                    f"passage {name}, judged for query {query.id}, is not in the corpus",
                    hint="mend the judgements",
                )
        positives = tuple(collection.corpus[name] for name in relevant)
        found.append(Instance(query.id, query.text, positives, (), query.extra))
    return found


def mine_hard_negatives(
    queries: Iterable[Instance],
    corpus: Iterable[Passage],
    *,
    n_negatives: int = 30,
    way: str = "fused",
    range_min: int = 0,
    range_max: int | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = 0.05,
    max_score: float | None = None,
    encoder: str | Encoder = "",
    encoder_model: str = "",
    query_prefix: str = "",
    passage_prefix: str = "",
    api_key_env: str = "",
    cache_dir: Path | None = None,
    listener: Listener | None = None,
    progress: bool | None = None,
) -> MiningResult:
    """Mine hard negatives for queries; negatives they have are replaced.

    Args:
        queries: instances; those without a positive are left out.
        corpus: what is searched, but for passages without a text; positives that are not in it are added.
        n_negatives: negatives wanted for each query.
        way: one of `WAYS`.
        range_min: ranks of the encoder below this are skipped (dense and fused).
        range_max: ranks of the encoder from this on are not looked at.
        absolute_margin: a negative's cosine is at most the lowest positive's minus this.
        relative_margin: a negative's cosine is at most the lowest positive's minus this share of it; None for no band.
        max_score: a negative's cosine is at most this.
        encoder: see `open_encoders`, as the next four.
        encoder_model: the model's name at an endpoint.
        query_prefix: put in front of queries.
        passage_prefix: put in front of passages.
        api_key_env: environment variable with the endpoint's key.
        cache_dir: where vectors are kept.
        listener: told of encoding, instead of progress being shown.
        progress: whether it is shown; None where somebody looks: on a terminal and in a notebook.

    Raises:
        JobError: an option that is out of range or not known.
        DataError: no query has a positive, or an id stands for two texts.
        ServerError: the endpoint does not answer.
    """
    if way not in WAYS:
        raise JobError(f"no way '{way}'", where="way", hint=f"there are {', '.join(WAYS)}")
    task = _prepare(list(queries), corpus)
    with open_progress(listener, progress):
        opened = open_encoders(
            encoder,
            model=encoder_model,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            api_key_env=api_key_env,
            cache_dir=cache_dir,
        )
        space = task.encode(opened)
    limits = ScoreLimits(absolute_margin, relative_margin, max_score)
    settings = SearchSettings(n_negatives, way, _DEPTH, range_min, range_max, limits)
    try:
        found = find_candidates(space, settings)
    except ValueError as error:
        raise JobError(str(error), where="mine") from error
    instances = list(task.make_instances(space, found))
    n_short = sum(len(each.negatives) < n_negatives for each in instances)
    return MiningResult(instances, len(task.passages), n_short, task.n_left_out, task.n_repeats)


@dataclass(frozen=True, slots=True)
class _MiningTask:
    """What is mined for what.

    Args:
        queries: instances with a positive, one for each query and set of positives.
        passages: that are searched.
        known: for each query the places of passages that answer it.
        n_left_out: rows without a positive.
        n_repeats: rows that differ from another one in their negatives only.
    """

    queries: Sequence[Instance]
    passages: Sequence[Passage]
    known: Sequence[Sequence[int]]
    n_left_out: int
    n_repeats: int

    def encode(self, encoders: EncoderPair) -> SearchSpace:
        """Texts and vectors."""
        texts = [passage.full_text for passage in self.passages]
        asked = [each.query for each in self.queries]
        vectors = encoders.encode_passages(texts)
        return SearchSpace(asked, encoders.encode_queries(asked), texts, vectors, self.known)

    def make_instances(self, space: SearchSpace, found: Integers) -> Iterator[Instance]:
        """The queries with the passages found, (queries, any) places, as their negatives."""
        for row, each in enumerate(self.queries):
            places = [place for place in found[row].tolist() if place >= 0]
            own = {passage.id: passage.raw for passage in each.negatives}
            vectors = space.passage_vectors[places].astype(np.float64)
            scores = vectors @ space.query_vectors[row].astype(np.float64)
            negatives = tuple(
                _with_score(self.passages[place], float(score), own)
                for place, score in zip(places, scores, strict=True)
            )
            yield replace(each, negatives=negatives)


def _prepare(rows: Sequence[Instance], corpus: Iterable[Passage]) -> _MiningTask:
    """Leave out what cannot be mined for, and find the positives among the passages."""
    with_positives = [each for each in rows if each.positives]
    kept = _merge_rows(with_positives)
    if not kept:
        raise DataError("no query has a positive", hint="mining needs to know what is not a negative")
    # A passage without a text teaches nothing.
    passages, places = _gather((passage for passage in corpus if passage.full_text), kept)
    answering = {
        query: sorted(places[name] for name in known) for query, known in gather_positives(kept).items()
    }
    known = [answering[each.query] for each in kept]
    n_repeats = len(with_positives) - len(kept)
    return _MiningTask(kept, passages, known, len(rows) - len(with_positives), n_repeats)


def _merge_rows(rows: Sequence[Instance]) -> list[Instance]:
    """Rows of a query with the same positives become one: with new negatives they would all say the same."""
    merged: dict[tuple[str, frozenset[str]], Instance] = {}
    negatives: dict[tuple[str, frozenset[str]], list[Passage]] = {}
    for each in rows:
        name = each.query, frozenset(passage.full_text for passage in each.positives)
        merged.setdefault(name, each)
        negatives.setdefault(name, []).extend(each.negatives)
    return [replace(each, negatives=tuple(negatives[name])) for name, each in merged.items()]


def _gather(corpus: Iterable[Passage], queries: Sequence[Instance]) -> tuple[list[Passage], dict[str, int]]:
    """Passages without repetition, positives among them, and the place of each id."""
    passages: list[Passage] = []
    places: dict[str, int] = {}
    for passage in [*corpus, *(positive for each in queries for positive in each.positives)]:
        at = places.setdefault(passage.id, len(passages))
        if at == len(passages):
            passages.append(passage)
        elif (passages[at].text, passages[at].title) != (passage.text, passage.title):
            raise DataError(f"the id '{passage.id}' stands for two texts", hint="ids must differ")
    return passages, places


def _with_score(passage: Passage, score: float, own: Mapping[str, Any]) -> Passage:
    """A passage as a negative; what a row says of it is kept where that is a row of the same query."""
    return replace(passage, extra={**passage.extra, "score": round(score, 6)}, raw=own.get(passage.id))
