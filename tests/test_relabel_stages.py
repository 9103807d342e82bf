"""The stages of a relabelling one by one: order, flags and pauses, decisions of a case, pilot, queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from counterpoise.actions.relabel.cascade import Outcome
from counterpoise.actions.relabel.decisions import decide_case
from counterpoise.actions.relabel.gold_pairs import Gold
from counterpoise.actions.relabel.judge_audits import audit_pair, choose_plants
from counterpoise.actions.relabel.judging import (
    Cascade,
    check_positive,
    flag_cases,
    grade_cases,
    open_cascade,
    pause_sources,
)
from counterpoise.actions.relabel.passages import judge_pilot, order_cases, work_off
from counterpoise.actions.relabel.preparation import CascadeSettings, prepare_cases
from counterpoise.actions.relabel.verdicts import NO_ANSWER, Grade, Judgement
from counterpoise.core.events import Event, listening
from counterpoise.data.instances import Instance
from counterpoise.llm import ChatRequest
from tests.test_relabel_retrieval import make_instance, make_judges

INSTANCES = [make_instance(number, "web" if number % 3 else "book") for number in range(30)]
FLAG, REFUSAL = Judgement(Grade.RELEVANT), Judgement(Grade.NOT_RELEVANT)


def make_cascade(
    instances: list[Instance] = INSTANCES,
    *,
    gold: Gold | None = None,
    **keys: object,
) -> Cascade:
    settings = CascadeSettings(n_pilot=4, block=3, fewest_unflagged=0, unflagged_share=0.0)
    settings = replace(settings, **keys)  # type: ignore[arg-type]
    return open_cascade(prepare_cases(instances, settings, gold=gold), *make_judges(), settings)


def test_the_order_of_a_source_does_not_depend_on_the_order_of_the_data() -> None:
    ordered = order_cases(make_cascade().prepared.cases)
    turned = order_cases(make_cascade(INSTANCES[::-1]).prepared.cases)
    assert list(ordered) == ["book", "web"] and list(map(len, ordered.values())) == [10, 20]
    for source, cases in ordered.items():
        assert [case.query for case in cases] == [case.query for case in turned[source]]
        assert [case.number for case in cases] != sorted(case.number for case in cases)


async def test_the_second_judge_reads_flags_and_what_gold_speaks_of_and_meters_know_the_price() -> None:
    cascade = make_cascade(gold={("q0", "n0-1"): False})
    case = cascade.prepared.cases[0]
    flags = await flag_cases(cascade, [case])
    flagged = [text for text, one in flags.of(case).items() if one.is_flag]
    grades = await grade_cases(cascade, [case], flags)
    assert set(grades.of(case)) == {*flagged, "the weather of day 0 1 was fine"} and len(flagged) == 2
    meter = cascade.meters["book"]
    assert 0 < meter.second_tokens < meter.tokens == cascade.tokens
    assert (meter.flags.k, meter.flags.n, meter.n_asked) == (2, len(case.candidates), 1)
    assert not cascade.meters["web"].tokens


async def test_only_sources_that_surely_flag_too_much_are_paused_and_it_is_said_once() -> None:
    heard: list[Event] = []
    cascade = make_cascade(most_flagged=0.1)
    await flag_cases(cascade, [case for case in cascade.prepared.cases if case.source == "web"])
    with listening(heard.append):
        pause_sources(cascade)
        pause_sources(cascade)
    assert "above the limit of 10%" in cascade.meters["web"].paused and not cascade.meters["book"].paused
    assert [event.name for event in heard] == ["warning"]


@pytest.mark.parametrize(
    ("flag", "grade", "paused", "wanted", "reason"),
    [
        (FLAG, Judgement(Grade.BETTER_OR_EQUAL), "", Outcome.RELABEL, "second judge: better or equal"),
        (FLAG, None, "", Outcome.ABSTAIN, "second judge: the budget is spent"),
        (None, None, "", Outcome.ABSTAIN, "first judge: the budget is spent"),
        (REFUSAL, Judgement(Grade.BETTER_OR_EQUAL), "", Outcome.KEEP, "first judge: not relevant"),
        (FLAG, Judgement(Grade.BETTER_OR_EQUAL), "too many", Outcome.ABSTAIN, "paused: too many"),
    ],
)
def test_a_case_is_decided_by_what_was_said_of_it(
    flag: Judgement | None, grade: Judgement | None, paused: str, wanted: Outcome, reason: str
) -> None:
    case = make_cascade().prepared.cases[0]
    text = case.candidates[0].passage.full_text
    one, *others = decide_case(
        case, {text: flag} if flag else {}, {text: grade} if grade else {}, paused=paused
    )
    assert (one.outcome, one.reason) == (wanted, reason)
    assert {other.outcome for other in others} == {Outcome.ABSTAIN}


@pytest.mark.parametrize(
    ("flag", "grade", "wanted"),
    [
        (FLAG, None, "confirmed"),
        (REFUSAL, FLAG, "confirmed"),
        (REFUSAL, REFUSAL, "suspect"),
        (REFUSAL, None, "abstain"),
        (NO_ANSWER, None, "abstain"),
    ],
)
def test_a_positive_is_a_suspect_only_where_both_judges_refuse_it(
    flag: Judgement, grade: Judgement | None, wanted: str
) -> None:
    assert check_positive(0, INSTANCES[0].positives[0], flag, grade).outcome == wanted


async def test_a_second_judge_is_not_asked_where_the_first_one_fails_its_audit() -> None:
    def refuse(request: ChatRequest, index: int) -> str:
        raise AssertionError("not to be asked")

    first, second = make_judges(lambda request, index: "no idea", refuse)
    plants = choose_plants(make_cascade().prepared.cases, 20)
    found = await audit_pair(first, second, plants)
    assert [one.stage for one in found.audits] == ["first"] and not found.is_passed


async def test_a_pilot_projects_the_price_of_what_waits_and_the_queue_works_it_off() -> None:
    heard: list[Event] = []
    cascade = make_cascade()
    with listening(heard.append):
        pilot = await judge_pilot(cascade, order_cases(cascade.prepared.cases))
    assert {source: len(cases) for source, cases in pilot.waiting.items()} == {"book": 6, "web": 16}
    assert len(pilot.judged.decided) == 8
    for source, meter in cascade.meters.items():
        n_waiting = len(pilot.waiting[source])
        assert meter.projected_tokens == round(meter.second_tokens / 4 * n_waiting) > 0
    assert [event.name for event in heard] == ["judging", "projected"]
    with listening(heard.append):
        rest = await work_off(cascade, pilot.waiting)
    assert not pilot.judged.decided.keys() & rest.decided.keys()
    assert len(pilot.judged.decided) + len(rest.decided) == len(INSTANCES)
    done = [event.data["done"] for event in heard if event.name == "judging"]
    assert done == sorted(done) and done[-1] == 30 and len(done) == 1 + 6 + 2


async def test_a_spent_budget_leaves_what_waits_undecided_and_counts_it() -> None:
    cascade = make_cascade()
    left = await work_off(cascade, order_cases(cascade.prepared.cases), is_cut=True)
    assert {one.reason for some in left.decided.values() for one in some} == {
        "first judge: the budget is spent"
    }
    assert len(left.decided) == 30 and not cascade.tokens
    assert cascade.meters["web"].outcomes[Outcome.ABSTAIN] == 20 * 6
