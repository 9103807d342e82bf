"""The file of a bench: who was measured, the lines, and a hash; and the steps that are kept beside it.

Only fields of the list below are taken over, so that nothing that an evaluation may say besides (a sentence, a text, an
address) leaves the machine.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from counterpoise.core.files import write_whole

FORMAT = 1
FIELDS = ("eval", "data", "arm", "metric", "value", "low", "high", "n", "unit", "seeds", "version")
MODEL_ARM = "model"
"""What the arm of the model is called where an evaluation calls it by the model's name."""


class BenchFileError(Exception):
    """A file that is none of a bench, or not as it was written; its message is one clear line."""


def clean_name(model: str) -> str:
    """A model's name as its server reports it, without an engine's note and without the folder of a path.

    >>> clean_name("Qwen/Qwen2.5-7B-Instruct (server)"), clean_name("/home/me/models/qwen")
    ('Qwen/Qwen2.5-7B-Instruct', 'qwen')
    """
    name = re.split(r"\s\(", model)[0].strip()
    if "://" in name or name.startswith(("/", "~", ".")) or "\\" in name or name.count("/") > 1:
        name = re.split(r"[/\\]", name)[-1]
    return name or "unknown"


class BenchFile:
    """What a bench has measured so far, on disk.

    Args:
        path: of the file that can be sent.
        model: as the server reports it.
        is_quick: whether everything is measured in small.

    Raises:
        BenchFileError: what lies there is of another model, or was changed.
    """

    def __init__(self, path: Path, model: str, *, is_quick: bool = False) -> None:
        self.path, self.model = path, clean_name(model)
        self._raw_name, self.is_quick = model, is_quick
        self._folder = path.with_name(f"{path.name}.steps")
        if path.is_file():
            head, _ = read_bench(path)
            if (head["model"], head["quick"]) != (self.model, is_quick):
                found = f"holds figures of {head['model']}{' in small' if head['quick'] else ''}"
                raise BenchFileError(
                    f"{path}: {found}, and the server has {self.model}; name another with --out"
                )
        self._folder.mkdir(parents=True, exist_ok=True)

    def has(self, step: str) -> bool:
        """Whether a step has ended."""
        return (self._folder / f"{step}.json").is_file()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of all steps that have ended, of each part those of the longest."""
        parts: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        for path in sorted(self._folder.glob("*.json")):
            kept = json.loads(path.read_text(encoding="utf-8"))
            turn = int(kept["turn"])
            if turn >= parts.get(kept["part"], (-1, []))[0]:
                parts[kept["part"]] = (turn, kept["lines"])
        return [line for _, lines in sorted(parts.values(), key=lambda one: one[0]) for line in lines]

    def add(self, step: str, part: str, text: str) -> None:
        """Keep the lines of a step, and write the file anew.

        Args:
            step: its name.
            part: what it measures; a later step of the same part replaces it.
            text: JSON lines as an evaluation writes them.
        """
        turn = len(list(self._folder.glob("*.json")))
        lines = [self._clean(json.loads(line)) for line in text.splitlines() if line.strip()]
        kept = {"part": part, "turn": turn, "lines": lines}
        write_whole(self._folder / f"{step}.json", json.dumps(kept))
        self.write()

    def _clean(self, line: Mapping[str, Any]) -> dict[str, Any]:
        found = {field: line[field] for field in FIELDS if field in line}
        if found.get("arm") in (self._raw_name, self.model):
            found["arm"] = MODEL_ARM
        return found

    def write(self) -> None:
        """Write the file: head, lines, hash."""
        head = {
            "bench": FORMAT,
            "model": self.model,
            "quick": self.is_quick,
            "counterpoise": version("counterpoise"),
            "python": platform.python_version(),
        }
        body = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in (head, *self.lines))
        write_whole(self.path, f"{body}{json.dumps({'sha256': hash_body(body)})}\n")


def hash_body(body: str) -> str:
    """The hash of all lines but the last."""
    return sha256(body.encode("utf-8")).hexdigest()


def read_bench(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Head and lines of a file that was sent.

    Raises:
        BenchFileError: it is none, or not as it was written.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        head, *rows, last = [json.loads(line) for line in lines]
        told, is_bench = last["sha256"], head["bench"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchFileError(
            f"{path}: is no file of a bench; write one with python -m evals bench"
        ) from error
    if not is_bench or hash_body("".join(lines[:-1])) != told:
        raise BenchFileError(f"{path}: its hash does not fit; it is not as it was written")
    return head, rows
