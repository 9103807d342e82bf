"""The tables of `docs/results.md` and the README, made from `evals/results`: `python -m evals page` writes them, too.

Each stands between `<!-- NAME -->` and `<!-- /NAME -->`. What is said around them is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.bench_rows import HEADLINE, THIN, Key, find_bench, list_cells, make_models
from evals.minority_text import N_RARE
from evals.students import VECTORS, WORDS
from evals.tables import find_results, write

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
README = Path(__file__).parents[1] / "README.md"
STUDENTS = {VECTORS: "sentence vectors", WORDS: "words"}
HEADLINE_ARMS = (
    "nothing",
    "class_weights",
    "logit_adjustment",
    "balanced_bags",
    "embedding_zero_shot",
    "zero_shot_prior",
    "unverified",
    "added_rows",
    "counterpoise",
)
Line = Mapping[str, Any]
Lines = Mapping[tuple[str, str, str], Line]
"""(data, arm, metric) -> line."""

Bench = tuple[str, Mapping[tuple[Key, str], Line]]
"""The model of a bench, and its lines."""


def make_summary(lines: Lines, bench: Bench) -> Iterator[str]:
    """CEBaB with 15 rows of the rare label in one line a student: macro-F1 of what a reader compares."""
    yield "| student | own rows | best free way | counterpoise | with a pool of 1,000 | 285 real reviews added |"
    yield "|---|---|---|---|---|---|"
    free = HEADLINE_ARMS[1 : HEADLINE_ARMS.index("unverified")]
    for student, name in STUDENTS.items():
        arms = [lines.get((f"cebab/{student}", arm, "macro_f1")) for arm in free]
        best = max((line for line in arms if line), key=lambda line: float(line["value"]))
        columns = (
            lines["cebab/" + student, "nothing", "macro_f1"],
            best,
            lines["cebab/" + student, "counterpoise", "macro_f1"],
            lines["cebab+pool/" + student, "counterpoise", "macro_f1"],
            lines["cebab/" + student, "real_data", "macro_f1"],
        )
        yield f"| {name} | {' | '.join(_say(line, 3) for line in columns)} |"


def make_headline(lines: Lines, bench: Bench) -> Iterator[str]:
    """CEBaB with 15 rows of the rare label: arms down, both measures and what of the gap they close across."""
    model, found = bench
    yield "| student | arm | macro-F1 | gap closed | AUROC | gap closed |"
    yield "|---|---|---|---|---|---|"
    columns = {"macro_f1": 3, "gap_closed_ratio": 2, "auroc": 3, "auroc_gap_closed_ratio": 2}
    for student, name in STUDENTS.items():
        shown = [("cebab", arm, arm.replace("_", " ")) for arm in HEADLINE_ARMS]
        shown[-1] = ("cebab", "counterpoise", "**counterpoise**")
        shown.append(("cebab+pool", "counterpoise", "**counterpoise, with a pool of 1,000**"))
        for data, arm, title in shown:
            key = f"{data}/{student}"
            if (key, arm, "macro_f1") in lines:
                cells = [_say(lines.get((key, arm, metric)), places) for metric, places in columns.items()]
                yield f"| {name} | {title} | {' | '.join(cells)} |"
        real = [_say(lines[f"cebab/{student}", "real_data", metric], 3) for metric in ("macro_f1", "auroc")]
        yield f"| {name} | 285 real reviews added | {real[0]} | 1 | {real[1]} | 1 |"
        cells = list_cells(HEADLINE[student], found)
        yield f"| {name} | counterpoise, {model} | {' | '.join(cells)} |"


def make_sizes(lines: Lines, bench: Bench) -> Iterator[str]:
    """Every set and size: what `counterpoise` has over the best zero-token arm, in points of macro-F1."""
    yield "| rare rows | set | draws | vectors | vectors, pool | words | words, pool |"
    yield "|---|---|---|---|---|---|---|"
    for size in (5, N_RARE, 50):
        for name in ("cebab", "sms_spam", "clinc150", "davidson_hate"):
            data = name if size == N_RARE else f"{name}@{size}"
            found = [
                lines.get((f"{data}{pool}/{student}", "counterpoise", "macro_f1_difference"))
                for student in STUDENTS
                for pool in ("", "+pool")
            ]
            draws = dict.fromkeys(str(line["n"]) for line in found if line)
            if draws:
                cells = [_say_points(line) for line in found]
                yield f"| {size} | {name} | {'/'.join(draws)} | {' | '.join(cells)} |"


def make_wide(lines: Lines, bench: Bench) -> Iterator[str]:
    """Concept bias in the wide setting, least worst accuracy first."""
    data = f"wide-mean/{VECTORS}"
    arms = {
        "biased": "biased",
        "oversampling": "oversampling",
        "logit_adjustment": "logit adjustment",
        "group_weights": "group weights",
        "counterpoise": "counterpoise",
        "downsampling": "downsampling",
        "balanced_bags": "balanced bags",
        "real_data": "real texts added",
    }
    yield "| arm | mean absolute bias | worst accuracy |"
    yield "|---|---|---|"
    order = sorted(arms, key=lambda arm: float(lines[data, arm, "worst_group_accuracy"]["value"]))
    for arm in order:
        bias, worst = (lines[data, arm, metric] for metric in ("abs_bias_at_c", "worst_group_accuracy"))
        yield f"| {arms[arm]} | {_say(bias, 1)} | {_say(worst, 1)} |"


def make_thin(lines: Lines, bench: Bench) -> Iterator[str]:
    """Concept bias in the thin setting: worst accuracy of both students."""
    model, measured = bench
    arms = {
        "biased": "biased",
        "oversampling": "oversampling, the best of the usual ways",
        "counterpoise": "counterpoise, without a pool",
        "pool": "1,000 unlabelled texts, those for thin cells adopted",
        "pool_all": "every one of them adopted whose label is sure",
        "real_data": "real texts added",
    }
    yield "| arm | sentence vectors | words |"
    yield "|---|---|---|"
    for arm, title in arms.items():
        found = [lines[f"thin-mean/{student}", arm, "worst_group_accuracy"] for student in STUDENTS]
        yield f"| {title} | {' | '.join(_say(line, 1) for line in found)} |"
    yield f"| counterpoise, {model} that writes | {' | '.join(list_cells(THIN, measured))} |"


def make_judged(lines: Lines, bench: Bench) -> Iterator[str]:
    """What else a model is asked for, the embedded one beside that of a bench; `lines` are those of all its sources."""
    model, found = bench
    own = {((line["eval"], line["data"], line["metric"]), line["arm"]): line for line in lines.values()}
    yield from make_models(model, found, own)


Table = tuple[tuple[str, ...], Callable[[Lines, Bench], Iterator[str]]]
TABLES: dict[Path, dict[str, Table]] = {
    README: {"summary": (("minority_text",), make_summary)},
    PAGE: {
        "headline": (("minority_text",), make_headline),
        "sizes": (("minority_text",), make_sizes),
        "wide": (("concept_bias",), make_wide),
        "thin": (("concept_bias",), make_thin),
        "models": (("judges", "counterfactual_quality", "false_negatives"), make_judged),
    },
}


def fill_tables(page: Path, text: str, folder: Path) -> str:
    """The text of a page with its tables as the lines in `folder` have them."""
    bench = find_bench(folder)
    for name, (sources, make) in TABLES[page].items():
        lines = index_lines([line for source in sources for line in find_results(folder, source)])
        table = "\n".join(make(lines, bench))
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- /{name} -->")
        assert end, f"{page.name} has no place for the table {name}"
        text = before + start + table + end + after
    return text


def write_tables(folder: Path) -> None:
    """Write the tables into their pages."""
    for page in TABLES:
        page.write_text(fill_tables(page, page.read_text(encoding="utf-8"), folder), encoding="utf-8")


def index_lines(rows: Sequence[Line]) -> Lines:
    """Lines by data, arm and metric."""
    return {(row["data"], row["arm"], row["metric"]): row for row in rows}


def _say(line: Line | None, places: int) -> str:
    return write(line, places) if line else ""


def _say_points(line: Line | None) -> str:
    return write(line, 1, factor=100, sign="+") if line else ""
