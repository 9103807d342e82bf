"""The bank of bought texts: what writers gave for the rare labels of six sets, so that evaluations spend no token.

    python -m evals bank build [--data DIR] [--only cebab] [--only cebab/smol_continue] [--engine none] [--pin]
    python -m evals bank show
    python -m evals bank record --model URL [--name NAME] [--key-env VARIABLE] [--only cebab]

`build` makes what is absent: the rows of each set, the writers that need no model, and the 135M model by vLLM on the
CPU where its environment is built (`make test-vllm`), else the embedded one; `--engine` names another, or `none`.
`--pin` makes the recipe in the repository name what lies here. `record` makes a model at a URL a writer: one file a
set, named with its hash, that can be sent; put into the same folder of another machine, it is a writer there. `show`
is a table of all.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from counterpoise.core.errors import CounterpoiseError
from evals.bank_files import (
    ROWS,
    BankFile,
    find_folder,
    find_path,
    load_vectors,
    read_file,
    read_recipe,
    write_recipe,
)
from evals.bank_model import OWN_MODEL, write_with_model
from evals.bank_sets import BANK_SETS, write_rows
from evals.bank_store import VIEWS
from evals.bank_writers import BankRows, derive, list_derived
from evals.common import MissingDataError, open_engine
from evals.minority_text import open_encoder

NO_MODEL = "none"
"""The engine of a build without the writers that are a model."""


def main(arguments: Sequence[str]) -> int:
    """Run what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evals bank", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=["build", "show", "record"])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", action="append", default=[], help="a set, or SET/WRITER; repeatable")
    parser.add_argument(
        "--engine", default="", help="with build: vllm, embedded, or the URL of the 135M model"
    )
    parser.add_argument("--pin", action="store_true", help="with build: write the hashes into the recipe")
    parser.add_argument("--model", default="", help="with record: base URL of the model, ending in /v1")
    parser.add_argument("--name", default="", help="with record: what the writer is called")
    parser.add_argument("--key-env", default="", help="with record: variable that holds the key")
    given = parser.parse_args(arguments)
    try:
        wanted = list_wanted(given.only)
        if given.command == "show":
            Console(width=150).print(show(wanted))
        elif given.command == "build":
            build(given.data, wanted, given.engine or _find_engine())
            if given.pin:
                pin(wanted)
        elif given.model:
            record(wanted, given.model, given.name, given.key_env)
        else:
            parser.error("record needs --model URL")
    except (MissingDataError, CounterpoiseError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def list_wanted(only: Sequence[str]) -> dict[str, set[str]]:
    """Set -> its writers, none for all.

    Raises:
        MissingDataError: there is no such set, or no such writer.

    >>> list_wanted(["cebab/copies", "sms_spam"])
    {'cebab': {'copies'}, 'sms_spam': set()}
    """
    if not only:
        return {name: set() for name in BANK_SETS}
    wanted: dict[str, set[str]] = {}
    for one in only:
        name, _, writer = one.partition("/")
        if name not in BANK_SETS:
            raise MissingDataError(f"--only {one}: found set '{name}'; there are {', '.join(BANK_SETS)}")
        if writer and writer not in (*list_derived(name), *OWN_MODEL):
            known = ", ".join((*list_derived(name), *OWN_MODEL))
            raise MissingDataError(f"--only {one}: found writer '{writer}'; {name} has {known}")
        wanted.setdefault(name, set()).update([writer] if writer else [])
    return wanted


def build(data: Path, wanted: Mapping[str, set[str]], engine: str) -> None:
    """Make what is absent or was made for other rows, set by set, and the vectors of it."""
    encoder = open_encoder()
    for name in wanted:
        write_rows(name, data)
        rows = read_rows(name)
        for writer in list_derived(name):
            if _is_wanted(rows, writer, wanted):
                _tell(name, writer, *derive(rows, writer, data))
    absent = [
        (rows, writer)
        for writer in OWN_MODEL
        for rows in map(read_rows, wanted)
        if _is_wanted(rows, writer, wanted)
    ]
    if absent and engine != NO_MODEL:
        with open_engine(engine) as llm:
            for rows, writer in absent:
                _tell(rows.name, writer, *asyncio.run(write_with_model(rows, writer, llm)))
    for name in wanted:
        for file in list_files(name):
            load_vectors(file, encoder)


def record(wanted: Mapping[str, set[str]], url: str, name: str, key_env: str) -> None:
    """Make a model at a URL a writer of each set.

    Raises:
        MissingDataError: the rows of a set were not built; or the name is that of a writer that comes with the bank.
    """
    llm = {"engine": "server", "url": url, **({"api_key_env": key_env} if key_env else {})}
    for one in wanted:
        rows = read_rows(one)
        writer = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "recorded"
        if writer in (*VIEWS, *list_derived(one), *OWN_MODEL, ROWS):
            raise MissingDataError(f"--name {name}: the bank has such a writer; give the model another name")
        digest, n = asyncio.run(write_with_model(rows, writer, llm))
        _tell(one, writer, digest, n)
        print(f"{find_path(one, writer)} sha256 {digest}")


def read_rows(name: str) -> BankRows:
    """The rows of a set.

    Raises:
        MissingDataError: they were not built.
    """
    file = read_file(name, ROWS)
    return BankRows(name, file.sha256, file.lines, dict(file.header["labels"]), tuple(file.header["rare"]))


def list_files(name: str) -> Iterator[BankFile]:
    """The files of a set that are there, its rows first."""
    stems = {path.name.removesuffix(".jsonl.gz") for path in find_folder(name).glob("*.jsonl.gz")}
    for stem in sorted(stems, key=lambda stem: (stem != ROWS, stem)):
        yield read_file(name, stem)


def pin(wanted: Mapping[str, set[str]]) -> None:
    """Make the recipe name the files that lie here, those of the bank's own writers."""
    recipe = read_recipe()
    for name in wanted:
        own = (ROWS, *list_derived(name), *OWN_MODEL)
        here = {_name(file): file.sha256 for file in list_files(name)}
        recipe.setdefault(name, {}).update({stem: here[stem] for stem in own if stem in here})
    write_recipe(recipe)


def show(wanted: Mapping[str, set[str]]) -> Table:
    """Counts, prices, truth and hashes of all files of some sets."""
    recipe = read_recipe()
    table = Table("set", "writer", "texts", "by label", "tokens a text", "spent", "truth", "sha256", "recipe")
    for name in wanted:
        for file in list_files(name):
            stem = _name(file)
            pinned = recipe.get(name, {}).get(stem)
            said = "as here" if pinned == file.sha256 else "another" if pinned else "not named"
            table.add_row(name, stem, *_count(file), file.sha256[:12], said)
    return table


def _count(file: BankFile) -> tuple[str, str, str, str, str]:
    """Texts, texts a label, tokens a text, tokens in all, and how many are known to be right."""
    lines: list[dict[str, Any]] = file.lines
    if _name(file) == ROWS:
        n_test, n_donors = (
            sum(line["part"] == "test" for line in lines),
            sum(line["group"] >= 0 for line in lines),
        )
        return str(len(lines)), f"{n_donors} donors, {n_test} sealed", "", "", ""
    labels = [line["label"] for line in lines]
    counts = sorted({labels.count(label) for label in dict.fromkeys(labels)})
    known = [line["truth"] == line["label"] for line in lines if line["truth"] is not None]
    price = float(np.mean([line["tokens"] for line in lines])) if lines else 0.0
    truth = f"{np.mean(known):.0%} of {len(known)}" if known else "unknown"
    many = "" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return str(len(lines)), many, f"{price:.1f}", f"{file.header['spent']:,.0f}", truth


def _is_wanted(rows: BankRows, writer: str, wanted: Mapping[str, set[str]]) -> bool:
    """Whether a writer was asked for, or of all of them this one is absent or was written for other rows."""
    if writer in wanted[rows.name]:
        return True
    if wanted[rows.name]:
        return False
    return (
        not find_path(rows.name, writer).is_file()
        or read_file(rows.name, writer).header["rows"] != rows.sha256
    )


def _name(file: BankFile) -> str:
    return file.path.name.removesuffix(".jsonl.gz")


def _find_engine() -> str:
    """The real server where its environment is built, else the embedded one."""
    from tests.vllm_environment import find_python

    return "vllm" if find_python().exists() else "embedded"


def _tell(name: str, writer: str, digest: str, n: int) -> None:
    print(f"{name}/{writer}: {n} texts, sha256 {digest[:12]}", file=sys.stderr, flush=True)
