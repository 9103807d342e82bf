"""Files that are written here are loaded, and trained on for a step, by the libraries they are for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoise.cli import app as cli
from counterpoise.data.instances import format_instance
from tests.extras_environments import require_environment
from tests.servers import LocalServer
from tests.test_relabel_command import reply
from tests.test_relabel_retrieval import INSTANCES, N

pytestmark = [pytest.mark.extras, pytest.mark.processes]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer(reply) as opened:
        yield opened


def train(library: str, folder: Path, *files: Path) -> list[dict[str, Any]]:
    """One step on each file; what it was trained on."""
    script = Path(__file__).parent / "train_one_step.py"
    done = subprocess.run(
        [str(require_environment("trainers")), str(script), library, str(folder), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"rows')]
    assert len(found) == len(files) and all(one["steps"] == 1 and one["loss"] > 0 for one in found)
    return found


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def list_triplets() -> list[Row]:
    return [
        {"anchor": one.query, "positive": positive.text, "negative": negative.text}
        for one in INSTANCES
        for negative in one.negatives
        for positive in one.positives
    ]


def list_tuples() -> list[Row]:
    return [
        {"query": one.query, "answer": positive.text}
        | {f"negative_{place + 1}": passage.text for place, passage in enumerate(one.negatives)}
        for one in INSTANCES
        for positive in one.positives
    ]


def list_flag() -> list[Row]:
    """A row with all negatives, and one with the hidden answer alone, which would be left without any."""
    return [
        {"query": one.query, "pos": [positive.text], "neg": [passage.text for passage in negatives]}
        for one in INSTANCES
        for positive, negatives in zip(one.positives, (one.negatives, one.negatives[:1]), strict=True)
    ]


def relabel(data: Path, server: LocalServer, *options: str) -> Path:
    target = data.with_name(f"{data.stem}.out.jsonl")
    arguments = ["relabel", str(data), "--model", server.url, "--output", str(target), *options]
    assert cli.execute([*arguments, "--cache-dir", str(data.parent / "cache")]) == 0
    return target


def test_relabelled_rows_of_texts_train_with_sentence_transformers(
    server: LocalServer, tmp_path: Path
) -> None:
    files = [
        relabel(write(tmp_path / "triplets.jsonl", list_triplets()), server),
        relabel(write(tmp_path / "tuples.jsonl", list_tuples()), server),
    ]
    triplets, tuples = train("sentence_transformers", tmp_path, *files)
    # Of six negatives one became a positive and one was dropped: four with two positives each, and two of the new one.
    assert triplets["rows"] == N * (4 * 2 + 2) and triplets["columns"] == ["anchor", "positive", "negative"]
    assert tuples["rows"] == 3 * N and len(tuples["columns"]) == 8


def test_relabelled_lists_train_with_flag_embedding(server: LocalServer, tmp_path: Path) -> None:
    (found,) = train("flag_embedding", tmp_path, relabel(write(tmp_path / "f.jsonl", list_flag()), server))
    assert found["rows"] == 2 * N


@pytest.mark.assets
def test_mined_negatives_train_with_both(tmp_path: Path) -> None:
    given = [dict(row) for one in INSTANCES for row in format_instance(one, "tevatron")]
    given[0]["positive_passages"] = given[0]["positive_passages"] + given[0]["negative_passages"][:5]
    data = write(tmp_path / "given.jsonl", given)
    for form in ("sentence_transformers", "flag_embedding"):
        target = tmp_path / f"{form}.jsonl"
        arguments = ["mine", str(data), "-o", str(target), "--form", form, "--negatives", "8", "--band", "1"]
        assert cli.execute(arguments) == 0
        (found,) = train(form, tmp_path / "runs", target)
        assert found["rows"] >= N
