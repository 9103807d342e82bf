"""`python -m evals list | all | page | show FILE | NAME [--data DIR] [--engine vllm|URL] [--seeds N] [--quick]`.

`python -m evals bank` builds what `writers` and others buy their texts from, and `python -m evals bench --model URL`
measures a model on a server of your own; see there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from counterpoise.core.errors import CounterpoiseError
from evals import bank, bench, result_tables, suite
from evals.common import MissingDataError, MissingPackageError, Result, Settings
from evals.tables import read_results, render_markdown
from evals.vllm_on_cpu import VllmOnCpu

EVALS = {
    "concept_bias": "concepts that stand for a label: what the simple ways, injections, a pool and the agent do",
    "joint_plan": "additions planned for all cells together, bought from real texts, against one concept at a time",
    "attributes": "cells that the user named by an attribute: served, right, and worth something to students",
    "fine_tuned": "concept bias of a student whose weights are all trained, next to published figures",
    "tuned_students": "students that train an encoder, beside frozen vectors and words, with few rows",
    "in_context": "concept bias of a model that is shown eight examples, skewed and balanced ones",
    "counterfactual_quality": "edits of texts: do they do what they claim, and can the filters tell",
    "counterfactual_training": "what counterfactuals do downstream, by hand and by lexicon; all, and what a run keeps",
    "minority_text": "skewed texts: what adding written or adopted records is worth beyond the simple ways",
    "simple_ways": "ways without a token: what each gives with few rows, and how good the choice among them is",
    "pool_ways": "ways that see a pool and cost no token, and what adopting its rows adds to them",
    "asked": "twenty pool rows labelled by a person, by anchors and at random: what they are worth",
    "sampler": "the sampler in a pipeline of imbalanced-learn, beside RandomOverSampler and class weights",
    "encoders": "encoders at hand: what each gives on sealed rows, and whether a sample names the right one",
    "gap_means": "what part of the gap to real data is closed, over all data sets of minority_text",
    "budget_curve": "what written records gain, and what that costs, as the budget grows",
    "peers": "the same model at equal tokens in the hands of a plain script and of distilabel",
    "forecast": "what a preview and inner validation say of an action, against what came out",
    "mining": "hard negatives and a million vectors: speed, memory, the same negatives as sentence-transformers",
    "surfaced": "natural false negatives of Cranfield among 30 candidates, dense, BM25 and fused",
    "throughput": "requests and tokens a second, and what they cost the client, against a bare loop",
    "corrected_counts": "simulated: do the intervals of corrected counts cover, and how far off is the plain count",
    "auto_concepts": "concepts that a model names: which of people's are among them, and how right the cells are",
    "judges": "who may judge concepts and labels: classifier, a model, the stack of them; a ladder of judges",
    "false_negatives": "negatives that answer their query: does the cascade find them, is a retriever better for it",
    "relabel_coverage": "simulated: do the intervals of a relabelling hold, for every form, judges and gold",
    "retriever_bias": "short, early, literal, repetitive: what an encoder prefers to the answer",
    "label_noise": "wrong labels, people's and planted ones: found, repaired, and what is promised of it",
    "do_no_harm": "adversarial models as judges of labels: nothing changes because of them",
    "startup": "seconds that `counterpoise --help` takes",
    "writers": "rows of writers whose worth is known: how they are used beside plain use and beside no row",
    "planner": "where the next slice goes: tokens to balance in made worlds, against an integer program",
    "worth": "what a run says that an added record is worth, against what the sealed rows say",
    "priors": "the constants left in the use of added rows: how much the recommendation hangs on each",
    "written_filters": "four bad writers and good texts: what the filters of written texts let through",
    "teach": "a scripted judge teaches a classifier: beside true labels, asking each time, the best simple way",
    "scaling": "seconds, memory and sections on large data: a million rows, forty thousand texts, 150 labels",
}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["bank"]:
        return bank.main(words[1:])
    if words[:1] == ["bench"]:
        return bench.main(words[1:])
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    parser.add_argument("name", help="list, all, page, show, or the name of an evaluation")
    parser.add_argument("file", nargs="?", type=Path, help="with show: a file of results")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--engine", default="embedded", help="embedded, vllm, or the URL of a server")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--only", action="append", default=[], help="a data set to run; repeatable")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--out", type=Path, default=None, help="with all: folder of the results")
    parser.add_argument(
        "--lines", type=Path, default=suite.RESULTS, help="where `forecast` and `gap_means` find other lines"
    )
    parser.add_argument("--jobs", type=int, default=None, help="with all: evaluations at a time")
    given = parser.parse_args(arguments)
    if given.name == "list":
        for name, purpose in EVALS.items():
            print(f"{name:16} {purpose}")
        return 0
    if given.name == "show" and given.file is not None:
        print("\n".join(render_markdown(read_results(given.file))))
        return 0
    if given.name == "page":
        suite.write_page(EVALS)
        result_tables.write_tables(suite.RESULTS)
        return 0
    if given.name == "all":
        if given.only:
            parser.error("--only names parts of one evaluation; `all` takes all parts of all of them")
        return _run_all(given)
    if given.name not in EVALS:
        print(f"error: there is no evaluation '{given.name}'; there are {', '.join(EVALS)}", file=sys.stderr)
        return 2
    run: Callable[[Settings], Iterator[Result]] = import_module(f"evals.{given.name}").run
    settings = Settings(given.data, given.engine, given.seeds, given.quick, tuple(given.only), given.lines)
    try:
        if given.json:
            for result in run(settings):
                print(result.as_line(), flush=True)
        else:
            show(run(settings))
    except (MissingDataError, MissingPackageError, CounterpoiseError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run_all(given: argparse.Namespace) -> int:
    options = ["--data", str(given.data)]
    options += ["--quick"] if given.quick else []
    options += ["--seeds", str(given.seeds)] if given.seeds else []
    folder = given.out or Path("evals-quick" if given.quick else "evals-results")
    options += [] if given.quick else ["--lines", str(folder)]
    n_at_once = given.jobs or (3 if given.engine == "vllm" else 2)
    with VllmOnCpu() as server:
        find_engine = server.find_url if given.engine == "vllm" else lambda: given.engine
        build = ["build", "--pin", "--data", str(given.data)]
        bank.main([*build, "--engine", bank.NO_MODEL if given.quick else find_engine()])
        n_failed = suite.run_all(list(EVALS), options, folder, max(1, n_at_once), find_engine)
    for name in EVALS:
        if (folder / f"{name}.jsonl").is_file():
            print("\n".join([f"## {name}", "", *render_markdown(read_results(folder / f"{name}.jsonl"))]))
    return 1 if n_failed else 0


def show(results: Iterable[Result]) -> None:
    """A table, once everything is there."""
    table = Table("data", "arm", "metric", "value", "95% interval", "n")
    for result in results:
        bounds = f"{result.low:.3f} to {result.high:.3f}" if result.low == result.low else ""
        table.add_row(result.data, result.arm, result.metric, f"{result.value:.3f}", bounds, str(result.n))
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
