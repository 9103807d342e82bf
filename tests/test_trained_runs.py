"""Training runs in two processes: each line is kept under the path of its specification, and a failure is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evals.trained_runs import train_missing

WORKER = """#!{python}
import sys
for line in open(sys.argv[3]):
    if line.strip() == "half":
        print("trai", end="", flush=True)
        sys.exit(3)
    if line.strip() == "bad":
        sys.exit(3)
    print("trained", line.strip(), flush=True)
"""


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker that repeats its specifications, in the place of the interpreter."""
    script = tmp_path / "worker"
    script.write_text(WORKER.format(python=sys.executable), encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr("evals.trained_runs.sys.executable", str(script))
    return tmp_path / "specs.jsonl"


@pytest.mark.parametrize(("n", "threads"), [(5, ""), (1, ""), (4, "1")])
def test_each_line_is_kept_where_it_belongs(
    specs: Path, monkeypatch: pytest.MonkeyPatch, n: int, threads: str
) -> None:
    monkeypatch.setattr("evals.trained_runs.os.cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    specs.write_text("\n".join(map(str, range(n))), encoding="utf-8")
    paths = [specs.with_name(f"{place}.json") for place in range(n)]
    train_missing("worker", specs, paths)
    assert [path.read_text(encoding="utf-8") for path in paths] == [
        f"trained {place}\n" for place in range(n)
    ]
    assert specs.with_name("1-specs.jsonl").exists() == (not threads)


def test_a_worker_that_fails_is_told_and_what_it_printed_is_kept(specs: Path) -> None:
    specs.write_text("0\n1\n2\nbad\n4\n5", encoding="utf-8")
    paths = [specs.with_name(f"{place}.json") for place in range(6)]
    with pytest.raises(RuntimeError, match="exit code 3"):
        train_missing("worker", specs, paths)
    assert paths[1].is_file() and not paths[3].exists() and not paths[5].exists()


def test_half_a_line_is_not_kept(specs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    specs.write_text("0\nhalf\n2", encoding="utf-8")
    paths = [specs.with_name(f"{place}.json") for place in range(3)]
    with pytest.raises(RuntimeError, match="exit code 3"):
        train_missing("worker", specs, paths)
    assert [path.exists() for path in paths] == [True, False, False]
