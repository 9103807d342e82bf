"""What a server says of its own load under `/metrics`, in Prometheus' text form.

Names are those of vLLM (0.12 and later) and of llama.cpp's server. Counters of several engines or models behind one
address are added up.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """A server's load at one moment.

    Args:
        n_running: requests it works on.
        n_waiting: requests in its queue.
        memory_ratio: share of its key-value memory that is in use, 0..1; 0 where it does not say.
        prefix_tokens: prompt tokens it has looked up in its prefix cache since it started.
        prefix_hits: those that it found there.
    """

    n_running: float = 0.0
    n_waiting: float = 0.0
    memory_ratio: float = 0.0
    prefix_tokens: float = 0.0
    prefix_hits: float = 0.0

    def prefix_hit_ratio(self, since: ServerLoad | None = None) -> float | None:
        """Share of prompt tokens read from the prefix cache since an earlier moment; None where none were looked up.

        A server that was started again in between counts from zero, so only what it has counted since is used.
        """
        tokens, hits = self.prefix_tokens, self.prefix_hits
        if since is not None and since.prefix_tokens <= tokens:
            tokens, hits = tokens - since.prefix_tokens, hits - since.prefix_hits
        return hits / tokens if tokens > 0 else None


_FIELDS = {
    "vllm:num_requests_running": "n_running",
    "vllm:num_requests_waiting": "n_waiting",
    "vllm:kv_cache_usage_perc": "memory_ratio",
    "vllm:prefix_cache_queries_total": "prefix_tokens",
    "vllm:prefix_cache_hits_total": "prefix_hits",
    "llamacpp:requests_processing": "n_running",
    "llamacpp:requests_deferred": "n_waiting",
}


def read_metrics(text: str) -> ServerLoad | None:
    """The load in a page of metrics, None where none of the known names is on it."""
    sums: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name = line.partition("{")[0].partition(" ")[0]
        field = _FIELDS.get(name)
        if field is None:
            continue
        try:
            # After the labels, which may hold blanks, come the value and perhaps a time.
            value = float(line.rpartition("}")[2].removeprefix(name).split()[0])
        except (ValueError, IndexError):
            continue
        if value >= 0:  # not NaN either
            sums[field] = max(sums[field], value) if field == "memory_ratio" else sums[field] + value
    return ServerLoad(**sums) if sums else None
