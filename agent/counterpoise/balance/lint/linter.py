"""A linter for training data: what goes with the label though it should not, what repeats, what leaks.

No model is asked. `lint_table` reads texts in batches from Arrow, so that a table of a million rows needs
little more memory than its columns; `lint` does the same for records.

What counts as a finding. Each column, word and cluster is tested against the label, near-duplicates counted
once. The chance that a data set without any association raises a single association finding is held at 1%:
p-values are corrected by Holm among columns of a kind, by Bonferroni among words and clusters, and then by
the number of kinds. On top of that the effect must be worth looking at: V of at least 0.05 for columns; for
words a lift of at least `SHORTCUT_LIFT` and a coverage of at least `SHORTCUT_COVERAGE`, because every text
has words that go with its label. Words below that, and all clusters, are information.

Example:
    report = lint(records, held_out, fail_on=0.1)
    if report.failures:
        ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from counterpoise.balance.association import (
    Association,
    adjust_holm,
    count_strata,
    log_odds,
    measure_association,
    measure_residuals,
)
from counterpoise.balance.counts import MOST_VALUES, ONE_VALUE, count_labels, cross_table
from counterpoise.balance.intervals import wilson_interval
from counterpoise.balance.lint.columns import (
    MISSING,
    CodedColumn,
    Columns,
    TextColumn,
    TextFacts,
    bin_lengths,
    convert_records,
    convert_texts,
    read_columns,
    read_facts,
    read_texts,
)
from counterpoise.balance.lint.duplicates import choose_representatives, find_repeats
from counterpoise.balance.lint.findings import (
    LEAST_V,
    find_column_faults,
    find_label_clusters,
    find_label_faults,
    find_shortcut_words,
    find_spelling_faults,
    find_text_faults,
    sort_findings,
)
from counterpoise.balance.lint.report import (
    BalanceReport,
    ColumnBalance,
    GroupRow,
    LabelCount,
    ResidualRow,
    compare_with_baseline,
    write_baseline,
)
from counterpoise.balance.lint.shortcuts import (
    MOST_CLUSTERED,
    N_FOLDS,
    GroupEffect,
    find_clusters,
    find_words,
    measure_predictor,
)
from counterpoise.core.errors import JobError
from counterpoise.core.languages import LANGUAGE, N_NOTED, note_languages
from counterpoise.core.records import ConceptColumns, Integers, Records, State
from counterpoise.core.schema import TextClassification

__all__ = ["BalanceReport", "compare_with_baseline", "lint", "lint_table", "write_baseline"]

SHORTCUT_LIFT = 0.7
SHORTCUT_COVERAGE = 0.2
MANY_LABELS = 20
SHORTCUT_ROWS_RATIO = 0.01
"""With more than `MANY_LABELS` labels a shortcut word is in at least this share of all rows: the labels of
such a task (intents, products) each have words that name them."""

SAMPLE_ROWS = 200_000
NEAR_DUPLICATE_THRESHOLD = 0.8
_MOST_LISTED = 100


@dataclass(frozen=True, slots=True)
class _Units:
    """The labelled rows that stand for themselves, in an order that does not depend on the file."""

    rows: Integers
    labels: Integers
    folds: Integers


@dataclass(frozen=True, slots=True)
class _Column:
    """One column to measure; `n_values` before rare ones were taken together."""

    name: str
    kind: Literal["attribute", "concept", "length"]
    coded: CodedColumn
    n_values: int
    n_missing: int


def lint(
    records: Records,
    held_out: Records | None = None,
    *,
    fail_on: float | None = None,
    within: str = "",
    target_rates: Mapping[str, float] | None = None,
    near_duplicate_threshold: float = NEAR_DUPLICATE_THRESHOLD,
    sample_rows: int = SAMPLE_ROWS,
) -> BalanceReport:
    """Check records; see `lint_table`, which this calls with the records' columns.

    Args:
        records: the training rows; concepts are checked where they have been labelled.
        held_out: rows that the training rows must not repeat.
        fail_on: see `lint_table`.
        within: see `lint_table`.
        target_rates: see `lint_table`.
        near_duplicate_threshold: see `lint_table`.
        sample_rows: see `lint_table`.

    Raises:
        DataError: no rows, or fewer than two labels.
        JobError: `within` or a target names a column that is not there.
    """
    return _lint(
        convert_records(records),
        convert_texts(held_out) if held_out is not None else None,
        fail_on=fail_on,
        within=within,
        target_rates=target_rates or {},
        near_duplicate_threshold=near_duplicate_threshold,
        sample_rows=sample_rows,
        spellings="ask",
    )


def lint_table(
    table: Any,
    task: TextClassification,
    held_out: Any = None,
    *,
    concepts: ConceptColumns | None = None,
    fail_on: float | None = None,
    within: str = "",
    target_rates: Mapping[str, float] | None = None,
    near_duplicate_threshold: float = NEAR_DUPLICATE_THRESHOLD,
    sample_rows: int = SAMPLE_ROWS,
) -> BalanceReport:
    """Check a table without holding its texts in Python.

    Args:
        table: a `pyarrow.Table` or a `datasets.Dataset` with the training rows.
        task: which columns mean what.
        held_out: a table of the same kind with rows that the training rows must not repeat; only its text
            columns are read.
        concepts: concept columns of the training rows.
        fail_on: effect size in 0..1 above which an association fails the check: `report.failures` then
            holds every error (leakage) and every warning about an attribute, concept, length or shortcut
            word whose V (phi for words) is above it and that is significant after correction for everything
            that was tested. None: nothing fails.
        within: an attribute; the other columns are then tested and measured within each of its values.
        target_rates: wanted rates of concepts for the residual r1; the current rates where not given.
        near_duplicate_threshold: similarity from which two texts are near-duplicates, 0..1.
        sample_rows: words are looked for in at most so many rows, chosen by hash of their text.

    Returns:
        The report.

    Raises:
        DataError: a column that is missing, no rows, or fewer than two labels.
        JobError: `within` or a target names a column that is not there.
    """
    return _lint(
        read_columns(table, task, concepts),
        read_texts(held_out, task) if held_out is not None else None,
        fail_on=fail_on,
        within=within,
        target_rates=target_rates or {},
        near_duplicate_threshold=near_duplicate_threshold,
        sample_rows=sample_rows,
        spellings=task.label_spellings,
    )


def _lint(
    columns: Columns,
    held_out: TextColumn | None,
    *,
    fail_on: float | None,
    within: str,
    target_rates: Mapping[str, float],
    near_duplicate_threshold: float,
    sample_rows: int,
    spellings: str,
) -> BalanceReport:
    _check_options(columns, fail_on, within, target_rates)
    n_rows, label_names = len(columns.texts), columns.labels.values
    n_held_out = len(held_out) if held_out is not None else 0
    facts = read_facts(columns.texts)
    repeats = find_repeats(columns, facts.hashes, facts.words == 0, held_out, near_duplicate_threshold)
    units = _choose_units(columns, facts, repeats.groups)
    labels = _count_all_labels(columns.labels)
    words, n_words = _list_words(columns, units, sample_rows)
    clusters, n_clusters = _list_clusters(columns, units)
    n_more_kinds = (n_words > 0) + (n_clusters > 0)
    measured, n_kinds = _adjust_columns(
        [_measure_column(column, columns, units, within) for column in _iterate_columns(columns, facts)],
        n_more_kinds,
    )
    words = [replace(word, p_value=min(1.0, word.p_value * n_kinds)) for word in words]
    clusters = [replace(cluster, p_value=min(1.0, cluster.p_value * n_kinds)) for cluster in clusters]
    residuals, hinge_sum = _list_residuals(measured, label_names, target_rates)
    largest = max(label.count for label in labels)
    imbalance_ratio = min(label.count for label in labels) / largest
    least_effect = LEAST_V if fail_on is None else min(LEAST_V, fail_on)
    findings = sort_findings(
        [
            *find_label_faults(labels, imbalance_ratio, n_rows, columns.missing),
            *find_spelling_faults(columns.spelled, columns.label, n_rows, spellings),
            *find_column_faults(measured, label_names, n_rows, least_effect),
            *find_shortcut_words(words),
            *find_label_clusters(clusters),
            *find_text_faults(repeats, np.flatnonzero(facts.words == 0), n_rows, n_held_out),
        ]
    )
    return BalanceReport(
        n_rows=n_rows,
        n_independent=len(units.rows),
        n_held_out=n_held_out,
        labels=labels,
        imbalance_ratio=imbalance_ratio,
        columns=tuple(measured),
        residuals=residuals,
        hinge_sum=hinge_sum,
        words=tuple(words[:_MOST_LISTED]),
        clusters=tuple(clusters),
        n_words=n_words,
        n_clusters=n_clusters,
        duplicates=repeats.summary,
        findings=findings,
        notes=(*_iterate_notes(columns, units, sample_rows, n_clusters), *_note_languages(columns, facts)),
        fail_on=fail_on,
    )


def _check_options(
    columns: Columns, fail_on: float | None, within: str, target_rates: Mapping[str, float]
) -> None:
    if within and within not in columns.attributes:
        known = ", ".join(columns.attributes) or "none"
        raise JobError(f"{within!r} is no attribute", where="within", hint=f"the attributes are {known}")
    concepts = columns.concepts.names if columns.concepts is not None else ()
    for name, rate in target_rates.items():
        if name not in concepts:
            raise JobError(f"{name!r} is no concept", where="target_rates")
        if not 0 <= rate <= 1:
            raise JobError(f"{name!r} has the rate {rate}", where="target_rates", hint="0 to 1")
    if fail_on is not None and not 0 <= fail_on <= 1:
        raise JobError(f"{fail_on} is no effect size", where="fail_on", hint="0 to 1, e.g. 0.1")


def _choose_units(columns: Columns, facts: TextFacts, groups: Integers) -> _Units:
    rows, keys = choose_representatives(groups, facts.hashes, columns)
    folds = (keys % np.uint64(N_FOLDS)).astype(np.int64)
    return _Units(rows, columns.labels.codes[rows].astype(np.int64), folds)


def _count_all_labels(labels: CodedColumn) -> tuple[LabelCount, ...]:
    counts = count_labels(labels.codes, len(labels.values))
    n = int(counts.sum())
    low, high = wilson_interval(counts, np.full(len(counts), n))
    return tuple(
        LabelCount(name, int(count), int(count) / n, float(low[place]), float(high[place]))
        for place, (name, count) in enumerate(zip(labels.values, counts, strict=True))
    )


def _iterate_columns(columns: Columns, facts: TextFacts) -> Iterator[_Column]:
    for name, coded in sorted(columns.attributes.items()):
        n_missing = int((coded.codes == coded.values.index(MISSING)).sum()) if MISSING in coded.values else 0
        yield _Column(name, "attribute", coded, columns.n_values[name], n_missing)
    if columns.concepts is not None:
        for position, name in enumerate(columns.concepts.names):
            states = columns.concepts.states[:, position]
            codes = np.where(states == State.UNKNOWN, -1, states == State.PRESENT).astype(np.int32)
            yield _Column(
                name, "concept", CodedColumn(codes, ("absent", "present")), 2, int((codes < 0).sum())
            )
    for name, lengths in (("characters", facts.characters), ("words", facts.words)):
        yield _Column(name, "length", bin_lengths(lengths), int(lengths.max()), 0)


def _measure_column(column: _Column, columns: Columns, units: _Units, within: str) -> ColumnBalance:
    n_labels, n_values = len(columns.labels.values), len(column.coded.values)
    values = column.coded.codes[units.rows].astype(np.int64)
    strata = None
    if within and column.name != within:
        strata = columns.attributes[within].codes[units.rows].astype(np.int64)
    tables = count_strata(units.labels, values, n_labels, n_values, strata)
    known = values >= 0
    return ColumnBalance(
        column=column.name,
        kind=column.kind,
        values=column.coded.values,
        counts=_as_tuples(cross_table(columns.labels.codes, column.coded.codes, n_labels, n_values)),
        log_odds=_as_tuples(log_odds(tables.sum(axis=0))),
        n_values=column.n_values,
        n_missing=column.n_missing,
        association=measure_association(tables),
        predictor=measure_predictor(
            units.labels[known], values[known], units.folds[known], n_labels, n_values
        ),
    )


def _adjust_columns(columns: list[ColumnBalance], n_more_kinds: int) -> tuple[list[ColumnBalance], int]:
    """Correct p-values among the columns of a kind and for the number of kinds; also gives that number."""
    from scipy import stats

    kinds = sorted({column.kind for column in columns})
    n_kinds = len(kinds) + n_more_kinds
    corrected: dict[tuple[str, str], Association] = {}
    for kind in kinds:
        members = [column for column in columns if column.kind == kind]
        p_values = np.asarray([column.association.p_value for column in members])
        q_values, adjusted = stats.false_discovery_control(p_values), adjust_holm(p_values) * n_kinds
        for place, member in enumerate(members):
            corrected[kind, member.column] = replace(
                member.association,
                q_value=float(q_values[place]),
                adjusted_p=min(1.0, float(adjusted[place])),
            )
    return [replace(column, association=corrected[column.kind, column.column]) for column in columns], n_kinds


def _list_residuals(
    columns: list[ColumnBalance], label_names: tuple[str, ...], target_rates: Mapping[str, float]
) -> tuple[tuple[ResidualRow, ...], float]:
    """Residuals of each concept and each value of an attribute against each label, and the hinge sum."""
    names, present, known = [], [], []
    for column in columns:
        if column.kind != "length":
            counts = np.asarray(column.counts)
            for place, value in enumerate(column.values):
                if value == "present" or column.kind == "attribute":
                    names.append((column.column, value))
                    present.append(counts[:, place])
                    known.append(counts.sum(axis=1))
    if not names:
        return (), 0.0
    targets = np.asarray([target_rates.get(name, np.nan) for name, _ in names])
    found = measure_residuals(np.asarray(present), np.asarray(known), targets)
    rows = tuple(
        ResidualRow(
            column=name,
            value=value,
            label=label,
            rate=float(found.rates[place]),
            r1=float(found.r1[place]),
            r2=float(found.r2[place, other]),
            standard_error=float(found.standard_errors[place, other]),
            correlation=float(found.correlations[place, other]),
        )
        for place, (name, value) in enumerate(names)
        for other, label in enumerate(label_names)
    )
    return rows, found.hinge_sum


def _list_words(columns: Columns, units: _Units, sample_rows: int) -> tuple[list[GroupRow], int]:
    rows = np.sort(units.rows[:sample_rows])
    labels = columns.labels.codes[rows].astype(np.int64)
    n_labels = len(columns.labels.values)
    found, n_words = find_words(columns.texts.take(rows), labels, n_labels)
    least_n = SHORTCUT_ROWS_RATIO * len(rows) if n_labels > MANY_LABELS else 0
    return [
        replace(
            _describe((word.word,), word.effect, columns.labels.values),
            is_shortcut=word.effect.lift >= SHORTCUT_LIFT
            and word.effect.coverage >= SHORTCUT_COVERAGE
            and word.effect.n >= least_n,
        )
        for word in found
    ], n_words


def _list_clusters(columns: Columns, units: _Units) -> tuple[list[GroupRow], int]:
    texts = columns.texts.take(units.rows[:MOST_CLUSTERED])
    found, n_clusters = find_clusters(texts, units.labels[:MOST_CLUSTERED], len(columns.labels.values))
    return [_describe(one.words, one.effect, columns.labels.values) for one in found], n_clusters


def _describe(words: tuple[str, ...], effect: GroupEffect, label_names: tuple[str, ...]) -> GroupRow:
    low, high = wilson_interval(effect.n_label, effect.n)
    return GroupRow(
        words=words,
        label=label_names[effect.label],
        n=effect.n,
        precision=effect.precision,
        low=low,
        high=high,
        base_ratio=effect.base_ratio,
        coverage=effect.coverage,
        effect=effect.effect,
        effect_low=effect.low,
        effect_high=effect.high,
        z=effect.z,
        p_value=effect.p_value,
    )


def _iterate_notes(columns: Columns, units: _Units, sample_rows: int, n_clusters: int) -> Iterator[str]:
    n = len(units.rows)
    if n < len(columns.texts):
        yield f"associations are measured on {n:,} rows: near-duplicates count once, unlabelled rows do not"
    if n > sample_rows:
        yield f"words were looked for in {sample_rows:,} of {n:,} rows, chosen by a hash of their text"
    if n_clusters and n > MOST_CLUSTERED:
        yield f"clusters were made from {MOST_CLUSTERED:,} of {n:,} rows, chosen by a hash of their text"
    if not n_clusters:
        yield "there are too few rows or words for clusters"
    for name, n_values in sorted(columns.n_values.items()):
        if n_values < 2:
            yield f"{name!r} {ONE_VALUE}, so it says nothing of the label"
        if n_values > MOST_VALUES:
            yield f"{name!r} has {n_values:,} values: numbers were put into ranges, rare names taken together"


def _note_languages(columns: Columns, facts: TextFacts) -> list[str]:
    """What languages the texts are in, where that is no attribute; of some rows by a hash of their text."""
    if LANGUAGE in columns.attributes:
        return []
    rows = np.sort(np.argsort(facts.hashes, kind="stable")[:N_NOTED])
    texts = [text for batch in columns.texts.take(rows).batches() for text in batch]
    names = columns.labels.values
    return note_languages(texts, [names[code] if code >= 0 else "" for code in columns.labels.codes[rows]])


def _as_tuples(table: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in table.tolist())
