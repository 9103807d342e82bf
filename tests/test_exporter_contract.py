"""What every registered exporter keeps: what is written is read back, whatever the texts; nothing is half written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.cli import execute
from counterpoise.core.errors import JobError
from counterpoise.core.instances import Instance, Passage
from counterpoise.data.exporters import DEFAULT_EXPORTER, EXPORTERS, find_readable, list_forms
from counterpoise.data.exporters.base import Exporter, InstanceForm
from counterpoise.data.instances import find_form, read_beir, read_instances, write_instances
from counterpoise.tasks.retrieval.job import RetrievalJob

every_exporter = pytest.mark.parametrize(
    "exporter", list(map(EXPORTERS.find, EXPORTERS.names)), ids=lambda one: one.name
)
every_form = pytest.mark.parametrize("form", list_forms(), ids=lambda one: one.name)
INSTANCES = [
    Instance(
        f"q{place}",
        f"what is {text}",
        (Passage(f"p{place}", f"{text} is this"),),
        (Passage(f"n{place}", f"{text} is not"), Passage(f"m{place}", f"nor {text} at all")),
    )
    for place, text in enumerate(
        ["tea", "crème brûlée", "お茶", "😀\u2028\x85", "a\ttab\nline", "half \ud83d", "\x00"]
    )
]


def say(instances: Iterable[Instance]) -> list[tuple[str, list[str], list[str]]]:
    return [
        (one.query, [each.text for each in one.positives], [each.text for each in one.negatives])
        for one in instances
    ]


def read_back(exporter: Exporter, path: Path) -> list[tuple[str, list[str], list[str]]]:
    """What was written, by what reads it: a line at a time, or a collection."""
    if isinstance(exporter, InstanceForm):
        sides = [(*one.positives, *one.negatives) for one in INSTANCES]
        corpus = {passage.id: passage for side in sides for passage in side}
        return say(read_instances(path, exporter.name, corpus=corpus))
    found = read_beir(path)
    return [
        (
            found.queries[query].text,
            [found.corpus[name].text for name, score in judged.items() if score > 0],
            [found.corpus[name].text for name, score in judged.items() if score == 0],
        )
        for query, judged in found.qrels.items()
    ]


@every_exporter
def test_what_is_written_is_read_back_and_is_the_same_each_time(exporter: Exporter, tmp_path: Path) -> None:
    n_lines = exporter.write(tmp_path / "first", INSTANCES)
    assert n_lines >= len(INSTANCES)
    assert read_back(exporter, tmp_path / "first") == say(INSTANCES)
    exporter.write(tmp_path / "second", INSTANCES)
    for one in (path for path in (tmp_path / "first", *(tmp_path / "first").rglob("*")) if path.is_file()):
        again = tmp_path / "second" / one.relative_to(tmp_path / "first")
        assert again.read_bytes() == one.read_bytes()


@every_exporter
def test_nothing_gives_a_file_of_nothing(exporter: Exporter, tmp_path: Path) -> None:
    assert exporter.write(tmp_path / "none", []) == 0
    assert (tmp_path / "none").exists() and read_back(exporter, tmp_path / "none") == []


@every_exporter
def test_what_stops_half_way_leaves_no_half(exporter: Exporter, tmp_path: Path) -> None:
    def stop() -> Iterable[Instance]:
        yield INSTANCES[0]
        raise ZeroDivisionError

    exporter.write(tmp_path / "out", INSTANCES[:2])
    with pytest.raises(ZeroDivisionError):
        exporter.write(tmp_path / "out", stop())
    assert read_back(exporter, tmp_path / "out") == say(INSTANCES[:2])


@every_exporter
def test_what_it_can_hold_is_said_truly(exporter: Exporter, tmp_path: Path) -> None:
    two = replace(INSTANCES[0], positives=(*INSTANCES[0].positives, Passage("more", "tea is that")))
    exporter.write(tmp_path / "out", [two])
    assert (len(read_back(exporter, tmp_path / "out")) == 1) or not exporter.holds_query
    assert (exporter.count_slots(two) is not None) == exporter.has_columns
    assert not exporter.is_judged(two)


@every_form
def test_a_line_is_recognised_kept_and_may_be_gzip(form: InstanceForm, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    form.write(path, INSTANCES[:3])
    assert find_form(path) == form.name
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    odd = [{"odd": [1, None], **row} for row in rows]
    (tmp_path / "odd.jsonl").write_text("\n".join(map(json.dumps, odd)), encoding="utf-8")
    corpus = {passage.id: passage for one in INSTANCES for passage in (*one.positives, *one.negatives)}
    instances = list(read_instances(tmp_path / "odd.jsonl", corpus=corpus))
    assert [line for one in instances for line in form.format(one)] == odd
    assert list(form.format(instances[0])[0]) == list(odd[0]), "fields keep their order"
    others = [one.name for one in list_forms() if one.recognises(rows[0])]
    assert others[0] == form.name


def test_names_come_from_the_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert DEFAULT_EXPORTER in map(EXPORTERS.find, EXPORTERS.names)
    with pytest.raises(JobError, match="'beir' is written only"):
        find_readable("beir")
    with pytest.raises(
        JobError, match="key 'form': found 'tevatrn', which is none of them; did you mean 'tevatron'"
    ):
        RetrievalJob.make(data="x.jsonl", form="tevatrn")
    write_instances(tmp_path / "in.jsonl", INSTANCES[:1], "rlhn")
    arguments = ["mine", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--form", "tevatrn"]
    assert execute(arguments) == 2
    assert "--form: found 'tevatrn'" in capsys.readouterr().err
