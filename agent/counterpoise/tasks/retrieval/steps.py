"""From a retrieval job to relabelled instances: read, mine candidates, open the two judges, run the cascade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterpoise.actions.relabel.gold_pairs import Gold, GoldSource
from counterpoise.actions.relabel.judges import Judge, Stage
from counterpoise.actions.relabel.passages import relabel_prepared
from counterpoise.actions.relabel.preparation import CascadeSettings, PreparedCases, prepare_cases
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import DataError
from counterpoise.core.event_kinds import Warned
from counterpoise.core.events import tell_event
from counterpoise.core.instances import gather_positives
from counterpoise.data.beir import read_queries
from counterpoise.data.encoders import open_cached
from counterpoise.data.exporters import find_readable
from counterpoise.data.instances import (
    Instance,
    Passage,
    find_form,
    read_corpus,
    read_instances,
    read_passages,
)
from counterpoise.data.qrels import read_judgements
from counterpoise.llm import ChatClient, ReplyStore, TokenBudget
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.connect import open_models
from counterpoise.tasks.retrieval.job import RetrievalJob

if TYPE_CHECKING:
    from counterpoise_retrievers.encoders import Encoder


def load_instances(job: RetrievalJob) -> list[Instance]:
    """The instances of a job.

    Args:
        job: names the file, and the corpus of instances that name their passages by id.

    Raises:
        DataError: the file cannot be used, holds none, or none has a negative and there is no corpus to find some in.
    """
    path = Path(job.data)
    form = find_form(path) if job.form == "auto" else job.form
    corpus = None
    if find_readable(form).needs_corpus and job.corpus:
        corpus = {passage.id: passage for passage in load_corpus(job.corpus)}
    notes: list[str] = []
    instances = list(read_instances(path, form, corpus=corpus, notes=notes))
    for note in notes:
        tell_event(Warned(note))
    if not instances:
        raise DataError("holds no instances", where=job.data, hint="one JSON object a line")
    if not job.corpus and not any(one.negatives for one in instances):
        hint = (
            "; ".join(notes)
            or "name them negative, negative_1, neg or negative_passages, or give a corpus to mine in"
        )
        raise DataError("holds no negatives, so there is nothing to judge", where=job.data, hint=hint)
    return instances


def load_corpus(source: str) -> list[Passage]:
    """Passages of a file, or of the corpus of a BEIR folder; none where no source is named.

    Raises:
        DataError: it cannot be read, or no passage has a text.
    """
    if not source:
        return []
    path = Path(source)
    passages = list(read_corpus(path).values() if path.is_dir() else read_passages(path))
    if not any(passage.full_text for passage in passages):
        raise DataError("holds no passages with a text", where=source, hint="a line has _id, title and text")
    return passages


def load_gold(source: str) -> Gold:
    """Known answers: query id, passage id, score a line (tab-separated, or a CSV; gzip too); above 0 is relevant.

    Raises:
        DataError: the file cannot be read, holds nothing, a line is no judgement, or two contradict each other.
    """
    hint = "a line has a query id, a passage id and a number"
    gold: dict[tuple[str, str], bool] = {}
    for where, query_id, passage_id, score in read_judgements(Path(source), hint):
        if np.isnan(score):
            raise DataError("is no judgement", where=where, hint=hint)
        if gold.setdefault((query_id, passage_id), score > 0) != (score > 0):
            raise DataError(
                f"query {query_id} and passage {passage_id} are judged twice, right and wrong",
                where=where,
                hint="keep one of the two",
            )
    if not gold:
        raise DataError("holds no judgements", where=source, hint=hint)
    return gold


def mine_candidates(
    instances: Sequence[Instance], corpus: Sequence[Passage], encoder: Encoder, n_candidates: int
) -> Mapping[int, Sequence[Passage]]:
    """Passages of the corpus that a query finds by meaning and by words, and that are not its positives.

    A query is searched once, in however many rows it stands.

    Args:
        instances: n instances.
        corpus: where to look.
        encoder: of queries and passages.
        n_candidates: for each query.

    Returns:
        Position of the first row of a query -> passages, best first.
    """
    from counterpoise.tasks.retrieval.candidate_search import SearchSettings, SearchSpace, find_candidates

    passages = [passage for passage in corpus if passage.full_text]
    texts = [passage.full_text for passage in passages]
    places: dict[str, list[int]] = {}
    for place, passage in enumerate(passages):
        for name in {passage.id, passage.full_text}:
            places.setdefault(name, []).append(place)
    firsts: dict[str, int] = {}
    for place, instance in enumerate(instances):
        firsts.setdefault(instance.query, place)
    queries = list(firsts)
    answering = gather_positives(instances)
    known = [
        sorted(
            {
                place
                for one in answering[query].values()
                for name in (one.id, one.full_text)
                for place in places.get(name, ())
            }
        )
        for query in queries
    ]
    space = SearchSpace(queries, encoder.encode(queries), texts, encoder.encode(texts), known)
    found = find_candidates(space, SearchSettings(n_candidates, has_gaps=True))
    return {
        place: [passages[int(one)] for one in row if one >= 0]
        for place, row in zip(firsts.values(), found, strict=True)
    }


async def relabel_job(
    job: RetrievalJob,
    instances: Sequence[Instance] | None = None,
) -> RelabelledInstances:
    """Run the cascade of a job.

    Args:
        job: what to do.
        instances: in place of the job's data.

    Raises:
        UserError: a mistake in the job or the data.
        ServiceError: a server, a download or a disk failed; again with the same job goes on.
    """
    instances = load_instances(job) if instances is None else instances
    cache_dir = find_cache_dir(job.cache_dir)
    prepared = prepare_job(job, instances, load_corpus(job.corpus))
    with ReplyStore(cache_dir / "replies.sqlite") as store:
        return await judge_prepared(job, prepared, store, TokenBudget(job.budget.tokens), cache_dir)


async def judge_prepared(
    job: RetrievalJob,
    prepared: PreparedCases,
    store: ReplyStore,
    budget: TokenBudget,
    cache_dir: Path,
) -> RelabelledInstances:
    """Run the cascade of a job over what was prepared, until the budget or its minutes are spent.

    Args:
        job: what to do.
        prepared: what is judged, and what is known of it.
        store: of replies.
        budget: what both judges may spend.
        cache_dir: where what is known of models is kept.

    Raises:
        ServiceError: a server, a download or a disk failed; again with the same job goes on.
    """
    async with _open_judges(job, store, budget, cache_dir) as (first, second):
        if job.budget.minutes is not None:
            budget.end_after(60 * job.budget.minutes)
        return await relabel_prepared(prepared, first, second, settings=make_settings(job))


def prepare_job(job: RetrievalJob, instances: Sequence[Instance], corpus: Sequence[Passage]) -> PreparedCases:
    """What a job is to judge: candidates of the data, and those that are mined in its corpus; and its gold.

    Args:
        job: what to do.
        instances: of its data.
        corpus: of the job; empty where it names none.

    Raises:
        DataError: gold cannot be used, or speaks of no candidate.
    """
    gold = load_gold(job.gold) if job.gold else {}
    mined: Mapping[int, Sequence[Passage]] = {}
    if corpus:
        cache_dir = find_cache_dir(job.cache_dir)
        mined = mine_candidates(instances, corpus, open_cached(job.encoder, cache_dir), job.candidates)
    return prepare_cases(
        instances,
        make_settings(job),
        mined=mined,
        gold=gold,
        gold_source=find_gold_source(job, corpus) if gold else None,
    )


def make_settings(job: RetrievalJob) -> CascadeSettings:
    """The settings of the cascade that a job asks for."""
    return CascadeSettings(
        most_relabels=job.most_relabels,
        counts_worse=job.counts_worse,
        min_precision=job.min_precision,
        most_flagged=job.most_flagged,
        check_positives=job.check_positives,
        source_field=job.source_field,
    )


def find_gold_source(job: RetrievalJob, corpus: Sequence[Passage]) -> GoldSource:
    """What the ids of a corpus, and of the queries beside it in a BEIR folder, stand for."""
    queries: dict[str, Sequence[str]] = {}
    if job.corpus and Path(job.corpus).is_dir():
        with suppress(DataError):  # a folder may hold a corpus alone
            queries = {one.id: (one.text,) for one in read_queries(Path(job.corpus)).values()}
    return GoldSource(
        job.gold, queries, {passage.id: (passage.full_text, passage.text) for passage in corpus}
    )


@asynccontextmanager
async def _open_judges(
    job: RetrievalJob, store: ReplyStore, budget: TokenBudget, cache_dir: Path
) -> AsyncIterator[tuple[Judge, Judge]]:
    """Both judges; where they are the same model there is one way to it."""
    open_way = partial(open_models, store=store, budget=budget, cache_dir=cache_dir)
    async with open_way(job.llm) as models:
        first = make_judge("first", models.chat, job, job.llm)
        if job.second_llm == job.llm:
            yield first, make_judge("second", models.chat, job, job.llm)
            return
        async with open_way(job.second_llm) as models:
            yield first, make_judge("second", models.chat, job, job.second_llm)


def make_judge(stage: Stage, chat: ChatClient, job: RetrievalJob, llm: LlmConfig) -> Judge:
    """The judge of a stage as a job asks for it."""
    if llm.engine == "embedded":
        # It has room for 2,048 tokens, prompt and reply together.
        return Judge(stage, chat, per_call=2, max_characters=500, n_references=1)
    return Judge(stage, chat, per_call=job.per_call, max_characters=job.max_characters)
