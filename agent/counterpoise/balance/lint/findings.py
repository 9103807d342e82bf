"""From tables to findings: what is worth a sentence, and how bad it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from counterpoise.balance.intervals import wilson_interval
from counterpoise.balance.lint.columns import MISSING, OTHER
from counterpoise.balance.lint.duplicates import Repeats
from counterpoise.balance.lint.report import ColumnBalance, Finding, GroupRow, LabelCount, Severity
from counterpoise.core.label_spellings import (
    describe_missing,
    find_variants,
    fold_spelling,
    hint_missing,
    hint_spellings,
    quote,
    unite_numbers,
)
from counterpoise.core.plans import Cell
from counterpoise.core.records import Integers

FAMILY_WISE_ALPHA = 0.01
"""Chance that data without any association raises one or more findings about associations."""

LEAST_V = 0.05
TINY_LABEL = 30
STRONG_IMBALANCE_RATIO = 0.25
SLIGHT_IMBALANCE_RATIO = 0.67
NOTED_RATIO = 0.01
MOST_MISSING_RATIO = 0.05
_MOST_CLUSTERS = 5
_MOST_ROWS = 20

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFORMATION: 2}
_NOUN = {"attribute": "the attribute", "concept": "the concept", "length": "the length in"}


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first: by severity, then by effect, then by what they are about."""
    return tuple(
        sorted(findings, key=lambda found: (_ORDER[found.severity], -found.effect, found.code, found.subject))
    )


def find_label_faults(
    labels: Sequence[LabelCount], imbalance_ratio: float, n_rows: int, missing: Mapping[str, int]
) -> Iterator[Finding]:
    """Skewed and tiny labels, rows without a label.

    Args:
        labels: the labels with their rows.
        imbalance_ratio: of the smallest to the largest.
        n_rows: training rows.
        missing: rows of each word that says that there is no label.
    """
    n_labelled = sum(label.count for label in labels)
    if n_labelled < n_rows:
        message = f"{n_rows - n_labelled:,} of {n_rows:,} rows have no label and are left out of the tables"
        if words := describe_missing(missing, n_rows):
            message += f": {words}; {hint_missing(missing)}"
        severity = Severity.WARNING if words else Severity.INFORMATION
        yield _share_finding("missing-labels", severity, n_rows - n_labelled, n_rows, message)
    smallest, largest = min(labels, key=lambda one: one.count), max(labels, key=lambda one: one.count)
    if imbalance_ratio < SLIGHT_IMBALANCE_RATIO:
        is_strong = imbalance_ratio < STRONG_IMBALANCE_RATIO
        yield Finding(
            code="label-imbalance",
            severity=Severity.WARNING if is_strong else Severity.INFORMATION,
            message=f"{smallest.label!r} has {smallest.count:,} rows and {largest.label!r} {largest.count:,} "
            f"(ratio {imbalance_ratio:.2f})",
            cells=(smallest.label, largest.label),
            effect=1 - imbalance_ratio,
            low=1 - imbalance_ratio,
            high=1 - imbalance_ratio,
        )
    for label in labels:
        if label.count < TINY_LABEL:
            yield Finding(
                code="tiny-label",
                severity=Severity.WARNING,
                message=f"{label.label!r} has only {label.count} rows",
                subject=(label.label,),
                cells=(label.label,),
                effect=label.ratio,
                low=label.low,
                high=label.high,
            )


def find_spelling_faults(
    spelled: Mapping[str, Mapping[str, int]], label: str, n_rows: int, spellings: str
) -> Iterator[Finding]:
    """Values that differ only in blanks, case or Unicode form, and numbers that are spelled in several ways.

    Args:
        spelled: by column, the label's among them, the rows of each value as it is spelled.
        label: name of the label column.
        n_rows: training rows.
        spellings: what the user says of labels that look alike: `ask`, `merge` or `keep`.
    """
    for column, counts in spelled.items():
        is_label = column == label
        code, noun = (
            ("label-spellings", "the labels") if is_label else ("attribute-spellings", f"{column!r} has")
        )
        for group in find_variants(counts):
            which = "" if is_label else ", which"
            said = f"{noun} {group}{which} differ only in blanks, case or Unicode form"
            if is_label and spellings == "merge":
                said += f": they are taken as {quote(group.main)}"
            elif is_label and spellings == "ask":
                said += f"; a run will not start before you {hint_spellings(group)}"
            n_concerned = sum(rows for _, rows in group.counts)
            is_known = is_label and spellings != "ask"
            severity = Severity.INFORMATION if is_known else Severity.WARNING
            subject = (column, fold_spelling(group.main))
            yield _share_finding(code, severity, n_concerned, n_rows, said, subject=subject)
        united = unite_numbers(counts)
        for main in sorted({main for text, main in united.items() if text != main}):
            others = [text for text in counts if united[text] == main]
            listed = ", ".join(f"{quote(text)} ({counts[text]:,})" for text in others)
            said = f"{column!r} spells one number in several ways, {listed}: taken as {quote(main)}"
            n_rare = sum(counts[text] for text in others) - counts[main]
            yield _share_finding(
                "number-spellings", Severity.INFORMATION, n_rare, n_rows, said, subject=(column, main)
            )


def find_column_faults(
    columns: Iterable[ColumnBalance], label_names: Sequence[str], n_rows: int, least_effect: float
) -> Iterator[Finding]:
    """Columns that go with the label beyond chance, and columns with missing values.

    Args:
        columns: what was measured.
        label_names: the labels.
        n_rows: training rows.
        least_effect: V from which an association is worth a finding.
    """
    for column in columns:
        found = column.association
        if found.adjusted_p <= FAMILY_WISE_ALPHA and found.v >= least_effect:
            cells = _strongest_cells(column, label_names)
            yield Finding(
                code=f"{column.kind}-association",
                severity=Severity.WARNING,
                message=f"{_NOUN[column.kind]} {column.column!r} goes with the label: V = {found.v:.2f} "
                f"({found.low:.2f} to {found.high:.2f}); alone it tells the label with a balanced accuracy "
                f"of {column.predictor.balanced_accuracy:.2f} (chance {column.predictor.chance:.2f}); "
                f"most of all {' and '.join(cells)}",
                subject=(column.column,),
                columns=(column.column,),
                cells=cells,
                effect=found.v,
                low=found.low,
                high=found.high,
                p_value=found.adjusted_p,
                is_association=True,
            )
        if column.kind == "attribute" and column.n_missing:
            is_common = column.n_missing > MOST_MISSING_RATIO * n_rows
            yield _share_finding(
                "missing-values",
                Severity.WARNING if is_common else Severity.INFORMATION,
                column.n_missing,
                n_rows,
                f"the attribute {column.column!r} is missing in {column.n_missing:,} of {n_rows:,} rows",
                subject=(column.column,),
            )


def find_shortcut_words(words: Iterable[GroupRow]) -> Iterator[Finding]:
    """Words that tell a good part of the label alone."""
    for word in words:
        if word.is_shortcut and word.p_value <= FAMILY_WISE_ALPHA:
            yield Finding(
                code="shortcut-word",
                severity=Severity.WARNING,
                message=f"the word {word.words[0]!r} alone tells {word.coverage:.0%} of {word.label!r}: "
                f"{word.precision:.0%} of the {word.n:,} rows that have it are {word.label!r} "
                f"(of all rows {word.base_ratio:.0%})",
                subject=(word.words[0], word.label),
                cells=(word.label,),
                effect=word.effect,
                low=word.effect_low,
                high=word.effect_high,
                p_value=word.p_value,
                is_association=True,
            )


def find_label_clusters(clusters: Sequence[GroupRow]) -> Iterator[Finding]:
    """The clusters that go most with a label: concepts nobody listed."""
    for cluster in clusters[:_MOST_CLUSTERS]:
        if cluster.p_value <= FAMILY_WISE_ALPHA and cluster.effect >= LEAST_V:
            yield Finding(
                code="cluster-association",
                severity=Severity.INFORMATION,
                message=f"texts about {', '.join(cluster.words)} are {cluster.precision:.0%} "
                f"{cluster.label!r} (of all rows {cluster.base_ratio:.0%}; z = {cluster.z:.1f}, "
                f"{cluster.n:,} rows)",
                subject=(*cluster.words, cluster.label),
                cells=(cluster.label,),
                effect=cluster.effect,
                low=cluster.effect_low,
                high=cluster.effect_high,
                p_value=cluster.p_value,
                is_association=True,
            )


def find_text_faults(repeats: Repeats, empty: Integers, n_rows: int, n_held_out: int) -> Iterator[Finding]:
    """Empty texts, repeats, conflicts and leakage."""
    counts = repeats.summary
    if len(empty):
        yield _share_finding(
            "empty-texts", Severity.WARNING, len(empty), n_rows, f"{len(empty):,} texts are empty", rows=empty
        )
    if counts.n_exact:
        yield _share_finding(
            "exact-duplicates",
            _grade_share(counts.n_exact, n_rows),
            counts.n_exact,
            n_rows,
            f"{counts.n_exact:,} of {n_rows:,} rows repeat an earlier text",
            rows=repeats.repeated,
        )
    if counts.n_near > counts.n_exact:
        n_more = counts.n_near - counts.n_exact
        yield _share_finding(
            "near-duplicates",
            _grade_share(n_more, n_rows),
            n_more,
            n_rows,
            f"{n_more:,} of {n_rows:,} rows are near-duplicates of another row",
            rows=repeats.near,
        )
    if len(repeats.conflicts):
        yield _share_finding(
            "label-conflicts",
            Severity.WARNING,
            len(repeats.conflicts),
            n_rows,
            f"{counts.n_exact_conflicts:,} texts occur with more than one label "
            f"({len(repeats.conflicts):,} rows)",
            rows=repeats.conflicts,
        )
    if len(repeats.near_conflicts):
        yield _share_finding(
            "near-label-conflicts",
            Severity.INFORMATION,
            len(repeats.near_conflicts),
            n_rows,
            f"{len(repeats.near_conflicts):,} rows have a near-duplicate with another label",
            rows=repeats.near_conflicts,
        )
    if counts.n_leaked_exact:
        yield _share_finding(
            "leakage",
            Severity.ERROR,
            counts.n_leaked_exact,
            n_held_out,
            f"{counts.n_leaked_exact:,} of {n_held_out:,} held-out rows are training rows too",
            rows=repeats.leaked,
        )
    n_near_leaked = counts.n_leaked_near - counts.n_leaked_exact
    if n_near_leaked:
        yield _share_finding(
            "near-leakage",
            Severity.ERROR,
            n_near_leaked,
            n_held_out,
            f"{n_near_leaked:,} of {n_held_out:,} held-out rows are near-duplicates of training rows",
            rows=repeats.near_leaked,
        )


def _share_finding(
    code: str,
    severity: Severity,
    count: int,
    total: int,
    message: str,
    *,
    subject: tuple[str, ...] = (),
    rows: Integers | None = None,
) -> Finding:
    low, high = wilson_interval(count, total)
    return Finding(
        code=code,
        severity=severity,
        message=message,
        subject=subject,
        columns=subject,
        effect=count / total,
        low=low,
        high=high,
        rows=() if rows is None else tuple(rows[:_MOST_ROWS].tolist()),
    )


def _grade_share(count: int, total: int) -> Severity:
    return Severity.WARNING if count >= NOTED_RATIO * total else Severity.INFORMATION


def _strongest_cells(column: ColumnBalance, label_names: Sequence[str], most: int = 2) -> tuple[str, ...]:
    """The cells that are over-represented most, by log odds among those with enough rows to say so."""
    odds, counts = np.asarray(column.log_odds), np.asarray(column.counts)
    enough = counts >= min(TINY_LABEL, counts.max())
    ranked = np.argsort(np.where(enough, -odds, np.inf), axis=None, kind="stable")[:most]
    names = []
    for place in ranked.tolist():
        label, value = label_names[place // odds.shape[1]], column.values[place % odds.shape[1]]
        if column.kind == "concept":
            names.append(f"{label} {'with' if value == 'present' else 'without'} {column.column}")
        elif column.kind == "length":
            names.append(f"{label} with {value} {column.column}")
        elif value in (MISSING, OTHER):
            names.append(
                f"{label} with {column.column} {'missing' if value == MISSING else 'of a rare value'}"
            )
        else:
            names.append(str(Cell(label, attribute=column.column, value=value)))
    return tuple(names)
