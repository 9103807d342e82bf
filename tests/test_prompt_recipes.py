"""A recipe that is a prompt: which examples it shows, and what it makes of a model's letters, over real HTTP."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterpoise
from counterpoise.core.errors import JobError
from counterpoise.llm.letters import SURENESS
from counterpoise.runs.recipe.data import RecipeData, as_objects, read_data, write_data
from counterpoise.runs.recipe.examples import choose_examples, draw_even
from counterpoise.runs.recipe.prompt import PromptRecipe
from counterpoise.students.cell_marks import CellMarks
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.servers import Body, LocalServer

pytestmark = pytest.mark.processes

TEXTS = [
    f"{'lovely' if row % 4 else 'awful'} soup {row} {'in the garden' if row % 3 else ''}" for row in range(80)
]


def make_data(**keys: Any) -> RecipeData:
    """Sixty good and twenty bad rows, two thirds of them in the garden; the last ten were written by a model."""
    labels = np.array([int(row % 4 > 0) for row in range(80)])
    garden = np.array([[int(row % 3 > 0)] for row in range(80)], dtype=np.int8)
    values: dict[str, Any] = {
        "texts": as_objects(TEXTS),
        "labels": labels,
        "weights": np.ones(80),
        "original": np.arange(80) < 70,
        "classes": (1, 5),
        "descriptions": ("Complaints", "Praise"),
        "sources": as_objects([(f"row {row}",) for row in range(80)]),
        "marks": CellMarks(("outside",), garden, garden.astype(np.float64)),
        "n_concepts": 1,
    }
    return RecipeData(**(values | keys))


def find_options(body: Body) -> dict[str, str]:
    """Meaning -> letter of a prompt."""
    found = re.findall(r"^([A-B])\. (.*)$", body["messages"][-1]["content"], re.MULTILINE)
    return {meaning: letter for letter, meaning in found}


def find_asked(body: Body) -> str:
    return str(re.findall(r"<text>(.*?)</text>", body["messages"][-1]["content"])[-1])


def score(body: Body) -> dict[str, float]:
    """A model that knows the word, and leans to `Praise` and to the letter A whatever it reads."""
    if "Complaints" not in body["messages"][-1]["content"]:
        return {"A": -1.0, "B": -1.0}
    options, asked = find_options(body), find_asked(body)
    odds = 3.0 + (1.0 if "lovely" in asked else -1.0)
    good = 1 / (1 + math.exp(-odds))
    table = {options["Praise"]: math.log(good), options["Complaints"]: math.log(1 - good)}
    return {letter: value - (letter != "A") * 0.2 for letter, value in table.items()}


def test_examples_are_even_over_labels_and_concepts_and_never_written_ones() -> None:
    data = make_data()
    rows = choose_examples(data, 16, "key")
    assert len(set(rows.tolist())) == 16 and data.original[rows].all()
    assert data.marks is not None
    cells = Counter(zip(data.labels[rows].tolist(), data.marks.states[rows, 0].tolist(), strict=True))
    assert cells == {(0, 0): 4, (0, 1): 4, (1, 0): 4, (1, 1): 4}
    assert len(set(data.labels[rows][:8].tolist())) == 2, "labels are mixed"
    order = np.random.default_rng(0).permutation(80)
    moved = replace(
        data,
        **{name: getattr(data, name)[order] for name in ("texts", "labels", "original", "sources")},
        marks=data.marks.take(order),
    )
    again = choose_examples(moved, 16, "key")
    assert list(moved.texts[again]) == list(data.texts[rows]), "the order of the rows does not count"
    assert list(choose_examples(data, 16, "another")) != list(rows)
    centre = draw_even(data, 12, rows, "centre")
    assert not set(centre) & set(rows) and Counter(data.labels[centre]) == {0: 6, 1: 6}


def test_rows_whose_label_is_known_come_first() -> None:
    trusted = np.zeros(80, np.bool_)
    trusted[[0, 8, 12, 1, 2]] = True
    rows = choose_examples(make_data(trusted=trusted), 8, "key")
    assert {0, 8, 12, 1, 2} <= set(rows.tolist())


def test_a_model_that_leans_is_centred(tmp_path: Path) -> None:
    asked = ["lovely fish", "awful fish", "lovely fish"]
    with LocalServer(logprobs=score) as server:
        settings: dict[str, Any] = {"data": make_data(), "model": server.url, "cache_dir": tmp_path}
        recipe = PromptRecipe(**settings, k=4).fit()
        assert recipe.gives_log_probabilities_ and recipe.classes_.tolist() == [1, 5]
        assert recipe.predict(asked).tolist() == [5, 1, 5]
        # What it says of own texts, labels alike, is odds of 3: the lean goes, and what it knows stays.
        odds = np.diff(recipe.predict_log_proba(asked), axis=1)[:, 0]
        np.testing.assert_allclose(odds, [1.0, -1.0, 1.0], atol=1e-6)
        plain = PromptRecipe(**settings, k=4, n_centre=0).fit()
        assert plain.predict(asked).tolist() == [5, 5, 5]
        before = server.n_requests
        assert recipe.predict(asked).tolist() == [5, 1, 5] and server.n_requests == before, "answers are kept"
        about = [body for body in server.bodies if "Complaints" in body["messages"][-1]["content"]]
    fish = [body for body in about if find_asked(body) == "awful fish"]
    assert sorted(find_options(body)["Praise"] for body in fish[:2]) == ["A", "B"], "both orders are asked"
    for body in fish:
        content, options = body["messages"][-1]["content"], find_options(body)
        shown = re.findall(r"<text>(.*?)</text>\nAnswer: ([AB])", content)
        assert len(shown) == 4
        for text, letter in shown:
            assert letter == options["Praise" if "lovely" in text else "Complaints"]
    assert recipe.render("awful fish") in [
        "\n\n".join(turn["content"] for turn in body["messages"]) for body in fish
    ]


def test_without_log_probabilities_the_letter_that_is_written_counts(tmp_path: Path) -> None:
    def write(body: Body, index: int) -> str:
        if "Complaints" not in body["messages"][-1]["content"]:
            return "A"
        return f"The answer is **{find_options(body)['Praise' if 'lovely' in find_asked(body) else 'Complaints']}**"

    with LocalServer(write, logprobs=lambda body: {}) as server:
        recipe = PromptRecipe(data=make_data(), model=server.url, k=4, cache_dir=tmp_path).fit()
        assert not recipe.gives_log_probabilities_
        found = recipe.predict_proba(["lovely fish", "awful fish"])
    np.testing.assert_allclose(found, [[1 - SURENESS, SURENESS], [SURENESS, 1 - SURENESS]], atol=1e-9)


def test_a_budget_that_does_not_reach_and_what_cannot_be_are_one_line(tmp_path: Path) -> None:
    with LocalServer(logprobs=score) as server:
        settings: dict[str, Any] = {"data": make_data(), "model": server.url, "cache_dir": tmp_path}
        with pytest.raises(
            JobError,
            match=r"the budget of 3k tokens for one call is spent: 32 of 32 texts .* take [\d,]+ at most; .*kept",
        ):
            PromptRecipe(**settings, k=4, budget="3k").fit()
        with pytest.raises(JobError, match="1 examples for 2 labels; give k=2 or more"):
            PromptRecipe(**settings, k=1).fit()
        many = make_data(classes=tuple(range(30)), descriptions=tuple(map(str, range(30))))
        with pytest.raises(JobError, match="found 30 labels; it takes 2 to 20"):
            PromptRecipe(**settings | {"data": many}).fit()
    with pytest.raises(JobError, match="a prompt is not saved as a recipe"):
        PromptRecipe().save(tmp_path / "prompt.skops")


def test_rows_of_a_recipe_come_back_as_they_were(tmp_path: Path) -> None:
    data = make_data(trusted=np.arange(80) % 2 > 0, zero_shot=np.random.default_rng(0).random((80, 2)))
    write_data(tmp_path, data)
    again = read_data(tmp_path)
    for name in ("texts", "labels", "weights", "original", "sources", "zero_shot", "trusted"):
        assert getattr(again, name).tolist() == getattr(data, name).tolist(), name
    assert again.classes == (1, 5) and again.marks is not None and again.marks.names == ("outside",)
    mode = (tmp_path / "recipe" / "rows.parquet").stat().st_mode & 0o777
    assert mode == 0o600


@pytest.mark.assets
def test_a_run_asks_its_own_model_unless_that_is_the_embedded_one(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", make_reviews(30, 12))
    write_reviews(tmp_path / "test.csv", make_reviews(8, 8, seed=1))
    make_cache(tmp_path / "cache")

    def lean(body: Body) -> dict[str, float]:
        options = {
            meaning: letter
            for letter, meaning in re.findall(
                r"^([AB])\. (.*)$", body["messages"][-1]["content"], re.MULTILINE
            )
        }
        if len(options) < 2:
            return {"A": -1.0, "B": -1.0}
        kinds = ("loved", "Wonderful", "dream", "Happily")
        is_good = any(word in find_asked(body) for word in kinds)
        return {
            letter: -0.1 if ("Praise" in meaning) == is_good else -2.0 for meaning, letter in options.items()
        }

    with LocalServer(lambda body, index: write_reply(body, index), logprobs=lean) as server:
        job = make_job(tmp_path, server, "run", rounds=1, budget=8_000, treatments=["logit_adjustment"])
        run = counterpoise.run(job, progress=False)
        recipe = (
            counterpoise.resume(run.directory, progress=False).recipe("in_context", k=6, n_centre=8).fit()
        )
        held_out = run.dataset["held_out"]
        assert recipe.score(held_out, held_out["stars"]) == 1.0
        assert {label for _, label in recipe.examples_} == {"good", "bad"}
    text = (run.directory / "job.yaml").read_text(encoding="utf-8")
    (run.directory / "job.yaml").write_text(
        re.sub(r"llm:\n(  .*\n)+", "llm: embedded\n", text), encoding="utf-8"
    )
    with pytest.raises(JobError, match="the embedded model judges no labels; name a larger one"):
        counterpoise.resume(run.directory, progress=False).recipe("in_context")
