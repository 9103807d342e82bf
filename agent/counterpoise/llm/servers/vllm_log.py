"""What a log of vLLM says of its end: one line out of hundreds, and what would help.

vLLM prints the stack of every process that was in the way; the first cause stands somewhere in the middle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogExplanation:
    """Why vLLM ended.

    Args:
        message: the line that says so, without the marks of vLLM's logger; "" where none does.
        hint: what would help, "" where that is not known.
        kind: `job` (the job asks for what cannot be), `port` (its port was taken), `server` (all else).
        key: for `job`, the key under `llm` that is wrong.
    """

    message: str = ""
    hint: str = ""
    kind: str = "server"
    key: str = ""


_SMALLER = (
    "give it less to hold: a smaller model, `args: [--max-model-len, 4096]`, a lower --gpu-memory-utilization where "
    "others use the GPU too, or more GPUs with tensor_parallel_size"
)
_NAME = "write the id of a model on the hub, or the folder of one; for a private model set HF_TOKEN"

_KNOWN: tuple[tuple[str, str, str, str], ...] = (
    ("port", "", r"address already in use", ""),
    (
        "job",
        "args",
        r"error: (?:unrecognized arguments|argument |ambiguous option)",
        "see `vllm serve --help`",
    ),
    (
        "job",
        "args",
        r"User-specified max_model_len",
        "leave out --max-model-len, or write at most what the model was made for",
    ),
    (
        "job",
        "tensor_parallel_size",
        r"World size \(\d+\) is larger than the number of available GPUs|must be divisible by tensor parallel size",
        "write a number of GPUs that are there and divide the attention heads",
    ),
    ("job", "model", r"is not a local folder and is not a valid model identifier", _NAME),
    (
        "job",
        "model",
        r"RepositoryNotFoundError|Repository Not Found for url|GatedRepoError|gated repo",
        _NAME,
    ),
    ("job", "model", r"Repo id must|Invalid repository ID or local directory", _NAME),
    (
        "job",
        "model",
        r"does not appear to have (?:a file|files) named|no config\.json|Can't load the configuration",
        _NAME,
    ),
    (
        "job",
        "model",
        r"Model architectures .{1,200} are not supported|does not recognize this architecture",
        "a newer vLLM may know it",
    ),
    (
        "server",
        "",
        r"LocalEntryNotFoundError|couldn't connect to .{1,80} to load|OfflineModeIsEnabled",
        "the model is not on this machine and the hub does not answer; download it first",
    ),
    ("server", "", r"CUDA out of memory|OutOfMemoryError|HIP out of memory", _SMALLER),
    ("server", "", r"No available memory for the cache blocks|KV cache is needed, which is larger", _SMALLER),
    ("server", "", r"is less than desired (?:GPU|CPU) memory utilization|Free memory on device", _SMALLER),
    ("server", "", r"bfloat16 is only supported on GPUs", "add `args: [--dtype, half]`"),
    (
        "server",
        "",
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so",
        "vLLM sees no GPU; is its driver there, and was this vLLM built for this machine?",
    ),
    ("server", "", r"No space left on device", "make room, or set HF_HOME to another disk"),
    (
        "server",
        "",
        r"ModuleNotFoundError: .*|ImportError: .*",
        "the environment of vLLM is broken; install it anew",
    ),
)

_MARKS = re.compile(r"^(?:\([\w .=-]+ pid=\d+\)\s*)?(?:[A-Z]+ \d\d-\d\d [\d:]+ \[[^\]]+\]\s*)?")
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt)\b(?:: .*)?$")
_CONSEQUENCE = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineGenerateError|WorkerProc (?:init|fail)|cancelled"
)
_ENDED = re.compile(r"engine core exited unexpectedly|[Ww]orker proc \S+ died unexpectedly")
LONGEST = 300


def explain_log(text: str) -> LogExplanation:
    """Find the cause of its end in a log.

    Args:
        text: the log since the server was started.

    Returns:
        The first cause that is known; else the last exception that is no mere consequence of another; else
        nothing.

    Example:
        >>> explain_log("(EngineCore pid=7) ERROR 11-23 21:12:10 [core.py:9] ValueError: too many heads").message
        'ValueError: too many heads'
    """
    lines = [_MARKS.sub("", line).strip() for line in text.splitlines()]
    for kind, key, pattern, hint in _KNOWN:
        sought = re.compile(pattern, re.IGNORECASE)
        for line in lines:
            if sought.search(line):
                return LogExplanation(line[:LONGEST], hint, kind, key)
    raised = [line for line in lines if _RAISED.match(line) and not _CONSEQUENCE.search(line)]
    if raised:
        return LogExplanation(raised[-1][:LONGEST])
    ended = next((match[0] for match in map(_ENDED.search, lines) if match), "")
    return LogExplanation(ended)
