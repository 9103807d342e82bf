"""The linter on planted faults, on shuffled labels, and on the odd tables people have."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from counterpoise.balance.lint.linter import compare_with_baseline, lint, lint_table, write_baseline
from counterpoise.balance.lint.report import BalanceReport, Finding, Severity
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.records import UNLABELLED, ConceptColumns, Records, State
from counterpoise.core.schema import TextClassification

N_TRAINING, N_HELD_OUT = 1_500, 300
TASK = TextClassification(("text",), "label", ("source",))


def read_columns_of(path: Path, label: str) -> tuple[list[str], list[str]]:
    """Distinct texts of a real data set and their labels."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = {" ".join(row["text"].lower().split()): row for row in csv.DictReader(file)}
    return [row["text"] for row in rows.values()], [row[label] for row in rows.values()]


@pytest.fixture(scope="session")
def news(data_dir: Path) -> tuple[list[str], list[str]]:
    texts, labels = read_columns_of(data_dir / "noisy_ag_news" / "noisy_5k.csv.gz", "noisy_label")
    return texts[: N_TRAINING + N_HELD_OUT], labels[: N_TRAINING + N_HELD_OUT]


def make_table(texts: list[str], labels: list[str], sources: list[str]) -> pa.Table:
    return pa.table({"text": texts, "label": labels, "source": sources})


def plant_source(labels: list[str], v: float, generator: np.random.Generator) -> list[str]:
    """A source that copies the label in a share `v` of the rows and is drawn freely in the others: V = v."""
    copied = generator.random(len(labels)) < v
    free = generator.permutation(labels)
    return [
        f"source of {label if copy else other}"
        for label, copy, other in zip(labels, copied, free, strict=True)
    ]


def find_codes(report: BalanceReport) -> dict[str, Finding]:
    return {finding.code: finding for finding in report.findings}


def make_records(texts: list[str], labels: list[int], names: tuple[str, ...] = ("no", "yes")) -> Records:
    return Records(
        ids=np.asarray([f"r{row}" for row in range(len(texts))], dtype=object),
        texts=np.asarray(texts, dtype=object),
        labels=np.asarray(labels, dtype=np.int64),
        label_names=names,
    )


@pytest.mark.data
def test_finds_what_was_planted_in_real_data(news: tuple[list[str], list[str]]) -> None:
    texts, labels = news
    generator = np.random.default_rng(1)
    held_out = texts[N_TRAINING:]
    training, kept = list(texts[:N_TRAINING]), labels[:N_TRAINING]
    for row in np.flatnonzero(np.asarray(kept) == "Business")[::3]:
        training[row] = f"{training[row]} zyx"
    # 20 duplicates across the split, 10 of them with a changed word.
    training += [text if row < 10 else f"Yesterday {text}" for row, text in enumerate(held_out[:20])]
    kept = kept + labels[N_TRAINING : N_TRAINING + 20]
    table = make_table(training, kept, plant_source(kept, 0.2, generator))
    held_out_table = make_table(held_out, held_out, held_out)
    before = lint_table(table.slice(0, N_TRAINING), TASK, held_out_table).duplicates
    report = lint_table(table, TASK, held_out_table, fail_on=0.1)
    failures = {finding.code: finding for finding in report.failures}
    source = failures["attribute-association"]
    assert source.columns == ("source",) and source.low < 0.2 < source.high and source.effect > 0.15
    assert "zyx" in {finding.subject[0] for finding in report.failures if finding.code == "shortcut-word"}
    assert (before.n_leaked_exact, report.duplicates.n_leaked_exact) == (0, 10)
    assert report.duplicates.n_leaked_near - before.n_leaked_near == 20
    assert failures["leakage"].rows == tuple(range(1_500, 1_510))
    assert set(range(1_510, 1_520)) <= set(failures["near-leakage"].rows)


@pytest.mark.data
def test_shuffled_labels_raise_no_finding_in_95_of_100_shuffles(
    news: tuple[list[str], list[str]], data_dir: Path
) -> None:
    spam_texts, spam_labels = read_columns_of(data_dir / "sms_spam" / "sms.csv.gz", "label")
    sets = [news, (spam_texts[: N_TRAINING + N_HELD_OUT], spam_labels[: N_TRAINING + N_HELD_OUT])]
    generator = np.random.default_rng(2)
    faulty = []
    for shuffle in range(100):
        texts, labels = sets[shuffle % 2]
        shuffled = generator.permutation(labels[:N_TRAINING]).tolist()
        sources = plant_source(labels[:N_TRAINING], 0.2, generator)
        table = make_table(texts[:N_TRAINING], shuffled, sources)
        found = lint_table(table, TASK, fail_on=0.0).findings
        faulty.append(any(finding.is_association for finding in found))
    assert sum(faulty) <= 5


@pytest.mark.data
def test_the_order_of_the_rows_changes_nothing_but_positions(news: tuple[list[str], list[str]]) -> None:
    texts, labels = news[0] + news[0][:50], news[1] + news[1][50:100]
    table = make_table(texts, labels, plant_source(labels, 0.2, np.random.default_rng(3)))
    order = np.random.default_rng(4).permutation(len(texts))

    def lint_without_rows(table: pa.Table) -> BalanceReport:
        report = lint_table(table, TASK)
        return replace(report, findings=tuple(replace(finding, rows=()) for finding in report.findings))

    assert lint_without_rows(table) == lint_without_rows(table.take(pa.array(order)))


@pytest.mark.data
def test_a_baseline_accepts_what_is_known_until_it_is_clearly_worse(
    news: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    texts, labels = news
    baseline = tmp_path / "baseline.json"

    def lint_planted(v: float) -> BalanceReport:
        sources = plant_source(labels, v, np.random.default_rng(5))
        return lint_table(make_table(texts, labels, sources), TASK, fail_on=0.1)

    report = lint_planted(0.2)
    assert "attribute-association" in {finding.code for finding in report.failures}
    write_baseline(report, baseline)
    assert compare_with_baseline(report, baseline).failures == ()
    assert compare_with_baseline(lint_planted(0.21), baseline).failures == ()
    (worse,) = compare_with_baseline(lint_planted(0.5), baseline).failures
    assert worse.code == "attribute-association"


def test_a_file_that_is_no_baseline_is_an_error(tmp_path: Path) -> None:
    report = lint(make_records(["a b", "c d", "e f"], [0, 1, 1]))
    path = tmp_path / "baseline.json"
    with pytest.raises(JobError, match="does not exist"):
        compare_with_baseline(report, path)
    for content in ("[]", "{", '{"version": 1, "findings": {"a": 3}}', '{"version": 9, "findings": {}}'):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(JobError, match="baseline"):
            compare_with_baseline(report, path)


def test_counts_missing_and_empty_and_conflicting_rows() -> None:
    texts = [f"text number {row} about nothing much" for row in range(60)]
    texts += ["the same words here again", "The same  words here again", "the same words here again", "", " "]
    records = make_records(texts, [0] * 50 + [1] * 10 + [0, 1, 1, 0, UNLABELLED])
    report = lint(records)
    assert [(label.label, label.count) for label in report.labels] == [("no", 52), ("yes", 12)]
    assert report.imbalance_ratio == pytest.approx(12 / 52)
    found = find_codes(report)
    assert found["label-conflicts"].rows == (60, 62)
    assert found["empty-texts"].rows == (63, 64)
    assert found["missing-labels"].effect == pytest.approx(1 / 65)
    assert found["tiny-label"].subject == ("yes",)
    assert found["label-imbalance"].severity is Severity.WARNING
    assert report.failures == ()


def test_concepts_are_measured_where_they_are_known() -> None:
    labels = np.asarray([0, 1] * 200)
    states = np.where(np.arange(400) % 10 < 2, State.UNKNOWN, labels).astype(np.int8)
    concepts = ConceptColumns(("food",), states.reshape(-1, 1), np.full((400, 1), 0.5))
    records = make_records([f"a text of {row} words" for row in range(400)], labels.tolist())
    report = lint(replace(records, concepts=concepts), target_rates={"food": 0.9}, fail_on=0.1)
    (food,) = [column for column in report.columns if column.kind == "concept"]
    assert food.counts == ((160, 0), (0, 160)) and food.n_missing == 80
    assert food.association.n < 400 and food.association.v > 0.95
    assert [row.r1 for row in report.residuals] == pytest.approx([0.4, 0.4])
    assert "concept-association" in {finding.code for finding in report.failures}
    unknown = replace(concepts, states=np.full_like(concepts.states, State.UNKNOWN))
    food = lint(replace(records, concepts=unknown)).columns[0]
    assert food.n_missing == 400 and food.association.p_value == 1
    assert food.predictor.balanced_accuracy == food.predictor.chance == 0.5


def test_an_association_that_another_attribute_explains_vanishes_within_it() -> None:
    generator = np.random.default_rng(6)
    country = generator.integers(0, 2, 800)
    labels = np.where(generator.random(800) < 0.85, country, 1 - country)
    source = np.where(generator.random(800) < 0.85, country, 1 - country)
    table = pa.table(
        {
            "text": [f"row {row} says {row * 7919 % 1000}" for row in range(800)],
            "label": [f"label {label}" for label in labels],
            "source": [f"source {value}" for value in source],
            "country": [f"country {value}" for value in country],
        }
    )
    task = TextClassification(("text",), "label", ("source", "country"))
    pooled = {found.subject for found in lint_table(table, task).findings if found.is_association}
    within = {
        found.subject for found in lint_table(table, task, within="country").findings if found.is_association
    }
    assert ("source",) in pooled and ("source",) not in within and ("country",) in within


def test_tables_of_all_kinds_give_the_same_report_as_records() -> None:
    texts = [f"row {row} of {row % 7}" for row in range(80)]
    codes = [row % 3 % 2 for row in range(80)]
    report = lint(make_records(texts, codes))
    dataset = Dataset.from_dict(
        {"body": texts, "stars": codes},
        features=Features({"body": Value("string"), "stars": ClassLabel(names=["no", "yes"])}),
    )
    task = TextClassification(("body",), "stars")
    assert lint_table(dataset, task) == report
    assert lint_table(dataset.select(range(80)).shuffle(seed=1), task).words == report.words
    names = pa.table({"body": texts, "stars": [["no", "yes"][code] for code in codes]})
    assert lint_table(names, task) == report
    parts = pa.table(
        {"head": [text[:5] for text in texts], "tail": [text[5:] for text in texts], "stars": codes}
    )
    joined = make_records([f"{text[:5]}\n{text[5:]}" for text in texts], codes, ("0", "1"))
    assert lint_table(parts, TextClassification(("head", "tail"), "stars")) == lint(joined)


def test_labels_keep_the_order_and_spelling_that_records_have() -> None:
    texts = [f"row {row}" for row in range(40)]
    numbers = pa.table({"text": texts, "label": [10, 9, None, 10] * 10})
    report = lint_table(numbers, TextClassification(("text",), "label"))
    assert [(label.label, label.count) for label in report.labels] == [("9", 10), ("10", 20)]
    words = pa.table({"text": texts, "label": ["b", "nan", " ", "a"] * 10})
    report = lint_table(words, TextClassification(("text",), "label"))
    assert [(label.label, label.count) for label in report.labels] == [("a", 10), ("b", 10)]
    assert "missing-labels" in {finding.code for finding in report.findings}
    features = Features({"text": Value("string"), "label": ClassLabel(names=["z", "never", "a"])})
    named = Dataset.from_dict({"text": texts, "label": [2, 0, None, 2] * 10}, features=features)
    report = lint_table(named, TextClassification(("text",), "label"))
    assert [(label.label, label.count) for label in report.labels] == [("z", 10), ("a", 20)]


def test_attributes_with_many_values_are_put_together() -> None:
    n = 400
    table = pa.table(
        {
            "text": [f"text {row} of them" for row in range(n)],
            "label": ["no", "yes"] * (n // 2),
            "price": [None if row == 3 else row * 0.5 for row in range(n)],
            "user": [f"user {row // 3}" if row < 300 else "user 0" for row in range(n)],
        }
    )
    report = lint_table(table, TextClassification(("text",), "label", ("price", "user")))
    price, user = (column for column in report.columns if column.kind == "attribute")
    assert len(price.values) == 11 and price.n_missing == 1 and price.n_values == n - 1
    assert price.values[0].startswith("0 to ") and sum(map(sum, price.counts)) == n
    assert len(user.values) == 50 and user.values[-1] == "(other)" and "user 0" in user.values
    assert sum(map(sum, user.counts)) == n and len(report.notes) >= 2


def test_ranges_of_large_numbers_can_be_told_apart_and_infinity_is_not_missing() -> None:
    n = 400
    table = pa.table(
        {
            "text": [f"text {row} of them" for row in range(n)],
            "label": ["no", "yes"] * (n // 2),
            "second": [1_700_000_000 + row for row in range(n)],
            "ratio": [float("inf") if row < 2 else row * 0.5 for row in range(n)],
        }
    )
    report = lint_table(table, TextClassification(("text",), "label", ("ratio", "second")))
    ratio, second = (column for column in report.columns if column.kind == "attribute")
    assert second.values[0] == "1700000000 to 1700000039" and len(set(second.values)) == 10
    assert ratio.n_missing == 0 and ratio.values[-1].endswith(" to inf")
    assert not any(finding.code == "missing-values" for finding in report.findings)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 4, "has only 'a'"),
        ([None] * 4, "no label at all"),
        (["a", "b", "c", "d"], "4 values in 4 rows"),
        ([float("nan")] * 4, "no label at all"),
    ],
)
def test_labels_that_cannot_be_balanced_are_one_clear_line(labels: list[object], message: str) -> None:
    table = pa.table({"text": ["one", "two", "three", "four"], "label": labels})
    with pytest.raises(DataError, match=message):
        lint_table(table, TextClassification(("text",), "label"))


def test_wrong_columns_and_options_are_one_clear_line() -> None:
    table = pa.table({"text": ["one", "two", "three"], "label": ["a", "b", "b"]})
    task = TextClassification(("text",), "label")
    with pytest.raises(DataError, match=r"no column 'stars'.*text, label"):
        lint_table(table, replace(task, label="stars"))
    with pytest.raises(DataError, match="no rows"):
        lint_table(table.slice(0, 0), task)
    with pytest.raises(DataError, match="'text' holds list"):
        lint_table(table.set_column(0, "text", [[["a"], ["b"], ["c"]]]), task)
    for columns in ((), ("text", "text")):
        with pytest.raises(JobError, match=r"text: found .*; name one text column or more, each once"):
            lint_table(table, replace(task, text=columns))
    with pytest.raises(JobError, match="'source' is no attribute"):
        lint_table(table, task, within="source")
    with pytest.raises(JobError, match="fail_on"):
        lint_table(table, task, fail_on=10)


def test_the_report_is_ready_for_json() -> None:
    records = make_records([f"row {row}" for row in range(40)], [0] * 30 + [1] * 10)
    plain = json.loads(
        json.dumps(lint(records, records.take(np.arange(3)), fail_on=0.1).to_dict(), allow_nan=False)
    )
    assert plain["labels"][1]["count"] == 10 and plain["duplicates"]["n_leaked_exact"] == 3
    leakage = next(finding for finding in plain["findings"] if finding["code"] == "leakage")
    assert leakage["fails"] and leakage["severity"] == "error" and len(leakage["fingerprint"]) == 16


def test_an_attribute_with_one_value_is_said_in_the_words_of_all(tmp_path: Path) -> None:
    texts = [f"{word} number {row}" for row in range(30) for word in ("good", "bad")]
    report = lint_table(make_table(texts, ["yes", "no"] * 30, ["web"] * 60), TASK)
    assert "'source' has one value only, so it says nothing of the label" in report.notes
