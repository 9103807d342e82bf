"""Training instances as rows of texts without ids: triplets, n-tuples, lists, and pairs that carry a judgement.

sentence-transformers and FlagEmbedding train on rows such as these, told apart by the names of their fields::

    {"anchor": ..., "positive": ..., "negative": ...}            also negative_1 ... negative_n, hard_negative
    {"query": ..., "pos": [...], "neg": [...], "pos_scores": [...]}          FlagEmbedding
    {"query": ..., "answer": ..., "label": 0 or 1}               a judgement a row; rows of a query are gathered
    {"query": ..., "answer": [...], "labels": [1, 0, 0]}         a judgement a passage

A field named after a passage's (`pos_scores`, `negative_1_id`) goes where its passage goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.core.instances import FieldError, Instance, Passage, Row, hash_text, take_text

QUERY_NAMES = ("anchor", "query", "question", "sentence1", "query_text")
_QUERY_ID_NAMES = ("query_id", "query-id", "qid", "anchor_id", "question_id")
_POSITIVE_NAMES = (
    *("positive", "pos", "positives", "positive_passage", "answer", "answers", "passage", "passages"),
    *("document", "documents", "doc", "docs", "context", "contexts", "response", "sentence2"),
)
_JUDGEMENT_NAMES = ("label", "labels", "relevance", "is_relevant", "relevant", "score", "scores")
_PASSAGE_IDS = frozenset({"id", "ids", "docid", "docids", "pid", "pids", "passage_id", "doc_id"})
_NEGATIVE = re.compile(r"(?:hard_?)?neg(?:ative)?s?(?:_?(\d+))?|negative_passage")

_LOOKS_LIKE_PASSAGES = re.compile(
    r"neg|pos(?:itive)?s?(?:_|\d|$)|passage|doc(?:ument)?s?(?:_|\d|$)|answer|context|candidate|response|text"
    r"|sentence|chunk|paragraph|content|snippet|distractor|irrelevant",
    re.IGNORECASE,
)
_NO_PASSAGES = re.compile(
    r"(?:^|_|-)(?:ids?|docids?|pids?|scores?|type|prompt|instruction|title|source|dataset|subset|url|lang(?:uage)?|split"
    r"|domain|name|model|reason(?:ing)?|explanation|comment|note|date|author|category)$",
    re.IGNORECASE,
)
_SENTENCE_WORDS = 5


@dataclass(frozen=True, slots=True)
class _Columns:
    """The fields of a row: `judgement` is empty where the names say what is positive and what is negative."""

    query: str
    positive: str
    negatives: tuple[str, ...]
    judgement: str

    @property
    def passages(self) -> tuple[str, ...]:
        return (self.positive, *self.negatives)


def is_tuple(row: Row) -> bool:
    """Whether a row has a query and passages under names that are known, and these are texts."""
    if "positive_passages" in row or "positive_document_ids" in row:
        return False
    value = row.get(_find_name(row, _POSITIVE_NAMES), [{}])
    is_texts = not isinstance(value, dict) and not (
        isinstance(value, list) and any(isinstance(one, dict) for one in value)
    )
    return bool(_find_name(row, QUERY_NAMES)) and is_texts


def is_flag_embedding(row: Row) -> bool:
    """Whether a row is as FlagEmbedding has it: a query and a list under `pos`, none of them judged."""
    return "query" in row and isinstance(row.get("pos"), list) and not _find_columns(row).judgement


def is_judged_pair(row: Row) -> bool:
    """Whether a row holds one passage and its judgement."""
    columns = _find_columns(row)
    return bool(columns.judgement) and not isinstance(row[columns.positive], list)


def is_judged(row: Row) -> bool:
    """Whether a row says of its passages whether they answer."""
    return is_tuple(row) and bool(_find_columns(row).judgement)


def count_slots(row: Row) -> int | None:
    """Fields that hold one negative each; None where a row holds lists or judgements, and any number will do."""
    if not is_tuple(row):
        return None
    columns = _find_columns(row)
    if columns.judgement or any(isinstance(row[name], list) for name in columns.passages):
        return None
    return len(columns.negatives)


def list_unread_passages(row: Row) -> list[str]:
    """Fields that look like passages and are none of those that are understood."""
    columns = _find_columns(row)
    known = {columns.query, *columns.passages, columns.judgement, *_find_parallel(row, columns)}
    return [name for name, value in row.items() if name not in known and _looks_like_passages(name, value)]


def parse_tuple(row: Row) -> Instance:
    """An instance from one row.

    Raises:
        FieldError: a field is missing or of another type, or a judgement is none.
    """
    columns = _find_columns(row)
    query = take_text(row, columns.query)
    passages = _take_passages(row, columns.positive, columns)
    if columns.judgement:
        positives, negatives = _divide(passages, _take_judgements(row, columns, len(passages)))
    else:
        positives = passages
        negatives = [passage for name in columns.negatives for passage in _take_passages(row, name, columns)]
    return Instance(
        _take_query_id(row, query), query, tuple(positives), tuple(negatives), _take_rest(row, columns), row
    )


def name_query(row: Row) -> tuple[str, str]:
    """What rows of one query share: its id and its text."""
    query = take_text(row, _find_columns(row).query)
    return _take_query_id(row, query), query


def gather_pairs(rows: Sequence[Row]) -> Instance:
    """One instance from the judged pairs of one query.

    Raises:
        FieldError: as `parse_tuple`, or a passage is judged twice, right and wrong.
    """
    sides: dict[str, bool] = {}
    positives: list[Passage] = []
    negatives: list[Passage] = []
    for row in rows:
        one = parse_tuple(row)
        for passage, is_positive in [(each, True) for each in one.positives] + [
            (each, False) for each in one.negatives
        ]:
            if passage.id not in sides:
                (positives if is_positive else negatives).append(passage)
            _note_side(sides, passage, is_positive)
    columns = _find_columns(rows[0])
    query = take_text(rows[0], columns.query)
    return Instance(
        _take_query_id(rows[0], query),
        query,
        tuple(positives),
        tuple(negatives),
        _take_rest(rows[0], columns),
        rows[0],
        tuple(rows),
    )


def format_tuples(instance: Instance, *, as_lists: bool = False) -> list[Row]:
    """The rows of an instance, spelled as those it was read from.

    Args:
        instance: what to write.
        as_lists: one row with `query`, `pos` and `neg` where it was read in another form.
    """
    raw: Row = instance.raw or {}
    if not is_tuple(raw) or is_flag_embedding(raw) is not as_lists:
        raw = {}  # it was read in another form
    columns = _find_columns(raw) if raw else None
    fields: dict[str, Any]
    if columns is None and as_lists:
        fields = {
            "query": instance.query,
            "pos": [passage.full_text for passage in instance.positives],
            "neg": [passage.full_text for passage in instance.negatives],
        }
        return [{**fields, **instance.extra}]
    if columns is not None and columns.judgement:
        return _format_judged(instance, columns)
    query_name = columns.query if columns else "anchor"
    positive_name = columns.positive if columns else "positive"
    groups: list[tuple[Passage, ...]] = [(passage,) for passage in instance.positives]
    is_list = columns is not None and isinstance(raw[positive_name], list)
    if is_list:
        groups = [instance.positives]
    negatives = _format_negatives(instance, raw, columns)
    found: list[Row] = []
    for group in groups:
        texts = [passage.full_text for passage in group]
        fields = {
            query_name: instance.query,
            positive_name: texts if is_list else texts[0],
            **negatives,
            **_format_fields(raw, positive_name, group, is_list=is_list),
            **_format_scores(raw, columns, group, instance.negatives),
            **instance.extra,
        }
        found.append({**{name: fields[name] for name in raw if name in fields}, **fields})
    return found


def _find_columns(row: Row) -> _Columns:
    query, positive = _find_name(row, QUERY_NAMES), _find_name(row, _POSITIVE_NAMES)
    if not query or not positive:
        raise FieldError(f"no '{'query' if query else 'anchor'}' or no 'positive'")
    numbers = {name: match[1] for name in row if (match := _NEGATIVE.fullmatch(name))}
    negatives = tuple(sorted(numbers, key=lambda name: int(numbers[name] or 0)))
    judgement = "" if negatives else _find_name(row, _JUDGEMENT_NAMES)
    return _Columns(query, positive, negatives, judgement)


def _find_name(row: Row, names: Sequence[str]) -> str:
    return next((name for name in names if name in row), "")


def _take_query_id(row: Row, query: str) -> str:
    name = _find_name(row, _QUERY_ID_NAMES)
    value = row.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else hash_text(query)


def _take_passages(row: Row, name: str, columns: _Columns) -> list[Passage]:
    value = row[name]
    if value is None and name != columns.positive:
        return []  # a short tuple is filled with null where a table had to be square
    texts = value if isinstance(value, list) else [value]
    fields = _take_fields(row, name, columns, len(texts) if isinstance(value, list) else None)
    passages = []
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise FieldError(f"'{name}' is {type(text).__name__}, not a text")
        own = {suffix: values[place] for suffix, values in fields.items()}
        given = next((own[suffix] for suffix in own if suffix in _PASSAGE_IDS), None)
        passages.append(Passage(hash_text(text) if given is None else str(given), text, raw={"fields": own}))
    scores = _take_scores(row, columns)
    if scores is not None:
        before = 0 if name == columns.positive else 1 + columns.negatives.index(name)
        passages = [
            Passage(one.id, one.text, raw={**(one.raw or {}), "score": scores[before + place]})
            for place, one in enumerate(passages)
        ]
    return passages


def _take_fields(row: Row, name: str, columns: _Columns, n_items: int | None) -> dict[str, list[Any]]:
    """By suffix, the values of the fields that are named after a passage's, one a passage."""
    found: dict[str, list[Any]] = {}
    for field in row:
        suffix = _cut_stem(field, name)
        if not suffix or field in (columns.query, *columns.passages, columns.judgement):
            continue
        value = row[field]
        if n_items is None and not isinstance(value, list | dict):
            found[suffix] = [value]
        elif isinstance(value, list) and len(value) == n_items:
            found[suffix] = value
    return found


def _cut_stem(field: str, name: str) -> str:
    """What follows a passage's name in a field's: `pos_scores` after `pos`, `negatives_ids` after `negatives`."""
    for stem in (name, name.removesuffix("s")):
        if field.startswith(f"{stem}_"):
            return field[len(stem) + 1 :]
    return ""


def _find_parallel(row: Row, columns: _Columns) -> set[str]:
    """The fields that go with passages."""
    found = set()
    for name in columns.passages:
        value = row[name]
        for suffix in _take_fields(row, name, columns, len(value) if isinstance(value, list) else None):
            found |= {field for field in row if _cut_stem(field, name) == suffix}
    if _take_scores(row, columns) is not None:
        found.add(_find_name(row, _JUDGEMENT_NAMES))
    return found


def _take_scores(row: Row, columns: _Columns) -> list[Any] | None:
    """Scores of a tuple in the order of its passages, where it has one for each of them."""
    values = row.get(_find_name(row, _JUDGEMENT_NAMES))
    is_plain = not any(isinstance(row[name], list) for name in columns.passages)
    if columns.negatives and is_plain and isinstance(values, list) and len(values) == len(columns.passages):
        return values
    return None


def _take_rest(row: Row, columns: _Columns) -> dict[str, Any]:
    known = {columns.query, *columns.passages, columns.judgement, *_find_parallel(row, columns)}
    return {name: value for name, value in row.items() if name not in known}


def _take_judgements(row: Row, columns: _Columns, n_passages: int) -> list[int]:
    said = row[columns.judgement]
    values = said if isinstance(said, list) else [said]
    if isinstance(said, list) != isinstance(row[columns.positive], list) or len(values) != n_passages:
        raise FieldError(
            f"'{columns.judgement}' holds {len(values)} judgements of the {n_passages} passages under "
            f"'{columns.positive}'"
        )
    most = 1 if columns.query == "sentence1" else None
    return [_read_judgement(value, columns.judgement, most) for value in values]


def _read_judgement(value: Any, name: str, most: int | None) -> int:
    """A whole number; above 0 is relevant."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer() or (most is not None and number > most):
        raise FieldError(
            f"'{name}' is {value!r:.40} beside one passage, which is no judgement: write 0 or 1, or rename the field "
            "if it says something else"
        )
    return int(number)


def _divide(passages: Iterable[Passage], judgements: Iterable[int]) -> tuple[list[Passage], list[Passage]]:
    sides: dict[str, bool] = {}
    divided: tuple[list[Passage], list[Passage]] = ([], [])
    for passage, judgement in zip(passages, judgements, strict=True):
        if passage.id not in sides:
            divided[judgement <= 0].append(passage)
        _note_side(sides, passage, judgement > 0)
    return divided


def _note_side(sides: dict[str, bool], passage: Passage, is_positive: bool) -> None:
    if sides.setdefault(passage.id, is_positive) != is_positive:
        raise FieldError(
            f"the passage '{passage.text:.40}' is judged twice, right and wrong; keep one of the two"
        )


def _format_judged(instance: Instance, columns: _Columns) -> list[Row]:
    """Judged pairs as a row each, or a judged list as one row; what is new stands last."""
    raw: Row = instance.raw or {}
    rows = instance.rows or (raw,)
    now = {passage.id: (passage, True) for passage in instance.positives}
    now |= {passage.id: (passage, False) for passage in instance.negatives if passage.id not in now}
    written: set[str] = set()
    pairs: list[tuple[Row, Passage, Any, bool]] = []
    for row in rows:
        mine = _find_columns(row)
        passages = _take_passages(row, mine.positive, mine)
        said = row[mine.judgement] if isinstance(row[mine.judgement], list) else [row[mine.judgement]]
        for passage, before in zip(passages, said, strict=True):
            if passage.id in now:
                written.add(passage.id)
                is_positive = now[passage.id][1]
                pairs.append((row, passage, _judge(before, is_positive), is_positive))
    example = pairs[0][2] if pairs else 1
    for identity, (passage, is_positive) in now.items():
        if identity not in written:
            pairs.append((raw, passage, _judge(example, is_positive), is_positive))
    if isinstance(raw[columns.positive], list):
        passages = [passage for _, passage, _, _ in pairs]
        fields = {
            columns.query: instance.query,
            columns.positive: [passage.full_text for passage in passages],
            columns.judgement: [said for _, _, said, _ in pairs],
            **_format_fields(raw, columns.positive, passages, is_list=True),
            **instance.extra,
        }
        return [{**{name: fields[name] for name in raw if name in fields}, **fields}]
    found: list[Row] = []
    for row, passage, said, _ in pairs:
        mine = _find_columns(row)
        rest = _take_rest(row, mine) if passage.id in written else instance.extra
        fields = {
            mine.query: instance.query,
            mine.positive: passage.full_text,
            mine.judgement: said,
            **_format_fields(row, mine.positive, [passage], is_list=False),
            **rest,
        }
        found.append({**{name: fields[name] for name in row if name in fields}, **fields})
    return found


def _judge(before: Any, is_positive: bool) -> Any:
    """A judgement as it was, where it says the same; else 1 or 0 of the same kind."""
    if (float(before) > 0) is is_positive:
        return before
    return str(int(is_positive)) if isinstance(before, str) else type(before)(is_positive)


def _format_negatives(instance: Instance, raw: Row, columns: _Columns | None) -> dict[str, Any]:
    before = columns.negatives if columns else ()
    stem = re.sub(r"_?\d+$", "", before[0]) if before else "negative"
    texts = [passage.full_text for passage in instance.negatives]
    if before and isinstance(raw[before[0]], list):
        fields = _format_fields(raw, before[0], instance.negatives, is_list=True)
        return {before[0]: texts, **fields}
    if before and len(texts) <= len(before):
        # The columns of before, so that a table keeps its own.
        names = before
        padded: list[str | None] = [*texts, *[None] * (len(before) - len(texts))]
    else:
        names = (stem,) if len(texts) == 1 else tuple(f"{stem}_{place + 1}" for place in range(len(texts)))
        padded = [*texts]
    found: dict[str, Any] = dict(zip(names, padded, strict=True))
    for place, name in enumerate(before[: len(names)]):
        mine = instance.negatives[place : place + 1]
        found |= _format_fields(raw, name, mine, is_list=False)
    return found


def _format_fields(raw: Row, name: str, passages: Sequence[Passage], *, is_list: bool) -> dict[str, Any]:
    """The fields that go with passages, as these stand now; null where a passage has none."""
    if not raw:
        return {}
    columns = _find_columns(raw)
    value = raw[name]
    found: dict[str, Any] = {}
    for suffix in _take_fields(raw, name, columns, len(value) if isinstance(value, list) else None):
        field = next(one for one in raw if _cut_stem(one, name) == suffix)
        values = [_get_field(passage, suffix) for passage in passages]
        found[field] = values if is_list else values[0] if values else None
    return found


def _get_field(passage: Passage, suffix: str) -> Any:
    fields: Mapping[str, Any] = (passage.raw or {}).get("fields") or {}
    if suffix in fields:
        return fields[suffix]
    # A score that something else gave would be of another scale.
    return passage.id if suffix in _PASSAGE_IDS else None


def _format_scores(
    raw: Row, columns: _Columns | None, positives: Sequence[Passage], negatives: Sequence[Passage]
) -> dict[str, Any]:
    if columns is None or _take_scores(raw, columns) is None:
        return {}
    name = _find_name(raw, _JUDGEMENT_NAMES)
    return {name: [(passage.raw or {}).get("score") for passage in (*positives, *negatives)]}


def _looks_like_passages(name: str, value: Any) -> bool:
    texts = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    if not texts or _NO_PASSAGES.search(name) or name in (*QUERY_NAMES, *_QUERY_ID_NAMES):
        return False
    return bool(_LOOKS_LIKE_PASSAGES.search(name)) or any(
        len(text.split()) >= _SENTENCE_WORDS for text in texts
    )
