"""A page to look through a patch: one self-contained file, most certain first, each text beside confirmed neighbours.

Whatever stands in the data is escaped and the page's policy forbids scripts, so a text cannot do anything in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch
from counterpoise.report import pages

MOST_SHOWN = 500

_TITLES = {
    LabelOutcome.RELABEL: "Relabel",
    LabelOutcome.DROP: "Drop",
    LabelOutcome.REVIEW: "For review",
    LabelOutcome.ABSTAIN: "Left as they are, unjudged",
    LabelOutcome.KEEP: "Left as they are, confirmed",
}
_TONES = {LabelOutcome.RELABEL: "information", LabelOutcome.DROP: "warning", LabelOutcome.REVIEW: "warning"}


def render_patch_page(patch: Patch, title: str = "") -> str:
    """The page of a patch.

    Args:
        patch: at most 500 changes of each outcome are shown; the patch itself has all.
        title: what the page is about; by default the source of the patch.
    """
    sections = []
    for outcome, heading in _TITLES.items():
        members = [change for change in patch.changes if change.outcome is outcome]
        if members:
            sections.append(
                {
                    "anchor": str(outcome),
                    "heading": heading,
                    "n": len(members),
                    "tone": _TONES.get(outcome, ""),
                    "changes": sorted(members[:MOST_SHOWN], key=lambda change: (-change.score, change.id)),
                    "n_hidden": max(0, len(members) - MOST_SHOWN),
                }
            )
    return pages.render_template(
        "patch.html.j2",
        title=title or patch.source,
        headline=write_headline(patch),
        figures=_list_figures(patch),
        pairs=_count_pairs(patch.changes),
        sections=sections,
        notes=patch.notes,
        contents=[("summary", "Summary"), *((one["anchor"], one["heading"]) for one in sections)],
    )


def write_headline(patch: Patch) -> str:
    """One sentence: how many labels are changed, and what is promised of them."""
    counts = patch.count()
    changed = counts.get("relabel", 0) + counts.get("drop", 0)
    if not changed:
        n = counts.get("review", 0)
        return f"Nothing was changed; {n:,} labels to review" if n else "Nothing was changed"
    n_rows = f"{counts.get('relabel', 0):,} of {patch.n_rows:,} labels change"
    if counts.get("drop"):
        n_rows += f", {counts['drop']:,} {'row is' if counts['drop'] == 1 else 'rows are'} dropped"
    if not patch.promise:
        return n_rows
    if "n_gold_changed" not in patch.promise:
        return (
            f"{n_rows}; at least {patch.promise['min_precision']:.0%} of the dropped rows have a wrong label, "
            f"with {patch.promise['confidence']:.0%} confidence"
        )
    return (
        f"{n_rows}; at least {patch.promise['min_precision']:.0%} of the changes that were not read from known "
        f"labels are right, with {patch.promise['confidence']:.0%} confidence"
    )


def _list_figures(patch: Patch) -> list[dict[str, Any]]:
    figures = [
        {"label": name, "parts": [{"value": pages.format_count(n), "tone": "plain", "notes": []}]}
        for name, n in patch.count().items()
    ]
    if patch.promise.get("n_gold_changed"):
        promise = patch.promise
        figures.append(
            {
                "label": "of known rows changed rightly",
                "parts": [
                    {
                        "value": f"{promise['n_gold_right']} of {promise['n_gold_changed']}",
                        "tone": "plain",
                        "notes": [f"lower bound {pages.format_percent(promise['low'])}"],
                    }
                ],
            }
        )
    return figures


def _count_pairs(changes: Sequence[LabelChange]) -> list[dict[str, Any]]:
    """Which labels become which, the commonest first."""
    counts: dict[tuple[str, str], int] = {}
    for change in changes:
        if change.outcome in (LabelOutcome.RELABEL, LabelOutcome.REVIEW) and change.after != change.before:
            pair = (change.before, change.after)
            counts[pair] = counts.get(pair, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"before": before, "after": after, "n": n} for (before, after), n in ordered[:30]]
