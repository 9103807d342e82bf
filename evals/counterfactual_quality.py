"""Edits of texts: do they do what they claim, and can the filters tell?

Arms: `human` edits (CEBaB, CAD IMDb), `lexicon` edits (no model), `embedded` ones (the model of `--engine`) and
`published` ChatGPT injections (Zhou et al. 2024, those that start from training texts). `data` is the set and the
claim: an *injection* keeps the label and adds a concept, an *edit* changes the label and keeps the concepts.

- `flip_ratio`: edits that have the wanted label; for injections `label_kept_ratio`.
- `concept_kept_ratio`: edits whose concepts are their source's; for injections `concept_added_ratio`.
- `edit_ratio`: words changed, of all; `literal_mention_ratio`: injections that name their concept.
- `verification_precision`, `verification_recall`: of what the filters keep, and of what is right, at the thresholds of
  the product; the curve (`curve_precision`, `curve_recall`) varies the threshold for the label.

`pooled` are all arms and both corpora together. Gold of human edits is people's votes, a review of three stars being
neither good nor bad. Gold of the other arms is a classifier on words, trained on people's votes for all other texts
(folds by original): another representation than the filters' sentence vectors. It shares with them the votes on
training texts, and with the lexicon that it looks at words. Its own accuracy on human edits is in the table
(`gold_accuracy`); texts of which it is not sure (below 0.6) are left out of precision and recall, and
`gold_sure_ratio` says how many remain. Thresholds: those of size and concept on human edits of training texts
(`train` rows of the table), by filters that never saw their originals; the two for the label on half of the pooled
cases, by keyed hash of the original: the highest recall at a precision of 0.91. Either half chose the same two, so each
half of the cases (`pooled_half_0`, `pooled_half_1`) is measured at thresholds that the other chose.

    python -m evals counterfactual_quality --data DIR [--only cebab] [--only human] [--engine URL]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from counterpoise.actions.concept_injection import ConceptInjection, make_removal_pairs
from counterpoise.actions.counterfactual_edit import CounterfactualEdit
from counterpoise.actions.edit_sources import EditMaterial, RecordEditor
from counterpoise.actions.lexicon_edit import Lexicon, learn_lexicon
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal
from counterpoise.core.records import ConceptColumns, Floats, Records
from counterpoise.core.splits import keyed_hash, keyed_rank
from counterpoise.filters.edit_sizes import measure_edit
from counterpoise.filters.edits import (
    NOT_CONFIRMED,
    EditEvidence,
    LabelNeed,
    check_edits,
    measure_rises,
    names_concept,
    pair_cosines,
)
from counterpoise.llm.models import Models
from counterpoise.students.calibration import calibrate_labels
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.weights import log_prior
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, interval, open_engine, open_model
from evals.edit_cases import (
    CONCEPTS,
    CONFIRMED_FROM,
    Case,
    Reviews,
    Row,
    draw_cases,
    label_by_similarity,
    load_cad,
    load_cebab,
)
from evals.minority_text import open_encoder

ARMS = ("human", "lexicon", "published", "embedded")
NAMES = {"concept_injection": "injection", "counterfactual_edit": "edit"}
HEADINGS = {
    "negative": "Negative restaurant reviews written by unhappy customers",
    "neutral": "Mixed restaurant reviews",
    "positive": "Positive restaurant reviews written by happy customers",
    "Negative": "Negative film reviews",
    "Positive": "Positive film reviews",
}
CURVE = (0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95)
N_FOLDS = 3
GOLD_SURE_FROM = 0.6
_SIZES = {"cad_imdb": 150, "lexicon": 300, "embedded": 60}
_QUICK, _QUICK_TRAIN = 40, 300
_EMBEDDED_TOKENS = 10**9


@dataclass(frozen=True)
class Panel:
    """What scores the texts of a corpus; a text is never scored by what was trained on its group.

    Args:
        labels: names of the labels.
        rows: rows that were learned from.
        features: (n, d) of them.
        transform: texts -> features.
        answers: question -> (n,) label indices, -1 where unknown; the question `label` and the concepts.
    """

    labels: tuple[str, ...]
    rows: Sequence[Row]
    features: Any
    transform: Callable[[Sequence[str]], Any]
    answers: Mapping[str, NDArray[np.int64]]

    def score(self, question: str, texts: Sequence[str], groups: Sequence[str]) -> Floats:
        """(n, k) probabilities, label shares taken out, calibrated as the product does."""
        answers = self.answers[question]
        n_answers = len(self.labels) if question == "label" else 2
        own = np.array([_fold_of(row.group) for row in self.rows])
        known = {row.group for row in self.rows}
        asked = np.array([_fold_of(group) if group in known else -1 for group in groups])
        features = self.transform(texts)
        table = np.zeros((len(texts), n_answers))
        out_of_fold = np.zeros((len(own), n_answers))
        for fold in np.unique([*own, *asked]):
            inside = np.flatnonzero((own != fold) & (answers >= 0))
            mine, outside = np.flatnonzero(asked == fold), np.flatnonzero((own == fold) & (answers >= 0))
            ones = np.ones(len(inside))
            for target, part, rows in (
                (table, features, mine),
                (out_of_fold, self.features, outside),
            ):
                if not len(rows):
                    continue
                with threadpool_limits(1):
                    logs = fit_log_probabilities(
                        self.features[inside], answers[inside], ones, part[rows], n_answers
                    )
                target[rows] = softmax(logs - log_prior(answers[inside], ones, n_answers), axis=1)
        known_rows = np.flatnonzero(answers >= 0)
        return calibrate_labels(out_of_fold[known_rows], answers[known_rows], table)


def _fold_of(group: str) -> int:
    return int(keyed_hash("gold folds", group) % N_FOLDS)


def _answer(rows: Sequence[Row], labels: tuple[str, ...]) -> dict[str, NDArray[np.int64]]:
    answers = {"label": np.array([labels.index(row.label) for row in rows])}
    for concept in CONCEPTS if rows[0].concepts else ():
        values = [row.concepts[concept] for row in rows]
        answers[concept] = np.array([-1 if value is None else int(value) for value in values])
    return answers


def make_filter_panel(reviews: Reviews, encoder: Encoder) -> Panel:
    """The filters' blind label scorer: sentence vectors of the training rows."""
    vectors = encoder.encode([row.text for row in reviews.train])
    return Panel(
        reviews.labels,
        reviews.train,
        vectors,
        lambda texts: encoder.encode(list(texts)),
        _answer(reviews.train, reviews.labels),
    )


def make_gold_panel(reviews: Reviews) -> Panel:
    """Gold for texts that nobody labelled: words of all rows that people labelled."""
    rows = [*reviews.train, *reviews.test]
    vectoriser = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, dtype=np.float32)
    features = vectoriser.fit_transform([row.text for row in rows])
    return Panel(reviews.labels, rows, features, vectoriser.transform, _answer(rows, reviews.labels))


def run(settings: Settings) -> Iterator[Result]:
    """Both corpora and all arms, or those named with `--only`."""
    encoder = open_encoder()
    loaders: dict[str, Callable[[Path], Reviews]] = {"cebab": load_cebab, "cad_imdb": load_cad}
    corpora = [name for name in loaders if name in settings.only] or list(loaders)
    arms = [arm for arm in ARMS if arm in settings.only] or list(ARMS)
    pool: list[tuple[Case, bool]] = []
    for name in corpora:
        reviews = loaders[name](settings.data)
        if settings.quick:
            order = keyed_rank([row.text for row in reviews.train], "quick")[:_QUICK_TRAIN]
            reviews = replace(reviews, train=[reviews.train[int(row)] for row in order])
        panel = make_filter_panel(reviews, encoder)
        most = _QUICK if settings.quick else _SIZES.get(name, 10**6)
        human = draw_cases(reviews.cases, most, "human")
        if "human" in arms:
            if reviews.train_cases:
                train_cases = draw_cases(reviews.train_cases, most, "train")
                yield from report(reviews, "train", train_cases, panel, encoder, [])
            yield from report(reviews, "human", human, panel, encoder, pool)
        if arms == ["human"]:
            continue
        gold = make_gold_panel(reviews)
        yield from audit_gold(reviews, human, gold)
        if "lexicon" in arms:
            cases = add_gold(edit_by_lexicon(reviews, settings), gold)
            yield from report(reviews, "lexicon", cases, panel, encoder, pool)
        if "published" in arms and reviews.published:
            yield from report(reviews, "published", add_gold(reviews.published, gold), panel, encoder, pool)
        if "embedded" in arms and name == "cebab":
            cases = add_gold(edit_by_model(reviews, encoder, settings), gold)
            yield from report(reviews, "embedded", cases, panel, encoder, pool)
    yield from report_pool(pool)


def report_pool(pool: Sequence[tuple[Case, bool]]) -> Iterator[Result]:
    """All arms and corpora together, and their counterfactual edits alone; training edits are no part of it."""
    for data, kinds in (("all/both", set(NAMES)), ("all/edit", {"counterfactual_edit"})):
        mine = [(case, kept) for case, kept in pool if case.kind in kinds]
        if mine:
            cases = [case for case, _ in mine]
            verdicts = np.array([kept for _, kept in mine])
            yield from _score_filters(data, "pooled", cases, verdicts)
            # Thresholds were chosen on either half by itself, and both halves chose the same.
            halves = np.array([keyed_hash("half", case.group) % 2 for case in cases])
            for half in (0, 1):
                rows = np.flatnonzero(halves == half)
                chosen = [cases[row] for row in rows]
                yield from _score_filters(data, f"pooled_half_{half}", chosen, verdicts[rows])


def edit_by_lexicon(reviews: Reviews, settings: Settings) -> list[Case]:
    """Counterfactual edits of the human ones' sources, with words of the training rows."""
    lexicon = _learn(reviews)
    most = _QUICK if settings.quick else min(_SIZES["lexicon"], _SIZES.get(reviews.name, 10**6))
    made = []
    for case in _list_sources(reviews, most):
        text = lexicon.edit(case.source, reviews.labels.index(case.label))
        if text and text != case.source:
            made.append(replace(case, text=text))
    return made


def _learn(reviews: Reviews) -> Lexicon:
    labels = [reviews.labels.index(row.label) for row in reviews.train]
    return learn_lexicon([row.text for row in reviews.train], labels, len(reviews.labels))


def _list_sources(reviews: Reviews, most: int) -> list[Case]:
    """One unanswered case for each source of a human counterfactual edit."""
    cases = {case.source: case for case in reviews.cases if case.kind == "counterfactual_edit"}
    texts = sorted(cases)
    picked = [texts[row] for row in keyed_rank(texts, "sources")[:most]]
    return [replace(cases[text], has_label=None, has_concepts=None) for text in picked]


def edit_by_model(reviews: Reviews, encoder: Encoder, settings: Settings) -> list[Case]:
    """Edits and injections by the model of `--engine`, made by the product's generators."""
    n = 2 if settings.quick else _SIZES["embedded"]
    sources = _list_sources(reviews, n)
    injections = {case.source: case for case in reviews.cases if case.kind == "concept_injection"}
    texts = sorted(injections)
    wanted = [injections[texts[row]] for row in keyed_rank(texts, "injected")[:n]]
    with open_engine(settings.engine) as llm:
        return asyncio.run(_ask_model(reviews, [*sources, *wanted], encoder, llm))


async def _ask_model(
    reviews: Reviews, cases: Sequence[Case], encoder: Encoder, llm: Mapping[str, Any]
) -> list[Case]:
    from counterpoise.llm.capabilities import find_capabilities

    made: list[Case] = []
    async with open_model(llm) as chat:
        models = Models(chat, await find_capabilities(chat))
        for batch in _batch(cases):
            item, material, editor = _prepare(reviews, batch, encoder)
            by_source = {f"case {place}": case for place, case in enumerate(batch)}
            async for proposal in editor.propose(item, material, models):
                case = by_source[proposal.parents[0]]
                made.append(replace(case, text=proposal.text, has_label=None, has_concepts=None))
    order = {(case.source, case.kind): place for place, case in enumerate(cases)}
    return sorted(made, key=lambda case: order[case.source, case.kind])


def _batch(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases of one kind, label and concept together."""
    batches: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        batches.setdefault((str(case.kind), case.label, case.concept), []).append(case)
    return [batches[key] for key in sorted(batches)]


def _prepare(
    reviews: Reviews, batch: Sequence[Case], encoder: Encoder
) -> tuple[PlanItem, EditMaterial, RecordEditor]:
    """A plan item, its material from training rows, and the generator, as the loop would have them."""
    kind, label, concept = batch[0].kind, batch[0].label, batch[0].concept
    action = kind
    item = PlanItem(action, Cell(label, concept), len(batch), 1, 0, len(batch), _EMBEDDED_TOKENS)
    answers = [reviews.labels.index(row.label) for row in reviews.train]
    rows = [
        place
        for place, row in enumerate(reviews.train)
        if row.label == label and (not concept or row.concepts[concept])
    ]
    rows = [rows[place] for place in keyed_rank([reviews.train[row].text for row in rows], "shown")[:60]]
    examples = [reviews.train[row].text for row in rows]
    if kind == "concept_injection":
        anchor = encoder.encode([CONCEPTS[concept]])[0]
        pairs = make_removal_pairs(examples, anchor, encoder)
        editor: RecordEditor = ConceptInjection(HEADINGS, "eval", CONCEPTS)
    else:
        lexicon = _learn(reviews)
        others = [row.text for row in reviews.train if row.label not in (label, "neutral")]
        picked = [others[place] for place in keyed_rank(others, "pairs")[:40]]
        edited = [(text, lexicon.edit(text, reviews.labels.index(label))) for text in picked]
        pairs = tuple((before, after) for before, after in edited if after and after != before)
        editor = CounterfactualEdit(HEADINGS, "eval")
    sources = _as_records([case.source for case in batch], "case", reviews.labels, batch)
    shown = _as_records(examples, "shown", reviews.labels, [answers[row] for row in rows])
    return item, EditMaterial(_show(sources, encoder), _show(shown, encoder), pairs), editor


def _as_records(
    texts: Sequence[str], prefix: str, labels: tuple[str, ...], answers: Sequence[Any]
) -> Records:
    opposite = {0: len(labels) - 1, len(labels) - 1: 0}
    indices = [
        answer
        if isinstance(answer, int)
        else labels.index(answer.label)
        if answer.concept
        else opposite[labels.index(answer.label)]
        for answer in answers
    ]
    return Records(
        ids=np.array([f"{prefix} {place}" for place in range(len(texts))], dtype=object),
        texts=np.array(list(texts), dtype=object),
        labels=np.array(indices, dtype=np.int64),
        label_names=labels,
    )


def _show(records: Records, encoder: Encoder) -> EncodedRecords:
    return EncodedRecords(records, encoder.encode([str(text) for text in records.texts]))


def add_gold(cases: Sequence[Case], gold: Panel) -> list[Case]:
    """The cases with what the gold classifier says; None where it is not sure."""
    if not cases:
        return []
    texts, groups = [case.text for case in cases], [case.group for case in cases]
    label = gold.score("label", texts, groups)
    concepts = {name: gold.score(name, texts, groups)[:, 1] for name in gold.answers if name != "label"}
    before = {
        name: gold.score(name, [case.source for case in cases], groups)[:, 1]
        for name in gold.answers
        if name != "label"
    }
    judged = []
    for row, case in enumerate(cases):
        wanted = label[row, gold.labels.index(case.label)]
        sure = max(label[row]) >= GOLD_SURE_FROM
        if case.kind == "concept_injection":
            has_concepts = bool(concepts[case.concept][row] >= 0.5)
        else:
            has_concepts = all(
                (concepts[name][row] >= 0.5) == (before[name][row] >= 0.5) for name in concepts
            )
        judged.append(
            replace(case, has_label=bool(wanted >= 0.5) if sure else None, has_concepts=has_concepts)
        )
    return judged


def audit_gold(reviews: Reviews, cases: Sequence[Case], gold: Panel) -> Iterator[Result]:
    """How often the gold classifier is right on human edits, and where it is sure."""
    judged = add_gold(cases, gold)
    sure = [place for place, case in enumerate(judged) if case.has_label is not None]
    right = np.array([judged[place].has_label == cases[place].has_label for place in sure], dtype=np.float64)
    low, high = _resample([cases[place].group for place in sure], right, np.ones(len(right)))
    yield Result(
        "counterfactual_quality",
        reviews.name,
        "gold",
        "gold_accuracy",
        float(right.mean()),
        low,
        high,
        len(sure),
        extra={"gold_sure_ratio": round(len(sure) / len(cases), 3)},
    )


def verify(
    reviews: Reviews, cases: Sequence[Case], panel: Panel, encoder: Encoder
) -> tuple[Floats, NDArray[np.bool_]]:
    """What the filters say: the probability of the claimed label, and whether everything else passes."""
    edits = encoder.encode([case.text or "-" for case in cases])
    sources = encoder.encode([case.source for case in cases])
    inserted = encoder.encode([measure_edit(case.source, case.text).inserted or "-" for case in cases])
    anchors = np.zeros_like(edits)
    columns: tuple[ConceptColumns | None, ConceptColumns | None] = (None, None)
    if reviews.train[0].concepts:
        by_name = dict(zip(CONCEPTS, encoder.encode(list(CONCEPTS.values())), strict=True))
        for place, case in enumerate(cases):
            anchors[place] = by_name.get(case.concept, 0.0)
        columns = (
            label_by_similarity(edits, encoder, panel.features),
            label_by_similarity(sources, encoder, panel.features),
        )
    label = panel.score("label", [case.text or "-" for case in cases], [case.group for case in cases])
    certain = np.ones_like(label)  # so that `check_edits` judges everything but the label
    evidence = EditEvidence(
        certain,
        pair_cosines(edits, sources),
        measure_rises(sources, edits, inserted, anchors),
        columns[0],
        columns[1],
    )
    proposals = []
    for place, case in enumerate(cases):
        item = PlanItem(case.kind, Cell(case.label, case.concept), 1, 1, 0)
        proposals.append(
            Proposal(f"{place:06d}", item, case.text, case.label, (str(place),), case.kind, case.nature)
        )
    texts = {str(place): case.source for place, case in enumerate(cases)}
    needs = dict.fromkeys(Nature, LabelNeed(0.0, NOT_CONFIRMED))
    verdicts = check_edits(proposals, texts, evidence, reviews.labels, needs)
    wanted = np.array([label[place, reviews.labels.index(case.label)] for place, case in enumerate(cases)])
    return wanted, np.array([verdict.kept for verdict in verdicts])


def report(
    reviews: Reviews,
    arm: str,
    cases: Sequence[Case],
    panel: Panel,
    encoder: Encoder,
    pool: list[tuple[Case, bool]],
) -> Iterator[Result]:
    """All metrics of one arm, for each claim; the cases and what was kept of them are added to `pool`."""
    if not cases:
        return
    wanted, passing = verify(reviews, cases, panel, encoder)
    kept = passing & (wanted >= np.array([CONFIRMED_FROM[case.nature] for case in cases]))
    pool += zip(cases, kept.tolist(), strict=True)
    for kind, name in NAMES.items():
        rows = np.array([place for place, case in enumerate(cases) if case.kind is kind], dtype=np.int64)
        if len(rows):
            mine = [cases[row] for row in rows]
            yield from _describe(f"{reviews.name}/{name}", arm, mine, wanted[rows], passing[rows], kept[rows])
    if len({case.kind for case in cases}) > 1:
        yield from _score_filters(f"{reviews.name}/both", arm, cases, kept)


def _describe(
    data: str,
    arm: str,
    cases: Sequence[Case],
    wanted: Floats,
    passing: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> Iterator[Result]:
    kind = cases[0].kind
    injects = kind == "concept_injection"
    names = ("label_kept_ratio", "concept_added_ratio") if injects else ("flip_ratio", "concept_kept_ratio")
    sizes = [measure_edit(case.source, case.text) for case in cases]
    columns: dict[str, list[float | None]] = {
        names[0]: [case.has_label for case in cases],
        names[1]: [case.has_concepts for case in cases],
        "edit_ratio": [size.edit_share for size in sizes],
        "length_ratio": [size.length_ratio for size in sizes],
        "gold_sure_ratio": [case.has_label is not None for case in cases],
        "passed_ratio": [float(value) for value in kept],
    }
    if injects:
        columns["literal_mention_ratio"] = [names_concept(case.text, case.concept) for case in cases]
    for metric, column in columns.items():
        rows = [place for place, value in enumerate(column) if value is not None]
        if rows:
            values = np.array([float(column[place] or 0.0) for place in rows])
            groups = [cases[place].group for place in rows]
            low, high = _resample(groups, values, np.ones(len(values)))
            yield Result(
                "counterfactual_quality", data, arm, metric, float(values.mean()), low, high, len(rows)
            )
    yield from _score_filters(data, arm, cases, kept)
    for threshold in CURVE:
        for result in _score_filters(data, arm, cases, passing & (wanted >= threshold)):
            metric = result.metric.replace("verification", "curve")
            yield replace(result, metric=metric, extra={"threshold": threshold})


def _score_filters(data: str, arm: str, cases: Sequence[Case], kept: NDArray[np.bool_]) -> Iterator[Result]:
    """Precision and recall of what the filters keep, where gold is known."""
    rows = [place for place, case in enumerate(cases) if case.has_label is not None]
    right = np.array([bool(cases[place].has_label and cases[place].has_concepts) for place in rows])
    mine = kept[rows]
    groups = [cases[place].group for place in rows]
    for metric, base in (("verification_precision", mine), ("verification_recall", right)):
        hits, known = (mine & right).astype(np.float64), base.astype(np.float64)
        value, low, high = float("nan"), float("nan"), float("nan")
        if known.any():
            value = float(hits.sum() / known.sum())
            low, high = _resample(groups, hits, known)
        yield Result("counterfactual_quality", data, arm, metric, value, low, high, int(known.sum()))


def _resample(groups: Sequence[str], numerator: Floats, denominator: Floats) -> tuple[float, float]:
    """95% interval of a ratio of sums over originals: edits of one original are drawn together."""
    names, members = np.unique(np.array(groups, dtype=str), return_inverse=True)
    above = np.bincount(members, weights=numerator, minlength=len(names))
    below = np.bincount(members, weights=denominator, minlength=len(names))
    generator = np.random.default_rng(7)
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=1000)
    total = counts @ below
    return interval(np.where(total > 0, counts @ above / np.maximum(total, 1e-9), np.nan))
