"""Answers about suspects: drawn with known probabilities, and enough for a promise where errors are few."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from counterpoise.actions.relabel.asked_suspects import draw_suspects, estimate_wrong, find_part
from counterpoise.actions.relabel.label_promises import LabelSettings
from counterpoise.actions.relabel.label_queue import LabelledRows
from counterpoise.actions.relabel.labels import decide_labels
from counterpoise.actions.relabel.promises import Reach, certify
from counterpoise.actions.relabel.shared_stack import fit_shared, score_shared
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects, doubt_labels, find_suspects
from counterpoise.cli import app as cli
from counterpoise.core.records import Floats, Integers, Records
from tests.integration.helpers import make_cache

K, N = 30, 1500


class ManyLabels:
    """Thirty clouds of vectors; one label in twenty is that of the cloud beside."""

    def __init__(self, seed: int = 0, spread: float = 0.16) -> None:
        generator = np.random.default_rng(seed)
        self.truth = np.arange(N) % K
        centres = generator.normal(size=(K, 16))
        vectors = centres[self.truth] / 4 + spread * generator.normal(size=(N, 16))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        wrong = generator.choice(N, N // 20, replace=False)
        self.given = self.truth.copy()
        self.given[wrong] = (self.truth[wrong] + 1) % K
        ids = np.array([f"id{row:05d}" for row in range(N)], dtype=object)
        names = tuple(f"label {number:02d}" for number in range(K))
        self.records = Records(ids, ids, self.given, names, groups=ids)
        self.folds = np.arange(N) // K % 5
        self.bare = self.find()

    def find(self, gold: Integers | None = None) -> Suspects:
        return find_suspects(self.vectors, self.given, self.records.groups, self.folds, K, gold)

    def answer(self, rows: Integers, chances: Floats | None = None) -> LabelledRows:
        gold, drawn = np.full(N, UNKNOWN), np.ones(N)
        gold[rows] = self.truth[rows]
        if chances is not None:
            drawn[rows] = chances
        asked = None if chances is None else drawn
        return LabelledRows(self.records, self.vectors, self.folds, gold, chances=asked)


@pytest.fixture(scope="module")
def many() -> ManyLabels:
    return ManyLabels()


def test_half_of_the_rows_are_drawn_from_all_and_half_from_suspects_each_with_its_probability(
    many: ManyLabels,
) -> None:
    drawn = draw_suspects(many.records.ids, many.given, many.bare, 100, "key")
    assert len(set(drawn.rows.tolist())) == 100 and drawn.is_uniform.sum() == 50
    wrong = many.given != many.truth
    assert wrong[drawn.rows].sum() > 4 * wrong.mean() * 100
    # One chance for suspects and one for the others: so many were drawn, of so many.
    for chance in np.unique(drawn.chances):
        n_drawn = int((drawn.chances == chance).sum())
        assert (n_drawn / chance) == pytest.approx(round(n_drawn / chance))
    assert (1 / drawn.chances).sum() == pytest.approx(N)
    # The same rows whatever their order, and the first ones of a longer draw.
    order = np.random.default_rng(1).permutation(N)
    bare = find_suspects(
        many.vectors[order], many.given[order], many.records.groups[order], many.folds[order], K
    )
    moved = draw_suspects(many.records.ids[order], many.given[order], bare, 100, "key")
    assert set(many.records.ids[order][moved.rows]) == set(many.records.ids[drawn.rows])
    longer = draw_suspects(many.records.ids, many.given, many.bare, 160, "key")
    assert set(drawn.rows[drawn.is_uniform].tolist()) <= set(longer.rows.tolist())


def test_where_there_are_few_suspects_the_others_take_their_place() -> None:
    clean = ManyLabels(spread=0.01)
    given = clean.truth.copy()
    bare = find_suspects(clean.vectors, given, clean.records.groups, clean.folds, K)
    drawn = draw_suspects(clean.records.ids, given, bare, 60, "key")
    assert len(set(drawn.rows.tolist())) == 60
    everything = draw_suspects(clean.records.ids, given, bare, 10 * N, "key")
    assert set(everything.rows.tolist()) == set(range(N)) and (everything.chances == 1).all()


def test_answers_weigh_one_over_their_chance_in_what_is_said_of_all_labels(many: ManyLabels) -> None:
    wrong = float((many.given != many.truth).mean())
    values, plain, held = [], [], []
    for draw in range(60):
        drawn = draw_suspects(many.records.ids, many.given, many.bare, 100, f"draw {draw}")
        rows = many.answer(drawn.rows, drawn.chances)
        assert rows.chances is not None
        value, low, high = estimate_wrong(rows, rows.chances)
        values.append(value)
        plain.append(float((many.given != many.truth)[drawn.rows].mean()))
        held.append(low - 1e-9 <= wrong <= high + 1e-9)
    assert np.mean(values) == pytest.approx(wrong, rel=0.15)
    assert np.mean(plain) > 3 * wrong
    assert np.mean(held) > 0.6


async def test_a_hundred_answers_about_suspects_promise_what_a_hundred_at_random_do_not(
    many: ManyLabels,
) -> None:
    wrong = many.given != many.truth
    fixed: dict[str, list[float]] = {"suspects": [], "random": []}
    for draw in range(6):
        drawn = draw_suspects(many.records.ids, many.given, many.bare, 100, f"draw {draw}")
        at_random = np.random.default_rng(draw).choice(N, 100, replace=False)
        for name, rows in (
            ("suspects", many.answer(drawn.rows, drawn.chances)),
            ("random", many.answer(at_random)),
        ):
            found = await decide_labels(rows, settings=LabelSettings(0.8), suspects=many.find(rows.gold))
            changed = found.outcomes == "relabel"
            labels = np.where(changed, found.after, many.given)
            unknown = changed & (rows.gold == UNKNOWN)
            assert not unknown.any() or (labels == many.truth)[unknown].mean() >= 0.8
            fixed[name].append(float((labels == many.truth)[wrong].mean()))
    assert np.mean(fixed["suspects"]) > 0.4
    assert np.mean(fixed["random"]) < 0.2


def test_changes_that_no_answer_speaks_of_count_as_wrong() -> None:
    scores = np.linspace(0.9, 0.5, 40)
    all_right = np.ones(40, dtype=np.bool_)
    inside = np.linspace(0.9, 0.5, 400)
    alone = certify(all_right, scores, 0.8, 0.8, Reach(inside, np.empty(0)))
    assert alone.is_kept and alone.n_gold_changed == 40
    beside = certify(all_right, scores, 0.8, 0.8, Reach(inside, np.full(60, 0.7)))
    assert beside.is_kept and beside.low < alone.low
    assert not certify(all_right, scores, 0.8, 0.8, Reach(inside, np.full(120, 0.95))).is_kept
    # What is tested is exact: with as many outside as may be wrong nothing inside may be.
    share = Reach(np.ones(80), np.ones(20)).find_largest_share(np.array([0.5]), 0.2)
    assert share[0] == 0
    share = Reach(np.ones(80), np.ones(10)).find_largest_share(np.array([0.5]), 0.2)
    assert share[0] == pytest.approx(8 / 80)


def test_a_promise_made_by_a_part_breaks_no_more_often_than_it_says() -> None:
    generator = np.random.default_rng(3)
    broken, kept = [], []
    for _ in range(300):
        scores = generator.random(1500)
        # Just below what is promised at the top, and worse below.
        right = generator.random(1500) < np.where(scores > 0.7, 0.79, 0.5)
        part = generator.random(1500) < 0.5 + 0.45 * scores
        right &= part
        known = part & (generator.random(1500) < 0.15)
        promise = certify(right[known], scores[known], 0.7, 0.8, Reach(scores[part], scores[~part]))
        made = ~known & (scores >= promise.threshold)
        kept.append(promise.is_kept)
        broken.append(made.any() and right[made].mean() < 0.7)
    assert np.mean(broken) <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 300)
    assert np.mean(kept) > 0.2
    assert binom.cdf(1, 14, 0.2) <= 0.2


def test_known_rows_speak_of_the_part_they_were_drawn_from(many: ManyLabels) -> None:
    drawn = draw_suspects(many.records.ids, many.given, many.bare, 100, "key")
    rows = many.answer(drawn.rows, drawn.chances)
    doubts = doubt_labels(many.given, many.bare.views)
    part = find_part(doubts, rows)
    highest = drawn.chances.max()
    assert part[drawn.rows[drawn.chances == highest]].all()
    assert not part[drawn.rows[drawn.chances < highest]].any()
    assert part.sum() <= round((drawn.chances == highest).sum() / highest)
    # Of rows that were all drawn alike there is one part.
    assert find_part(doubts, replace(rows, chances=np.full(N, 0.1))).all()


def test_labels_without_an_answer_can_still_be_proposed(many: ManyLabels) -> None:
    known = np.flatnonzero(many.truth < 10)[:60]
    found = many.find(many.answer(known).gold)
    assert "known_labels" not in found.views
    others = many.truth >= 10
    assert (found.probabilities.argmax(axis=1) == many.truth)[others].mean() > 0.9
    weights = fit_shared(list(many.bare.views.values()), many.given, known, many.truth[known])
    assert weights.shape == (3,)
    table = score_shared(weights, list(many.bare.views.values()), many.given)
    assert np.allclose(table.sum(axis=1), 1) and np.isfinite(table).all()


TOPICS = ("maple", "granite", "copper", "willow", "harbour", "lantern", "meadow", "falcon")
COLUMNS = ("--text", "text", "--label", "label")


def write_notes(path: Path, n: int = 400) -> dict[str, str]:
    """Notes on eight topics, one label in ten that of the next topic; text -> right label."""
    right = {
        f"Note {place} of the week is on the {TOPICS[place % 8]}.": TOPICS[place % 8] for place in range(n)
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [
            (text, TOPICS[(TOPICS.index(label) + 1) % 8] if place % 10 == 3 else label)
            for place, (text, label) in enumerate(right.items())
        ]
        csv.writer(file).writerows([("text", "label"), *rows])
    return right


def fill(path: Path, right: dict[str, str]) -> list[dict[str, str]]:
    """Answer every row of a file of answers."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row | {"label": right[row["text"]]} for row in csv.DictReader(file)]
    write_rows(path, rows)
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.assets
def test_rows_are_asked_about_errors_and_the_answers_mend_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(make_cache(tmp_path / "cache")))
    data, answers = tmp_path / "notes.csv", tmp_path / "answers.csv"
    right = write_notes(data)
    line = ["label", str(data), *COLUMNS, "--about", "errors"]
    assert cli.execute([*line, "--ask", "50"]) == 0
    assert (
        f"then: counterpoise label-errors {data} --text text --label label --answers"
        in capsys.readouterr().out
    )
    first = fill(answers, right)
    assert list(first[0])[:3] == ["id", "ask", "probability"]
    # Asked again: new rows, what was filled in stays, and all probabilities are those of the longer draw.
    assert cli.execute([*line, "--ask", "40"]) == 0
    rows = fill(answers, right)
    assert len(rows) == 90 and {row["id"] for row in first} < {row["id"] for row in rows}
    assert sum(1 / float(row["probability"]) for row in rows) == pytest.approx(400, rel=0.1)
    capsys.readouterr()
    patch = ["label-errors", str(data), *COLUMNS, "--answers", str(answers), "--min-precision", "0.8"]
    assert cli.execute(["--json", *patch]) == 0
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert event["counts"]["relabel"] > 20
    assert any("each weighed by how likely it was asked for" in note for note in event["notes"])
    assert cli.execute(["apply", "patch.jsonl", str(data), "-o", "mended.csv"]) == 0
    with (tmp_path / "mended.csv").open(encoding="utf-8", newline="") as file:
        mended = list(csv.DictReader(file))
    assert sum(row["label"] != right[row["text"]] for row in mended) < 10

    for broken, message in (
        ({"probability": "1.5"}, "found '1.5' under 'probability'"),
        ({"probability": "often"}, "found 'often' under 'probability'"),
        ({"label": "oak"}, "found 'oak' under 'label'"),
    ):
        write_rows(answers, [rows[0] | broken, *rows[1:]])
        assert cli.execute([*patch, "--overwrite"]) == 2
        said = capsys.readouterr().err
        assert message in said and "line 2" in said and len(said.strip().splitlines()) == 1
    write_rows(answers, [row | {"label": ""} for row in rows])
    assert cli.execute([*patch, "--overwrite"]) == 2
    assert "holds no answer" in capsys.readouterr().err
    assert cli.execute([*patch, "--overwrite", "--gold", str(data)]) == 2
    assert "beside 'gold' or 'trusted'" in capsys.readouterr().err


@pytest.mark.assets
def test_what_cannot_be_asked_about_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(make_cache(tmp_path / "cache")))
    data = tmp_path / "notes.csv"
    write_notes(data, 80)
    line = ["label", str(data), *COLUMNS]
    for more, message in (
        (["--ask", "20", "--about", "mistakes"], "found 'mistakes'"),
        (["--about", "errors"], "without --ask"),
        (["--ask", "20", "--about", "errors", "--pool", str(data)], "beside --pool"),
    ):
        assert cli.execute([*line, *more]) == 2
        assert message in capsys.readouterr().err
    # A file of other answers is not mixed with these.
    assert cli.execute([*line, "--ask", "20"]) == 0
    assert cli.execute([*line, "--ask", "20", "--about", "errors"]) == 2
    assert "not asked about errors" in capsys.readouterr().err
