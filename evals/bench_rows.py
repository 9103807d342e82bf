"""The rows "a 7B model" of the tables: which lines of a bench fill each, and what they say until there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.bench_file import MODEL_ARM, read_bench
from evals.students import VECTORS, WORDS
from evals.tables import write

UNNAMED = "a 7B model"
NOT_MEASURED = "not measured here"

Line = Mapping[str, Any]
Key = tuple[str, str, str]
"""(evaluation, data, metric)."""


@dataclass(frozen=True)
class BenchRow:
    """A row of a table.

    Args:
        title: what it stands for.
        arm: of the lines that fill it.
        keys: of these lines, in the order of the columns.
        other_arm: the arm of the embedded model in the results here, for the table of all models; "" for none.
        places: behind the point.
        factor: that figures are multiplied with.
    """

    title: str
    arm: str
    keys: tuple[Key, ...]
    other_arm: str = ""
    places: int = 2
    factor: float = 1.0


_TEXT_METRICS = ("macro_f1", "gap_closed_ratio", "auroc", "auroc_gap_closed_ratio")
HEADLINE = {
    student: BenchRow(
        f"CEBaB, 15 rare rows, {student}",
        "counterpoise",
        tuple(("minority_text", f"cebab/{student}", metric) for metric in _TEXT_METRICS),
    )
    for student in (VECTORS, WORDS)
}
THIN = BenchRow(
    "thin cells, what a model writes for them",
    "written",
    tuple(
        ("concept_bias", f"generate-mean/{student}", "worst_group_accuracy") for student in (VECTORS, WORDS)
    ),
    places=1,
)
MODELS = (
    *(
        BenchRow(
            f"does a review mention {concept}? AUROC", "llm", (("judges", f"cebab/{concept}", "auc"),), "llm"
        )
        for concept in ("food", "service", "ambiance", "noise")
    ),
    BenchRow("pilots on forty answers that refuse it", "llm", (("judges", "cebab", "refused_ratio"),), "llm"),
    BenchRow(
        "edits that have the wanted label",
        "embedded",
        (("counterfactual_quality", "cebab/edit", "flip_ratio"),),
        "embedded",
    ),
    BenchRow(
        "edits that keep the concepts",
        "embedded",
        (("counterfactual_quality", "cebab/edit", "concept_kept_ratio"),),
        "embedded",
    ),
    BenchRow(
        "injections that have the concept",
        "embedded",
        (("counterfactual_quality", "cebab/injection", "concept_added_ratio"),),
        "embedded",
    ),
    BenchRow(
        "negatives of FiQA that it relabels after its audit",
        MODEL_ARM,
        (("false_negatives", "fiqa", "relabelled_ratio"),),
        "embedded",
    ),
)
ROWS = (*HEADLINE.values(), THIN, *MODELS)
"""All of them."""

NEEDED = {"macro_f1", "auroc"}
"""Columns of the headline that have to be there; a gap is told only where there is one."""


def index_bench(lines: Sequence[Line]) -> dict[tuple[Key, str], Line]:
    """Lines by key and arm."""
    return {((line["eval"], line["data"], line["metric"]), line["arm"]): line for line in lines}


def list_open_rows(lines: Sequence[Line]) -> list[str]:
    """Titles of the rows that the lines do not fill."""
    found = index_bench(lines)
    return [
        row.title
        for row in ROWS
        if any((key, row.arm) not in found for key in row.keys if key[2] in NEEDED or len(row.keys) < 4)
    ]


def find_bench(folder: Path) -> tuple[str, dict[tuple[Key, str], Line]]:
    """The model that was measured, and its lines; no lines where there is no file.

    Raises:
        BenchFileError: the file is not as it was written.
    """
    path = folder / "bench.jsonl"
    if not path.is_file():
        return UNNAMED, {}
    head, lines = read_bench(path)
    return str(head["model"]), index_bench(lines)


def list_cells(row: BenchRow, found: Mapping[tuple[Key, str], Line]) -> list[str]:
    """The cells of a row; that it was not measured where there is no line of it."""
    lines = [found.get((key, row.arm)) for key in row.keys]
    if not any(lines):
        return [NOT_MEASURED, *([""] * (len(lines) - 1))]
    return ["" if line is None else write(line, row.places, factor=row.factor) for line in lines]


def make_models(
    model: str, found: Mapping[tuple[Key, str], Line], own: Mapping[tuple[Key, str], Line]
) -> Iterator[str]:
    """The table of what else a model is asked for: the embedded one beside that of a bench.

    Args:
        model: of the bench.
        found: its lines.
        own: lines of the results here.
    """
    yield f"| what is measured | 135M, embedded | {model} |"
    yield "|---|---|---|"
    for row in MODELS:
        (key,) = row.keys
        line = own.get((key, row.other_arm))
        yield f"| {row.title} | {write(line, row.places) if line else ''} | {list_cells(row, found)[0]} |"
