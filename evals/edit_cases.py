"""Edits with their gold: human ones of CEBaB and CAD IMDb, published ChatGPT injections, and what they start from.

A case is an edit that claims something of itself. An *injection* claims that the label was kept and a concept added, a
counterfactual *edit* that the label was changed and the concepts kept. Gold is people's votes where people edited.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Nature
from counterpoise.core.records import ConceptColumns, State
from counterpoise.core.splits import keyed_rank
from counterpoise.scorers.concepts.labeller import ABSENT_UP_TO, PRESENT_FROM
from counterpoise.scorers.concepts.similarity import calibrate_similarities
from counterpoise_retrievers.encoders import Encoder
from evals.common import find_file, read_csv, read_jsonl

CONCEPTS = {
    "food": "what was eaten or drunk",
    "service": "waiters and staff",
    "ambiance": "the look, mood and comfort of the place",
    "noise": "how loud or quiet the place was",
}
N_CAD_PAIRS = 400
CONFIRMED_FROM = {Nature.INSERTED: 0.55, Nature.REWRITTEN: 0.75}
"""Probability of the claimed label from which a blind scorer confirms an edit, as either half of the cases chose it for
the other; the product asks for confirmation of editors that do harm, and measures from where on (`filters.editors`)."""
LABELS = ("negative", "neutral", "positive")
_STARS = {"1": "negative", "2": "negative", "3": "neutral", "4": "positive", "5": "positive"}
_OPPOSITE = {"negative": "positive", "positive": "negative"}
_GOALS = {"Negative": "negative", "Positive": "positive"}


@dataclass(frozen=True)
class Row:
    """A text that people labelled.

    Args:
        text: the text.
        label: name of its label.
        group: of texts that are edits of one another; they share a fold.
        concepts: concept -> whether it is mentioned, None where people did not say.
    """

    text: str
    label: str
    group: str
    concepts: Mapping[str, bool | None]


@dataclass(frozen=True)
class Case:
    """An edit and what is right of its claim.

    Args:
        kind: injection or counterfactual edit.
        source: the text it starts from.
        text: the edit.
        label: the label it claims.
        group: of the source.
        concept: the concept an injection claims to add.
        has_label: whether it has the label; None where nobody said.
        has_concepts: whether the concepts are as claimed.
    """

    kind: str
    source: str
    text: str
    label: str
    group: str
    concept: str = ""
    has_label: bool | None = None
    has_concepts: bool | None = None

    @property
    def nature(self) -> Nature:
        """What it is for a filter."""
        return Nature.INSERTED if self.kind == "concept_injection" else Nature.REWRITTEN


@dataclass(frozen=True)
class Reviews:
    """A corpus for this evaluation.

    Args:
        name: as `data` in the results.
        train: rows the filters may learn from.
        test: rows they may not.
        labels: names of the labels.
        train_cases: human edits among the training rows, for thresholds.
        cases: human edits among the test rows; their gold is people's.
        published: cases whose gold is not known.
    """

    name: str
    train: list[Row]
    test: list[Row]
    labels: tuple[str, ...]
    train_cases: list[Case]
    cases: list[Case]
    published: list[Case]


def load_cebab(folder: Path) -> Reviews:
    """CEBaB with three labels; texts without a majority are left out."""
    files = {
        name: [
            row
            for row in read_jsonl(find_file(folder, f"cebab/{name}.jsonl.gz"))
            if row["review_majority"] in _STARS
        ]
        for name in ("train_inclusive", "dev", "test")
    }
    tests = files["dev"] + files["test"]
    return Reviews(
        "cebab",
        [_read_row(row) for row in files["train_inclusive"]],
        [_read_row(row) for row in tests],
        LABELS,
        _list_human_cases(files["train_inclusive"]),
        _list_human_cases(tests),
        _load_published(folder, files["train_inclusive"]),
    )


def _read_row(row: Mapping[str, Any]) -> Row:
    return Row(
        row["text"],
        _STARS[row["review_majority"]],
        row["original_id"],
        {name: _has_concept(row, name) for name in CONCEPTS},
    )


def _has_concept(row: Mapping[str, Any], concept: str) -> bool | None:
    return {"Positive": True, "Negative": True, "unknown": False}.get(row[concept])


def _list_human_cases(rows: Sequence[Mapping[str, Any]]) -> list[Case]:
    originals = {row["original_id"]: row for row in rows if row["is_original"]}
    cases = []
    for row in rows:
        source = originals.get(row["original_id"])
        if source is None or row["is_original"] or _STARS[source["review_majority"]] not in _OPPOSITE:
            continue
        before, after = _STARS[source["review_majority"]], _STARS[row["review_majority"]]
        shared = {"source": source["text"], "text": row["text"], "group": row["original_id"]}
        concept = row["edit_type"]
        if _has_concept(source, concept) is False and _GOALS.get(row["edit_goal"]):
            cases.append(
                Case(
                    "concept_injection",
                    label=before,
                    concept=concept,
                    has_label=after == before,
                    has_concepts=bool(_has_concept(row, concept)),
                    **shared,
                )
            )
        if _GOALS.get(row["edit_goal"]) == _OPPOSITE[before]:
            pairs = [(_has_concept(source, name), _has_concept(row, name)) for name in CONCEPTS]
            kept = all(first == second for first, second in pairs if None not in (first, second))
            cases.append(
                Case(
                    "counterfactual_edit",
                    label=_OPPOSITE[before],
                    has_label=after == _OPPOSITE[before],
                    has_concepts=kept,
                    **shared,
                )
            )
    return cases


def _load_published(folder: Path, train: Sequence[Mapping[str, Any]]) -> list[Case]:
    """ChatGPT injections that start from training texts; those from dev and test are left out."""
    groups = {row["text"]: row["original_id"] for row in train}
    rows = read_jsonl(find_file(folder, "concept_spurious_zhou2024/chatgpt_cf_cebab.jsonl.gz"))
    return [
        Case(
            "concept_injection",
            row["ori_text"],
            row["cf_text"],
            _STARS[str(int(row["label"]) + 1)],
            groups[row["ori_text"]],
            row["concept"],
        )
        for row in rows
        if row["ori_text"] in groups
    ]


def load_cad(folder: Path) -> Reviews:
    """CAD IMDb: human revisions, and beside each a failed one, the original with a few words left out.

    Long reviews take long to encode, so the filters learn from 400 pairs of the training part.
    """
    files = {name: read_csv(find_file(folder, f"cad_imdb/{name}.csv.gz")) for name in ("train", "test")}
    pairs = sorted({row["pair_id"] for row in files["train"]})
    drawn = {pairs[row] for row in keyed_rank(pairs, "pairs")[:N_CAD_PAIRS]}
    files["train"] = [row for row in files["train"] if row["pair_id"] in drawn]
    labels = ("Negative", "Positive")
    return Reviews(
        "cad_imdb",
        [_read_pair(row) for row in files["train"]],
        [_read_pair(row) for row in files["test"]],
        labels,
        [],
        _pair_cases(files["test"]),
        [],
    )


def _read_pair(row: Mapping[str, str]) -> Row:
    return Row(row["text"], row["label"], f"pair {row['pair_id']}", {})


def _pair_cases(rows: Sequence[Mapping[str, str]]) -> list[Case]:
    originals = {row["pair_id"]: row for row in rows if row["kind"] == "original"}
    cases = []
    for row in rows:
        if row["kind"] == "original":
            continue
        source = originals[row["pair_id"]]
        true = Case(
            "counterfactual_edit",
            source["text"],
            row["text"],
            row["label"],
            f"pair {row['pair_id']}",
            has_label=row["label"] != source["label"],
            has_concepts=True,
        )
        cases += [true, replace(true, text=leave_out(source["text"], row["pair_id"]), has_label=False)]
    return cases


def leave_out(text: str, key: str, ratio: float = 0.05) -> str:
    """A text without a few words of three letters or fewer, which do not change what it says of a film."""
    matches = list(re.finditer(r"\b(?:a|an|the|is|was|of|to|so|it)\b ", text))
    picked = random.Random(key).sample(matches, min(len(matches), max(1, int(ratio * len(text.split())))))
    for match in sorted(picked, key=lambda each: -each.start()):
        text = text[: match.start()] + text[match.end() :]
    return text


def draw_cases(cases: Sequence[Case], most: int, key: str) -> list[Case]:
    """At most `most` cases by keyed hash of their source; cases of one source stay together."""
    order = keyed_rank([case.source for case in cases], key)
    kept: list[Case] = []
    by_source: dict[str, list[Case]] = {}
    for case in cases:
        by_source.setdefault(case.source, []).append(case)
    for row in order:
        mine = by_source.pop(cases[row].source, [])
        if mine and len(kept) + len(mine) <= most:
            kept += mine
    return kept


def label_by_similarity(
    vectors: NDArray[np.float32], encoder: Encoder, reference: NDArray[np.float32]
) -> ConceptColumns:
    """Concepts of (n, d) texts by the similarity of the whole text; (m, d) reference texts set the thresholds."""
    anchors = encoder.encode(list(CONCEPTS.values()))
    probabilities = np.stack(
        [
            calibrate_similarities(
                (reference @ anchor).astype(np.float64), (vectors @ anchor).astype(np.float64)
            )
            for anchor in anchors
        ],
        axis=1,
    )
    states = np.full(probabilities.shape, State.UNKNOWN, dtype=np.int8)
    states[probabilities >= PRESENT_FROM] = State.PRESENT
    states[probabilities <= ABSENT_UP_TO] = State.ABSENT
    return ConceptColumns(tuple(CONCEPTS), states, probabilities)
