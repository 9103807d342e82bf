"""What a relabelling found, as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.actions.relabel.cascade import Outcome
from counterpoise.balance.rates import Rate

if TYPE_CHECKING:
    from rich.table import Table

    from counterpoise.actions.relabel.result import RelabelledInstances


def list_relabel_tables(done: RelabelledInstances) -> list[Table]:
    """The audits of the judges, the sources, and the estimates, as far as there are any."""
    tables = [_make_audit_table(done)] if done.audits else []
    if done.decisions:
        tables.append(_make_source_table(done))
    if done.estimates is not None:
        tables.append(_make_estimate_table(done))
    return tables


def _make_audit_table(done: RelabelledInstances) -> Table:
    from rich.table import Table

    table = Table(
        "judge", "model", "AUROC", "positives recognised", "random refused", "mined refused", title="Audits"
    )
    for one in done.audits:
        auc = (
            f"{one.audit.auc:.2f} ({one.audit.auc_low:.2f} to {one.audit.auc_high:.2f})" if one.audit else "-"
        )
        verdict = one.stage + ("" if one.is_passed else " (failed)")
        rates = (one.sensitivity, one.specificity_random, one.specificity_mined)
        table.add_row(verdict, one.model, auc, *map(str, rates))
    return table


def _make_source_table(done: RelabelledInstances) -> Table:
    from rich.table import Table

    table = Table("source", "queries", "flagged", "confirmed", *map(str, Outcome), "tokens", title="Sources")
    for meter in done.meters:
        table.add_row(
            meter.source or "all",
            f"{meter.n_queries:,}",
            str(meter.flags.rate),
            str(meter.confirmations.rate),
            *(f"{meter.outcomes[outcome]:,}" for outcome in Outcome),
            f"{meter.tokens:,}" + (" (paused)" if meter.paused else ""),
        )
    return table


def _make_estimate_table(done: RelabelledInstances) -> Table:
    from rich.table import Table

    table = Table("estimate", "value (95% interval)", title="From the audits")
    found = done.estimates
    if found is not None:
        table.add_row("recall: false negatives that are relabelled", str(found.recall))
        table.add_row("precision: relabelled passages that are right", str(found.precision))
        table.add_row("share that the first judge does not miss", str(found.first_recall))
        table.add_row("unflagged candidates that the second judge confirms", str(found.missed))
    if done.positives:
        suspects = sum(one.outcome == "suspect" for one in done.positives)
        table.add_row("known positives that both judges refuse", str(Rate(suspects, len(done.positives))))
    return table
