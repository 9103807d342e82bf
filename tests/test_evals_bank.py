"""The bank of bought texts: what a draw is, what it may buy, and what is said of a file that is absent or another."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import bank, bank_files
from evals.bank_files import ROWS, find_path, hash_text, read_file, write_file
from evals.bank_model import write_with_model
from evals.bank_store import read_bank
from evals.bank_writers import BankRows, derive, write_writer
from evals.common import MissingDataError, Settings
from tests.made_up import ENCODER
from tests.made_up_bank import open_bank, write_bank
from tests.servers import LocalServer


@pytest.fixture
def made(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> BankRows:
    return write_bank(cache_dir, monkeypatch)


def test_two_hundred_draws_differ_and_have_fifteen_donors_beside_rows_of_the_other_label(
    made: BankRows,
) -> None:
    donors = {line["text"] for line in made.lines if line["group"] >= 0}
    sealed = {line["text"] for line in made.lines if line["part"] == "test"}
    opened, seen = open_bank(), set()
    for seed in range(220):
        draw = opened.draw(seed)
        rare = frozenset(draw.own.texts[draw.own.labels == 0])
        assert len(rare) == 15 and rare <= donors and len(draw.own) == 75
        assert sealed.isdisjoint(draw.own.texts) and set(draw.test.texts) == sealed
        seen.add(rare)
    assert len(donors) == 60 and len(seen) == 220
    again = open_bank().draw(219)
    assert again.own.texts.tolist() == draw.own.texts.tolist()
    assert again.folds.tolist() == draw.folds.tolist()
    with pytest.raises(ValueError, match="multiple of 5 up to 60"):
        opened.draw(0, n_rare=12)


@pytest.mark.parametrize("seed", [0, 7])
def test_what_is_bought_has_its_parents_in_the_draw_and_is_no_row_of_it(made: BankRows, seed: int) -> None:
    opened = open_bank()
    draw, sealed = opened.draw(seed), set(opened.test.texts)
    own = set(draw.own.texts)
    assert opened.list_writers() == ("real_rows", "wrong_labels", "headings", "copies", "gibberish")
    for writer in opened.list_writers():
        bought = opened.buy(writer, draw)
        assert 30 < len(bought) <= 45 and set(bought.labels) == {0}
        assert sealed.isdisjoint(bought.texts) and own.isdisjoint(bought.texts)
        assert all(own.issuperset(parents) for parents in bought.parents)
        assert bought.vectors == pytest.approx(ENCODER.encode(list(bought.texts)))
        again = open_bank().buy(writer, draw)
        assert again.texts.tolist() == bought.texts.tolist()
    assert len(opened.buy("copies", draw, n=10)) == 10
    assert opened.buy("copies", draw, seed=1).texts.tolist() != opened.buy("copies", draw).texts.tolist()
    truth = dict(opened.corpus.rows)
    for writer, share in (("real_rows", 1.0), ("wrong_labels", 0.69), ("headings", 0.0)):
        bought = opened.buy(writer, draw)
        assert [opened.labels[label] for label in bought.truth] == [truth[text] for text in bought.texts]
        assert np.mean(bought.truth == 0) == pytest.approx(share, abs=0.01)


def test_bought_rows_stand_behind_own_ones_and_know_which_folds_they_were_made_from(made: BankRows) -> None:
    opened = open_bank()
    draw = opened.draw(3)
    bought = opened.buy("copies", draw)
    rows, folds, made_of = opened.join(draw, bought)
    assert len(rows) == len(draw.own) + len(bought) and rows.original.sum() == len(draw.own)
    assert (folds[~rows.original] == -1).all() and (made_of[~rows.original].sum(axis=1) == 1).all()
    fold_of = dict(zip(draw.own.texts, draw.folds, strict=True))
    for row, (parent,) in enumerate(bought.parents, start=len(draw.own)):
        assert made_of[row, fold_of[parent]] == 1 and rows.sources is not None
        assert rows.sources[row] == (parent,)


def test_texts_that_are_sealed_rows_are_not_written(made: BankRows) -> None:
    sealed = next(line["text"] for line in made.lines if line["part"] == "test")
    lines: list[dict[str, Any]] = [
        {"text": text, "label": "bad", "parents": [], "tokens": 3.0, "truth": None}
        for text in (sealed, " ", "The tea was cold")
    ]
    _, n = write_writer(made, "mine", lines, model="m", spent=9.0)
    bought = open_bank().buy("mine", open_bank().draw(0))
    assert n == 1 and bought.texts.tolist() == ["The tea was cold"] and bought.tokens.tolist() == [3.0]
    assert bought.truth.tolist() == [-1]


def test_a_line_says_what_is_absent_or_another(made: BankRows, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        MissingDataError, match=r"`python -m evals bank build --only none --data absent` builds"
    ):
        read_bank(Settings(Path("absent")), "none", ENCODER)
    with pytest.raises(MissingDataError, match=r"`python -m evals bank build --only made/gpt4` builds it"):
        open_bank().buy("gpt4", open_bank().draw(0))
    bank.pin({"made": set()})
    assert json.loads(bank_files.RECIPE.read_text())["made"][ROWS] == made.sha256
    draw = open_bank().draw(0)
    file = read_file("made", "copies")
    write_file("made", "copies", {**file.header, "spent": 1.0}, file.lines[1:])
    with pytest.raises(MissingDataError, match=r"copies.jsonl.gz is another file .* --pin --only made"):
        open_bank().buy("copies", draw)
    find_path("made", ROWS).write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(MissingDataError, match="is no file of the bank"):
        open_bank()
    assert bank.main(["build", "--only", "nowhere"]) == 2
    assert bank.main(["build", "--only", "cebab/nobody"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("error: --only nowhere: found set 'nowhere'; there are cebab")
    assert said[1].startswith("error: --only cebab/nobody: found writer 'nobody'; cebab has foreign")


def test_a_writer_of_other_rows_is_refused(made: BankRows) -> None:
    file = read_file("made", "copies")
    write_file("made", "copies", {**file.header, "rows": "0" * 64}, file.lines)
    with pytest.raises(MissingDataError, match="was written for other rows of made"):
        open_bank().buy("copies", open_bank().draw(0))


def test_a_model_at_a_url_becomes_a_writer_and_is_paid_once(
    made: BankRows, capsys: pytest.CaptureFixture[str]
) -> None:
    with LocalServer() as server:
        bank.record({"made": set()}, server.url, "my model", "")
        n_asked = server.n_requests
        first = read_file("made", "my-model")
        bank.record({"made": set()}, server.url, "my model", "")
        assert server.n_requests == n_asked
        assert asyncio.run(write_with_model(made, "plain_script", {"engine": "server", "url": server.url}))
    assert capsys.readouterr().out.splitlines() == 2 * [f"{first.path} sha256 {first.sha256}"]
    assert first.header["rows"] == made.sha256 and first.header["spent"] > 0
    assert first.header["model"] == "local-model" and first.header["prompt"].startswith("minority_")
    groups = [tuple(sorted(line["id"] for line in group)) for group in made.list_groups("bad")]
    for writer, n in (("my-model", 60), ("plain_script", 30)):
        parents = [tuple(sorted(line["parents"])) for line in read_file("made", writer).lines]
        assert {group: parents.count(group) for group in groups} == dict.fromkeys(groups, n)
        opened = open_bank()
        bought = opened.buy(writer, opened.draw(0), n=1000)
        assert len(bought) == 3 * n and bought.tokens.min() > 0 and set(bought.truth) == {-1}
    with pytest.raises(MissingDataError, match="--name copies: the bank has such a writer"):
        bank.record({"made": set()}, server.url, "copies", "")


def test_equal_files_have_equal_bytes_and_their_vectors_are_kept_by_hash(made: BankRows) -> None:
    before = find_path("made", "copies").read_bytes()
    derive(made, "copies", Path())
    assert find_path("made", "copies").read_bytes() == before
    open_bank().buy("copies", open_bank().draw(0))
    (kept,) = find_path("made", "copies").parent.glob("copies.*.npy")
    assert kept.name.endswith(f"{read_file('made', 'copies').sha256[:12]}.npy")
    assert len(np.load(kept)) == len(read_file("made", "copies").lines)
    assert all(line["id"] == hash_text(line["text"]) for line in made.lines)
