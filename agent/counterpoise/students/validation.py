"""What every treatment is worth on inner validation, before a token is spent, and which one to take.

Inner validation is cross-validation over near-duplicate groups of the training rows: with fifteen rows of a label
a single validation part would hold three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import softmax
from scipy.stats import t as student_t

from counterpoise.core.records import Floats, Integers
from counterpoise.students.added_ways import PLAIN_WAY, PRIOR_WAY, AddedWay
from counterpoise.students.base import Student, Treatment
from counterpoise.students.evidence import NO_EVIDENCE, Evidence
from counterpoise.students.metrics import (
    compute_auroc,
    compute_drawn_macro_f1s,
    compute_log_loss,
    compute_macro_f1,
    draw_counts,
)
from counterpoise.students.rows import Rows
from counterpoise.students.training import Tell, Training, run_trainings

_N_RESAMPLES = 200
_LEVEL = 0.05
"""How often one of all ways may seem better than the first one by luck."""


@dataclass(frozen=True, slots=True)
class ArmScore:
    """An arm with one student.

    Args:
        arm: its name.
        student: name of the student.
        macro_f1, auroc: 0 to 1.
        log_loss: 0 or more, see `compute_log_loss`.
        drawn: (d,) macro-F1 of resamples of the rows, the same ones for all arms; (0,) where none were drawn.
    """

    arm: str
    student: str
    macro_f1: float
    auroc: float
    log_loss: float
    drawn: Floats = field(default_factory=lambda: np.empty(0), compare=False, repr=False)

    def as_dict(self) -> dict[str, str | float]:
        """Plain values, for events and the preview: the metrics of the user's."""
        return {"arm": self.arm, "student": self.student, "macro_f1": self.macro_f1, "auroc": self.auroc}


def score_arms(
    train: Rows,
    folds: Integers,
    n_labels: int,
    students: Sequence[Student],
    treatments: Sequence[Treatment],
    parents: Floats | None = None,
    tell: Tell | None = None,
    pool: Rows | None = None,
) -> list[ArmScore]:
    """Cross-validated scores of treatments on the user's own rows; macro-F1 with the labels equalised.

    Args:
        train: rows; those that are not the user's own are trained on, never scored.
        folds: (n,) fold of each own row; an added row has -1, or is left out of every fold that `parents` marks.
        n_labels: k.
        students: who is trained.
        treatments: in which ways.
        parents: (n, n_folds) where 1 marks that a row was made from rows of that fold, which it must not help
            to judge; None where there are no added rows.
        tell: told how many trainings are done where they take long.
        pool: unlabelled rows, for treatments that use them.

    Returns:
        One score for every treatment and each student that it suits, in the order of `treatments` and `students`.
    """
    own = np.flatnonzero(train.original)
    tables = predict_out_of_fold(train, folds, n_labels, students, treatments, parents, tell, pool)
    return score_predictions({key: table[own] for key, table in tables.items()}, train.labels[own], n_labels)


def predict_out_of_fold(
    train: Rows,
    folds: Integers,
    n_labels: int,
    students: Sequence[Student],
    treatments: Sequence[Treatment],
    parents: Floats | None = None,
    tell: Tell | None = None,
    pool: Rows | None = None,
) -> dict[tuple[str, str], Floats]:
    """Cross-validated log-scores; arguments as of `score_arms`.

    Returns:
        Treatment, student -> (n, k), in the order of treatments and students; rows that are not the user's own have 0.
    """
    own = np.flatnonzero(train.original)
    tables: dict[tuple[str, str], Floats] = {}
    trainings: list[Training] = []
    for student in students:
        mine = tuple(_list_trained(treatments, student, train))
        for treatment in mine:
            tables[treatment.name, student.name] = np.zeros((len(train), n_labels))
        for fold in np.unique(folds[own]) if mine else ():
            outside = train.original & (folds == fold)
            inside = ~outside
            if parents is not None:
                inside &= parents[:, fold] == 0
            trainings.append(
                Training(mine, student, train, inside, train, outside, n_labels, int(fold), pool)
            )
    for training, predicted in zip(trainings, run_trainings(trainings, tell), strict=True):
        for name, scores in predicted.items():
            tables[name, training.student.name][training.scored] = scores
    for student in students:
        scored = {name: table[own] for (name, who), table in tables.items() if who == student.name}
        for way in treatments:
            expected = way.list_parts(student, train) if way.suits(student) else {}
            if expected:
                table = np.zeros((len(train), n_labels))
                table[own] = way.combine(scored, expected, train.labels[own], folds[own])
                tables[way.name, student.name] = table
    return {
        (treatment.name, student.name): tables[treatment.name, student.name]
        for treatment in treatments
        for student in students
        if treatment.suits(student)
    }


def _list_trained(treatments: Sequence[Treatment], student: Student, train: Rows) -> Iterator[Treatment]:
    """The treatments of a student, those that add others up replaced by these; each once."""
    known: set[str] = set()
    for way in treatments:
        if not way.suits(student):
            continue
        for part in way.list_parts(student, train) or (way,):
            if part.name not in known:
                known.add(part.name)
                yield part


def score_predictions(
    tables: Mapping[tuple[str, str], Floats], truth: Integers, n_labels: int
) -> list[ArmScore]:
    """Both metrics of each table of log-scores.

    Args:
        tables: treatment, student -> (n, k).
        truth: (n,) label indices.
        n_labels: k.
    """
    weights = draw_counts(truth, _N_RESAMPLES, np.random.default_rng(13)) / np.bincount(truth)[truth]
    return [
        ArmScore(
            treatment,
            student,
            compute_macro_f1(table.argmax(axis=1), truth, n_labels, equalise=True),
            compute_auroc(softmax(table, axis=1) if n_labels > 2 else table, truth),
            compute_log_loss(table, truth),
            compute_drawn_macro_f1s(table.argmax(axis=1), truth, n_labels, weights),
        )
        for (treatment, student), table in tables.items()
    ]


def choose_best(
    scores: Sequence[ArmScore],
    metric: str,
    treatments: Sequence[Treatment],
    counts: Integers,
    evidence: Evidence = NO_EVIDENCE,
) -> dict[str, Treatment]:
    """For each student that was scored the best treatment; the earlier one of equals.

    By AUROC it is the highest one. The macro-F1 of a dozen rows of a label is mostly noise of the threshold, and the
    highest of a dozen ways is the luckiest. So the choice begins with the way that gave most on other data sets, and
    leaves it for another where the user's rows say so: macro-F1 is evidently higher (Student's t with the rows of the
    rarest label less one as degrees of freedom, at a level divided by the number of ways: Bonferroni) and log-loss, to
    which every row adds by how sure the scores are of it, is less. With many rows they do.

    Without evidence for a student the least log-loss decides among the ways within one standard error of the highest
    macro-F1 (the rule of Breiman et al., 1984, Classification and regression trees).

    Args:
        scores: of any arms.
        metric: what counts.
        treatments: those to choose from.
        counts: (k,) rows of each label that were scored.
        evidence: what ways gave on other data sets.
    """
    order = {treatment.name: place for place, treatment in enumerate(treatments)}
    best = {}
    for student in dict.fromkeys(score.student for score in scores):
        mine = [score for score in scores if score.student == student and score.arm in order]
        mine.sort(key=lambda score: order[score.arm])
        if metric == "macro_f1":
            known = _expect(mine, counts, evidence)
            if known:
                first, _ = max(known, key=lambda one: one[1])
                chosen = _leave_for_better(first, mine, counts)
            else:
                chosen = choose_by_loss(mine, counts)
        else:
            chosen = max(mine, key=lambda score: round(getattr(score, metric), 9))
        best[student] = treatments[order[chosen.arm]]
    return best


def _expect(scores: Sequence[ArmScore], counts: Integers, evidence: Evidence) -> list[tuple[ArmScore, float]]:
    """The ways of which something is known, and what they are expected to give."""
    n_rows = int(counts[counts > 0].min())
    expected = [(score, evidence.expect(score.student, score.arm, n_rows)) for score in scores]
    return [(score, gain) for score, gain in expected if gain is not None]


def _leave_for_better(first: ArmScore, scores: Sequence[ArmScore], counts: Integers) -> ArmScore:
    """The way that is most evidently better than the first one in macro-F1 and log-loss, else the first one."""

    def measure(score: ArmScore) -> float:
        if score.log_loss >= first.log_loss or not len(score.drawn):
            return 0.0
        error = float(np.std(score.drawn - first.drawn))
        return (score.macro_f1 - first.macro_f1) / max(error, 1e-9)

    best, n_rows = max(scores, key=measure), int(counts[counts > 0].min())
    if n_rows < 2 or len(scores) < 2:
        return first
    evident = float(student_t.ppf(1 - _LEVEL / 2 / (len(scores) - 1), n_rows - 1))
    return best if measure(best) > evident else first


def choose_by_loss(scores: Sequence[ArmScore], counts: Integers) -> ArmScore:
    """The least log-loss among the scores within one standard error of the highest macro-F1; the earlier of equals.

    Args:
        scores: one or more.
        counts: (k,) rows of each label that were scored.
    """
    highest = max(scores, key=lambda score: round(score.macro_f1, 9))
    least = highest.macro_f1 - estimate_f1_error(highest.macro_f1, counts)
    close = [score for score in scores if score.macro_f1 >= least]
    return min(close, key=lambda score: round(score.log_loss, 6))


def estimate_auroc_error(auroc: float, counts: Integers) -> float:
    """Standard error of an AUROC, one against the rest, mean over the labels (Hanley and McNeil, 1982).

    Args:
        auroc: 0 to 1.
        counts: (k,) rows of each label.
    """
    present = counts[counts > 0].astype(np.float64)
    if len(present) < 2:
        return 0.0
    own = present[:1] if len(present) == 2 else present
    rest = present.sum() - own
    of_own, of_rest = auroc / (2 - auroc) - auroc**2, 2 * auroc**2 / (1 + auroc) - auroc**2
    variances = (auroc * (1 - auroc) + (own - 1) * of_own + (rest - 1) * of_rest) / (own * rest)
    return float(np.sqrt(variances.sum()) / len(own))


def estimate_f1_error(macro_f1: float, counts: Integers) -> float:
    """Standard error of a macro-F1 with the labels equalised, as if each label's F1 were a share of its rows.

    Args:
        macro_f1: 0 to 1.
        counts: (k,) rows of each label.
    """
    present = counts[counts > 0]
    return float(np.sqrt((macro_f1 * (1 - macro_f1) / present).sum()) / len(present))


def choose_added_ways(scores: Sequence[ArmScore], counts: Integers) -> dict[str, AddedWay]:
    """For each student how it uses added rows: with the zero-shot prior unless that evidently harms.

    Chosen on inner validation, by what the prior does to the baseline without added rows: descriptions such as
    `0` and `1` say nothing and only add noise. A dozen rows of a label cannot tell a small harm from chance, so the
    prior goes where it costs more than one standard error, in AUROC or in macro-F1 (with many labels nearly every
    AUROC is close to 1, and it is macro-F1 that shows the harm).

    Args:
        scores: the simple ways on inner validation, the baseline among them.
        counts: (k,) rows of each label.
    """
    by_name = {(score.arm, score.student): score for score in scores}
    chosen = {}
    for student in dict.fromkeys(score.student for score in scores):
        plain = by_name[PLAIN_WAY.simple.name, student]
        prior = by_name.get((PRIOR_WAY.simple.name, student))
        helps = (
            prior is not None
            and prior.auroc >= plain.auroc - estimate_auroc_error(plain.auroc, counts)
            and prior.macro_f1 >= plain.macro_f1 - estimate_f1_error(plain.macro_f1, counts)
        )
        chosen[student] = PRIOR_WAY if helps else PLAIN_WAY
    return chosen


def recommend(
    scores: Sequence[ArmScore],
    mine: Sequence[ArmScore],
    metric: str,
    counts: Integers,
    simple: Sequence[Treatment],
    mixed: Mapping[str, Treatment],
    evidence: Evidence = NO_EVIDENCE,
    helped: Mapping[str, bool] | None = None,
) -> dict[str, Treatment]:
    """For each student the mixture of own and added rows, unless inner validation speaks against it.

    The mixture has found out what the added rows are worth already (`tuned_added`). By macro-F1 it is left for the
    simple way where the added rows take nothing away from its log-loss; where that is not known, where macro-F1 and
    log-loss both are worse than the simple way's: each alone is mostly noise with a dozen rows of a label. By AUROC,
    which needs no threshold, it is left where that is evidently worse than the simple way's, by one standard error
    (the rule of Breiman et al., 1984, Classification and regression trees). Among simple ways see `choose_best`.

    Args:
        scores: the simple ways on inner validation.
        mine: the mixture, at most one score a student.
        metric: what simple ways are chosen by.
        counts: (k,) rows of each label.
        simple: the simple ways.
        mixed: student -> the mixture that its score in `mine` is of.
        evidence: what simple ways gave on other data sets.
        helped: student -> whether added rows take away from the log-loss of the mixture.
    """
    chosen = choose_best(scores, metric, simple, counts, evidence)
    known = helped or {}
    by_name = {(score.arm, score.student): score for score in scores}
    for score in mine:
        best = by_name[chosen[score.student].name, score.student]
        if metric == "macro_f1" and score.student in known:
            is_worse = not known[score.student]
        elif metric == "macro_f1":
            is_worse = score.macro_f1 < best.macro_f1 and score.log_loss > best.log_loss
        else:
            is_worse = score.auroc < best.auroc - estimate_auroc_error(best.auroc, counts)
        if not is_worse:
            chosen[score.student] = mixed[score.student]
    return chosen
