"""The cascade over retrieval instances: audit the judges, meter the sources, flag, grade, decide.

Rows of one query are read together (see `cases`). Negatives that repeat a known positive, or nearly so, are dropped
without a judge. The judges are audited first, a query once; where one fails, nothing is asked of it about the data.
Then a pilot of every source is judged. A source of which the first judge flags so much that the second would read
nearly all of it is paused: there the cascade is pointless. The others are worked off in blocks, the next block always
from the source that has given most changes a token so far, until everything is judged or the budget is spent. A random
part of what the first judge refuses goes to the second one too, which tells what the first misses. What is concluded
from it stands in `conclusions`.

Which questions are asked depends on replies and on hashes of texts, never on the order in which replies arrive.

Paper: Thakur, Zhang, Ma, Lin (2025) "Fixing Data That Hurts Performance: Cascading LLMs to Relabel Hard Negatives for
Robust Information Retrieval".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.conclusions import Findings, conclude
from counterpoise.actions.relabel.decisions import JudgedCases, decide_cases, join_judged, judge_block
from counterpoise.actions.relabel.gold_pairs import Gold, GoldSource
from counterpoise.actions.relabel.judge_audits import PairAudit, audit_pair, choose_plants
from counterpoise.actions.relabel.judges import Judge
from counterpoise.actions.relabel.judging import Cascade, open_cascade
from counterpoise.actions.relabel.preparation import (
    CascadeSettings,
    PreparedCases,
    count_audited,
    prepare_cases,
)
from counterpoise.actions.relabel.result import RelabelledInstances, SourceMeter
from counterpoise.core.event_kinds import GoldMatched, Judging, Projected
from counterpoise.core.events import tell_event
from counterpoise.core.splits import keyed_rank
from counterpoise.data.instances import Instance, Passage

Waiting = Mapping[str, Sequence[Case]]
"""Source -> cases that nobody was asked about, in the order in which they are worked off."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """What came of the first cases of every source, and what waits."""

    judged: JudgedCases
    waiting: Waiting


async def relabel_instances(
    instances: Sequence[Instance],
    first: Judge,
    second: Judge,
    *,
    settings: CascadeSettings | None = None,
    mined: Mapping[int, Sequence[Passage]] | None = None,
    gold: Gold | None = None,
    gold_source: GoldSource | None = None,
) -> RelabelledInstances:
    """Find negatives that answer their query and relabel or drop them.

    Args:
        instances: what a retriever would be trained on; they are not changed.
        first: the cheap judge.
        second: the strong judge.
        settings: how to go about it.
        mined: position of an instance -> further candidates found in the corpus; they enter it only as positives.
        gold: known answers on candidates, for audits; they decide nothing.
        gold_source: where gold was read, and what its names stand for.

    Raises:
        DataError: gold speaks of no candidate.
        ServerError: a server is evidently gone; calling again goes on where it was.
        StorageError: the reply store cannot be written.
    """
    settings = settings or CascadeSettings()
    prepared = prepare_cases(instances, settings, mined=mined, gold=gold, gold_source=gold_source)
    return await relabel_prepared(prepared, first, second, settings=settings)


async def relabel_prepared(
    prepared: PreparedCases,
    first: Judge,
    second: Judge,
    *,
    settings: CascadeSettings,
) -> RelabelledInstances:
    """Judge what was prepared, and conclude; arguments and errors as of `relabel_instances`."""
    if prepared.gold.sentence:
        tell_event(GoldMatched(**prepared.gold.as_dict(), message=prepared.gold.sentence))
    cascade = open_cascade(prepared, first, second, settings)
    return conclude(await judge_cases(cascade), settings, tokens=cascade.tokens)


async def judge_cases(cascade: Cascade) -> Findings:
    """Everything that costs tokens: the audit, and where both judges pass it the pilot and the queue."""
    prepared, audit, parts = cascade.prepared, PairAudit(), [JudgedCases()]
    if any(case.candidates for case in prepared.cases):
        plants = choose_plants(prepared.cases, count_audited(cascade.settings, prepared.cases))
        audit = await audit_pair(cascade.first, cascade.second, plants)
    if audit.is_passed:
        pilot = await judge_pilot(cascade, order_cases(prepared.cases))
        is_cut = audit.is_cut or pilot.judged.is_cut
        parts = [pilot.judged, await work_off(cascade, pilot.waiting, is_cut=is_cut)]
    return Findings(prepared, audit, join_judged(parts), cascade.meters, cascade.sampled_share)


def order_cases(cases: Sequence[Case]) -> Waiting:
    """Cases by source, each in the order of a hash: a part of them is a random sample."""
    waiting: dict[str, list[Case]] = {source: [] for source in sorted({case.source for case in cases})}
    for place in keyed_rank([case.query for case in cases], "cascade"):
        waiting[cases[place].source].append(cases[place])
    return waiting


async def judge_pilot(cascade: Cascade, waiting: Waiting) -> Pilot:
    """Judge the first cases of every source, and project what the second judge needs for the rest."""
    n_pilot = cascade.settings.n_pilot
    pilots = {source: cases[:n_pilot] for source, cases in waiting.items()}
    judged = await judge_block(cascade, [case for cases in pilots.values() for case in cases])
    _report_progress(cascade, len(judged.decided))
    left = {source: cases[n_pilot:] for source, cases in waiting.items()}
    for source, meter in cascade.meters.items():
        spent = meter.second_tokens / max(len(pilots[source]), 1)
        meter.projected_tokens = round(spent * len(left[source]))
    meters = [meter.as_dict() for meter in cascade.meters.values()]
    tell_event(Projected(meters))
    return Pilot(judged, left)


async def work_off(cascade: Cascade, waiting: Waiting, *, is_cut: bool = False) -> JudgedCases:
    """Judge the rest in blocks, the most worth a token first, until the budget is spent; leave what is not reached.

    Args:
        cascade: the judges.
        waiting: what the pilot left.
        is_cut: the budget is spent already.
    """
    left, meters, size = dict(waiting), cascade.meters, cascade.settings.block
    n_done = len(cascade.prepared.cases) - sum(map(len, left.values()))
    parts: list[JudgedCases] = []
    while not is_cut:
        open_sources = [source for source, cases in left.items() if cases and not meters[source].paused]
        if not open_sources:
            break
        source = max(open_sources, key=lambda one: (_worth(meters[one]), one))
        block, left[source] = left[source][:size], left[source][size:]
        parts.append(await judge_block(cascade, block))
        n_done += len(block)
        _report_progress(cascade, n_done)
        is_cut = parts[-1].is_cut
    unreached = [case for cases in left.values() for case in cases]
    return join_judged([*parts, decide_cases(cascade, unreached)])


def _worth(meter: SourceMeter) -> float:
    """Changes a token so far, a source without any tried before one that gave none."""
    return (meter.n_changes + 1) / (meter.tokens + 1)


def _report_progress(cascade: Cascade, n_done: int) -> None:
    total, limit = len(cascade.prepared.cases), cascade.first.chat.budget.limit
    tell_event(Judging("queries judged", n_done, total, cascade.tokens, limit))
