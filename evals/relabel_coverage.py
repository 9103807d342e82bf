"""Simulated relabellings through the product: do the intervals that it gives for itself hold what really happened?

Queries with known positives, negatives and false negatives among them, in every form of file; judges that err with set
rates, alike on all passages, by query, or more often on what is hidden; gold on single candidates or on whole queries.
Everything but the models is the product's own code. What the intervals are held against is what was found in each draw.

    python -m evals relabel_coverage [--seeds DRAWS] [--only FORM]

`*_covered_ratio` should be near 0.95. Recall that is called an upper bound is held against its upper end
(`bound_held_ratio`): it fails where the truth lies above it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.actions.relabel.cascade import Outcome
from counterpoise.actions.relabel.conclusions import Findings, conclude
from counterpoise.actions.relabel.gold_pairs import match_gold
from counterpoise.actions.relabel.judges import Answer, Judge, Question, Stage
from counterpoise.actions.relabel.judging import open_cascade
from counterpoise.actions.relabel.passages import judge_cases
from counterpoise.actions.relabel.preparation import CascadeSettings, prepare_cases
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.balance.intervals import wilson_interval
from counterpoise.core.splits import keyed_hash
from counterpoise.data.instances import Instance, Passage, hash_text
from counterpoise.llm import ChatClient, ScriptedChatClient
from evals.common import Result, Settings

N_QUERIES, N_NEGATIVES, N_POSITIVES = 120, (6, 18), 2
HIDDEN_SHARE = 0.09
N_DRAWS = 200
_SETTINGS = CascadeSettings(most_relabels=None, min_precision=0.0, most_flagged=1.0, unflagged_share=1.0)


@dataclass(frozen=True)
class Errors:
    """How a pair of judges errs.

    Args:
        sensitivity: of both stages on known positives.
        specificity: of both stages.
        hidden: factor on the sensitivity where a positive was hidden.
        by_query: spread (standard deviation, in logits) of both rates between queries.
    """

    sensitivity: tuple[float, float] = (0.95, 0.9)
    specificity: tuple[float, float] = (0.8, 0.97)
    hidden: float = 1.0
    by_query: float = 0.0


JUDGES = {
    "alike": Errors(),
    "by_query": Errors(by_query=1.0),
    "harder_hidden": Errors(hidden=0.85),
    "careless": Errors((0.95, 0.85), (0.7, 0.9), by_query=0.7),
}

GOLD = {"none": 0.0, "pairs_0.05": 0.05, "pairs_0.10": 0.10, "pairs_0.30": 0.30, "queries_0.20": 0.20}


@dataclass(frozen=True)
class Data:
    """Instances of a form, and for each candidate whether it was hidden: it answers its query, by text."""

    instances: list[Instance]
    hidden: set[tuple[str, str]]
    pairs: list[tuple[str, str]]


def run(settings: Settings) -> Iterator[Result]:
    """The lines of this evaluation."""
    n_draws = settings.seeds or (40 if settings.quick else N_DRAWS)
    for form in settings.only or FORMS:
        for name, errors in JUDGES.items():
            yield from measure(form, name, errors, n_draws)


def measure(form: str, name: str, errors: Errors, n_draws: int) -> Iterator[Result]:
    """Coverage for one form and one pair of judges, with every kind of gold."""
    hits: dict[tuple[str, str], list[bool]] = {}
    widths: dict[tuple[str, str], list[float]] = {}
    for seed in range(n_draws):
        for key, (is_held, width) in draw(seed, form, errors).items():
            hits.setdefault(key, []).append(is_held)
            widths.setdefault(key, []).append(width)
    for (gold, metric), held in sorted(hits.items()):
        low, high = wilson_interval(sum(held), len(held))
        yield Result(
            "relabel_coverage",
            f"simulated/{form}",
            f"{name}/gold_{gold}",
            metric,
            sum(held) / len(held),
            float(low),
            float(high),
            len(held),
            extra={"mean_width": round(float(np.mean(widths[gold, metric])), 4)},
        )


def draw(seed: int, form: str, errors: Errors) -> Mapping[tuple[str, str], tuple[bool, float]]:
    """One relabelling: by gold and metric whether the interval held, and how wide it was."""
    data = make_data(seed, form)
    found = relabel(data, errors, seed)
    checked: dict[tuple[str, str], tuple[bool, float]] = {}
    for name in GOLD:
        gold = match_gold(choose_gold(data, name, seed), found.prepared.cases)
        done = conclude(replace(found, prepared=replace(found.prepared, gold=gold)), _SETTINGS, tokens=0)
        checked |= {(name, metric): one for metric, one in _check(data, done, errors).items()}
    return checked


def _check(data: Data, done: RelabelledInstances, errors: Errors) -> dict[str, tuple[bool, float]]:
    if done.estimates is None:
        return {}
    relabelled = {
        (done.before[place].query, one.candidate.passage.text)
        for place, decided in done.decisions.items()
        for one in decided
        if one.outcome is Outcome.RELABEL
    }
    n_right = len(relabelled & data.hidden)
    truth = {"recall": n_right / len(data.hidden), "precision": n_right / max(len(relabelled), 1)}
    found: dict[str, tuple[bool, float]] = {}
    for name, said in (("recall", done.estimates.recall), ("precision", done.estimates.precision)):
        if np.isnan(said.value):
            continue
        width = said.high - said.low
        if said.is_upper_bound:
            found["bound_held_ratio"] = (truth[name] <= said.high + 1e-9, width)
        if not said.is_upper_bound or errors.hidden == 1.0:
            metric = f"{name}_of_planted" if said.is_upper_bound else name
            found[f"{metric}_covered_ratio"] = (said.low - 1e-9 <= truth[name] <= said.high + 1e-9, width)
    return found


def make_data(seed: int, form: str) -> Data:
    """A draw of the data: the texts are always the same, which of them answer is not."""
    generator = np.random.default_rng([seed, 1])
    instances, hidden, pairs = [], set(), []
    for number in range(N_QUERIES):
        query = f"query {number}"
        n = N_NEGATIVES[0] + number % (N_NEGATIVES[1] - N_NEGATIVES[0] + 1)
        # Some queries have many answers, many none.
        share = min(HIDDEN_SHARE * generator.gamma(1.0), 0.9)
        negatives = [Passage(hash_text(text), text) for text in (f"{number} other {one}" for one in range(n))]
        positives = [
            Passage(hash_text(text), text) for text in (f"{number} known {one}" for one in range(N_POSITIVES))
        ]
        pairs += [(query, one.text) for one in negatives]
        hidden |= {(query, one.text) for one in negatives if generator.random() < share}
        instances += FORMS[form](query, positives, negatives)
    return Data(instances, hidden or {pairs[0]}, pairs)


def choose_gold(data: Data, name: str, seed: int) -> dict[tuple[str, str], bool]:
    """Judged candidates: pairs at random, or all of some queries."""
    by_query = name.startswith("queries")
    return {
        pair: pair in data.hidden
        for pair in data.pairs
        if keyed_hash(f"gold {seed}", pair[0] if by_query else "\0".join(pair)) < GOLD[name] * 2**64
    }


def relabel(data: Data, errors: Errors, seed: int) -> Findings:
    """The cascade with judges that err as told; the second reads everything, as it reads what gold speaks of."""
    first, second = (
        SimulatedJudge(stage, ChatClient(ScriptedChatClient(lambda request, index: "", name=stage)))
        for stage in STAGES
    )
    for judge in (first, second):
        judge.learn(errors, data.hidden, seed)
    cascade = open_cascade(prepare_cases(data.instances, _SETTINGS), first, second, _SETTINGS)
    loop = (
        asyncio.new_event_loop()
    )  # a runner would describe all that is found, for a signal that never comes
    try:
        return loop.run_until_complete(judge_cases(cascade))
    finally:
        loop.close()


STAGES: tuple[Stage, Stage] = ("first", "second")


class SimulatedJudge(Judge):
    """Answers without prompts and replies; its errors go by a keyed hash."""

    def learn(self, errors: Errors, hidden: set[tuple[str, str]], seed: int) -> None:
        """What it knows, and how it errs."""
        object.__setattr__(self, "known", (errors, hidden, f"{self.stage} {seed}", STAGES.index(self.stage)))

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers, in the order of the questions."""
        return [
            Answer(question, tuple(self._judge(question, one.text) for one in question.passages))
            for question in questions
        ]

    def _judge(self, question: Question, text: str) -> Judgement:
        errors, hidden, key, place = self.known  # type: ignore[attr-defined]
        is_hidden = (question.query, text) in hidden
        is_known = " known " in text and text.split()[0] == question.query.split()[1]
        rate = errors.sensitivity[place] if is_hidden or is_known else 1 - errors.specificity[place]
        if is_hidden:
            rate *= errors.hidden
        if errors.by_query:
            shift = errors.by_query * _draw_normal(key, question.query)
            rate = 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + shift)))
        says_yes = keyed_hash(key, f"{question.query}\0{text}") / 2**64 < rate
        if not says_yes:
            return Judgement(Grade.NOT_RELEVANT)
        return Judgement(Grade.RELEVANT if place == 0 else Grade.BETTER_OR_EQUAL, evidence=text)


def _draw_normal(key: str, name: str) -> float:
    from scipy.special import ndtri

    return float(ndtri((keyed_hash(f"shift {key}", name) + 0.5) / 2**64))


def _group(query: str, positives: Sequence[Passage], negatives: Sequence[Passage]) -> list[Instance]:
    return [Instance(hash_text(query), query, tuple(positives), tuple(negatives))]


def _cut_triplets(query: str, positives: Sequence[Passage], negatives: Sequence[Passage]) -> list[Instance]:
    return [
        Instance(hash_text(query), query, (positives[place % len(positives)],), (negative,))
        for place, negative in enumerate(negatives)
    ]


def _cut_tuples(query: str, positives: Sequence[Passage], negatives: Sequence[Passage]) -> list[Instance]:
    return [Instance(hash_text(query), query, (positive,), tuple(negatives)) for positive in positives]


FORMS: dict[str, Callable[[str, Sequence[Passage], Sequence[Passage]], list[Instance]]] = {
    "grouped": _group,
    "triplets": _cut_triplets,
    "tuples": _cut_tuples,
}
