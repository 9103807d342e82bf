"""Tables: values stay what they are, cells are counted as those of texts, and what is not there yet is said."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_wine

import counterpoise
from counterpoise.balance.counts import count_cells, find_deficits
from counterpoise.cli import execute
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.plans import Cell
from counterpoise.core.records import Records
from counterpoise.tasks.tables.job import TableJob
from counterpoise.tasks.tables.reading import read_table
from counterpoise.tasks.tables.schema import TabularClassification

ADULT = """age,workclass,hours,sex,größe,income
39,State-gov,40,Male,1.80,<=50K
50,Self-emp,13.5,Male,,<=50K
38,Private,40,Female,1.65,>50K
53,,40,Female,1.7,<=50K
28,Private,,Female,1.6,<=50K
37,Private,40,Male,1.9,>50K
"""


@pytest.fixture
def adult(tmp_path: Path) -> Path:
    path = tmp_path / "adult.csv"
    path.write_text(ADULT, encoding="utf-8")
    return path


def read(data: Any, **keys: Any) -> Records:
    return read_table(TableJob.make(data=data, **keys))


def test_numbers_categories_and_missing_values_are_kept(adult: Path) -> None:
    records = read(adult, label="income", attributes="sex")
    assert list(records.columns) == ["age", "workclass", "hours", "sex", "größe"]
    assert records.content(0) == {
        "age": 39,
        "workclass": "State-gov",
        "hours": 40,
        "sex": "Male",
        "größe": 1.8,
    }
    assert records.content(1)["größe"] is None and records.content(1)["hours"] == 13.5
    assert records.content(3)["workclass"] is None and records.content(4)["hours"] is None
    assert records.row(3).text == "age: 53; hours: 40; sex: Female; größe: 1.7"
    assert (records.row(2).label, records.row(2).attributes) == (">50K", {"sex": "Female"})


def test_values_of_a_table_in_memory_are_kept() -> None:
    rows = {
        "n": [1, 2.5, float("nan"), 4],
        "is_new": [True, False, None, True],
        "price": [Decimal("1.50"), Decimal(2), None, Decimal(3)],
        "day": [datetime.date(2026, 1, 2)] * 4,
        "word": ["a\nb", "  ", "1", ""],
        "y": ["p", "q", "p", "q"],
    }
    records = read(rows, label="y")
    assert records.content(0) == {"n": 1.0, "is_new": True, "price": 1.5, "day": "2026-01-02", "word": "a\nb"}
    assert records.content(2) == {"n": None, "is_new": None, "price": None, "day": "2026-01-02", "word": "1"}
    assert records.content(1)["word"] is None is records.content(3)["word"]
    assert records.row(0).text == "n: 1; is_new: True; price: 1.5; day: 2026-01-02; word: a b", "one line"


def test_named_features_are_the_content_and_must_be_of_one_kind(adult: Path) -> None:
    records = read(adult, label="income", features=["hours", "age"], attributes=["sex", "age"])
    assert records.row(1).text == "hours: 13.5; age: 50" and set(records.attributes) == {"sex", "age"}
    with pytest.raises(DataError, match="column 'hour': no such column; did you mean 'hours'"):
        read(adult, label="income", features="hour")
    mixed = [{"a": 1, "y": "p"}, {"a": "x", "y": "q"}, {"a": 2, "y": "p"}]
    with pytest.raises(DataError, match="column 'a': holds values of several kinds"):
        read(mixed, label="y", features="a")
    with pytest.raises(JobError, match="column 'income' is the label; leave it out of features"):
        read(adult, label="income", features=["income"])
    with pytest.raises(JobError, match="column 'sex' is named twice in attributes"):
        read(adult, label="income", attributes=["sex", "sex"])


def test_a_table_may_have_thousands_of_columns_but_not_the_label_alone() -> None:
    wide = {f"gene {number}": [number, None, 0.5] for number in range(3000)}
    records = read({**wide, "y": ["p", "q", "p"]}, label="y")
    assert len(records.content(0)) == 3000 and records.content(0)["gene 2999"] == 2999
    with pytest.raises(DataError, match="has no column but the label"):
        read({"y": ["p", "q", "p"]}, label="y")


def test_cells_are_counted_by_label_and_by_label_and_attribute(adult: Path) -> None:
    records = read(adult, label="income", attributes="sex")
    assert count_cells(records) == {
        Cell("<=50K"): 4,
        Cell(">50K"): 2,
        Cell("<=50K", attribute="sex", value="Female"): 2,
        Cell(">50K", attribute="sex", value="Female"): 1,
        Cell("<=50K", attribute="sex", value="Male"): 2,
        Cell(">50K", attribute="sex", value="Male"): 1,
    }
    assert {str(one.cell): one.need for one in find_deficits(records)} == {
        ">50K": 2,
        ">50K with sex=Female": 1,
        ">50K with sex=Male": 1,
    }


def test_a_real_table_is_counted_as_pandas_counts_it(tmp_path: Path) -> None:
    wine = load_wine(as_frame=True)
    frame = wine.frame.rename(columns={"target": "cultivar"})
    frame["cultivar"] = [wine.target_names[code] for code in frame["cultivar"]]
    frame["strength"] = pd.cut(frame["alcohol"], 3, labels=["light", "middle", "strong"]).astype(str)
    path = tmp_path / "wine.csv"
    frame.to_csv(path, index=False)
    for data in (path, frame):
        records = read(data, label="cultivar", attributes="strength")
        assert len(records) == 178
        counts = count_cells(records)
        crossed = pd.crosstab(frame["cultivar"], frame["strength"])
        for label, row in crossed.iterrows():
            assert counts[Cell(str(label))] == row.sum()
            for value, have in row.items():
                assert counts[Cell(str(label), attribute="strength", value=str(value))] == have
        assert [records.content(row)["alcohol"] for row in range(178)] == frame["alcohol"].tolist()


def test_a_preview_shows_columns_and_cells_and_a_run_says_what_there_is(
    adult: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "task: tabular_classification\ndata: adult.csv\nlabel: income\nattributes: sex\n", encoding="utf-8"
    )
    assert execute(["preview", str(job)]) == 0
    shown = capsys.readouterr().out
    assert "größe" in shown and ">50K with sex=Female" in shown
    assert execute(["preview", str(job), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["rows"] == 6 and said["cells"]["<=50K"] == 4 and said["deficits"][0]["need"] == 2
    assert said["columns"][1] == {"column": "workclass", "holds": "categories", "values": 3, "missing": 1}
    found = counterpoise.preview(counterpoise.load_job(job))
    assert found.as_dict()["cells"] == said["cells"] and "&lt;=50K" in found._repr_html_()  # type: ignore[attr-defined]
    assert execute(["run", str(job)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be run yet" in line and "counterpoise preview" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adult.csv", "job.yaml"], (
        "nothing is left behind"
    )


def test_a_row_has_a_set_of_labels() -> None:
    schema = TabularClassification((), "y", keep_labels=("null",))
    assert schema.labels({"y": 1.0}) == {"1"} and schema.labels({"y": None}) == frozenset() == schema.labels(
        {}
    )
    assert schema.labels({"y": "null"}) == {"null"}


def test_the_job_in_the_documentation_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    match = re.search(r"```yaml\n(task: tabular_classification\n.*?)```", text, re.DOTALL)
    assert match is not None
    (tmp_path / "job.yaml").write_text(match[1], encoding="utf-8")
    assert TableJob.load(tmp_path / "job.yaml").features == ("age", "workclass", "hours")
