"""Concept bias of a language model that is shown eight examples: does a skewed prompt skew its answers?

After Zhou et al. (2024): eight labelled reviews of CEBaB, four of each label, then the review in question; three draws.
For each concept

- `biased`: the four positive examples have the concept, the four negative ones have not;
- `balanced`: of each label half have it.

What lies between two draws of the balanced prompt is noise: `draw_noise` is the mean absolute difference between two
draws (without an interval: a resample adds noise of its own to an absolute value).

The model continues the text, and what counts is the probability of `+` against `-` after the last review. Signs were
chosen on training texts: letters for the labels gave an AUROC of 0.6 to 0.8, signs and words 0.9 (two draws of 30
texts). Tests are 40 texts of each (concept, label) cell, of dev and test, with 4-5 and 1-2 stars. A model of this size
leans to one label whatever it reads, so there are two readings: `plain`, the likelier sign, and `centred`, the sign
that is likelier than at the median of all texts scored with that prompt, which needs no label.

Metrics as in `concept_bias`, in percent; a model that always says the same has a bias of 0, so read the accuracies too.
`..._less_balanced` is a paired difference. Intervals resample draws, and originals with their edits.

With `--engine vllm`, or a URL, the same is asked of that server too; its lines end in `/server`.

    python -m evals in_context --data DIR [--only food] [--engine vllm] [--seeds 3]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise.llm import ChatClient, ChatRequest, answer_most
from evals.common import MissingDataError, Result, Settings, interval, open_engine, open_model
from evals.concept_bias import METRICS, measure
from evals.concept_texts import Texts, load_texts
from evals.edit_cases import CONCEPTS
from evals.minority_text import open_encoder

SIGNS = ("-", "+")
PROMPTS = ("biased", "balanced")
READINGS = ("plain", "centred")
N_SEEDS = 3
N_EACH = 2
"""Examples of a (concept, label) cell in a balanced prompt; a biased one has twice as many of two cells."""

N_TEST_CELL = 40
N_RESAMPLES = 1000
QUICK = (2500, 600)
LONGEST_EXAMPLE = 500
"""Characters."""


def run(settings: Settings) -> Iterator[Result]:
    """All concepts, or those named with `--only`."""
    encoder = open_encoder()
    most = QUICK if settings.quick else (None, None)
    train = load_texts(settings.data, ["train_inclusive"], encoder, most[0])
    test = load_texts(settings.data, ["dev", "test"], encoder, most[1])
    n_seeds = settings.seeds or (1 if settings.quick else N_SEEDS)
    concepts = [name for name in CONCEPTS if name in settings.only] or list(CONCEPTS)
    if settings.quick:
        concepts = concepts[:1]
    n_cell = 2 if settings.quick else N_TEST_CELL
    for engine in dict.fromkeys(("embedded", settings.engine)):
        ending = "" if engine == "embedded" else "/server"
        yield from ask_engine(engine, concepts, train, test, n_cell, n_seeds, ending)


def ask_engine(
    engine: str,
    concepts: Sequence[str],
    train: Texts,
    test: Texts,
    n_cell: int,
    n_seeds: int,
    ending: str,
) -> Iterator[Result]:
    """All concepts, one model.

    Args:
        engine: as `open_engine` takes it.
        concepts: their names.
        train: where examples are drawn from.
        test: where the texts in question are drawn from.
        n_cell: of these, in each (concept, label) cell.
        n_seeds: draws of examples.
        ending: of `data` in the results.
    """
    tables: dict[tuple[str, str, str], Floats] = {}
    with open_engine(engine) as llm:
        for concept in concepts:
            column = list(CONCEPTS).index(concept)
            asked = draw_test(test, column, n_cell)
            odds, asked = keep_answered(asyncio.run(ask_all(train, asked, column, n_seeds, llm)), asked)
            for (prompt, reading), table in summarise(odds, asked, column).items():
                tables[concept, prompt, reading] = table
            print(f"in context: {concept}{ending}", file=sys.stderr, flush=True)
    for reading in READINGS:
        for concept in concepts:
            found = {
                name: table
                for (about, name, how), table in tables.items()
                if (about, how) == (concept, reading)
            }
            yield from report(f"{concept}/{reading}{ending}", found, n_seeds)
        if len(concepts) > 1:
            means = {}
            for name in found:
                means[name] = np.mean([tables[concept, name, reading] for concept in concepts], axis=0)
            yield from report(f"mean/{reading}{ending}", means, n_seeds)


def draw_test(test: Texts, column: int, n_cell: int) -> Texts:
    """As many test texts of each (concept, label) cell, by chance."""
    order = np.random.default_rng([31, column]).permutation(len(test))
    picked = []
    for state in (0, 1):
        for label in (0, 1):
            inside = (test.concepts[order, column] == state) & (test.labels[order] == label)
            picked.append(order[inside][:n_cell])
    return test.take(np.concatenate(picked))


def draw_examples(train: Texts, column: int, seed: int) -> dict[str, list[tuple[str, int]]]:
    """Eight examples (text, label) for each prompt, labels in the same order in both."""
    generator = np.random.default_rng([seed, column, 32])
    order = generator.permutation(len(train))
    cells: dict[tuple[int, int], list[str]] = {}
    for row in order:
        if len(train.texts[row]) <= LONGEST_EXAMPLE:
            cell = int(train.concepts[row, column]), int(train.labels[row])
            cells.setdefault(cell, []).append(str(train.texts[row]))
    each = {
        "biased": {1: cells[1, 1][: 2 * N_EACH], 0: cells[0, 0][: 2 * N_EACH]},
        "balanced": {label: cells[1, label][:N_EACH] + cells[0, label][:N_EACH] for label in (0, 1)},
    }
    places = generator.permutation(4 * N_EACH)
    return {
        name: [[(text, label) for label in (0, 1) for text in texts[label]][place] for place in places]
        for name, texts in each.items()
    }


def make_prompt(examples: Sequence[tuple[str, int]], text: str) -> str:
    """The examples with their signs, and the text without one."""
    shown = "".join(f"Review: {one}\nSentiment: {SIGNS[label]}\n\n" for one, label in examples)
    return f"{shown}Review: {text}\nSentiment:"


async def ask_all(
    train: Texts, asked: Texts, column: int, n_seeds: int, llm: Mapping[str, Any]
) -> dict[str, Floats]:
    """Prompt -> (seeds, n) log-odds of `+`; NaN where there is no answer."""
    found = {prompt: np.full((n_seeds, len(asked)), np.nan) for prompt in PROMPTS}
    keys, requests = [], []
    for seed in range(n_seeds):
        for name, examples in draw_examples(train, column, seed).items():
            for row, text in enumerate(asked.texts):
                keys.append((name, seed, row))
                prompt = make_prompt(examples, str(text))
                requests.append(ChatRequest(prompt=prompt, choices=SIGNS, purpose="in_context"))
    async with open_model(llm) as chat:
        await _fill(chat, keys, requests, found)
    return found


async def _fill(
    chat: ChatClient,
    keys: Sequence[tuple[str, int, int]],
    requests: Sequence[ChatRequest],
    found: Mapping[str, Floats],
) -> None:
    async for outcome in answer_most(chat, requests):
        if outcome.completions and (signs := outcome.completions[0].logprobs) is not None:
            name, seed, row = keys[outcome.index]
            found[name][seed, row] = np.log(signs["+"]) - np.log(signs["-"])


def keep_answered(odds: Mapping[str, Floats], asked: Texts) -> tuple[dict[str, Floats], Texts]:
    """The texts that were answered under every prompt, so that no silence counts as an answer.

    Raises:
        MissingDataError: there are none.
    """
    answered = np.all([~np.isnan(table).any(axis=0) for table in odds.values()], axis=0)
    if not answered.any():
        raise MissingDataError("no text was answered; does the server give log-probabilities?")
    return {name: table[:, answered] for name, table in odds.items()}, asked.take(np.flatnonzero(answered))


def summarise(odds: Mapping[str, Floats], asked: Texts, column: int) -> dict[tuple[str, str], Floats]:
    """(1 + resamples, metrics) of each prompt and reading; the first row is the whole sample."""
    generator = np.random.default_rng(17)
    names, members = np.unique(asked.originals, return_inverse=True)
    n_draws = len(next(iter(odds.values())))
    picks: list[tuple[Integers, Floats]] = [(np.arange(n_draws), np.ones(len(asked)))]
    for _ in range(N_RESAMPLES):
        counts = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        picks.append((generator.integers(0, n_draws, n_draws), counts[members].astype(np.float64)))
    tables = {}
    for name, table in odds.items():
        for reading in READINGS:
            centre = np.nanmedian(table, axis=1, keepdims=True) if reading == "centred" else 0.0
            right = np.asarray((table > centre) == asked.labels.astype(np.bool_))
            with np.errstate(invalid="ignore"):  # a resample of few texts may lack a cell
                tables[name, reading] = np.array([measure(right, asked, column, *pick) for pick in picks])
                if name == "balanced" and n_draws > 1:
                    single = np.arange(n_draws)[:, None]
                    each = [
                        [measure(right, asked, column, draw, weights)[0] for draw in single]
                        for _, weights in picks
                    ]
                    tables["draw_noise", reading] = compare_draws(np.array(each))
    return tables


def compare_draws(biases: Floats) -> Floats:
    """(r, 1) mean absolute difference between two draws.

    Args:
        biases: (r, d) of each draw under each resample of the texts.
    """
    one, other = np.triu_indices(biases.shape[1], k=1)
    return np.asarray(np.abs(biases[:, one] - biases[:, other]).mean(axis=1, keepdims=True))


def report(data: str, tables: Mapping[str, Floats], n: int) -> Iterator[Result]:
    """Metrics of each prompt, and differences from the balanced one."""
    for name, table in tables.items():
        for place, metric in enumerate(METRICS[: table.shape[1]]):
            yield _result(data, name, metric, table[:, place], n)
    for place, metric in enumerate(METRICS[:3]):
        difference = tables["biased"][:, place] - tables["balanced"][:, place]
        yield _result(data, "biased", f"{metric}_less_balanced", difference, n)


def _result(data: str, arm: str, metric: str, values: Floats, n: int) -> Result:
    low, high = interval(values[1:]) if arm != "draw_noise" else (float("nan"), float("nan"))
    return Result("in_context", data, arm, metric, float(values[0]), low, high, n, "percent")
