"""What a small classifier that a model has taught is worth beside asking the model each time, on the sealed rows.

Everything is chosen by then: the model is asked about sealed rows only to be scored, as it would be asked about any
text, outright and beside the nearest rows of known label. All ways answer the same rows, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import JobError
from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm import ReplyStore, TokenBudget
from counterpoise.llm.capabilities import learn_manner
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.connect import open_models, open_silent
from counterpoise.runs.mending import mend_labels
from counterpoise.runs.recipe.estimator import Recipe
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.scorers.model_labels import N_SHOWN, Asked
from counterpoise.students.added_ways import TUNED_ADDED, find_way
from counterpoise.students.treatments import BASELINE
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.model_trust import make_way, plan_within

ASK, FEW, TEACH, SIMPLE = "ask", "few_examples", "teach", "simple_way"
MOST_ASKED = 300
"""Sealed rows that a model is asked about."""

_FEWEST_ASKED = 20
_FEWEST_OF_LABEL = 5
_N_DRAWS = 2000
_SEED = 13


@dataclass(frozen=True, slots=True)
class WayScore:
    """A way to answer the sealed rows.

    Args:
        way: `ask`, `few_examples`, `teach` or `simple_way`.
        accuracy, low, high: share of right answers with its 95% interval.
        worst_label: of the labels with five scored rows or more the one with the fewest right answers; "" for none.
        worst_accuracy: of that label; NaN for none.
        n: rows.
        milliseconds: a text; NaN where the replies were stored already.
        tokens: for 1,000 texts; 0 for a classifier.
    """

    way: str
    accuracy: float
    low: float
    high: float
    worst_label: str
    worst_accuracy: float
    n: int
    milliseconds: float
    tokens: float


@dataclass(frozen=True, slots=True)
class TaughtTable:
    """The ways beside each other.

    Args:
        rows: one a way that was measured.
        advice: which of them to take, in a sentence.
        notes: why a way was not measured.
    """

    rows: tuple[WayScore, ...]
    advice: str
    notes: tuple[str, ...]

    def as_dict(self, *, timed: bool = True) -> dict[str, Any]:
        """Plain values; NaN as None. Without milliseconds (`timed`) they are the same whenever a run is repeated."""
        plain = [asdict(row) for row in self.rows]
        for row in plain:
            if not timed:
                del row["milliseconds"]
            row.update({key: None for key, value in row.items() if value != value})
        return {"rows": plain, "advice": self.advice, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class _Answered:
    """(m,) answers of a way to the rows, with what they took."""

    answers: Integers
    milliseconds: float
    tokens: float


async def measure_taught(
    job: Job, inputs: Inputs, taught: Recipe, simple: Recipe, tokens: int | None
) -> TaughtTable:
    """Measure all ways on the same sealed rows.

    Args:
        job: that was run.
        inputs: of it, as they were read: examples have the labels that the run mended.
        taught: what the run recommends, fitted.
        simple: the best way without a token, fitted.
        tokens: that the model may still use; None without a limit.

    Raises:
        JobError: there are no sealed rows.
        ServiceError: the server is gone.
    """
    inputs = (await mend_labels(job, inputs, open_silent(job.llm))).inputs
    held = inputs.held_out.records
    if not len(held):
        hint = "name a file or a share under held_out"
        raise JobError("nothing is held out to compare on", where="key 'held_out'", hint=hint)
    rows = sample_by_rank(held.ids, MOST_ASKED, f"{job.key}:teach")
    asked, notes = await _ask_model(job, inputs, rows, tokens)
    n = min((len(one.answers) for one in asked.values()), default=len(rows))
    rows = rows[:n]
    names = list(held.label_names)
    for way, recipe in ((TEACH, taught), (SIMPLE, simple)):
        asked[way] = _predict(recipe, [str(held.texts[row]) for row in rows], names)
    truth = held.labels[rows]
    right = {way: one.answers[:n] == truth for way, one in asked.items()}
    weights = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=_N_DRAWS) / n
    table = [
        _describe(way, right[way], truth, names, weights, asked[way])
        for way in (ASK, FEW, TEACH, SIMPLE)
        if way in asked
    ]
    return TaughtTable(tuple(table), advise(right, weights), notes)


def name_taught_way(chosen: str, simple: str) -> str:
    """The way in which a student learns what the model taught.

    Args:
        chosen: what the run recommends.
        simple: the best way without a token; where the run recommends none that uses added records, they are mixed
            with it all the same, so that both can be compared.
    """
    if find_way(chosen).uses_added:
        return chosen
    return TUNED_ADDED.name if simple == BASELINE.name else f"{TUNED_ADDED.name}:{simple}"


def advise(right: dict[str, Any], weights: Floats) -> str:
    """Which way to take: a classifier needs no server, so asking has to be surely better.

    Args:
        right: way -> (n,) whether each answer is right.
        weights: (d, n) of resamples of the rows, each summing to 1.
    """
    better = []
    for way, said in ((ASK, "outright"), (FEW, "with examples")):
        if way in right:
            drawn = weights @ (right[way].astype(float) - right[TEACH])
            if np.quantile(drawn, 0.025) > 0:
                better.append((float(right[way].mean()), said))
    if better:
        accuracy, said = max(better, key=lambda one: one[0])  # of equals the cheaper one
        return (
            f"Do not train: ask the model {said}, which is right in {accuracy:.1%} where the taught classifier is in "
            f"{right[TEACH].mean():.1%}."
        )
    drawn = weights @ (right[TEACH].astype(float) - right[SIMPLE])
    gain, low, high = 100 * np.array([drawn.mean(), *np.quantile(drawn, [0.025, 0.975])])
    if low <= 0:
        return (
            f"The best way without a token is as good as what the model taught ({gain:+.1f} points, {low:+.1f} to "
            f"{high:+.1f}): take it."
        )
    return (
        f"Take the taught classifier: {gain:+.1f} points of accuracy over the best way without a token "
        f"({low:+.1f} to {high:+.1f})."
    )


async def _ask_model(
    job: Job, inputs: Inputs, rows: Integers, tokens: int | None
) -> tuple[dict[str, _Answered], tuple[str, ...]]:
    """What the model answers outright and beside examples, for the first rows that the tokens pay for."""
    if job.llm.engine == LlmConfig().engine:
        return {}, ("The embedded model judges no labels: it was not asked.",)
    train, held = inputs.train, inputs.held_out
    n_labels = len(train.records.label_names)
    scorer = ClassifierScorer(inputs.encoder, train.vectors, train.records.labels, n_labels)
    texts = Asked(
        held.records.texts[rows],
        held.vectors[rows],
        scorer.score_vectors(held.vectors[rows]),
        held.zero_shot[rows] if len(held.zero_shot) else held.zero_shot,
    )
    cache, budget = find_cache_dir(job.cache_dir), TokenBudget(tokens)
    found: dict[str, _Answered] = {}
    with ReplyStore(cache / "replies.sqlite") as store:
        opened = open_models(job.llm, store=store, budget=budget, cache_dir=cache, masker=job.open_masker())
        async with opened as models:
            await learn_manner(models.chat)
            ways = {
                way: make_way(inputs, models.chat, n_shown, "teach")
                for way, n_shown in ((ASK, 0), (FEW, N_SHOWN))
            }
            each = None if tokens is None else tokens / len(ways)
            plans = {way: plan_within(asked, texts, each)[0] for way, asked in ways.items()}
            n = min(len(questions) for questions in plans.values())
            if n < min(_FEWEST_ASKED, len(rows)):
                note = (
                    f"The model was not asked: the tokens that are left pay for {n} of {_FEWEST_ASKED} rows."
                )
                return {}, (note,)
            for way, asked in ways.items():
                spent, paid, started = budget.used, budget.paid, perf_counter()
                answers = await asked.answer(plans[way][:n])
                seconds = perf_counter() - started
                choice = np.where(answers.is_given, np.nan_to_num(answers.probabilities).argmax(axis=1), -1)
                milliseconds = 1000 * seconds / n if budget.paid > paid else float("nan")
                found[way] = _Answered(choice, milliseconds, 1000 * (budget.used - spent) / n)
    return found, ()


def _predict(recipe: Recipe, texts: Sequence[str], names: Sequence[str]) -> _Answered:
    places = {str(name): place for place, name in enumerate(names)}
    started = perf_counter()
    said = recipe.predict(list(texts))
    seconds = perf_counter() - started
    answers = np.array([places[str(one)] for one in said], dtype=np.int64)
    return _Answered(answers, 1000 * seconds / max(1, len(texts)), 0.0)


def _describe(
    way: str, right: Any, truth: Integers, names: Sequence[str], weights: Floats, answered: _Answered
) -> WayScore:
    low, high = np.quantile(weights @ right.astype(float), [0.025, 0.975])
    shares = {
        names[label]: float(right[truth == label].mean())
        for label in np.unique(truth)
        if (truth == label).sum() >= _FEWEST_OF_LABEL
    }
    worst = min(shares, key=lambda name: (shares[name], name)) if shares else ""
    return WayScore(
        way,
        float(right.mean()),
        float(low),
        float(high),
        worst,
        shares.get(worst, float("nan")),
        len(right),
        answered.milliseconds,
        answered.tokens,
    )
