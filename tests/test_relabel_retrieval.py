"""The cascade over instances, with judges that are functions: audits, meters, budgets, guards, estimates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.actions.relabel.gold_pairs import Gold
from counterpoise.actions.relabel.judges import Judge, Stage
from counterpoise.actions.relabel.passages import relabel_instances
from counterpoise.actions.relabel.preparation import CascadeSettings
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.core.splits import keyed_hash
from counterpoise.data.instances import Instance, Passage
from counterpoise.llm import ChatClient, ChatRequest, ReplyStore, ScriptedChatClient, TokenBudget
from tests.retrieval_judges import read_prompt, reply_first, reply_second

N = 30


def make_instance(number: int, source: str = "web", n_hidden: int = 1) -> Instance:
    """A query about a topic; texts that name the topic answer it."""
    topic = f"topic{number:03d}"
    return Instance(
        f"q{number}",
        f"what is known of {topic}",
        tuple(Passage(f"p{number}-{one}", f"{topic} is well known, says source {one}") for one in range(2)),
        (
            *(
                Passage(f"h{number}-{one}", f"also on {topic} there is much to say, {one}")
                for one in range(n_hidden)
            ),
            Passage(f"w{number}", f"a little about {topic} in passing"),
            *(Passage(f"n{number}-{one}", f"the weather of day {number} {one} was fine") for one in range(4)),
        ),
        {"source": source},
    )


INSTANCES = [make_instance(number) for number in range(N)]


def make_judges(
    first: Callable[[ChatRequest, int], str] = reply_first,
    second: Callable[[ChatRequest, int], str] = reply_second,
    **keys: Any,
) -> tuple[Judge, Judge]:
    def make(stage: Stage, reply: Callable[[ChatRequest, int], str]) -> Judge:
        return Judge(stage, ChatClient(ScriptedChatClient(reply, name=stage), **keys), per_call=3)

    return make("first", first), make("second", second)


def relabel(
    instances: list[Instance] = INSTANCES,
    judges: tuple[Judge, Judge] | None = None,
    gold: Gold | None = None,
    mined: dict[int, list[Passage]] | None = None,
    **settings: Any,
) -> RelabelledInstances:
    first, second = judges or make_judges()
    return asyncio.run(
        relabel_instances(
            instances, first, second, settings=CascadeSettings(**settings), gold=gold, mined=mined or {}
        )
    )


def test_hidden_positives_are_relabelled_partial_ones_dropped_and_the_given_file_is_left_alone() -> None:
    done = relabel()
    assert done.outcomes == {"relabel": N, "drop": N, "keep": 4 * N}
    for before, after in zip(done.before, done.after, strict=True):
        assert [one.id for one in after.positives] == [
            *(one.id for one in before.positives),
            f"h{before.query_id[1:]}-0",
        ]
        assert [one.id[0] for one in after.negatives] == ["n"] * 4
    assert done.before[0] is INSTANCES[0] and len(INSTANCES[0].negatives) == 6
    assert done.sentence.startswith(
        "30 negatives relabelled as positives and 30 dropped, in 30 of 30 instances"
    )
    assert done.estimates is not None and str(done.estimates.precision) == "unknown"
    assert (
        done.audits[1].specificity_mined.as_dict() is None
        and "mined negatives refused unknown" in done.audits[1].sentence
    )


def test_decisions_carry_the_order_they_were_seen_in_and_do_not_depend_on_the_order_of_the_data() -> None:
    done, turned = relabel(), relabel(list(reversed(INSTANCES)))
    lines = {(line["query_id"], line["passage_id"]): line for line in done.list_decisions()}
    other = {(line["query_id"], line["passage_id"]): line for line in turned.list_decisions()}
    assert lines == other
    numbers = [line["first"]["number"] for line in lines.values() if line["passage_id"].startswith("h")]
    assert set(numbers) == {1, 2, 3}
    hidden = lines["q0", "h0-0"]
    assert hidden["second"]["evidence"] and hidden["reason"] == "second judge: better or equal"


def test_what_the_judges_are_shown_is_shuffled_but_the_same_whoever_asks() -> None:
    judge, _ = make_judges()
    one = INSTANCES[0]
    asked = judge.make_questions(0, one.query_id, one.query, one.positives, one.negatives)
    turned = judge.make_questions(0, one.query_id, one.query, one.positives, one.negatives[::-1])
    order = [passage.id for question in asked for passage in question.passages]
    assert order == [passage.id for question in turned for passage in question.passages]
    assert order != [passage.id for passage in one.negatives] and sorted(order) == sorted(
        p.id for p in one.negatives
    )


def test_a_positive_of_another_row_of_the_same_query_is_no_stranger_to_it() -> None:
    pairs = [replace(one, positives=(positive,)) for one in INSTANCES for positive in one.positives]
    done = relabel(pairs)
    assert [audit.specificity_random.value for audit in done.audits] == [1.0, 1.0]
    # A query counts once, in however many rows it stands.
    assert [audit.specificity_random.n for audit in done.audits] == [N, N]


def test_a_negative_that_repeats_a_positive_of_another_row_of_its_query_is_dropped_without_a_judge() -> None:
    one = INSTANCES[0]
    answer, other = replace(one.positives[0], id="answer"), one.positives[1]
    pairs = [
        replace(one, positives=(other,), negatives=(answer, *one.negatives)),
        replace(one, positives=(answer,)),
        *INSTANCES[1:],
    ]
    done = relabel(pairs)
    dropped = [decision for decision in done.decisions[0] if decision.candidate.passage == answer]
    assert [decision.reason for decision in dropped] == ["repeats a known positive"]
    assert answer not in done.after[0].negatives


def test_a_judge_that_fails_its_audit_decides_nothing_and_reads_nothing_more() -> None:
    first, second = make_judges(first=lambda request, index: reply_first(request, index, always="yes"))
    done = relabel(judges=(first, second))
    assert done.after == INSTANCES and not done.decisions and done.estimates is None
    assert done.sentence.startswith(
        "Nothing was changed. The first judge (first) failed its audit: AUROC 0.50"
    )
    assert [audit.stage for audit in done.audits] == ["first"]
    # Thirty audit questions of two calls each, and none to the strong judge.
    assert first.chat.budget.by_purpose["first judge"].requests == 60 and not second.chat.budget.used


def test_a_strong_judge_that_guesses_decides_nothing_either() -> None:
    second = make_judges(second=lambda request, index: reply_second(request, index, always="not_relevant"))
    done = relabel(judges=second)
    assert done.after == INSTANCES and "The second judge (second) failed its audit" in done.sentence


def test_replies_that_cannot_be_read_are_abstentions_never_no_false_negative() -> None:
    def broken(request: ChatRequest, index: int) -> str:
        query, _ = read_prompt(request)
        return "I would rather not." if query.endswith("7") else reply_first(request, index)

    done = relabel(judges=make_judges(first=broken))
    undecided = {place for place, decided in done.decisions.items() if decided[0].outcome == "abstain"}
    assert undecided == {7, 17, 27} and done.outcomes["abstain"] == 18
    assert all(done.after[place] is INSTANCES[place] for place in undecided)
    assert "no usable reply" in done.decisions[7][0].reason


def test_too_few_known_positives_are_no_audit() -> None:
    done = relabel(INSTANCES[:9])
    assert done.after == INSTANCES[:9] and "could not be audited: 9 known positives" in done.sentence


def test_a_source_of_which_nearly_everything_is_flagged_is_paused() -> None:
    noisy = [make_instance(number, "noisy", n_hidden=12) for number in range(100, 130)]
    done = relabel([*INSTANCES, *noisy], n_pilot=20, most_relabels=None)
    by_source = {meter.source: meter for meter in done.meters}
    assert by_source["noisy"].paused.startswith(
        "the first judge flags 76% of the candidates, above the limit of 50%"
    )
    assert by_source["noisy"].n_asked == 20 and not by_source["noisy"].second_tokens
    assert not by_source["web"].paused and by_source["web"].outcomes["relabel"] == N
    assert done.after[N:] == noisy and "paused: noisy" in done.sentence
    again = relabel(noisy, most_flagged=1.0, most_relabels=None)
    assert again.outcomes["relabel"] == 12 * 30


def test_ambiguous_queries_are_left_out() -> None:
    crowd = make_instance(500, n_hidden=8)
    done = relabel([*INSTANCES, crowd], most_flagged=1.0)
    assert done.ambiguous == {N} and len(done.after) == N and done.outcomes["relabel"] == N
    assert all(
        line["instance"] == "ambiguous" for line in done.list_decisions() if line["query_id"] == "q500"
    )
    assert len(relabel([*INSTANCES, crowd], most_flagged=1.0, most_relabels=8).after) == N + 1


def test_mined_candidates_enter_as_positives_only_and_repeats_of_a_positive_go_for_nothing() -> None:
    found = [
        Passage("m1", "much is known of topic000 by now"),
        Passage("m2", "snow fell"),
        INSTANCES[0].positives[0],
    ]
    twin = replace(
        INSTANCES[1], negatives=(*INSTANCES[1].negatives, Passage("twin", INSTANCES[1].positives[0].text))
    )
    done = relabel([INSTANCES[0], twin, *INSTANCES[2:]], mined={0: found})
    assert {one.id for one in done.after[0].positives} == {"p0-0", "p0-1", "h0-0", "m1"}
    assert {one.id for one in done.after[0].negatives} == {"n0-0", "n0-1", "n0-2", "n0-3"}
    assert "twin" not in {one.id for one in (*done.after[1].positives, *done.after[1].negatives)}
    reason = next(one.reason for one in done.decisions[1] if one.candidate.passage.id == "twin")
    assert reason == "repeats a known positive"


def tell(number: int, start: int = 0, n: int = 30) -> str:
    """Words about a topic; another start tells something else."""
    return " ".join([f"topic{number:03d}", *(f"n{number}x{one}" for one in range(start, start + n))])


def add_copies(one: Instance, *texts: str) -> Instance:
    """With a longer positive, and more negatives."""
    number = int(one.query_id[1:])
    copies = [Passage(f"c{number}-{place}", text) for place, text in enumerate(texts)]
    return replace(
        one,
        positives=(*one.positives, Passage(f"long{number}", tell(number))),
        negatives=(*one.negatives, *copies),
    )


def shorten_and_lengthen(number: int) -> tuple[str, str]:
    """Near copies of `tell(number)`: a part of it, and more than it."""
    return tell(number, n=20).upper(), f"In the news of the day: {tell(number)}; and more to come."


def count_requests(judge: Judge) -> int:
    return judge.chat.budget.by_purpose[f"{judge.stage} judge"].requests


def test_near_copies_of_a_positive_are_dropped_and_nobody_is_asked_about_them() -> None:
    plain = [add_copies(one) for one in INSTANCES]
    given = [add_copies(one, *shorten_and_lengthen(number)) for number, one in enumerate(INSTANCES)]
    judges, others = make_judges(), make_judges()
    done = relabel(given, judges, mined={0: [Passage("m", tell(0, n=25))]})
    relabel(plain, others)
    assert [count_requests(one) for one in judges] == [count_requests(one) for one in others]
    assert done.outcomes == {"relabel": N, "drop": 3 * N, "keep": 4 * N} and done.n_repeats == 2 * N
    copies = [one for one in done.list_decisions() if one["passage_id"].startswith("c")]
    assert len(copies) == 2 * N and all(one["reason"] == "nearly repeats a known positive" for one in copies)
    assert not any(one["first"] or one["second"] for one in copies)
    assert "m" not in {one["passage_id"] for one in done.list_decisions()}
    assert all(one.id[0] == "n" for after in done.after for one in after.negatives)
    assert "90 dropped (60 of them repeat a known positive), in 30 of 30" in done.sentence
    assert done.summary()["repeats_dropped"] == 2 * N
    assert sum((meter.outcomes for meter in done.meters), start=type(done.outcomes)()) == done.outcomes


def test_shared_boilerplate_and_short_texts_are_judged() -> None:
    given = [
        add_copies(one, f"{tell(number, n=14)} {tell(number, 50, 16)}", f"{one.positives[0].text} indeed")
        for number, one in enumerate(INSTANCES)
    ]
    done = relabel(given)
    # They name the topic, so the judges take them for answers.
    assert done.outcomes["relabel"] == 3 * N and not done.n_repeats


def test_repeats_are_dropped_even_where_a_judge_fails_its_audit() -> None:
    given = [add_copies(one, tell(number, n=20)) for number, one in enumerate(INSTANCES)]
    failing = make_judges(first=lambda request, index: reply_first(request, index, always="yes"))
    done = relabel(given, failing)
    assert done.outcomes == {"drop": N} and done.estimates is None and done.n_changed == N
    assert done.sentence.startswith(
        "30 negatives that repeat a known positive are dropped, else nothing was changed. The first judge (first)"
    )
    assert done.meters[0].outcomes == {"drop": N} and not done.meters[0].tokens
    for before, after in zip(given, done.after, strict=True):
        assert after.positives == before.positives and after.negatives == before.negatives[:-1]
    # One that gold shows to be no better than guessing, after everything was judged, leaves no other decision.
    wrong = {(one.query_id, p.id): p.id[0] != "h" for one in given for p in one.negatives}
    late = relabel(given, gold=wrong)
    assert late.failed_audits and late.outcomes == {"drop": N} == late.meters[0].outcomes
    alone = relabel([add_copies(replace(one, negatives=()), tell(0, n=20)) for one in INSTANCES[:1]])
    assert alone.sentence == (
        "1 negatives that repeat a known positive are dropped, else nothing was changed: there are no candidates."
    )
    assert not alone.after[0].negatives


def make_careless_judges() -> tuple[Judge, Judge]:
    """Both also call a fair day an answer: half of what they find is wrong."""

    def err(reply: str, request: ChatRequest) -> str:
        said = json.loads(reply)
        for verdict, (_, text) in zip(said["verdicts"], read_prompt(request)[1], strict=True):
            if text.endswith(" 0 was fine"):
                verdict |= (
                    {"relevant": "yes"}
                    if "relevant" in verdict
                    else {"grade": "better_or_equal", "evidence": text}
                )
        return json.dumps(said)

    return make_judges(
        lambda request, index: err(reply_first(request, index), request),
        lambda request, index: err(reply_second(request, index), request),
    )


def make_gold(instances: list[Instance]) -> Gold:
    return {
        (one.query_id, passage.id): passage.id[0] == "h" for one in instances for passage in one.negatives
    }


def test_where_gold_shows_that_too_few_are_right_they_are_dropped_instead_of_relabelled() -> None:
    crowd = make_instance(500, n_hidden=8)
    given = [*INSTANCES, crowd]
    done = relabel(given, make_careless_judges(), make_gold(given), most_flagged=1.0)
    assert done.estimates is not None
    precision = done.estimates.precision
    # Gold speaks of everything, so that the share is known.
    assert precision.low == precision.high == pytest.approx((N + 8) / (2 * N + 9))
    assert not done.outcomes["relabel"]
    said = (
        f"precision is estimated at {precision}, below what min_precision = 0.7 asks surely: dropped, not "
        "relabelled"
    )
    assert done.withheld == said == done.summary()["withheld"] and done.sentence.count(said) == 1
    # As many as would have been relabelled, and what the judges call worse, which was dropped before, too.
    assert done.outcomes == {"drop": 3 * N, "keep": 3 * N}
    lines = [one for one in done.list_decisions() if one["passage_id"][0] == "h"]
    assert {one["reason"] for one in lines} == {
        "second judge: better or equal; precision is not surely at least min_precision: dropped, not relabelled"
    }
    assert all(after.positives == one.positives for one, after in zip(INSTANCES, done.after, strict=True))
    assert {one.id[0] for after in done.after for one in after.negatives} == {"n"}
    # Ambiguity is about what the judges say.
    assert done.ambiguous == {N} and done.meters[0].outcomes["drop"] == done.outcomes["drop"] + 10
    lower = relabel(given, make_careless_judges(), make_gold(given), most_flagged=1.0, min_precision=0.2)
    assert lower.outcomes["relabel"] == 2 * N and not lower.withheld and lower.estimates == done.estimates
    assert lower.ambiguous == {N}


def test_judges_that_relabel_right_and_wrong_candidates_nearly_alike_on_gold_relabel_nothing() -> None:
    def answer(request: ChatRequest, of_right: int, of_wrong: int) -> list[tuple[int, str, bool]]:
        """So many of twenty of the passages on the topic, and of those on the weather; never of strangers."""
        query, passages = read_prompt(request)
        shares = [
            of_right if query.split()[-1] in text else of_wrong * ("weather" in text) for _, text in passages
        ]
        says = [
            keyed_hash("says", text) % 20 < share for (_, text), share in zip(passages, shares, strict=True)
        ]
        return [(number, text, said) for (number, text), said in zip(passages, says, strict=True)]

    def flag(request: ChatRequest, index: int) -> str:
        said = [{"number": n, "relevant": "yes" if yes else "no"} for n, _, yes in answer(request, 11, 6)]
        return json.dumps({"criterion": "looks", "verdicts": said})

    def agree(request: ChatRequest, index: int) -> str:
        said = [
            {"number": n, "evidence": text, "grade": "better_or_equal" if yes else "not_relevant"}
            for n, text, yes in answer(request, 20, 20)
        ]
        return json.dumps({"criterion": "looks", "verdicts": said})

    given = [make_instance(number) for number in range(2 * N)]
    done = relabel(given, make_judges(flag, agree), make_gold(given[:30]))
    assert not done.failed_audits and done.estimates is not None
    assert np.isnan(done.estimates.precision.value) and done.estimates.false_alarms.value > 0.15
    assert "too near for min_precision = 0.7" in done.withheld and not done.outcomes["relabel"]
    assert relabel(given, make_judges(flag, agree)).outcomes["relabel"] > N


def test_what_is_worse_counts_in_the_precision_where_it_is_relabelled_too() -> None:
    done = relabel(gold=make_gold(INSTANCES), counts_worse=True, min_precision=0.0)
    assert done.outcomes["relabel"] == 2 * N and done.estimates is not None
    # Gold calls the hidden half right and the one that speaks of it in passing wrong.
    assert done.estimates.precision.value == pytest.approx(0.5)
    assert done.estimates.false_alarms.k == N
    assert relabel(gold=make_gold(INSTANCES), counts_worse=True).withheld


def test_enough_precision_or_an_unknown_one_lets_them_be_relabelled() -> None:
    sure = relabel(gold=make_gold(INSTANCES))
    assert sure.outcomes["relabel"] == N and not sure.withheld
    unknown = relabel(judges=make_careless_judges(), min_precision=1.0)
    assert unknown.outcomes["relabel"] == 2 * N and not unknown.withheld
    assert unknown.summary()["estimates"]["precision"] == "unknown"


@pytest.mark.parametrize("has_gold", [False, True])
def test_near_copies_and_precision_do_not_depend_on_the_order_of_the_data(has_gold: bool) -> None:
    given = [add_copies(one, *shorten_and_lengthen(number)) for number, one in enumerate(INSTANCES)]
    gold = make_gold(INSTANCES) if has_gold else None
    done, turned = (relabel(some, make_careless_judges(), gold) for some in (given, given[::-1]))
    assert bool(done.withheld) == has_gold and done.sentence == turned.sentence
    assert done.estimates == turned.estimates or not has_gold
    assert done.after == turned.after[::-1] and done.outcomes == turned.outcomes


def test_positives_are_checked_and_reported_but_stay() -> None:
    wrong = Passage("wrong", "nothing to do with it")
    given = [replace(INSTANCES[0], positives=(*INSTANCES[0].positives, wrong)), *INSTANCES[1:]]
    done = relabel(given, check_positives=True)
    assert [one.passage.id for one in done.positives if one.outcome == "suspect"] == ["wrong"]
    assert sum(one.outcome == "confirmed" for one in done.positives) == 2 * N
    assert wrong in done.after[0].positives and done.summary()["positives"]["suspect"] == 1


def test_what_the_first_judge_misses_is_estimated_from_a_sample_that_decides_nothing() -> None:
    def forgetful(request: ChatRequest, index: int) -> str:
        return reply_first(
            request,
            index,
            misses=lambda text: "also" in text and hash_half(text),
        )

    done = relabel(judges=make_judges(first=forgetful), unflagged_share=1.0)
    missed = [
        one
        for decided in done.decisions.values()
        for one in decided
        if one.is_sampled and one.second and one.second.is_flag
    ]
    assert missed
    assert all(one.outcome == "keep" for one in missed)
    assert done.estimates is not None and done.estimates.missed.k == len(missed)
    n_found = done.outcomes["relabel"]
    assert done.estimates.first_recall.value == pytest.approx(n_found / (n_found + len(missed)))


def hash_half(text: str) -> bool:
    return sum(map(ord, text)) % 2 == 0


def test_gold_makes_precision_known() -> None:
    gold = {
        (one.query_id, passage.id): passage.id[0] == "h" for one in INSTANCES for passage in one.negatives
    }
    done = relabel(gold=gold)
    assert (
        done.estimates is not None and done.estimates.precision.value == 1.0 == done.estimates.precision.low
    )
    some = relabel(gold=dict(list(gold.items())[: len(gold) // 2]))
    assert some.estimates is not None and some.estimates.precision.value == 1.0 > some.estimates.precision.low
    assert done.audits[0].specificity_mined.n == 5 * N


def test_a_budget_ends_the_work_and_a_larger_one_goes_on_without_paying_twice(tmp_path: Path) -> None:
    whole = relabel()
    paid = 0
    for limit in (whole.tokens * 3 // 4, None):
        with ReplyStore(tmp_path / "replies.sqlite") as store:
            budget = TokenBudget(limit)
            judges = make_judges(store=store, budget=budget)
            done = relabel(judges=judges, block=4, n_pilot=4)
            paid += budget.paid
            assert limit is None or budget.used <= limit
        assert done.is_cut == (limit is not None)
        if limit is not None:
            assert 0 < done.outcomes["relabel"] < N and done.outcomes["abstain"]
            assert done.sentence.endswith("the budget is spent.")
    assert done.list_decisions() == whole.list_decisions() and paid == whole.tokens


def test_the_written_decisions_can_be_read(tmp_path: Path) -> None:
    done = relabel()
    done.write_decisions(tmp_path / "decisions.jsonl")
    lines = [
        json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert lines == done.list_decisions() and len(lines) == 6 * N
