"""The report page: nothing runs, nothing is loaded, nothing is lost, the same bytes every time."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from counterpoise.core.plain import to_plain
from counterpoise.report import charts, pages
from counterpoise.report.check_page import render_check_page
from counterpoise.report.run_page import write_report
from counterpoise.report.schema import Parent, RejectedExample, Report
from counterpoise.report.text_page import TEXT_PAGE
from counterpoise.report.view import judge_difference, list_cells, list_reasons
from tests.check_sample import sample_check
from tests.report_sample import INJECTION, empty_report, make_hostile, sample_report, wide_report

VOID = {"meta", "link", "col", "br"}


class Reader(HTMLParser):
    """Reads a page strictly: tags must nest; keeps elements, texts and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def visible_text(self) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("style", "title")).split())


@pytest.mark.parametrize(
    "report", [sample_report(), wide_report(), empty_report()], ids=["usual", "wide", "empty"]
)
def test_page_is_well_formed_loads_nothing_and_its_contents_lead_somewhere(report: Any) -> None:
    page = TEXT_PAGE.render(report)
    reader = Reader(page)
    links = {value for name, value in reader.attributes if name == "href"}
    anchors = {f"#{value}" for name, value in reader.attributes if name == "id"}
    assert links - {"data:,"} == anchors
    assert reader.tags.isdisjoint({"script", "img", "iframe", "object", "image", "use"})
    assert not re.search(r"url\(|@import|https?:", page)


@pytest.mark.parametrize(
    "page",
    [
        TEXT_PAGE.render(make_hostile(sample_report())),
        render_check_page(make_hostile(sample_check()), title=INJECTION),
    ],
    ids=["report", "check"],
)
def test_markup_in_the_data_stays_text_everywhere(page: str) -> None:
    reader = Reader(page)
    assert reader.tags.isdisjoint({"script", "img"})
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert INJECTION in reader.visible_text
    titles = [text for tag, text in reader.texts if tag == "title"]
    assert sum(INJECTION in text for text in titles) > 5


def test_page_shows_what_the_report_says() -> None:
    report = sample_report()
    text = Reader(TEXT_PAGE.render(report)).visible_text
    assert report["held_out"] is not None
    for row in report["held_out"]["rows"]:
        assert f"{row['macro_f1']['mean']:.3f}" in text
        assert f"{row['auroc']['mean']:.3f}" in text
    for example in report["verdicts"]["accepted_examples"] + report["verdicts"]["rejected_examples"]:
        assert example["text"] in text
        assert all(parent["text"] in text for parent in example["parents"])
    expected = [report["headline"], *report["advice"], *report["data"]["notes"], report["stopped"]]
    expected += [report["ending"]["sentence"], report["recommendation"]["code"]]
    expected += [scorer["question"] for scorer in report["scorers"]] + ["45,310", "167.2", "refused"]
    assert [sentence for sentence in expected if sentence not in text] == []


def test_difference_is_coloured_only_where_its_interval_excludes_zero() -> None:
    assert judge_difference({"mean": 0.02, "low": 0.001, "high": 0.03}) == "good"
    assert judge_difference({"mean": -0.02, "low": -0.03, "high": -0.001}) == "bad"
    assert judge_difference({"mean": 0.02, "low": 0.0, "high": 0.03}) == "plain"
    assert judge_difference({"mean": 0.02, "low": -0.01, "high": 0.03}) == "plain"
    assert judge_difference({"mean": 0.02, "low": None, "high": None}) == "plain"
    assert judge_difference(None) == "plain"


def test_missing_and_infinite_figures_become_dashes() -> None:
    page = TEXT_PAGE.render(empty_report())
    text = Reader(page).visible_text
    assert (
        re.search(r"\b(nan|inf|none)\b", re.sub(r"<style>.*?</style>|\bnone\b", "", page, flags=re.S)) is None
    )
    assert "None" not in text
    assert f"{pages.DASH} per accepted record" in text
    assert "There were no held-out rows" in text
    assert "Nothing was proposed." in text
    report = sample_report()
    assert report["held_out"] is not None
    for row in report["held_out"]["rows"]:
        row["macro_f1_difference"] = None
    assert "Macro-F1" in Reader(TEXT_PAGE.render(report)).visible_text


def test_written_files_are_canonical_whole_and_the_same_from_either_side(tmp_path: Path) -> None:
    write_report(tmp_path, sample_report(), TEXT_PAGE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.dumps(json.loads(text), sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text
    assert TEXT_PAGE.render(json.loads(text)) == page
    shuffled = _reverse_keys(sample_report())
    write_report(tmp_path, shuffled, TEXT_PAGE)
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == text
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_infinite_figures_are_null_in_the_json(tmp_path: Path) -> None:
    write_report(tmp_path, empty_report(), TEXT_PAGE)
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["spend"]["tokens_per_accepted"] is None
    assert written["balance"]["score_before"] is None


def test_failed_write_leaves_the_older_report_and_no_rubbish(tmp_path: Path) -> None:
    write_report(tmp_path, sample_report(), TEXT_PAGE)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        write_report(tmp_path, sample_report(), TEXT_PAGE)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(before)
    assert (tmp_path / "report.json").read_bytes() == before["report.json"]


def test_a_lone_surrogate_is_written_out(tmp_path: Path) -> None:
    broken: dict[str, Any] = copy.deepcopy(dict(sample_report()))
    broken["headline"] = "half a sign: \ud800"
    write_report(tmp_path, broken, TEXT_PAGE)
    assert "half a sign: \\ud800" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_cells_stand_by_need_and_those_beyond_forty_are_folded() -> None:
    balance = wide_report()["balance"]
    needs = {cell["cell"]: cell["need"] or 0 for cell in balance["before"]}
    view = list_cells(balance)
    assert [needs[row["name"]] for row in view["rows"]] == sorted(needs.values(), reverse=True)
    assert view["rest"] == []
    balance["before"].append({"cell": "one more", "have": 5, "want": 5, "need": 0})
    view = list_cells(balance)
    assert len(view["rows"]) == 40
    assert len(view["rest"]) == 1


def test_reasons_stand_by_count_on_one_scale() -> None:
    verdicts = sample_report()["verdicts"] | {"accepted": 50, "rejected": {"b": 100, "a": 100, "c": 7}}
    rows = list_reasons(verdicts)
    assert [row["name"] for row in rows] == ["accepted", "a", "b", "c"]
    widths = [float(re.findall(r'width="([\d.]+)%"', row["chart"])[0]) for row in rows]
    assert widths == [50, 100, 100, 7]


def test_far_value_becomes_an_arrow_and_does_not_squeeze_the_others() -> None:
    scale = charts.build_difference_scale([-0.01, 0.02], [-0.6, -0.5, 0.01])
    assert scale.low >= -0.1
    assert scale.low <= -0.01
    assert scale.high >= 0.02
    far = charts.draw_interval(-0.5, -0.6, -0.4, scale, tone="bad", title="far")
    assert "circle" not in far
    assert "arrow" in far
    near = charts.draw_interval(0.01, 0.0, 0.02, scale, tone="good", title="near")
    assert "circle" in near
    assert "arrow" not in near


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([], 0, 1),
        ([None, float("nan")], 0, 1),
        ([0, 300], 0, 300),
        ([0.91, 0.94], 0.91, 0.94),
        ([5, 5], 4, 10),
    ],
)
def test_scale_has_round_ends_around_the_values(values: list[float | None], low: float, high: float) -> None:
    scale = charts.build_scale(values)
    assert (scale.low, scale.high) == (low, high)
    assert scale.place(low) == 0
    assert scale.place(high + 1) == 100


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (pages.format_count(1_234_567), "1,234,567"),
        (pages.format_count(6.5), "6.5"),
        (pages.format_count(float("inf")), "–"),
        (pages.format_decimal(-0.00001), "0.000"),
        (pages.format_signed(-0.0004), "0.000"),
        (pages.format_signed(-0.0526), "−0.053"),
        (pages.format_signed(0.017), "+0.017"),
        (pages.format_percent(0.004), "0.4%"),
        (pages.format_percent(0.31), "31%"),
        (pages.format_percent(None), "–"),
    ],
)
def test_figures_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_check_page_says_whether_the_check_fails() -> None:
    report = sample_check()
    page = render_check_page(report, title="reviews.csv")
    text = Reader(page).visible_text
    assert "The check fails" in text
    assert all(finding["message"] in text for finding in report["findings"])
    for finding in report["findings"]:
        finding["fails"] = False
    assert "The check passes, with" in Reader(render_check_page(report)).visible_text
    report["fail_on"] = None
    report["findings"] = []
    assert "Nothing here should worry you" in Reader(render_check_page(report)).visible_text


def _reverse_keys(value: Any) -> Any:
    """The same content with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: _reverse_keys(value[key]) for key in reversed(value)}
    return [_reverse_keys(item) for item in value] if isinstance(value, list) else value


def list_strange(value: Any, kind: Any, place: str = "report") -> list[str]:
    """Where plain values are not those of a type of `report.schema`; a key may be missing in a report of old."""
    if value is None:
        return [] if kind is None or type(None) in get_args(kind) or kind is Any else [f"{place} is None"]
    kind = (
        next((one for one in get_args(kind) if is_dataclass(one)), kind)
        if isinstance(kind, UnionType)
        else kind
    )
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        strange = [f"{place}.{key}" for key in value if key not in hints]
        return strange + [
            line
            for key in hints.keys() & value.keys()
            for line in list_strange(value[key], hints[key], f"{place}.{key}")
        ]
    if get_origin(kind) is list:
        return [line for item in value for line in list_strange(item, get_args(kind)[0], f"{place}[]")]
    if get_origin(kind) is dict:
        return [
            line for item in value.values() for line in list_strange(item, get_args(kind)[1], f"{place}{{}}")
        ]
    return []


@pytest.mark.parametrize("make", [sample_report, wide_report])
def test_the_samples_are_of_the_shape_that_runs_write(make: Any) -> None:
    assert list_strange(make(), Report) == []
    assert list_strange(make() | {"colour": 1}, Report) == ["report.colour"]


def test_plain_values_of_a_report_are_its_fields() -> None:
    example = RejectedExample("a", "good", "good", "minority", {"p": 1.0}, [Parent("1", "b", "bad")], "short")
    plain = to_plain({"seen": (example, None)})
    assert (
        plain["seen"][0]["parents"] == [{"id": "1", "text": "b", "label": "bad"}] and plain["seen"][1] is None
    )
    assert list(plain["seen"][0])[-1] == "reason"
