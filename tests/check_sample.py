"""The result of a check to render: a leak, a source that goes with the label, a shortcut word."""

from __future__ import annotations

from typing import Any

from counterpoise.balance.association import Association
from counterpoise.balance.lint.report import (
    BalanceReport,
    ColumnBalance,
    Duplicates,
    Finding,
    GroupRow,
    LabelCount,
    ResidualRow,
    Severity,
)
from counterpoise.balance.lint.shortcuts import Predictor


def sample_check() -> dict[str, Any]:
    """`BalanceReport.to_dict()` of reviews with two labels, three sources and a concept."""
    return BalanceReport(
        n_rows=8_530,
        n_independent=8_402,
        n_held_out=1_066,
        labels=(
            LabelCount("negative", 2_130, 0.2497, 0.2406, 0.2590),
            LabelCount("positive", 6_400, 0.7503, 0.7410, 0.7594),
        ),
        imbalance_ratio=0.333,
        columns=(
            _column(
                "source", "attribute", ("imdb", "newsroom", "rotten tomatoes"), 0.31, 0.64, (310, 1_480, 340)
            ),
            _column("food", "concept", ("absent", "present"), 0.08, 0.54, (1_210, 920)),
            _column(
                "characters", "length", ("0 to 79", "80 to 159", "160 to 400"), 0.02, 0.50, (700, 810, 620)
            ),
        ),
        residuals=(
            ResidualRow("source", "newsroom", "negative", 0.28, 0.0, 0.071, 0.002, 0.41),
            ResidualRow("food", "present", "positive", 0.37, 0.0, 0.012, 0.002, -0.07),
        ),
        hinge_sum=0.0683,
        words=(
            GroupRow(
                ("newsroom",),
                "negative",
                1_502,
                0.91,
                0.89,
                0.92,
                0.25,
                0.64,
                0.66,
                0.63,
                0.69,
                58.2,
                0.0,
                True,
            ),
            GroupRow(("dull",), "negative", 212, 0.88, 0.83, 0.92, 0.25, 0.09, 0.23, 0.2, 0.26, 21.4, 0.0),
            GroupRow(
                ("charming",), "positive", 187, 0.97, 0.93, 0.99, 0.75, 0.03, 0.08, 0.06, 0.1, 7.1, 1e-9
            ),
        ),
        clusters=(),
        n_words=9_214,
        n_clusters=24,
        duplicates=Duplicates(
            n_exact=61, n_near=128, n_exact_conflicts=3, n_near_conflicts=7, n_leaked_near=20
        ),
        findings=(
            Finding(
                code="near-leakage",
                severity=Severity.ERROR,
                message="20 held-out rows have a near-duplicate among the training rows",
                effect=0.019,
            ),
            Finding(
                code="shortcut-word",
                severity=Severity.WARNING,
                message="'newsroom' stands in 64% of the rows of 'negative'; 91% of its rows are 'negative'",
                subject=("newsroom",),
                effect=0.66,
                low=0.63,
                high=0.69,
                p_value=0.0,
                is_association=True,
            ),
            Finding(
                code="attribute-association",
                severity=Severity.WARNING,
                message="the attribute 'source' goes with the label (V = 0.31)",
                subject=("source",),
                columns=("source",),
                effect=0.31,
                low=0.29,
                high=0.33,
                p_value=0.0,
                is_association=True,
            ),
            Finding(
                code="near-duplicates",
                severity=Severity.INFORMATION,
                message="128 rows repeat another one nearly or exactly",
                effect=0.015,
            ),
        ),
        notes=("Numbers of the column 'characters' were put into 3 ranges of about as many rows.",),
        fail_on=0.1,
    ).to_dict()


def _column(
    name: str, kind: Any, values: tuple[str, ...], v: float, accuracy: float, negative: tuple[int, ...]
) -> ColumnBalance:
    return ColumnBalance(
        column=name,
        kind=kind,
        values=values,
        counts=(negative, tuple(6_400 // len(values) for _ in values)),
        log_odds=(
            tuple(2.4 - 1.6 * place for place in range(len(values))),
            tuple(1.6 * place - 2.4 for place in range(len(values))),
        ),
        n_values=len(values),
        n_missing=12,
        association=Association(8_402, v, max(0.0, v - 0.02), v + 0.02, 810.0, 0.0, "chi-square", 0.0, 0.0),
        predictor=Predictor(accuracy, accuracy - 0.01, accuracy + 0.01, 0.5),
    )
