"""`python -m evals list`, `show FILE`, or `NAME [--data DIR] [--engine embedded|URL] [--seeds N] [--quick]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evals.common import MissingDataError, Result, Settings
from evals.tables import read_results, render_markdown

EVALS = {
    "minority_text": "skewed texts: what adding written or adopted records is worth beyond the simple ways",
    "startup": "seconds that `counterpoise --help` takes",
    "scaling": "seconds and peak memory of `check` on a million rows",
}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    parser.add_argument("name", help="list, show, or the name of an evaluation")
    parser.add_argument("file", nargs="?", type=Path, help="with show: a file of results")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--engine", default="embedded", help="embedded, or the URL of a server")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--only", action="append", default=[], help="a data set to run; repeatable")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    if given.name == "list":
        for name, purpose in EVALS.items():
            print(f"{name:16} {purpose}")
        return 0
    if given.name == "show" and given.file is not None:
        print("\n".join(render_markdown(read_results(given.file))))
        return 0
    if given.name not in EVALS:
        print(f"error: there is no evaluation '{given.name}'; there are {', '.join(EVALS)}", file=sys.stderr)
        return 2
    run: Callable[[Settings], Iterator[Result]] = import_module(f"evals.{given.name}").run
    settings = Settings(given.data, given.engine, given.seeds, given.quick, tuple(given.only))
    try:
        if given.json:
            for result in run(settings):
                print(result.as_line(), flush=True)
        else:
            show(run(settings))
    except MissingDataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def show(results: Iterable[Result]) -> None:
    """A table, once everything is there."""
    table = Table("data", "arm", "metric", "value", "95% interval", "n")
    for result in results:
        bounds = f"{result.low:.3f} to {result.high:.3f}" if result.low == result.low else ""
        table.add_row(result.data, result.arm, result.metric, f"{result.value:.3f}", bounds, str(result.n))
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
