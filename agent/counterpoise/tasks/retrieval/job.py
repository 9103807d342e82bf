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
from typing import Any, Literal

from pydantic import Field, field_validator

from counterpoise.actions.relabel.cascade import MIN_PRECISION, MOST_RELABELS
from counterpoise.core.strict_yaml import read_mapping, validate
from counterpoise.llm.config import Budget, LlmConfig, expand_llm
from counterpoise.tasks.job import JobBase, as_plain, expand_budget, fill_names, hash_settings

_PATHS = ("data", "corpus", "gold", "output", "cache_dir", "encoder")
_ELSEWHERE = ("name", "output", "cache_dir")


class RetrievalJob(JobBase):
    """What a run over retrieval instances is told.

    Args:
        data: file of training instances.
        form: of the file; `auto` tells by its first line.
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
        encoder: folder with `model.onnx` and `tokenizer.json` instead of the pinned encoder.
        output: the run directory.
        name: of the run; by default that of the data.
        cache_dir: where replies and vectors are kept.
        task: what kind of data it is.
    """

    task: Literal["retrieval"] = "retrieval"
    name: str = ""
    data: str = Field(min_length=1)
    form: Literal["auto", "tevatron", "tevatron_ids", "rlhn", "flag_embedding", "sentence_transformers"] = (
        "auto"
    )
    corpus: str = ""
    candidates: int = Field(30, ge=1, le=1000)
    gold: str = ""
    llm: LlmConfig = LlmConfig()
    strong_llm: LlmConfig | None = None
    per_call: int = Field(8, ge=1, le=32)
    max_characters: int = Field(2000, ge=50)
    most_relabels: int | None = Field(MOST_RELABELS, ge=0)
    counts_worse: bool = False
    min_precision: float = Field(MIN_PRECISION, ge=0, le=1)
    most_flagged: float = Field(0.5, ge=0, le=1)
    check_positives: bool = False
    source_field: str = "source"
    budget: Budget = Budget()
    encoder: str = ""
    output: str = ""
    cache_dir: str = ""

    @field_validator("llm", "strong_llm", mode="before")
    @classmethod
    def _expand_llm(cls, value: object) -> object:
        return expand_llm(value)

    @field_validator("budget", mode="before")
    @classmethod
    def _expand_budget(cls, value: object) -> object:
        return expand_budget(value)

    @property
    def second_llm(self) -> LlmConfig:
        """The configuration of the second judge."""
        return self.strong_llm or self.llm

    def fingerprint(self) -> str:
        """A hash of the settings that decide the result, 16 hex digits; where things lie is left out."""
        keys = as_plain(self)
        for name in _ELSEWHERE:
            del keys[name]
        for name in ("data", "corpus", "gold", "encoder"):
            keys[name] = Path(keys[name]).name
        for name in ("llm", "strong_llm"):
            llm = getattr(self, name)
            keys[name] = llm and {"engine": llm.engine, "model": llm.model}
        keys["budget"] = keys["budget"]["tokens"]
        return hash_settings(keys)


def load_retrieval_job(path: str | Path, **overrides: Any) -> RetrievalJob:
    """Read a job file that says `task: retrieval`; as `counterpoise.tasks.text.job.load_job` does.

    Raises:
        JobError: a mistake in the file, in one line.
    """
    path = Path(path)
    keys = _resolve(read_mapping(path), path.absolute().parent) | _resolve(overrides, Path.cwd())
    return _build(keys, path.absolute().parent, str(path))


def retrieval_job_from(**keys: Any) -> RetrievalJob:
    """A job from Python or the command line; relative paths are relative to the working directory.

    Raises:
        JobError: a key is unknown, missing or wrong.
    """
    return _build(_resolve(keys, Path.cwd()), Path.cwd(), "job")


def _build(keys: dict[str, Any], base: Path, where: str) -> RetrievalJob:
    name = Path(str(keys.get("data", ""))).name.split(".")[0] or "triples"
    return validate(RetrievalJob, fill_names(keys, base, name), where)


def _resolve(keys: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths among `keys` absolute."""
    return {
        name: str(base / Path(value).expanduser())
        if name in _PATHS and isinstance(value, str | Path) and str(value).strip()
        else value
        for name, value in keys.items()
    }
