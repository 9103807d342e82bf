"""The same data in three forms of file is judged, audited and estimated alike: what counts is a query, not a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterpoise.actions.relabel.cases import make_cases
from counterpoise.actions.relabel.gold_pairs import GoldSource, match_gold
from counterpoise.actions.relabel.judge_audits import choose_plants
from counterpoise.actions.relabel.preparation import MOST_AUDITED, CascadeSettings, count_audited
from counterpoise.balance.retrieval import RetrievalBalance
from counterpoise.cli import app as cli
from counterpoise.core.errors import DataError
from counterpoise.data.instances import Instance, Passage, format_instance, hash_text
from counterpoise.report.retrieval_page import RETRIEVAL_PAGE
from counterpoise.runs.retrieval import make_retrieval_report
from counterpoise.tasks.retrieval.job import RetrievalJob
from evals.relabel_coverage import FORMS as SIMULATED_FORMS
from evals.relabel_coverage import JUDGES, draw
from tests.retrieval_judges import read_prompt, reply_first, reply_second
from tests.servers import LocalServer
from tests.test_relabel_retrieval import INSTANCES, N, count_requests, make_gold, make_judges, relabel

pytestmark = pytest.mark.slow


def cut_triplets(instances: list[Instance]) -> list[Instance]:
    """A row for each positive and negative, without ids, as sentence-transformers has it."""
    return [
        Instance(hash_text(one.query), one.query, (rename(positive),), (rename(negative),))
        for one in instances
        for negative in one.negatives
        for positive in one.positives
    ]


def cut_tuples(instances: list[Instance]) -> list[Instance]:
    """A row for each positive, with all negatives."""
    return [
        Instance(hash_text(one.query), one.query, (rename(positive),), tuple(map(rename, one.negatives)))
        for one in instances
        for positive in one.positives
    ]


def rename(passage: Passage) -> Passage:
    return Passage(hash_text(passage.text), passage.text)


FORMS: dict[str, Callable[[list[Instance]], list[Instance]]] = {
    "grouped": lambda instances: instances,
    "triplets": cut_triplets,
    "tuples": cut_tuples,
}


@pytest.mark.parametrize("form", ["triplets", "tuples"])
def test_another_form_of_the_same_data_costs_the_same_and_says_the_same(form: str) -> None:
    judges, others = make_judges(), make_judges()
    grouped, done = relabel(judges=judges), relabel(FORMS[form](INSTANCES), others)
    assert [count_requests(one) for one in judges] == [count_requests(one) for one in others]
    assert done.tokens == grouped.tokens and done.outcomes == grouped.outcomes
    assert done.audits == grouped.audits and done.estimates == grouped.estimates
    assert done.meters[0].n_queries == N == grouped.meters[0].n_queries


def test_rows_of_a_query_are_audited_once_however_many_there_are() -> None:
    """Three queries with eighty rows each are no audit of two hundred and forty."""
    rows = [
        Instance(one.query_id, one.query, one.positives, (Passage(f"{one.query_id} {turn}", f"rain {turn}"),))
        for one in INSTANCES[:3]
        for turn in range(80)
    ]
    done = relabel(rows)
    assert done.audits[0].sensitivity.n == 3 and "could not be audited: 3 known positives" in done.sentence


def test_no_more_than_three_hundred_queries_are_audited() -> None:
    few, many = (
        make_cases([replace(INSTANCES[0], query=f"query {one}") for one in range(n)], {}, "source")
        for n in (400, 6_100)
    )
    settings = CascadeSettings()
    assert (count_audited(settings, few), count_audited(settings, many)) == (100, MOST_AUDITED)
    assert MOST_AUDITED == 300 == len(choose_plants(many, count_audited(settings, many)))


def test_the_ambiguity_guard_counts_a_query_in_however_many_rows_it_stands() -> None:
    crowd = replace(
        INSTANCES[0],
        negatives=tuple(Passage(f"h{one}", f"topic000 again, in words {one}") for one in range(9)),
    )
    given = [*cut_triplets([crowd]), *INSTANCES[1:]]
    done = relabel(given, most_flagged=1.0)
    assert done.ambiguous == set(range(18)) and len(done.after) == N - 1


def miss_hidden(**keys: Any) -> Any:
    """Judges that recognise the known positives, and half of what is hidden: it reads `also on`."""

    def first(request: Any, index: int) -> str:
        return reply_first(request, index, misses=lambda text: "also" in text and int(text[13:16]) % 2 == 0)

    return make_judges(first=first, **keys)


@pytest.mark.parametrize("form", FORMS)
def test_recall_goes_by_gold_where_gold_holds_false_negatives(form: str) -> None:
    given = FORMS[form](INSTANCES)
    gold = {(one.query, passage.text): name for one in INSTANCES for passage, name in list_gold(one)}
    done = relabel(given, miss_hidden(), dict(list(gold.items())[: len(gold) // 2]))
    assert done.estimates is not None and done.estimates.recall_planted.value == 1.0
    recall = done.estimates.recall
    assert not recall.is_upper_bound and recall.low <= 0.5 <= recall.high < 0.8
    assert "measured on 15 false negatives of the gold" in done.estimates.sentence


def list_gold(one: Instance) -> list[tuple[Passage, bool]]:
    return [(passage, passage.id[0] == "h") for passage in one.negatives]


def test_recall_without_false_negatives_in_gold_is_called_an_upper_bound() -> None:
    wrong = {pair: right for pair, right in make_gold(INSTANCES).items() if not right}
    for gold in (None, wrong):
        done = relabel(judges=miss_hidden(), gold=gold)
        assert done.estimates is not None
        summary = done.summary()["estimates"]
        assert summary["recall"]["is_upper_bound"] and summary["recall"]["measured_on"] == "planted_positives"
        assert str(done.estimates.recall).startswith("at most 1.00 (")
        assert "an upper bound" in summary["sentence"]


def test_gold_may_name_what_the_data_names_or_a_corpus_or_the_texts() -> None:
    cases = make_cases(cut_triplets(INSTANCES[:2]), {}, "source")
    one = INSTANCES[0]
    names = {
        "ids": ((hash_text(one.query), hash_text(one.negatives[0].text)), None),
        "texts": ((one.query, one.negatives[0].text), None),
        "corpus": (("q0", "h0-0"), GoldSource("g", {"q0": (one.query,)}, {"h0-0": (one.negatives[0].text,)})),
    }
    for pair, source in names.values():
        found = match_gold(
            {pair: True, ("q7", "d7"): False, (one.query, one.positives[0].text): True}, cases, source
        )
        assert found.answers == {0: {one.negatives[0].text: True}}
        assert (found.n_matched, found.n_right, found.n_positives, found.n_other_queries) == (1, 1, 1, 1)
    assert found.sentence == (
        "Gold: 1 of 3 judgements speak of candidates, 1 of which answer their query (1 speak of known positives; 1 "
        "name a query that is not in the data)."
    )


def test_gold_that_speaks_of_no_candidate_is_an_error_before_a_token_is_spent() -> None:
    first, second = make_judges()
    with pytest.raises(DataError) as caught:
        relabel(judges=(first, second), gold={("q0", "nothing"): True, ("q999", "h0-0"): True})
    assert str(caught.value) == (
        "gold: none of 2 judgements speaks of a candidate: 1 name a query that is not in the data; 1 name a passage "
        "that is no candidate of its query; name queries and passages by the ids in the data, or by their texts; there "
        "are query 'q0' with passage 'h0-0', for example"
    )
    assert not first.chat.budget.used


def test_screen_json_and_page_call_the_bound_a_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "triples.jsonl"
    rows = [row for one in INSTANCES for row in format_instance(one, "tevatron")]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def reply(body: Any, index: int) -> str:
        content = body["messages"][1]["content"]
        is_first = '"relevant"' in json.dumps(body["response_format"])
        return reply_first(content, index) if is_first else reply_second(content, index)

    with LocalServer(reply) as server:
        arguments = ["relabel", str(data), "--model", server.url, "--cache-dir", str(tmp_path / "cache")]
        assert cli.execute(arguments) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert (
            "Recall is at most 1.00" in said
            and "Precision is unknown: only gold on candidates tells." in said
        )
        assert cli.execute([*arguments, "--json", "--overwrite"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["estimates"]["recall"]["is_upper_bound"] and "an upper bound" in summary["notes"][0]
    nothing = RetrievalBalance({}, (), (), 0)
    report = make_retrieval_report(RetrievalJob(data="triples.jsonl"), relabel(), nothing, nothing)
    page = RETRIEVAL_PAGE.render(report)
    assert "at most 1.00" in page and "an upper bound" in page


def test_the_command_names_the_gold_file_that_matches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, gold = tmp_path / "triplets.jsonl", tmp_path / "gold.tsv"
    data.write_text('{"anchor": "what", "positive": "this", "negative": "that"}\n', encoding="utf-8")
    gold.write_text("q1\td1\t1\n", encoding="utf-8")
    arguments = ["relabel", str(data), "--gold", str(gold), "--model", "http://127.0.0.1:9/v1"]
    assert cli.execute(arguments) == 2
    assert "gold.tsv: none of 1 judgements speaks of a candidate" in capsys.readouterr().err


def test_prompts_of_another_form_are_the_same() -> None:
    seen: dict[str, set[str]] = {}
    for form, cut in FORMS.items():
        mine = seen.setdefault(form, set())

        def keep(request: Any, index: int, mine: set[str] = mine) -> str:
            mine.add(request.messages[1].content)
            assert read_prompt(request)
            return reply_first(request, index)

        relabel(cut(INSTANCES[:12]), make_judges(first=keep))
    assert seen["grouped"] == seen["triplets"] == seen["tuples"]


def test_intervals_hold_in_a_simulation_of_every_form() -> None:
    errors = JUDGES["by_query"]
    drawn = {form: draw(0, form, errors) for form in SIMULATED_FORMS}
    assert drawn["grouped"] == drawn["triplets"] == drawn["tuples"]
    more = [draw(seed, "triplets", errors) for seed in range(1, 5)]
    held = [is_held for one in (drawn["grouped"], *more) for is_held, _ in one.values()]
    assert len(held) > 40 and sum(held) / len(held) > 0.8
