"""Retrieval files: BEIR folders, triplets, instances, judgements; read, mined, written and read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoise.data.exporters import list_forms
from counterpoise.data.instances import (
    find_form,
    list_splits,
    read_beir,
    read_instances,
    read_passages,
    write_beir,
    write_instances,
)
from tests.fuzz.common import Ended, Source, break_bytes, call, dump_json, encode, guard, pack, put

FORMS = tuple(form.name for form in list_forms())


def make_instance(source: Source, number: int) -> dict[str, Any]:
    """One line of training instances, in one of the forms of the field."""
    query, answers = f"what is {number}", [f"{number} is a number", f"{number + 1} is another", "bread"]
    match source.randrange(7):
        case 0:
            return {"anchor": query, "positive": answers[0], "negative": answers[1]}
        case 1:
            return {
                "query": query,
                "pos": [answers[0]],
                "neg": answers[1:],
                "pos_scores": [0.9],
                "neg_scores": [0.1, 0.2],
            }
        case 2:
            return {
                "query": query,
                "positive": answers[0],
                "negative_1": answers[1],
                "negative_2": answers[2],
            }
        case 3:
            passages = [{"docid": f"d{n}", "title": "", "text": text} for n, text in enumerate(answers)]
            return {
                "query_id": f"q{number}",
                "query": query,
                "positive_passages": passages[:1],
                "negative_passages": passages[1:],
            }
        case 4:
            passages = [{"id": f"d{n}", "title": "t", "text": text} for n, text in enumerate(answers)]
            return {"query_id": number, "query": query, "positives": passages[:1], "negatives": passages[1:]}
        case 5:
            return {"query": query, "answer": answers[number % 2], "label": 1 - number % 2}
        case _:
            return {"query": query, "answer": answers, "labels": [1, 0, 0]}


def damage(source: Source, row: dict[str, Any]) -> dict[str, Any]:
    """A line with one value that is something else, at the top or inside."""
    name = source.choice(list(row))
    changed = dict(row)
    value = row[name]
    if isinstance(value, list) and value and isinstance(value[0], dict) and source.is_hit(0.6):
        first = dict(value[0])
        first[source.choice(list(first))] = source.pick_value()
        changed[name] = [first, *value[1:]]
    elif isinstance(value, list) and source.is_hit(0.5):
        changed[name] = [*value, source.pick_value()]
    elif source.is_hit(0.2):
        del changed[name]
    else:
        changed[name] = source.pick_value()
    return changed


def write_lines(source: Source, rows: list[dict[str, Any]]) -> bytes:
    """JSON lines with what is between lines in the wild."""
    text = ""
    for row in rows:
        if source.is_hit(0.05):
            row = damage(source, row)
        text += dump_json(source, row) + "\n" + ("\n" if source.is_hit(0.03) else "")
    return (
        break_bytes(source, encode(source, text))
        if source.is_hit(0.5)
        else text.encode("utf-8", "surrogatepass")
    )


def write_judgements(source: Source, n: int, suffix: str) -> bytes:
    """Judgements as BEIR, TREC and hand write them."""
    mark = "," if suffix == "csv" else "\t"
    lines = [] if source.is_hit(0.2) else [mark.join(("query-id", "corpus-id", "score"))]
    for number in range(n):
        score: Any = 1
        ids = [f"q{number}", f"d{number}"]
        if source.is_hit(0.05):
            score = source.choice(
                ("", "x", "0.5", "nan", "inf", "1e400", "9" * 5000, "-1", "0x1", "1_0", "١")
            )
        if source.is_hit(0.05):
            ids[source.randrange(2)] = source.choice(("ghost", "", '"', "a" * 200_000, "q0"))
        cells = [ids[0], "0", ids[1], str(score)] if source.is_hit(0.02) else [*ids, str(score)]
        lines.append(mark.join(cells))
    return break_bytes(source, ("\n".join(lines) + source.choice(("\n", "", "\n\n"))).encode())


def fuzz_retrieval(source: Source, folder: Path) -> Iterator[Ended]:
    """A file of instances or a BEIR folder."""
    n = source.choice((0, 1, 3, 6))
    if source.is_hit(0.5):
        forms = [make_instance(source, 0)]
        rows = [make_instance(source, number) for number in range(n)]
        if source.is_hit(0.8):  # one form, as in a file that a program wrote
            keep = source.getstate()
            rows = []
            for number in range(n):
                source.setstate(keep)
                rows.append(make_instance(source, number))
        content = write_lines(source, rows or forms)
        is_packed = source.is_hit(0.15)
        path = folder / ("rows.jsonl" + (".gz" if is_packed else ""))
        put(source, path, pack(source, content) if is_packed else content)
        form = source.choice(("auto", "auto", *FORMS))

        def round_trip() -> None:
            found = list(read_instances(path, form))
            for kind in FORMS:
                out = folder / f"{kind}.jsonl"
                if write_instances(out, found, kind):
                    list(read_instances(out, kind))
            find_form(path)

        yield guard(round_trip)
        if source.is_hit(0.1):
            yield call(
                "mine", path, "-o", folder / "mined.jsonl", "--band", "1", "--way", "bm25", "--negatives", "2"
            )
        return
    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{number}", "title": "", "text": f"passage {number} of bread"} for number in range(n)]
    queries = [{"_id": f"q{number}", "text": f"bread {number}", "metadata": {}} for number in range(n)]
    put(source, beir / "corpus.jsonl", write_lines(source, corpus))
    put(source, beir / "queries.jsonl", write_lines(source, queries))
    suffix = source.choice(("tsv", "tsv", "csv"))
    place = beir / "qrels" / "test.tsv" if suffix == "tsv" else beir / "qrels.csv"
    put(source, place, write_judgements(source, n, suffix))

    def read() -> None:
        list_splits(beir)
        found = read_beir(beir)
        write_beir(folder / "again", found)
        again = read_beir(folder / "again")
        assert again.qrels == found.qrels and list(again.corpus) == list(found.corpus), (
            "the collection changed"
        )
        list(read_passages(beir / "corpus.jsonl"))

    yield guard(read)
    if source.is_hit(0.1):
        yield call(
            "mine", beir, "-o", folder / "mined.jsonl", "--band", "1", "--way", "bm25", "--negatives", "2"
        )
