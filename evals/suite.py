"""All evaluations one after the other, resumable, and the page that shows what came out.

`python -m evals all` runs each evaluation in a process of its own and writes its lines to `FOLDER/NAME.jsonl` when it
has ended, in one rename: what is there is not run again. Two run at once, each on one core, but for those that measure
time or memory and those that read the lines of another. What each took is kept in `FOLDER/seconds.txt`. With
`--engine vllm` one server serves them all, and as it has threads of its own, one more evaluation runs at once.
`python -m evals page` writes `RESULTS.md` from these lines.
What a person has to say about a figure that misses its aim stands in `FOLDER/NAME.md` and is taken over as it is; no
figure is typed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from counterpoise.core.errors import CounterpoiseError
from evals.tables import read_results, render_markdown

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
LONGEST_OPEN = 40
"""Lines of tables that are shown without a fold."""

LONGEST = ("minority_text", "fine_tuned", "in_context", "false_negatives", "concept_bias", "judges", "peers")
"""Started first, so that none of them is left over when everything else has ended."""

ALONE = ("mining", "throughput", "startup", "scaling")
"""What they measure is speed or memory."""

READERS = ("gap_means", "forecast")
"""Those that read the lines of another evaluation."""

SERVED = ("minority_text", "in_context", "concept_bias", "budget_curve", "peers", "throughput")
"""Those that ask the server of `--engine`; the others ask no model, or show what the embedded one is worth."""


def run_all(
    names: Sequence[str],
    options: Sequence[str],
    folder: Path,
    n_at_once: int = 1,
    find_engine: Callable[[], str] = lambda: "embedded",
) -> int:
    """Run the evaluations that have no results in `folder` yet.

    Args:
        names: names of evaluations.
        options: further words of the command line: `--data DIR`, `--quick`, ...
        folder: where the results go.
        n_at_once: evaluations at a time.
        find_engine: gives `embedded`, or the URL of a server; asked before each evaluation that needs it, so that one
            that has ended is started again, and after one that failed, which runs once more where the URL has changed.

    Returns:
        Number of evaluations that failed or had no data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (folder / f"{name}.jsonl").is_file():
            print(f"{name}: there already ({folder / f'{name}.jsonl'})", file=sys.stderr)
    waiting = [name for name in names if not (folder / f"{name}.jsonl").is_file()]
    first = [name for name in LONGEST if name in waiting]
    beside = [*first, *(name for name in waiting if name not in (*first, *READERS, *ALONE))]
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

    def run(name: str, variables: Mapping[str, str]) -> bool:
        try:
            served_by = find_engine() if name in SERVED else "embedded"
            if _run_one(name, [*options, "--engine", served_by], folder, variables):
                return True
            now_served_by = find_engine() if name in SERVED else served_by
            if now_served_by == served_by:
                return False
            # Its server had ended and is there again at another address; replies are kept, so little is lost.
            return _run_one(name, [*options, "--engine", now_served_by], folder, variables)
        except CounterpoiseError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            return False

    with ThreadPoolExecutor(n_at_once) as pool:
        done = list(pool.map(lambda name: run(name, one_core if n_at_once > 1 else {}), beside))
    done += [run(name, {}) for name in (*READERS, *ALONE) if name in waiting]
    return done.count(False)


def _run_one(name: str, options: Sequence[str], folder: Path, variables: Mapping[str, str]) -> bool:
    """One evaluation in a process of its own; whether it ended well."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    started = monotonic()
    unfinished = folder / f"{name}.part"
    with unfinished.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, "-m", "evals", name, "--json", *options],
            stdout=file,
            check=False,
            env={**os.environ, **variables},
        )
    said = "done" if done.returncode == 0 else f"failed with exit code {done.returncode}"
    line = f"{name}: {said} in {monotonic() - started:.0f} s"
    print(line, file=sys.stderr, flush=True)
    with (folder / "seconds.txt").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    if done.returncode == 0:
        unfinished.replace(folder / f"{name}.jsonl")
    return done.returncode == 0


def render_page(purposes: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Lines of the page: a section an evaluation, in the order of `purposes`."""
    yield "# Results"
    yield ""
    yield "Made by `python -m evals page` from the lines in `evals/results`; no figure here was typed. Values are means"
    yield "with 95% intervals. How each is measured stands in the head of its module; `python -m evals NAME --data DIR`"
    yield "makes it anew. Long tables are folded; what a figure misses is said above them."
    yield ""
    for name, purpose in purposes.items():
        yield f"- [{name}](#{name}): {purpose}"
    yield ""
    for name, purpose in purposes.items():
        path, note = folder / f"{name}.jsonl", folder / f"{name}.md"
        yield f"## {name}"
        yield ""
        yield f"{purpose[0].upper()}{purpose[1:]}."
        yield ""
        if note.is_file():
            yield from note.read_text(encoding="utf-8").splitlines()
            yield ""
        if path.is_file():
            tables = list(render_markdown(read_results(path)))
            if len(tables) > LONGEST_OPEN:
                tables = ["<details>", "<summary>Tables</summary>", "", *tables, "</details>", ""]
            yield from tables
        else:
            yield "Not measured yet."
            yield ""


def write_page(purposes: Mapping[str, str], folder: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page."""
    page.write_text("\n".join(render_page(purposes, folder)).rstrip() + "\n", encoding="utf-8")
