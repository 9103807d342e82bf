"""What a diagnosis of a model has found, kept in the cache for later runs; and what a run goes by from its begin."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from counterpoise.core.assets import make_cache_folder
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.files import write_whole
from counterpoise_retrievers.private_files import make_private_folder


class Notes(Protocol):
    """What a run keeps of itself, such as a run directory."""

    def read(self, kind: str) -> dict[str, Any]:
        """Entries of one kind; none where none were written."""

    def write(self, kind: str, entries: Mapping[str, Any]) -> None:
        """Keep entries of one kind."""


def keep_findings(model: str, findings: Mapping[str, Any], cache_dir: Path) -> Path:
    """Write what a diagnosis of a model has found into the cache, for `settle_capabilities`; gives the file."""
    path = _locate_findings(model, cache_dir)
    make_cache_folder(cache_dir)
    make_private_folder(path.parent)
    write_whole(path, json.dumps(dict(findings), indent=1), is_private=True)
    return path


def settle_capabilities(found: Capabilities, notes: Notes, cache_dir: Path) -> Capabilities:
    """What a run goes by: what it found at its begin, with what a diagnosis had found beyond it by then.

    A later diagnosis changes nothing for a run that has begun: resumed, it has to end as it would have.
    """
    kept = notes.read("capabilities").get(found.model)
    if kept is not None:
        return Capabilities(**kept)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        known = json.loads(_locate_findings(found.model, cache_dir).read_text(encoding="utf-8"))
        found = replace(
            found,
            structured=bool(known["structured"]),
            logprobs=bool(known["logprobs"]),
            multiple=found.multiple and bool(known["multiple"]),
            context_tokens=int(known["context_tokens"]) or found.context_tokens,
        )
    notes.write("capabilities", {found.model: asdict(found)})
    return found


def _locate_findings(model: str, cache_dir: Path) -> Path:
    return cache_dir / "doctor" / f"{hashlib.sha256(model.encode()).hexdigest()[:16]}.json"
