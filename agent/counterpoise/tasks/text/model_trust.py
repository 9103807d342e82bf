"""Whether the model of the job may say labels: its audit on the rows on which the scorer that costs nothing is audited.

It is asked outright, and where that earns it no say, beside examples, each time with its leanings taken off as well
where it was shown all labels; what is tried costs at most a tenth of the budget together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.core.records import Integers
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm import ChatClient
from counterpoise.scorers.audits import Audit, audit, describe_audit
from counterpoise.scorers.family import BASELINE
from counterpoise.scorers.gold import LABEL
from counterpoise.scorers.label_choice import LabelAnswers, LabelQuestion
from counterpoise.scorers.letters import LETTERS, WHICH_LABEL
from counterpoise.scorers.model_labels import (
    N_SHOWN,
    Asked,
    HeardRows,
    KnownRows,
    ModelLabels,
    ModelSay,
    measure_centre,
    take_off,
)
from counterpoise.scorers.weighing import MODEL, Weighing, weigh
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.label_trust import PILOT_SHARE, LabelTrust, find_known_labels

PILOT_ROWS = 100
_FEWEST_ROWS = 10
_AT_ONCE = 64  # texts whose questions are made before the next are looked at
_CLEARLY = 1.0
"""Nats by which centred answers have to explain the known labels better than plain ones, which need no centre."""


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """One way to ask the model, measured on known rows.

    Args:
        way: how it was asked.
        weighing: who decides, with it.
        result: the audit of its answers.
        right: share of right answers of the scorer that costs nothing and of both together, on the same rows.
        heard: these rows.
    """

    way: ModelLabels
    weighing: Weighing
    result: Audit
    right: tuple[float, float]
    heard: HeardRows


async def audit_model(trust: LabelTrust, inputs: Inputs, chat: ChatClient, key: str) -> LabelTrust:
    """Add the audit of the language model to those of the scorers that cost nothing, and say who decides.

    Args:
        trust: the audits of the other scorers.
        inputs: the data.
        chat: the way to the model.
        key: the run's key.

    Returns:
        The same with the model's line; with `model` where it has earned a say (`scorers.weighing`).
    """
    if len(inputs.train.records.label_names) < 2:
        return trust
    question = f"{WHICH_LABEL} The language model {chat.name} picks a letter."
    rows, truth = draw_pilot(inputs, key)
    limit = chat.budget.limit
    share = PILOT_SHARE / 2 if inputs.concepts and inputs.gold else PILOT_SHARE
    left = None if limit is None else share * limit
    before, trials, n_asked = chat.budget.used, list[ModelTrial](), 0
    for n_shown in (0, N_SHOWN):
        way = make_way(inputs, chat, n_shown, "audit")
        asked = show_rows(rows, inputs, trust)
        questions, tokens = plan_within(way, asked, left)
        left = None if left is None else left - tokens
        if len(questions) < _FEWEST_ROWS:
            break
        n_asked = max(n_asked, len(questions))
        answers = await way.answer(questions)
        tried = measure(way, answers, rows[: len(questions)], truth[: len(questions)], inputs, trust)
        trials += tried
        if not tried or any(one.weighing.is_earned for one in tried):
            break
    if not trials:
        return replace(trust, rows=(*trust.rows, _describe_silence(question, n_asked)))
    best = choose_trial(trials)
    price = (chat.budget.used - before) / n_asked * 1000
    line = _describe(question, best, trials, price)
    if not best.weighing.is_earned:
        return replace(trust, rows=(*trust.rows, line))
    say = ModelSay(replace(best.way, purpose="label"), best.weighing, best.heard)
    return replace(trust, rows=(*_hand_over(trust.rows, best.weighing), line), model=say)


def make_way(inputs: Inputs, chat: ChatClient, n_shown: int, purpose: str) -> ModelLabels:
    """A way to ask the model, with training rows as examples whose labels nobody doubts."""
    sure = inputs.leave_out_doubtful(np.arange(len(inputs.train)))
    train = inputs.train.take(sure)
    known = KnownRows(train.records.texts, train.vectors, train.records.labels, inputs.folds[sure])
    return ModelLabels(chat, inputs.label_texts, known, n_shown, purpose=purpose)


def show_rows(rows: Integers, inputs: Inputs, trust: LabelTrust) -> Asked:
    """Training rows as the model is asked about them; whoever ranks their labels has not seen them."""
    train = inputs.train
    described = train.zero_shot[rows] if len(train.zero_shot) else train.zero_shot
    return Asked(
        train.records.texts[rows], train.vectors[rows], trust.out_of_fold[rows], described, inputs.folds[rows]
    )


def plan_within(way: ModelLabels, asked: Asked, limit: float | None) -> tuple[list[LabelQuestion], int]:
    """The questions about the first texts that `limit` tokens pay for, and what they cost at most; None is no limit."""
    questions: list[LabelQuestion] = []
    spent = 0
    for start in range(0, len(asked), _AT_ONCE):
        for one in way.list_questions(asked.take(np.arange(start, min(start + _AT_ONCE, len(asked))))):
            price = way.estimate_tokens(one)
            if limit is not None and spent + price > limit:
                return questions, spent
            questions.append(one)
            spent += price
    return questions, spent


def measure(
    way: ModelLabels,
    answers: LabelAnswers,
    rows: Integers,
    truth: Integers,
    inputs: Inputs,
    trust: LabelTrust,
) -> list[ModelTrial]:
    """A way's answers as they are and, where all labels were shown, centred; nothing where too few were given."""
    given = answers.is_given
    if given.sum() < _FEWEST_ROWS or len(np.unique(truth[given])) < 2:
        return []
    ways = [(way, answers)]
    if len(way.answers) <= len(LETTERS):
        centre = measure_centre(answers, truth)
        ways.append((replace(way, centre=centre), take_off(answers, centre)))
    rows, truth = rows[given], truth[given]
    records = inputs.train.records
    groups = records.groups[rows] if len(records.groups) else None
    free = trust.out_of_fold[rows]
    trials = []
    for one, said in ways:
        weighing = weigh(free, said.factors[given], truth, groups)
        united = weighing.unite(free, said.factors[given])
        right = tuple(float((table.argmax(axis=1) == truth).mean()) for table in (free, united))
        heard = HeardRows(inputs.train.vectors[rows], truth, said.factors[given], inputs.folds[rows], groups)
        result = audit(said.probabilities[given], truth)
        trials.append(ModelTrial(one, weighing, result, (right[0], right[1]), heard))
    return trials


def choose_trial(trials: Sequence[ModelTrial]) -> ModelTrial:
    """The first one, unless a later one explains the known labels clearly better."""
    best = trials[0]
    for one in trials[1:]:
        if one.weighing.is_earned and (
            not best.weighing.is_earned or one.weighing.gain > best.weighing.gain + _CLEARLY
        ):
            best = one
    return best


def draw_pilot(inputs: Inputs, key: str) -> tuple[Integers, Integers]:
    """(m,) positions and right labels of rows of known label, by keyed hash.

    The labels come in turn, so that a rare one is there; rows that a person answered or marked come before labels as
    they stand in the data.
    """
    records = inputs.train.records
    known, truth = np.arange(len(records)), records.labels
    if inputs.gold.get(LABEL) is not None or inputs.trusted is not None:
        known, truth, _ = find_known_labels(inputs)
    else:
        known = inputs.leave_out_doubtful(known)
        truth = truth[known]
    queues = []
    for label in range(len(records.label_names)):
        members = np.flatnonzero(truth == label)
        ranked = sample_by_rank(records.ids[known[members]], PILOT_ROWS, f"{key}:pilot")
        queues.append(members[ranked].tolist())
    picked: list[int] = []
    while len(picked) < PILOT_ROWS and any(queues):
        picked += [queue.pop(0) for queue in queues if queue]
    chosen = np.array(picked[:PILOT_ROWS], dtype=np.int64)
    return known[chosen], truth[chosen]


def _describe_silence(question: str, n_asked: int) -> dict[str, Any]:
    """The line of a model that was not asked, or did not answer."""
    note = "A tenth of the budget does not pay an audit of ten rows."
    if n_asked:
        note = "It gave no usable answer: the server may not return log-probabilities."
    return describe_audit("llm", question, None, role="refused", price=None, note=note)


def _describe(question: str, best: ModelTrial, trials: Sequence[ModelTrial], price: float) -> dict[str, Any]:
    """The line of a model that was measured."""
    weighing, n = best.weighing, best.weighing.n
    right = f"{best.result.accuracy:.0%} right, {best.right[0]:.0%} what costs nothing"
    if weighing.is_earned:
        whom = "alone" if weighing.decides == MODEL else "together with the classifier"
        note = (
            f"It decides {whom}, asked {best.way.manner}: on the same {n} rows of known label ({right}, "
            f"{best.right[1]:.0%} both) that explains the labels better by {weighing.gain:.1f} nats."
        )
    else:
        tried = ", ".join(dict.fromkeys(one.way.manner for one in trials))
        note = (
            f"It decides nothing: on the same {n} rows of known label ({right}) it adds nothing to what costs nothing "
            f"({weighing.gain:+.1f} nats; asked {tried})."
        )
    role = "used" if weighing.is_earned else "refused"
    return describe_audit("llm", question, best.result, role=role, price=price, note=note)


def _hand_over(rows: Sequence[dict[str, Any]], weighing: Weighing) -> tuple[dict[str, Any], ...]:
    """The lines of the others, where a model has a say beside or instead of them."""
    used = [row["name"] for row in rows if row["role"] == "used"] or [BASELINE.name]
    note = "It decides together with the model where that was asked."
    if weighing.decides == MODEL:
        note = "The model decides where it was asked."
    return tuple(dict(row, note=f"{row['note']} {note}") if row["name"] == used[0] else row for row in rows)
