"""A model's choice among any number of labels."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from counterpoise.actions.relabel.label_judges import LLMJudge
from counterpoise.cli import app as cli
from counterpoise.core.records import Floats
from counterpoise.llm import ChatRequest
from counterpoise.scorers.label_choice import LabelChoice, LabelQuestion
from counterpoise.scorers.letters import LETTERS, LetterChoice
from counterpoise.scorers.shortlists import N_LISTED, NONE_OF_THESE, make_shortlists, spread_answers
from tests.made_up import make_chat
from tests.servers import WORDS, Body, LocalServer

OPTION = re.compile(r"^([A-T])\. (.*)$", re.MULTILINE)


def read_options(content: str) -> dict[str, str]:
    """Meaning -> letter."""
    return {meaning: letter for letter, meaning in OPTION.findall(content.split("</text>")[-1])}


def know(request: ChatRequest, index: int) -> str:
    """The letter of the label that the text names, or that it is none of these."""
    content = request.messages[-1].content
    wanted = re.findall(r"about (topic \d+)", content)[-1]
    options = read_options(content)
    return options.get(wanted, options.get(NONE_OF_THESE, "A"))


def rank_labels(k: int, *likely: int) -> Floats:
    """(k,) probabilities in which some labels are the likeliest, in this order."""
    scores = np.full(k, 0.001)
    scores[list(likely)] = np.arange(len(likely), 0, -1)
    return np.asarray(scores / scores.sum())


@pytest.mark.parametrize("k", [2, 3, 20, 21, 60, 150])
async def test_a_model_that_knows_the_label_says_it_of_any_number(k: int) -> None:
    names = tuple(f"topic {label}" for label in range(k))
    chat, engine = make_chat(know)
    questions = [LabelQuestion(f"about topic {label}", likely=rank_labels(k, label)) for label in (0, k - 1)]
    said = await LabelChoice(chat, names).ask(questions)
    assert said.shape == (2, k) and said.argmax(axis=1).tolist() == [0, k - 1]
    assert said.sum(axis=1) == pytest.approx(1)
    shown = [read_options(request.messages[-1].content) for request in engine.requests]
    assert {len(options) for options in shown} == {k if k <= len(LETTERS) else N_LISTED + 1}
    assert len(engine.requests) == 4


async def test_what_is_none_of_the_shortlist_is_left_to_the_ranking() -> None:
    k = 40
    names, likely = tuple(f"topic {label}" for label in range(k)), rank_labels(k, *range(10))
    chat, _ = make_chat(know)
    (said,) = await LabelChoice(chat, names).ask([LabelQuestion("about topic 33", likely=likely)])
    assert said[:8].max() == 0
    assert said[8:] == pytest.approx(likely[8:] / likely[8:].sum())
    # A recorded label is shown, however unlikely, for the model may confirm it; a described one, too.
    (said,) = await LabelChoice(chat, names).ask([LabelQuestion("about topic 33", likely=likely, given=33)])
    assert said.argmax() == 33
    described = rank_labels(k, 35)
    (said,) = await LabelChoice(chat, names).ask([LabelQuestion("about topic 35", (), likely, described)])
    assert said.argmax() == 35


def test_shortlists_take_from_both_rankings_in_turn() -> None:
    likely, described = rank_labels(30, 5, 6, 7, 8, 9, 10)[None], rank_labels(30, 6, 20, 21, 22)[None]
    assert make_shortlists(likely, described, np.array([29]), 6)[0].tolist() == [29, 5, 6, 20, 7, 21]
    assert make_shortlists(likely, described, np.array([-1]), 5)[0].tolist() == [5, 6, 20, 7, 21]
    said = spread_answers(np.array([[0.2, 0.3, 0.5]]), np.array([[5, 6]]), likely)
    assert said.sum() == pytest.approx(1) and said[0, [5, 6]] == pytest.approx([0.2, 0.3])
    assert said[0, 7] > said[0, 8] > said[0, 0] > 0


@pytest.mark.parametrize("k", [2, 3, 8, 9, 19, 20, 60])
async def test_a_text_that_names_a_letter_steers_to_no_label(k: int) -> None:
    names = tuple(f"topic {label}" for label in range(k))
    letters = LETTERS[: k if k <= len(LETTERS) else N_LISTED + 1]
    for letter in letters:
        chat, _ = make_chat(lambda request, index, letter=letter: letter)  # type: ignore[misc]
        question = LabelQuestion(f"answer {letter}", likely=rank_labels(k, 3 % k))
        (said,) = await LabelChoice(chat, names).ask([question])
        assert said.max() <= 0.5 + 1e-9, "an answer that the other order contradicts"


async def test_letters_are_read_back_in_the_order_in_which_they_were_shown() -> None:
    for k in (2, 5, 9):
        answers = tuple(f"topic {label}" for label in range(k))
        chat, _ = make_chat(know)
        choice = LetterChoice(chat, answers, "label_choice", "label")
        table = await choice.ask(
            [choice.make_requests(f"about topic {label}", "Which?") for label in range(k)]
        )
        assert (table == np.eye(k)).all()


async def test_a_judge_of_many_labels_has_to_be_told_the_likely_ones() -> None:
    chat, _ = make_chat(know)
    with pytest.raises(ValueError, match="21 labels"):
        await LLMJudge(chat, tuple(f"topic {label}" for label in range(21))).judge(["about topic 1"], [[]])


@pytest.mark.assets
@pytest.mark.processes
@pytest.mark.parametrize("k", [21, 60])
def test_wrong_labels_among_many_are_found_with_a_model(
    k: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every eighth label is that of another topic; the answers of the rows at even places are known."""
    topics = [f"{one} {other}" for place, one in enumerate(WORDS) for other in WORDS[:place]][:k]
    rows = [
        (f"{topic} number {turn}", topic, topics[(place + 1) % k] if (turn * k + place) % 8 == 1 else topic)
        for place, topic in enumerate(topics)
        for turn in range(9)
    ]
    for name, lines in (
        ("data", [(text, given) for text, _, given in rows]),
        ("gold", [(text, right) for text, right, _ in rows[::2]]),
    ):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *lines])

    def choose(body: Body) -> dict[str, float]:
        content = body["messages"][-1]["content"]
        wanted = re.findall(r"<text>(\w+ \w+) number", content)[-1]
        options = read_options(content)
        return {options.get(wanted, options.get(NONE_OF_THESE, "A")): -0.01}

    with LocalServer(logprobs=choose) as server:
        command = ["label-errors", str(tmp_path / "data.csv"), "--text", "text", "--label", "label"]
        command += ["--gold", str(tmp_path / "gold.csv"), "--model", server.url, "--min-precision", "0.8"]
        command += ["--output", str(tmp_path / "patch.jsonl"), "--json"]
        assert cli.execute(command) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    assert told["judge"]["n_asked"] >= 20
