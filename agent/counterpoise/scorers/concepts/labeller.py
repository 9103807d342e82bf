"""Which concepts a text mentions: the scorers of each concept, audited, and the one that decides.

A closed list with definitions is given by the user. Where nobody has answered anything, the nearest clause's similarity
to the definition is split in two groups by a mixture of two normal distributions: present and absent where the mixture
is sure, unknown between, and unknown throughout where the texts show no two groups. With answers (`gold.Gold`) the
scorers of `rankers` are trained on one half and audited on the other, which is drawn at random; the best
decides, the cheapest of those that cannot be told from it wins, and a concept whose best scorer is weak stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.languages import N_NOTED, find_languages
from counterpoise.core.records import ConceptColumns, Floats, Integers, State
from counterpoise.core.splits import sample_by_rank
from counterpoise.scorers.audits import WEAK_AUROC, Audit, audit, measure_auroc
from counterpoise.scorers.concepts.audit_lines import list_lines
from counterpoise.scorers.concepts.judge_rates import (
    JudgedShare,
    JudgeRates,
    count_rates,
    judge_share,
)
from counterpoise.scorers.concepts.languages import ENGLISH
from counterpoise.scorers.concepts.passages import make_passages
from counterpoise.scorers.concepts.rankers import (
    FREE_RANKERS,
    can_train,
    cross_fit_ranker,
    divide_answers,
    fit_ranker,
    fit_student,
)
from counterpoise.scorers.concepts.similarity import (
    MOST_REFERENCE_TEXTS,
    calibrate_similarities,
    find_groups,
)
from counterpoise.scorers.concepts.stacks import (
    Calibration,
    Stack,
    cross_fit_stack,
    fit_calibration,
    weigh_scorers,
)
from counterpoise.scorers.concepts.views import Views, make_anchors, make_views, take_views
from counterpoise.scorers.gold import Gold
from counterpoise_retrievers.encoders import Encoder

PRESENT_FROM = 0.7
ABSENT_UP_TO = 0.3
FEWEST_TO_CHOOSE = 20
"""Random answers about a concept from which on its scorers compete; below, a model that passed its pilot over all
concepts teaches the one that decides."""

TAUGHT_NOTE = (
    "It learned what a model that passed its pilot says of a sample, because few have answered anything about it or "
    "nobody; this audit says how well it repeats the model."
)
SHARE_NOTE = (
    "A model that passed its pilot labelled a sample. No student repeats it well enough to label the others, which get "
    "the share of the sample."
)
_ONE_SIDED = 1.645  # standard errors of a one-sided test at 0.05
_LEAST_GAIN = 0.02
_FEWEST_TEXTS = 20
_BLOCK = 10_000


@dataclass(frozen=True, slots=True)
class AuditedScorer:
    """One scorer of one concept with its audit.

    Args:
        name: `similarity`, `taught`, `classifier`, `knn`, `llm` or `stacked`.
        stack: gives its probabilities.
        result: its audit on rows drawn at random; None without answers.
        losses: (a,) squared error of the probability on each audited row.
        price: tokens for 1,000 records.
        auc_low: lower end of its AUROC over the audited and the training rows together, the latter cross-fitted: no
            answer is judged by what was trained on it, and twenty rows alone hold too few texts that lack a common
            concept. Over the audited rows alone where the others are too few.
    """

    name: str
    stack: Stack
    result: Audit | None
    losses: Floats
    price: float = 0.0
    auc_low: float = float("nan")

    @property
    def is_weak(self) -> bool:
        """Whether it may not decide: its AUROC is not surely above 0.6."""
        return not self.auc_low > WEAK_AUROC


@dataclass(frozen=True, slots=True)
class ConceptScorer:
    """The scorer that decides about one concept, and those it was chosen from.

    Args:
        name: the concept's.
        anchors: (w, d) vectors of its wordings.
        chosen: the scorer that decides; None where none may.
        candidates: all of them.
        mixture: the (m,) similarities of the reference texts that decide where nobody has answered anything.
        note: why it is so, a sentence.
        judged: what a model's answers mean that decide about the texts it was asked about; None without.
    """

    name: str
    anchors: NDArray[np.float32]
    chosen: AuditedScorer | None
    candidates: tuple[AuditedScorer, ...]
    mixture: Floats | None
    note: str
    judged: JudgedShare | None = None

    @property
    def scorer(self) -> str:
        """Which scorer decides, as records call it."""
        if self.mixture is not None:
            return "similarity"
        return self.chosen.name if self.chosen else "none" if self.judged is None else "llm"

    def predict(self, views: Views, llm: Floats | None = None, said: Floats | None = None) -> Floats:
        """(n,) probabilities of present; 0.5 where nobody knows.

        Args:
            views: of n texts.
            llm: standardised scores of a language model.
            said: (n,) its probabilities of yes, NaN for texts that it was not asked about.
        """
        if self.judged is not None:
            rest = (
                self.chosen.stack.predict(views)[:, 1] if self.chosen else self.judged.fill(views.similarity)
            )
            return rest if said is None else np.where(np.isnan(said), rest, self.judged.read(said))
        if self.mixture is not None:
            return calibrate_similarities(self.mixture, views.similarity)
        if self.chosen is None:
            return np.full(len(views.similarity), 0.5)
        return self.chosen.stack.predict(views, {} if llm is None else {"llm": llm})[:, 1]


@dataclass(frozen=True, slots=True)
class ConceptLabeller:
    """Labels the concepts of a closed list; fitted once, so that what is added cannot move the thresholds.

    Args:
        scorers: one a concept.
        encoder: of texts and clauses.
        codes: of the languages that the reference texts are written in, by which texts are cut into clauses.
    """

    scorers: tuple[ConceptScorer, ...]
    encoder: Encoder
    codes: tuple[str, ...] = ENGLISH

    @property
    def names(self) -> tuple[str, ...]:
        """The closed list."""
        return tuple(scorer.name for scorer in self.scorers)

    def label(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        llm: Mapping[str, Floats] | None = None,
        said: Mapping[str, Floats] | None = None,
    ) -> ConceptColumns:
        """States and probabilities of n texts with their (n, d) vectors.

        Args:
            texts: n texts.
            vectors: (n, d).
            llm: by concept (n,) standardised scores of the language model, for the data it was asked about.
            said: by concept (n,) its probabilities of yes, NaN where it was not asked.
        """
        probabilities = np.full((len(texts), len(self.scorers)), 0.5)
        for start in range(0, len(texts), _BLOCK):
            rows = slice(start, start + _BLOCK)
            passages = make_passages(list(texts[rows]), vectors[rows], self.encoder, self.codes)
            for column, scorer in enumerate(self.scorers):
                views = make_views(passages, scorer.anchors)
                given = llm[scorer.name][rows] if llm and scorer.name in llm else None
                raw = said[scorer.name][rows] if said and scorer.name in said else None
                probabilities[rows, column] = scorer.predict(views, given, raw)
        states = np.full(probabilities.shape, State.UNKNOWN, dtype=np.int8)
        states[probabilities >= PRESENT_FROM] = State.PRESENT
        states[probabilities <= ABSENT_UP_TO] = State.ABSENT
        return ConceptColumns(self.names, states, probabilities, scorer=self._describe())

    def _describe(self) -> str:
        kinds = {scorer.name: scorer.scorer for scorer in self.scorers}
        if len(set(kinds.values())) <= 1:
            kind = next(iter(kinds.values()), "similarity")
            return f"{kind} ({self.encoder.name})"
        return "; ".join(f"{name}: {kind}" for name, kind in kinds.items()) + f" ({self.encoder.name})"

    def list_audits(self) -> list[dict[str, Any]]:
        """A line for every scorer of every concept, as the report shows it."""
        return [line for scorer in self.scorers for line in list_lines(scorer)]


@dataclass(frozen=True, slots=True)
class ModelScores:
    """A language model's probabilities of yes for the reference texts of each concept.

    Args:
        probabilities: by concept (n,) 0..1, NaN where it was not asked or did not answer.
        price: tokens for 1,000 records, a concept.
    """

    probabilities: Mapping[str, Floats] = field(default_factory=dict)
    price: float = 0.0

    def list_whole(self) -> dict[str, Floats]:
        """By concept (n,) standardised scores, where it was asked about every text."""
        return {
            name: standardise_model(column)
            for name, column in self.probabilities.items()
            if not np.isnan(column).any()
        }


def fit_concepts(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    ids: Sequence[str] | NDArray[np.object_],
    concepts: Mapping[str, str],
    encoder: Encoder,
    gold: Mapping[str, Gold] | None = None,
    model: ModelScores | None = None,
) -> ConceptLabeller:
    """Fit, audit and choose the scorers of a closed list on the user's own texts.

    Args:
        texts: n texts.
        vectors: (n, d) of them.
        ids: (n,) their ids; a keyed sample of them is the reference where there are many.
        concepts: name -> one-line definition.
        encoder: the encoder the vectors come from.
        gold: by concept what is known of some of the texts.
        model: what a language model says of them, where it passed its pilot.
    """
    gold = gold or {}
    asked = [
        rows
        for name in concepts
        if name in gold
        for rows in (gold[name].audit_rows, gold[name].training_rows)
    ]
    kept = sample_by_rank(ids, MOST_REFERENCE_TEXTS, "concepts")
    kept = np.unique(np.concatenate([kept, *asked])) if asked else np.sort(kept)
    few = [texts[row] for row in kept]
    codes = find_languages([few[row] for row in sample_by_rank(few, N_NOTED, "languages")]) or ENGLISH
    passages = make_passages(few, vectors[kept], encoder, codes)
    places = np.full(len(texts), -1, dtype=np.int64)
    places[kept] = np.arange(len(kept))
    rates = count_rates(gold, model.probabilities if model else {})
    scorers: list[ConceptScorer | None] = []
    audited: dict[str, tuple[NDArray[np.float32], list[AuditedScorer]]] = {}
    for name, definition in concepts.items():
        anchors = make_anchors(name, definition, encoder)
        views = make_views(passages, anchors)
        known = gold.get(name)
        here = None if known is None or not len(known.audit_rows) else _move(known, places)
        llm = model.probabilities[name][kept] if model and name in model.probabilities else None
        if llm is not None and (here is None or len(here.audit_rows) < FEWEST_TO_CHOOSE):
            taught = fit_taught(views, llm, rates, model.price if model else 0.0, here)
            judged = judge_share(rates, llm)
            if judged is not None:
                shown = () if taught is None else (taught,)
                decides = None if taught is None or taught.is_weak else taught
                note = SHARE_NOTE if decides is None else TAUGHT_NOTE
                scorers.append(ConceptScorer(name, anchors, decides, shown, None, note, judged))
                continue
        if here is None:
            scorers.append(_fit_unaudited(name, anchors, views))
            continue
        audited[name] = (anchors, fit_candidates(views, here, llm, model.price if model else 0.0))
        scorers.append(None)
    pays = is_worth_its_price([candidates for _, candidates in audited.values()])
    chosen = [
        scorer or choose_scorer(name, *audited[name], is_paid_worthwhile=pays)
        for name, scorer in zip(concepts, scorers, strict=True)
    ]
    return ConceptLabeller(tuple(chosen), encoder, codes)


def fit_candidates(
    views: Views, gold: Gold, llm: Floats | None = None, price: float = 0.0
) -> list[AuditedScorer]:
    """Fit every scorer of a concept on the training half of the answers and audit it on the random half.

    Args:
        views: of the reference texts.
        gold: positions in them, and answers.
        llm: (n,) a language model's probabilities of yes, or None.
        price: its tokens for 1,000 records.
    """
    rows, truth = gold.training_rows, gold.training_truth
    found, shown = {}, {}
    for name, ranker in FREE_RANKERS.items():
        fitted = fit_ranker(ranker, views, rows, truth)
        scores = None if fitted is None else cross_fit_ranker(ranker, views, rows, truth)
        if fitted is not None and scores is not None:
            found[name], shown[name] = fitted, scores
    given: dict[str, Floats] = {}
    mixes = [weigh_scorers(shown, truth)]
    if llm is not None:
        # A model that was asked about a part only cannot decide; the student it taught can.
        taught_by = llm.copy()
        taught_by[gold.audit_rows] = np.nan
        student = fit_student(views, taught_by)
        if student is not None:
            found["student"] = student
            shown["student"] = student.standardise(take_views(views, rows))
        if not np.isnan(llm).any():
            given["llm"] = standardise_model(llm)
            shown["llm"] = given["llm"][rows]
        if not set(shown) <= set(FREE_RANKERS):
            mixes.append(weigh_scorers(shown, truth))
    singles = [{name: 1.0} for name in shown]
    candidates = []
    for weights in [*singles, *mixes]:
        paid = sorted({"llm", "student"} & set(weights))
        name = next(iter(weights)) if len(weights) == 1 else f"stacked_with_{paid[0]}" if paid else "stacked"
        stack = Stack(found, weights)
        total = np.sum([weight * shown[key] for key, weight in weights.items()], axis=0)
        curve = fit_calibration(total, truth) if can_train(truth) else Calibration(1.0, 0.0)
        stack = replace(stack, calibration=curve)
        audited = {key: column[gold.audit_rows] for key, column in given.items()}
        probabilities = stack.predict(take_views(views, gold.audit_rows), audited)
        result = audit(probabilities, gold.audit_truth, names=("absent", "present"))
        losses = (probabilities[:, 1] - gold.audit_truth) ** 2
        asked = 0.0 if llm is None else 1.0 - float(np.isnan(llm).mean())
        low = result.auc_low
        spread = cross_fit_stack({key: shown[key] for key in weights}, truth)
        if spread is not None:
            both = np.concatenate([probabilities, np.column_stack([1.0 - spread, spread])])
            low = measure_auroc(both, np.concatenate([gold.audit_truth, truth]))[1]
        candidates.append(AuditedScorer(name, stack, result, losses, price * asked if paid else 0.0, low))
    return candidates


def fit_taught(
    views: Views, said: Floats, rates: JudgeRates, price: float, known: Gold | None = None
) -> AuditedScorer | None:
    """A student of a model's answers to a concept with too few answers of the user's, or none.

    Its audit, on answers that it was not shown, says how well it repeats the model; how good the model is was found on
    all answers of the user's, and its errors are taken out of the probabilities.

    Args:
        views: of n reference texts.
        said: (n,) the model's probabilities of yes, NaN where it was not asked.
        rates: how often it is right.
        price: its tokens for 1,000 records.
        known: positions and answers of the user's, which count instead of the model's.

    Returns:
        None where the model was asked about too few texts, or said the same of nearly all.
    """
    asked = 1.0 - float(np.isnan(said).mean())
    rows = np.flatnonzero(~np.isnan(said))
    truth = (said[rows] > 0.5).astype(np.int64)
    if not len(rows):
        return None
    soft, said = rates.soften(truth), said.copy()
    if known is not None:
        places = np.concatenate([known.audit_rows, known.training_rows])
        said[places] = np.concatenate([known.audit_truth, known.training_truth])
        is_known = np.isin(rows, places)
        truth[is_known] = soft[is_known] = said[rows[is_known]]
    student, scores = fit_student(views, said), np.zeros(len(rows))
    folds = divide_answers(truth)
    for fold in np.unique(folds):
        shown, outside = said.copy(), folds == fold
        shown[rows[outside]] = np.nan
        fitted = fit_student(views, shown)
        if student is None or fitted is None:
            return None
        scores[outside] = fitted.standardise(take_views(views, rows[outside]))
    curve = fit_calibration(scores, truth, soft)
    result = audit(curve(scores), truth, names=("absent", "present"))
    losses = (curve(scores)[:, 1] - truth) ** 2
    assert student is not None  # noqa: S101 (there is a fold at least)
    return AuditedScorer(
        "student",
        Stack({"student": student}, {"student": 1.0}, curve),
        result,
        losses,
        price * asked,
        result.auc_low,
    )


def is_worth_its_price(concepts: Sequence[Sequence[AuditedScorer]]) -> bool:
    """Whether a language model in the stack is better than the stack without it, over the answers to all concepts.

    Twenty answers of one concept cannot tell; those of all concepts together often can. Better is a squared error that
    is less at a level of 0.05 (one-sided, paired) and by a fiftieth: noise in a stack changes next to nothing, and
    chance decides the sign.
    """
    paid, free = [], []
    for candidates in concepts:
        by_name = {candidate.name: candidate for candidate in candidates}
        with_model = by_name.get("stacked_with_llm") or by_name.get("stacked_with_student")
        if with_model is not None and "stacked" in by_name:
            paid.append(with_model.losses)
            free.append(by_name["stacked"].losses)
    if not paid:
        return False
    losses, others = np.concatenate(paid), np.concatenate(free)
    gain = float((others - losses).mean())
    return gain > _LEAST_GAIN * float(others.mean()) and not is_tied(others, losses, _ONE_SIDED)


def choose_scorer(
    name: str,
    anchors: NDArray[np.float32],
    candidates: Sequence[AuditedScorer],
    *,
    is_paid_worthwhile: bool = False,
) -> ConceptScorer:
    """The scorer that decides: the best by its audit, or the cheapest that cannot be told from it.

    Best is the smallest squared error of the probability. Another cannot be told from it where the mean difference on
    the same rows is within one standard error; of several at the price of the best the best stays. Where a model
    was found to be worth its price over all concepts, its stack decides unless the stack without it is surely better
    here: the luckiest of a dozen scorers on twenty rows of one concept is no reason to do without it.
    """
    by_name = {candidate.name: candidate for candidate in candidates}
    best = min(candidates, key=lambda candidate: float(candidate.losses.mean()))
    tied = [candidate for candidate in candidates if is_tied(candidate.losses, best.losses)]
    chosen = min(tied, key=lambda candidate: (candidate.price, float(candidate.losses.mean())))
    paid = by_name.get("stacked_with_llm") or by_name.get("stacked_with_student")
    if is_paid_worthwhile and paid and is_tied(paid.losses, by_name.get("stacked", best).losses):
        chosen = paid
    if chosen.is_weak:
        n = 0 if chosen.result is None else chosen.result.n
        note = (
            f"No scorer passes its audit on {n} rows for '{name}' (the best has an AUROC interval that touches 0.6, "
            "with the cross-fitted training rows too), "
            "so its cells are left alone: 20 answers more (`label --ask 20`) or a clearer definition "
            "would help."
        )
        return ConceptScorer(name, anchors, None, tuple(candidates), None, note)
    return ConceptScorer(name, anchors, chosen, tuple(candidates), None, "")


def is_tied(losses: Floats, best: Floats, n_errors: float = 1.0) -> bool:
    """Whether a scorer cannot be told from the best one: by so many standard errors of the paired difference."""
    difference = losses - best
    if len(difference) < 2:
        return True
    return float(difference.mean()) <= n_errors * float(difference.std(ddof=1) / np.sqrt(len(difference)))


def standardise_model(probabilities: Floats) -> Floats:
    """Log-odds of a model's probabilities with mean 0 and spread 1; NaN stays."""
    odds = np.clip(probabilities, 1e-4, 1 - 1e-4)
    logits = np.clip(np.log(odds / (1 - odds)), -4.0, 4.0)
    spread = np.nanstd(logits)
    return np.asarray((logits - np.nanmean(logits)) / (spread if spread > 0 else 1.0))


def _move(known: Gold, places: Integers) -> Gold:
    """Answers by the places of the rows in the reference."""
    return Gold(
        places[known.audit_rows], known.audit_truth, places[known.training_rows], known.training_truth
    )


def _fit_unaudited(name: str, anchors: NDArray[np.float32], views: Views) -> ConceptScorer:
    note = (
        f"Nobody has answered anything about '{name}': its similarity decides, unaudited. "
        "40 answers (`label --ask 40`) would measure and improve it."
    )
    shows_groups = len(views.similarity) >= _FEWEST_TEXTS and find_groups(views.similarity) is not None
    if not shows_groups:
        note = f"The texts show no two groups by their similarity to '{name}': no text is held to mention it."
    return ConceptScorer(name, anchors, None, (), views.similarity if shows_groups else None, note)
