"""What the linter found: tables, findings, which of them fail, and the baseline file that accepts some."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from counterpoise.balance.association import Association
from counterpoise.balance.lint.shortcuts import Predictor
from counterpoise.core.boundaries import refuse_strange_file
from counterpoise.core.errors import JobError
from counterpoise.core.files import write_whole
from counterpoise.core.html_views import MOST_ROWS, make_view

_BASELINE_VERSION = 1


class Severity(StrEnum):
    """How bad a finding is.

    `error`: figures measured on the held-out rows cannot be trusted. `warning`: a model may learn something
    that should not decide the label. `information`: good to know, never fails a check.
    """

    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Args:
        code: a fixed word for the kind of finding, such as `attribute-association`.
        severity: how bad it is.
        message: one sentence for people.
        subject: what it is about (a column, a label, a word); with the code it is the identity of the
            finding.
        columns: columns that are concerned.
        cells: cells that are concerned, as people read them.
        effect: V or phi of an association, else the share of rows concerned; 0..1.
        low: lower end of the 95% interval of the effect.
        high: upper end.
        p_value: corrected for everything that was tested; 1 where nothing was tested.
        is_association: whether `effect` says how strongly something goes with the label.
        rows: up to 20 positions of training rows, from 0.
    """

    code: str
    severity: Severity
    message: str
    subject: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    effect: float = 0.0
    low: float = 0.0
    high: float = 1.0
    p_value: float = 1.0
    is_association: bool = False
    rows: tuple[int, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The same for the same kind of finding about the same thing, whatever its figures."""
        identity = json.dumps([self.code, *self.subject], ensure_ascii=False)
        return hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Rows of a label, their share of the labelled rows and its 95% Wilson interval."""

    label: str
    count: int
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ColumnBalance:
    """One column against the label.

    Args:
        column: name of the attribute or concept, or `characters` or `words` of the text.
        kind: what it is.
        values: the values of the table, rare ones taken together, numbers in ranges.
        counts: rows of each label (outer, in the order of the report's labels) with each value, all rows
            counted.
        log_odds: of each cell against the rest, independent rows counted.
        n_values: distinct values before rare ones were taken together.
        n_missing: rows without a value; for a concept, rows where it is unknown.
        association: with the label, independent rows counted.
        predictor: how well the column alone tells the label.
    """

    column: str
    kind: Literal["attribute", "concept", "length"]
    values: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    log_odds: tuple[tuple[float, ...], ...]
    n_values: int
    n_missing: int
    association: Association
    predictor: Predictor


@dataclass(frozen=True, slots=True)
class ResidualRow:
    """The residuals of one indicator (a concept or a value) and one label; see `association.Residuals`."""

    column: str
    value: str
    label: str
    rate: float
    r1: float
    r2: float
    standard_error: float
    correlation: float


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A word, or a cluster described by its words, that goes with a label.

    Args:
        words: one word, or the words that describe the cluster.
        label: the label it goes with most.
        n: independent rows with the word or in the cluster.
        precision: share of them that has the label, with `low` and `high` of its 95% Wilson interval.
        base_ratio: share of all rows that has the label.
        coverage: share of the label's rows that has the word or is in the cluster.
        effect: phi, the correlation with the label, with its interval.
        z: standard deviations above independence.
        p_value: exact, corrected for all words (clusters) and labels.
        is_shortcut: whether it tells a good part of the label alone.
    """

    words: tuple[str, ...]
    label: str
    n: int
    precision: float
    low: float
    high: float
    base_ratio: float
    coverage: float
    effect: float
    effect_low: float
    effect_high: float
    z: float
    p_value: float
    is_shortcut: bool = False


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that say the same; empty texts are left out.

    Args:
        n_exact: training rows that repeat another one but for white space.
        n_near: training rows beyond the first of each group of near-duplicates (exact ones included).
        n_exact_conflicts: texts that occur with more than one label.
        n_near_conflicts: groups of near-duplicates with more than one label (exact ones included).
        n_leaked_exact: held-out rows that also are training rows.
        n_leaked_near: held-out rows that have a near-duplicate among the training rows (exact ones included).
    """

    n_exact: int = 0
    n_near: int = 0
    n_exact_conflicts: int = 0
    n_near_conflicts: int = 0
    n_leaked_exact: int = 0
    n_leaked_near: int = 0


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """Everything a check found.

    Args:
        n_rows: training rows.
        n_independent: of these, labelled rows that stand for themselves: one of each group of
            near-duplicates.
        n_held_out: held-out rows.
        labels: counts of the labels.
        imbalance_ratio: rows of the smallest label over rows of the largest, 0..1.
        columns: attributes, concepts and lengths against the label.
        residuals: M4 residuals of concepts and attribute values.
        hinge_sum: S of the residuals, 0 is balanced.
        words: words that go with a label beyond chance, strongest first, at most 100.
        clusters: clusters that go with a label beyond chance, strongest first.
        n_words: words that were looked at.
        n_clusters: clusters that were looked at.
        duplicates: what repeats.
        findings: what should be looked at, worst first.
        notes: sentences about how it was measured (samples, columns that were binned).
        fail_on: the effect above which an association fails the check, None where nothing fails.
        known: fingerprints that a baseline accepts.
    """

    n_rows: int
    n_independent: int
    n_held_out: int
    labels: tuple[LabelCount, ...]
    imbalance_ratio: float
    columns: tuple[ColumnBalance, ...]
    residuals: tuple[ResidualRow, ...]
    hinge_sum: float
    words: tuple[GroupRow, ...]
    clusters: tuple[GroupRow, ...]
    n_words: int
    n_clusters: int
    duplicates: Duplicates
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    fail_on: float | None = None
    known: frozenset[str] = field(default_factory=frozenset)

    def _repr_html_(self) -> str:
        """What a notebook shows: counts, and what should be looked at."""
        counts = ", ".join(f"{one.label} {one.count:,}" for one in self.labels[:MOST_ROWS])
        sentences = [f"{self.n_rows:,} rows: {counts}", f"{len(self.failures)} findings fail the check."]
        rows = [(finding.severity, finding.message) for finding in self.findings]
        return make_view("Balance", sentences, ("", "finding"), rows)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that fail the check.

        Without `fail_on` there are none. With it, these fail: every error, and every warning about an
        association whose effect is above `fail_on` (such a warning is always significant after correction
        for everything that was tested), but for those that a baseline accepts. Other warnings and
        information never fail.
        """
        if self.fail_on is None:
            return ()
        return tuple(
            finding
            for finding in self.findings
            if finding.fingerprint not in self.known
            and (
                finding.severity is Severity.ERROR
                or (
                    finding.severity is Severity.WARNING
                    and finding.is_association
                    and finding.effect > self.fail_on
                )
            )
        )

    def worst_effect(self) -> float:
        """The largest effect of an association among errors and warnings, 0 where there is none."""
        effects = [
            finding.effect
            for finding in self.findings
            if finding.is_association and finding.severity is not Severity.INFORMATION
        ]
        return max(effects, default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures that are not finite are None, findings carry their fingerprint."""
        plain: dict[str, Any] = _make_plain(dataclasses.asdict(self))
        failing = {finding.fingerprint for finding in self.failures}
        for entry, finding in zip(plain["findings"], self.findings, strict=True):
            entry["fingerprint"] = finding.fingerprint
            entry["fails"] = finding.fingerprint in failing
            entry["is_known"] = finding.fingerprint in self.known
        plain["known"] = sorted(self.known)
        plain["worst_effect"] = self.worst_effect()
        return plain


def write_baseline(report: BalanceReport, path: Path) -> None:
    """Write a file that accepts all errors and warnings of a report as they are.

    Args:
        report: what is known.
        path: a JSON file; it is meant to be kept beside the data, in version control.
    """
    entries = {
        finding.fingerprint: {"code": finding.code, "message": finding.message, "effect": finding.effect}
        for finding in report.findings
        if finding.severity is not Severity.INFORMATION
    }
    content = {"version": _BASELINE_VERSION, "findings": dict(sorted(entries.items()))}
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def compare_with_baseline(report: BalanceReport, path: Path) -> BalanceReport:
    """The report with the findings of a baseline accepted, unless they are clearly worse now.

    A finding is clearly worse when the lower end of its interval is above the effect that was accepted.

    Args:
        report: what was found now.
        path: a file by `write_baseline`.

    Raises:
        JobError: the file cannot be read or is no baseline.
    """
    accepted = _read_baseline(path)
    known = {
        finding.fingerprint
        for finding in report.findings
        if finding.fingerprint in accepted and finding.low <= accepted[finding.fingerprint]
    }
    return replace(report, known=frozenset(known))


def _read_baseline(path: Path) -> dict[str, float]:
    refuse_strange_file(path, JobError)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError("the baseline file does not exist", where=str(path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(f"the baseline cannot be read ({error})", where=str(path)) from error
    try:
        if content["version"] != _BASELINE_VERSION:
            raise JobError(f"baseline version {content['version']}", where=str(path), hint="write it anew")
        return {name: float(entry["effect"]) for name, entry in content["findings"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise JobError("this is no baseline file", where=str(path), hint="write one first") from error


def _make_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _make_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_make_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, StrEnum) else value
