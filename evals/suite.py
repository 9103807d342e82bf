"""All evaluations one after the other, resumable, and the page that shows what came out.

`python -m evals all` runs each evaluation in a process of its own and writes its lines to `FOLDER/NAME.jsonl` when it
has ended, in one rename: what is there is not run again. `python -m evals page` writes `RESULTS.md` from these lines.
What a person has to say about a figure that misses its aim stands in `FOLDER/NAME.md` and is taken over as it is; no
figure is typed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

from evals.tables import read_results, render_markdown

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
LONGEST_OPEN = 40
"""Lines of tables that are shown without a fold."""


def run_all(names: Sequence[str], options: Sequence[str], folder: Path) -> int:
    """Run the evaluations that have no results in `folder` yet.

    Args:
        names: names of evaluations.
        options: further words of the command line: `--data DIR`, `--quick`, ...
        folder: where the results go.

    Returns:
        Number of evaluations that failed or had no data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_failed = 0
    for place, name in enumerate(names, start=1):
        path = folder / f"{name}.jsonl"
        if path.is_file():
            print(f"[{place}/{len(names)}] {name}: there already ({path})", file=sys.stderr)
            continue
        print(f"[{place}/{len(names)}] {name} ...", file=sys.stderr, flush=True)
        started = monotonic()
        unfinished = path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            done = subprocess.run(
                [sys.executable, "-m", "evals", name, "--json", *options], stdout=file, check=False
            )
        said = "done" if done.returncode == 0 else f"failed with exit code {done.returncode}"
        print(f"[{place}/{len(names)}] {name}: {said} in {monotonic() - started:.0f} s", file=sys.stderr)
        if done.returncode == 0:
            unfinished.replace(path)
        else:
            n_failed += 1
    return n_failed


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
