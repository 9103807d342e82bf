"""Which model a run asks, and what it may spend: the keys `llm` and `budget` of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from counterpoise.core.errors import JobError
from counterpoise.core.strict_yaml import SETTINGS, validate

_TOKEN_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
SET_OPTIONS = ("model", "served-model-name", "host", "port", "uds", "api-key", "tensor-parallel-size", "tp")
"""Options of vLLM that the job or the agent sets, so that `llm: args` may not."""


def parse_tokens(value: object) -> int:
    """Read a number of tokens: `2M`, `500k`, `1.5M` or a whole number.

    Raises:
        JobError: anything else.
    """
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)\s*([kmb]?)", str(value).strip(), re.IGNORECASE)
    tokens = float(match[1].replace("_", "")) * _TOKEN_UNITS[match[2].lower()] if match else -1.0
    if isinstance(value, bool) or tokens < 0 or not tokens.is_integer():
        raise JobError(f"found '{value}'", where="budget: tokens", hint="write 2M, 500k or a number")
    return int(tokens)


class LlmConfig(BaseModel):
    """The model that writes: `embedded` (default), a `server` that runs, or a `vllm` that is started.

    Args:
        engine: which of the three.
        url: base URLs of running servers, ending in /v1 as a rule; several share the work.
        model: model name; a server with one model may be asked for it.
        api_key_env: name of the environment variable that holds the key.
        concurrency: requests at once, at most; by default found by measuring.
        tensor_parallel_size: GPUs that vllm spreads the model over.
        args: further options of `vllm serve`, as `[--max-model-len, 4096]`.
        python: interpreter of the environment that has vllm, or its folder; by default ours.
    """

    model_config = SETTINGS
    engine: Literal["embedded", "server", "vllm"] = "embedded"
    url: tuple[str, ...] = ()
    model: str = ""
    api_key_env: str = ""
    concurrency: int | None = Field(None, ge=1, le=4096)
    tensor_parallel_size: int | None = Field(None, ge=1)
    args: tuple[str, ...] = ()
    python: str = ""

    @field_validator("args", mode="before")
    @classmethod
    def _check_args(cls, value: object) -> object:
        args = value.split() if isinstance(value, str) else value
        for arg in args if isinstance(args, list | tuple) else ():
            option = str(arg).split("=")[0]
            name = option.lstrip("-").replace("_", "-") if option.startswith("-") else ""
            if name in SET_OPTIONS:
                raise ValueError(f"found '{option}'; leave it out, it is set here or has a key of its own")
            if name == "hf-token":  # it would stand in the log and in the run directory
                raise ValueError(f"found '{option}'; set the variable HF_TOKEN instead, vLLM reads it")
        return args

    @field_validator("url", mode="before")
    @classmethod
    def _check_urls(cls, value: object) -> object:
        urls = [value] if isinstance(value, str) else value
        for url in urls if isinstance(urls, list | tuple) else ():
            parts = urlsplit(str(url))
            if parts.scheme not in ("http", "https") or not _is_host(parts):
                raise ValueError(f"found '{url}'; write a URL such as http://localhost:8000/v1")
            if parts.username or parts.password:
                raise ValueError("the URL holds a password; name its environment variable under api_key_env")
        return urls

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
            raise ValueError("this is no name of a variable; write the variable's name, never the key itself")
        return value

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "server" and not self.url:
            raise ValueError("engine is server without a url; add url, such as http://localhost:8000/v1")
        if self.engine != "server" and self.url:
            raise ValueError(f"engine is {self.engine} with a url; write `engine: server` or leave out url")
        if self.engine == "vllm" and not self.model:
            raise ValueError("engine is vllm without a model; add model, such as Qwen/Qwen2.5-7B-Instruct")
        if self.engine == "embedded" and self.model:
            raise ValueError(
                "the embedded engine brings its own model; leave out model or use another engine"
            )
        for key in ("tensor_parallel_size", "args", "python"):
            if self.engine != "vllm" and getattr(self, key):
                raise ValueError(f"{key} with engine {self.engine}; only vllm knows it")
        return self


class ModelObject(LlmConfig):
    """A model that is an object in Python: a chat model of LangChain, or an engine.

    Args:
        model: its identity.
        instance: the object; None in a job that was read from a file, which can only name it.
    """

    model_config = ConfigDict(**SETTINGS, arbitrary_types_allowed=True)
    engine: Literal["object"] = "object"  # type: ignore[assignment] # no job file may write it
    instance: Any = None

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        return self


IN_MEMORY = "memory:"
"""Stands in a dumped job before the name of what was an object in Python."""


def expand_llm(value: object) -> object:
    """What `llm` may be for short: a word or a URL, or a model as an object.

    Raises:
        ValueError: an object that cannot be asked.
    """
    from counterpoise.llm.model_objects import is_model, name_model

    if isinstance(value, str) and value.startswith(IN_MEMORY):
        return ModelObject(model=value.removeprefix(IN_MEMORY))
    if isinstance(value, str):
        return {"engine": "server", "url": value} if "://" in value else {"engine": value}
    if value is None or isinstance(value, Mapping | LlmConfig):
        return value
    if is_model(value):
        return ModelObject(model=name_model(value), instance=value)
    raise ValueError(
        f"found {value!r:.60}; give `embedded`, a URL, a chat model of LangChain, or an object with generate(request)"
    )


def read_llm(value: Any) -> LlmConfig:
    """The model that an argument in Python names or is.

    Raises:
        JobError: it is none.
    """
    try:
        config = expand_llm(value)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        raise JobError(message, where="model", hint=hint) from error
    if isinstance(config, LlmConfig):
        return config
    return validate(LlmConfig, config if isinstance(config, Mapping) else {}, "model")


class Budget(BaseModel):
    """What a run may spend: tokens (prompt and completion together) and minutes; None means no limit."""

    model_config = SETTINGS
    tokens: int | None = 2_000_000
    minutes: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("tokens", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        try:
            return None if value is None else parse_tokens(value)
        except JobError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error


def _is_host(parts: SplitResult) -> bool:
    """Whether an address has a host and a port that there can be."""
    try:
        return bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        return False
