"""What a run would do, before a token is spent: what every preview can show, and the preview of a run on texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from counterpoise.core.html_views import MOST_ROWS, make_view
from counterpoise.core.plain import to_plain
from counterpoise.core.plans import Deficit, PlanItem
from counterpoise.report.pages import format_count, format_decimal, format_name
from counterpoise.report.schema import count_cell, describe_item

MOST_SHOWN = 10
"""Rows of a table on a screen; the others are counted."""


class Marked(str):
    """A text that a screen sets off from the others."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ScreenTable:
    """A table for a screen, as plain values.

    Args:
        title: above it.
        columns: headings; one that begins with `>` is set right.
        rows: a text for each column.
        most: rows that are shown, None for all.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    most: int | None = MOST_SHOWN


class TaskPreview(Protocol):
    """What a run would do; of any task."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        ...

    def show(self) -> Iterator[ScreenTable | str]:
        """The same for people: tables, and texts of one line or several."""
        ...


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run on texts would do, before a token is spent.

    Args:
        arms: what the ways that cost no token give on inner validation.
        best: student -> the best of them.
        deficits: cells that lack records.
        plan: what is adopted first; where nothing is, what the budget buys, the most helpful slice first.
        prompts: at most two, as they would be sent.
        forecasts: what the records of a whole run are expected to add to logit adjustment (see `forecasts`).
        estimated_tokens: upper estimate of this plan.
        notes: what is odd about the data.
        advice: what to do first.
        encoders: those at hand under their best simple way on a sample of the rows, the one in use first.
        ask: rows of the pool that a person could label, with their price in minutes; None without such a pool.
    """

    arms: list[dict[str, Any]]
    best: dict[str, str]
    deficits: list[Deficit]
    plan: list[PlanItem]
    prompts: list[str]
    forecasts: list[dict[str, Any]]
    estimated_tokens: int
    notes: list[str]
    advice: list[str]
    encoders: list[dict[str, Any]] = field(default_factory=list)
    ask: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "arms": self.arms,
            "best": self.best,
            "deficits": [to_plain(count_cell(one)) for one in self.deficits],
            "plan": [{**to_plain(describe_item(item)), "tokens": item.reserved_tokens} for item in self.plan],
            "prompts": self.prompts,
            "forecasts": self.forecasts,
            "estimated_tokens": self.estimated_tokens,
            "notes": self.notes,
            "advice": self.advice,
            "encoders": self.encoders,
            "ask": self.ask,
        }

    def show(self) -> Iterator[ScreenTable | str]:
        """The same for people."""
        total = sum(item.value for item in self.plan) or 1.0
        yield ScreenTable(
            "Ways that cost no token, on inner validation",
            ("student", "arm", ">macro-F1", ">AUROC", ""),
            [_describe_arm(row, self.best) for row in self.arms],
            most=None,
        )
        if len(self.encoders) > 1:
            yield _show_encoders(self.encoders)
        yield show_deficits(self.deficits)
        yield ScreenTable(
            "What would be done first",
            (
                "action",
                "cell",
                ">records",
                ">requests",
                ">tokens, at most",
                ">of the help",
                "what that stands on",
            ),
            [
                (
                    format_name(item.way),
                    str(item.cell),
                    format_count(item.count),
                    format_count(item.n_requests),
                    format_count(item.reserved_tokens),
                    f"{item.value / total:.0%}" if item.value else "",
                    item.basis,
                )
                for item in sorted(self.plan, key=lambda item: -item.value)
            ],
        )
        if self.ask:
            yield _show_offer(self.ask)
        if self.forecasts:
            yield _show_forecasts(self.forecasts)
        for number, prompt in enumerate(self.prompts, 1):
            yield Marked(f"\nPrompt {number}")
            yield prompt
        yield Marked(f"\nEstimated tokens: {format_count(self.estimated_tokens)}")
        yield from (*self.notes, *self.advice)

    def _repr_html_(self) -> str:
        """What a notebook shows: advice, what is short, and the simple ways."""
        lines = [
            *self.advice,
            f"What would be done first takes at most {self.estimated_tokens:,} tokens.",
            *self.notes,
        ]
        rows = [(row["student"], row["arm"], row["macro_f1"], row["auroc"]) for row in self.arms]
        lines += [f"{short.cell} has {short.have:,} of {short.want:,}" for short in self.deficits[:MOST_ROWS]]
        return make_view("Preview", lines, ("student", "without a token", "macro-F1", "AUROC"), rows)


def show_deficits(deficits: Sequence[Deficit]) -> ScreenTable:
    """The cells that lack records, those that lack most first."""
    ordered = sorted(deficits, key=lambda deficit: (-deficit.need, deficit.cell))
    return ScreenTable(
        "Cells that are short",
        ("cell", ">has", ">wanted", ">lacks"),
        [
            (str(one.cell), format_count(one.have), format_count(one.want), format_count(one.need))
            for one in ordered
        ],
    )


def _show_offer(ask: Mapping[str, Any]) -> ScreenTable:
    named = ", ".join(f"{count} of {label}" for label, count in ask["records"].items())
    return ScreenTable(
        "What you could do yourself",
        ("action", ">answers", ">minutes", "rows of thin labels among them, about"),
        [("ask", format_count(ask["answers"]), format_decimal(ask["minutes"], 1), named)],
    )


def _show_encoders(encoders: Sequence[Mapping[str, Any]]) -> ScreenTable:
    return ScreenTable(
        "Encoders at hand, each under its best simple way, on a sample",
        ("encoder", "arm", ">macro-F1", ">AUROC", ">points", ">texts a second"),
        [
            (
                str(one["encoder"]),
                format_name(one["treatment"]),
                format_decimal(one["macro_f1"]),
                format_decimal(one["auroc"]),
                f"{100 * one['gain']:+.1f}",
                format_count(round(one["texts_per_second"])),
            )
            for one in encoders
        ],
        most=None,
    )


def _show_forecasts(forecasts: Sequence[Mapping[str, Any]]) -> ScreenTable:
    from counterpoise.students.treatments import BASELINE

    return ScreenTable(
        f"Forecast of a whole run, in points beyond {format_name(BASELINE.name)}",
        ("action", "student", ">records", ">macro-F1", ">AUROC"),
        [
            (
                format_name(one["action"]),
                one["student"],
                format_count(one["records"]),
                f"+{100 * one['macro_f1']:.1f}",
                f"+{100 * one['auroc']:.1f}",
            )
            for one in forecasts
        ],
    )


def _describe_arm(row: Mapping[str, Any], best: Mapping[str, str]) -> tuple[str, ...]:
    return (
        str(row["student"]),
        format_name(row["arm"]),
        format_decimal(row["macro_f1"]),
        format_decimal(row["auroc"]),
        Marked("best") if best.get(row["student"]) == row["arm"] else "",
    )
