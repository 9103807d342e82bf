"""The pages in a real browser: nothing complained of, nothing run, nothing cut off."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoise.core.schema import TextClassification
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Neighbour, Patch
from counterpoise.report.check_page import render_check_page
from counterpoise.report.patch_page import render_patch_page
from counterpoise.report.text_page import TEXT_PAGE
from tests.browser.chromium import find_chromium, open_page
from tests.check_sample import sample_check
from tests.report_sample import INJECTION, empty_report, make_hostile, sample_report, wide_report

pytestmark = pytest.mark.browser


def sample_patch(text: str = "Shares fell after the vote. ") -> Patch:
    """A patch with all outcomes and long texts."""
    neighbours = (Neighbour(text * 30, text[:40], 0.61, True), Neighbour(text, "World", 0.5, True))
    changes = tuple(
        LabelChange(
            f"{text[:8]}{n}",
            outcome,
            text[:60],
            "Business",
            1 / (n + 1),
            text[:80],
            text * (1 + 20 * n),
            neighbours,
        )
        for n, outcome in enumerate(LabelOutcome)
    )
    promise = {"min_precision": 0.7, "confidence": 0.9, "n_gold_right": 19, "n_gold_changed": 20, "low": 0.81}
    return Patch(TextClassification(("text",), "label"), text, 5000, changes, promise, (text, "A note."))


PAGES: dict[str, Callable[[], str]] = {
    "usual": lambda: TEXT_PAGE.render(sample_report()),
    "wide": lambda: TEXT_PAGE.render(wide_report()),
    "empty": lambda: TEXT_PAGE.render(empty_report()),
    "hostile": lambda: TEXT_PAGE.render(make_hostile(sample_report())),
    "check": lambda: render_check_page(sample_check(), title="reviews.csv"),
    "patch": lambda: render_patch_page(sample_patch()),
    "empty patch": lambda: render_patch_page(Patch(TextClassification(("text",), "label"), "a.csv", 9, ())),
    "hostile patch": lambda: render_patch_page(sample_patch(INJECTION)),
    "hostile check": lambda: render_check_page(make_hostile(sample_check()), title=INJECTION),
}

OVERFLOW = """[document.documentElement.scrollWidth, innerWidth, [...document.querySelectorAll("main *")]
  .filter(one => !one.closest(".scroll, .unseen, svg"))
  .filter(one => one.getBoundingClientRect().right > innerWidth + 0.5)
  .map(one => one.outerHTML.slice(0, 120))]"""

OVERLAPS = """(() => {
  const boxes = [];
  const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, owner = node.parentElement;
    if (!node.data.trim() || owner.closest("title, .unseen")) continue;
    if (!owner.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = owner.closest("svg") ? [owner.getBoundingClientRect()] : [...range.getClientRects()];
    for (const box of rects) if (box.width > 1 && box.height > 1) boxes.push([box, node.data.trim()]);
  }
  const found = [];
  boxes.sort((a, b) => a[0].top - b[0].top);
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [a, one] = boxes[i], [b, other] = boxes[j];
    if (b.top > a.bottom) break;
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 4) found.push(`${one} | ${other}`);
  }
  return found;
})()"""
"""Pairs of texts that lie over each other."""

BROKEN = """[...document.querySelectorAll(".whole")].filter(one => one.getClientRects().length > 1).length"""

VISIBLE = """(selector => [...document.querySelectorAll(selector)].map(one => {
  const box = one.getBoundingClientRect();
  return one.checkVisibility({opacityProperty: true, visibilityProperty: true})
    && box.width > 20 && box.height > 8;
}))"""


@pytest.fixture(autouse=True)
def browser() -> None:
    """Skip where there is no browser, unless it was asked for."""
    if not find_chromium():
        sentence = "Chromium is not installed (Debian: apt-get install chromium)"
        if os.environ.get("COUNTERPOISE_REQUIRE_BROWSER") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.mark.parametrize("name", PAGES)
async def test_page_runs_without_complaint_and_fits_the_screen(name: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    async with open_page() as page:
        for width, dark in ((1280, False), (390, False), (390, True)):
            await page.visit(path.as_uri(), width=width, height=900, dark=dark)
            content, window, wide = await page.evaluate(OVERFLOW)
            assert window == width
            assert wide == []
            assert content <= window
            await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            content, window, wide = await page.evaluate(OVERFLOW)
            assert wide == []
            assert content <= window
        assert "Counterpoise" in await page.evaluate("document.title")
        assert await page.evaluate("document.title") != "taken"
        assert page.complaints == []


def write_long_report() -> str:
    """A report with large counts on its axes, and sentences with names of ours in them."""
    report = sample_report()
    report["advice"] = [f"{'Name a pool. ' * n}Put it under `pool`: macro-F1 rises." for n in range(12)]
    for side in ("before", "after"):
        for cell in report["balance"][side]:
            cell["have"], cell["want"] = (1_234_567 * (cell[name] or 0) for name in ("have", "want"))
    return TEXT_PAGE.render(report)


@pytest.mark.parametrize("width", [420, 800, 801, 1200])
async def test_no_text_lies_over_another_and_no_name_is_broken(width: int, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    async with open_page() as page:
        for name, write in {**PAGES, "long": write_long_report}.items():
            path.write_text(write(), encoding="utf-8")
            await page.visit(path.as_uri(), width=width, height=900)
            await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert await page.evaluate(OVERLAPS) == [], name
            assert await page.evaluate(BROKEN) == 0, name
        assert "`" not in await page.evaluate("document.querySelector('#advice').innerText")
        if width > 800:  # below, a table is a list without axes
            assert await page.evaluate("document.querySelectorAll('.axis text').length") > 4
            labels = "[...document.querySelectorAll('#cells .axis text')]"
            shown = await page.evaluate(f"{labels}.filter(one => one.getClientRects().length).length")
            assert shown >= 2, "the ends of an axis are named"


@pytest.mark.parametrize("width", [1280, 390])
async def test_headline_and_held_out_table_can_be_seen(width: int, tmp_path: Path) -> None:
    report = sample_report()
    path = tmp_path / "report.html"
    path.write_text(TEXT_PAGE.render(report), encoding="utf-8")
    async with open_page() as page:
        await page.visit(path.as_uri(), width=width, height=900)
        assert await page.evaluate("document.querySelector('h1').innerText") == report["headline"]
        for selector, n in (("h1", 1), ("#held-out table.forest", 2), ("#cells svg.chart", 3)):
            assert await page.evaluate(f"{VISIBLE}({selector!r})") == [True] * n
        assert report["held_out"] is not None
        rows = await page.evaluate(
            "[...document.querySelectorAll('.forest tbody tr:not(.group)')].map(row => row.innerText)"
        )
        expected: list[Any] = report["held_out"]["rows"]
        assert len(rows) == len(expected)
        for text, row in zip(rows, expected, strict=True):
            assert row["arm"].replace("_", " ") in text
            assert f"{row['macro_f1']['mean']:.3f}" in text
        marks = await page.evaluate(f"{VISIBLE}('#held-out td.interval svg.chart')")
        assert marks == [True] * (2 * len(expected))


async def test_complaints_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<!doctype html><title>loud</title><link rel=stylesheet href=missing.css>"
        "<script>console.error('one'); console.warn('two'); throw new Error('three')</script>"
    )
    async with open_page() as page:
        await page.visit((tmp_path / "page.html").as_uri(), width=800, height=600)
        told = "\n".join(page.complaints)
    assert "console error: one" in told
    assert "console warning: two" in told
    assert "exception" in told
    assert "request failed" in told


async def test_script_that_slips_into_a_page_is_stopped_and_noticed(tmp_path: Path) -> None:
    page_text = TEXT_PAGE.render(sample_report()).replace("<footer>", f"<footer>{INJECTION}")
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    async with open_page() as page:
        await page.visit((tmp_path / "page.html").as_uri(), width=800, height=600)
        assert await page.evaluate("document.title") != "taken"
        assert any("Content Security Policy" in complaint for complaint in page.complaints)
