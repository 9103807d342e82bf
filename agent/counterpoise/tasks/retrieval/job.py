"""`RetrievalJob`: what a run over retrieval instances is told; a job file says `task: retrieval`.

Every key is optional but `data`::

    task: retrieval
    data: triples.jsonl                       # Tevatron, RLHN, FlagEmbedding or sentence-transformers form
    corpus: corpus.jsonl                      # or a BEIR folder; adds mined candidates
    llm: {engine: server, url: http://localhost:8000/v1}         # the first, cheap judge
    strong_llm: {engine: server, url: http://localhost:8001/v1}  # the second, strong one
    budget: {tokens: 20M}
    output: runs/triples
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from counterpoise.actions.relabel.cascade import MIN_PRECISION, MOST_RELABELS
from counterpoise.core.errors import JobError
from counterpoise.data.exporters import find_readable
from counterpoise.llm.config import LlmConfig, expand_llm
from counterpoise.tasks.job import JobBase


class RetrievalJob(JobBase):
    """What a run over retrieval instances is told.

    Args:
        data: file of training instances.
        form: of the file, by its registered name; `auto` tells by its first line.
        corpus: where further candidates are mined: a file of passages or a BEIR folder.
        candidates: of the corpus, for each query.
        gold: judgements of known answers (`query-id`, `corpus-id`, `score`; 0 is a known wrong one), for audits.
        llm: the first judge, which reads everything.
        strong_llm: the second judge, which reads what the first one flags; the same as the first where not given.
        per_call: passages a call.
        max_characters: of a passage that are shown.
        most_relabels: an instance with more relabelled candidates is ambiguous and left out.
        counts_worse: relabel what is relevant but worse, instead of dropping it.
        min_precision: where gold lets precision be estimated, relabel only if it is surely at least this; else drop.
        most_flagged: a source of which more of the candidates are flagged is paused.
        check_positives: judge the known positives too, and report it.
        source_field: field of an instance that names its source.
        budget: what may be spent; a number of tokens for short.
        encoder: instead of the pinned one, see `JobBase`.
        output: the run directory.
        name: of the run; by default that of the data.
        cache_dir: where replies and vectors are kept.
        task: what kind of data it is.
    """

    SOURCES = ()
    PATHS = (*JobBase.PATHS, "data", "corpus", "gold")
    MODELS = ("llm", "strong_llm")

    task: Literal["retrieval"] = "retrieval"
    data: str = Field(min_length=1)
    form: str = "auto"
    corpus: str = ""
    candidates: int = Field(30, ge=1, le=1000)
    gold: str = ""
    strong_llm: LlmConfig | None = None
    per_call: int = Field(8, ge=1, le=32)
    max_characters: int = Field(2000, ge=50)
    most_relabels: int | None = Field(MOST_RELABELS, ge=0)
    counts_worse: bool = False
    min_precision: float = Field(MIN_PRECISION, ge=0, le=1)
    most_flagged: float = Field(0.5, ge=0, le=1)
    check_positives: bool = False
    source_field: str = "source"

    @field_validator("form")
    @classmethod
    def _check_form(cls, value: str) -> str:
        if value != "auto":
            try:
                find_readable(value)
            except JobError as error:
                raise ValueError(f"{error.message}; {error.hint}") from error
        return value

    @field_validator("strong_llm", mode="before")
    @classmethod
    def _expand_strong_llm(cls, value: object) -> object:
        return expand_llm(value)

    @classmethod
    def derive_name(cls, data: str) -> str:
        """`triples` of `folder/triples.jsonl`."""
        return Path(data).name.split(".")[0] or "triples"

    @property
    def second_llm(self) -> LlmConfig:
        """The configuration of the second judge."""
        return self.strong_llm or self.llm
