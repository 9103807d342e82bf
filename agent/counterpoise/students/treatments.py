"""The simple ways to treat imbalance: none costs a token, and each is measured before one is spent.

What generation adds is counted from the best of them. Each gives log-scores whose largest entry is the prediction, so
one threshold rule serves all. They are registered here, in the order in which a job without the key `treatments` has
them; `added_ways` are the ways that use added rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from counterpoise.core.errors import JobError
from counterpoise.core.records import Floats, Integers
from counterpoise.core.registry import Registry
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.described_ways import DescriptionRows
from counterpoise.students.easy_augmentation import EasyAugmentation
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.markov_chain import MarkovOversampling
from counterpoise.students.mixtures import Mixture
from counterpoise.students.naive_bayes import NaiveBayesEm
from counterpoise.students.pool_labels import LabelledPool, NeighbourVotes, ZeroShotPool
from counterpoise.students.pool_ways import SelfTraining, Spreading
from counterpoise.students.prior_ways import ShrunkPrior
from counterpoise.students.recipe_lines import ADJUSTED, SCORE, draw_lines
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.tuned_ways import TunedOffsets, TunedPrior
from counterpoise.students.vector_ways import Prototypes, ShrunkLda, VectorSmote
from counterpoise.students.weights import adjust, balance_weights

N_BAGS = 10
_MOST_REPEATED = 10_000  # rows of an oversampled side that are trained on one by one


class Nothing(Treatment):
    """The rows as they are."""

    name = "nothing"
    meaning = "the data as it is"
    advice = "Train {student} on your rows as they are"
    shares = "fit"
    code = "score = fit(own, ones(own), 0)\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the plain student."""
        return task.plain


class ClassWeights(Treatment):
    """Every label has the same total weight."""

    name = "class_weights"
    meaning = "rows of rare labels weigh more"
    shares = "features"
    code = (
        "shares = own[{label}].map(own[{label}].value_counts())\n"
        "score = fit(own, len(own) / own[{label}].nunique() / shares, 0)\n"
    )

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities under balanced weights."""
        return task.fit(balance_weights(task.labels, task.n_labels))


class Oversampling(Treatment):
    """Rows of rare labels are repeated until each label has as many as the largest."""

    name = "oversampling"
    meaning = "rows of rare labels repeated"
    shares = "features"
    code = draw_lines(extreme="max", replace=True) + "score = fit(draw(0), ones(draw(0)), 0)\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the student on the repeated rows."""
        rows = _draw(task, lambda counts: int(counts.max()))
        if len(rows) > _MOST_REPEATED:
            # Many labels beside a large one would repeat their few rows over and over: a weight is the same sum of
            # losses.
            return task.fit(np.bincount(rows, minlength=len(task.labels)).astype(np.float64))
        return task.fit(rows=rows)


class Downsampling(Treatment):
    """Rows are left out until each label has as many as the smallest."""

    name = "downsampling"
    shares = "features"
    code = draw_lines(extreme="min", replace=False) + "score = fit(draw(0), ones(draw(0)), 0)\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the student on the rows that are left."""
        return task.fit(rows=_draw(task, lambda counts: int(counts.min())))


class LogitAdjustment(Treatment):
    """The label shares are taken out of the scores, with tau = 1 (Menon et al., 2021, Long-tail learning)."""

    name = "logit_adjustment"
    meaning = "threshold moved by how common each label is"
    shares = "fit"
    code = "score = fit(own, ones(own), 1)\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the label shares."""
        return adjust(task.plain, task.labels, task.n_labels)


class BalancedBags(Treatment):
    """The mean of models on balanced subsamples (Wallace et al., 2011, Class imbalance, redux)."""

    name = "balanced_bags"
    meaning = "classifiers on balanced draws, averaged"
    shares = "features"
    code = (
        draw_lines(extreme="min", replace=False)
        + f"bags = [fit(draw(seed), ones(draw(seed)), 0) for seed in range({N_BAGS})]\n"
        + f"{SCORE}logsumexp([bag(texts) for bag in bags], axis=0)\n\n"
    )

    def score(self, task: FitTask) -> Floats:
        """Logs of the mean probabilities of ten students."""
        bags = [
            np.exp(task.fit(rows=_draw(task, lambda counts: int(counts.min()), draw=bag)))
            for bag in range(N_BAGS)
        ]
        return np.asarray(np.log(np.maximum(np.mean(bags, axis=0), PROBABILITY_FLOOR)))


class EmbeddingZeroShot(Treatment):
    """Nearness to the labels' descriptions; nothing is trained."""

    name = "embedding_zero_shot"
    meaning = "the label whose description lies nearest; no training"
    advice = "Give each text the label whose description is nearest to its vector; train nothing"
    needs_zero_shot = True
    code = f"{SCORE}compare(texts) - middle\n\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the descriptions, see `compare_descriptions`."""
        return compare_descriptions(task.train, task.test)


class ZeroShotPrior(Treatment):
    """Logit adjustment with the descriptions of the labels as a prior."""

    name = "zero_shot_prior"
    meaning = "logit adjustment, with the nearest description as a prior"
    needs_zero_shot = True
    code = f"{ADJUSTED}{SCORE}plain(texts) + compare(texts) - middle\n\n"

    def score(self, task: FitTask) -> Floats:
        """Adjusted log-probabilities and those of the descriptions, added."""
        return task.score(LOGIT_ADJUSTMENT) + compare_descriptions(task.train, task.test)


def _draw(task: FitTask, per_label: Callable[[Integers], int], *, draw: int = 0) -> Integers:
    """Positions with so many rows a label: without repeating where there are enough, else repeating."""
    counts = np.bincount(task.labels, minlength=task.n_labels)
    want = per_label(counts[counts > 0])
    picked = []
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(task.labels == label)
        generator = np.random.default_rng([task.seed, draw, int(label)])
        repeats, rest = divmod(want, len(members))
        picked.append(np.repeat(members, repeats))
        picked.append(np.sort(generator.permutation(members)[:rest]))
    return np.concatenate(picked)


class TreatmentFamily(Registry[Treatment]):
    """The treatments by name; a job chooses among the simple ones."""

    def choose(self, chosen: Iterable[str | Treatment]) -> tuple[Treatment, ...]:
        """The simple ways that a run measures, in their order.

        Raises:
            JobError: one is unknown, trains on added rows, or the one is missing that the others have to beat.
        """
        treatments = super().choose(chosen)
        where = f"key '{self.key}'"
        added = next((one.name for one in treatments if one.uses_added), None)
        if added is not None:
            hint = "leave it out: it is measured wherever records are added"
            raise JobError(f"found '{added}', which trains on added rows", where=where, hint=hint)
        if BASELINE not in treatments:
            missing = f"'{BASELINE.name}' is missing, which the others have to beat"
            raise JobError(missing, where=where, hint="add it")
        return treatments


TREATMENTS = TreatmentFamily(
    "treatments",
    needs=(
        "meaning",
        "advice",
        "needs_zero_shot",
        "uses_added",
        "uses_pool",
        "uses_lines",
        "code",
        "score",
        "suits",
    ),
)

NOTHING = TREATMENTS.register(Nothing())
TREATMENTS.register(ClassWeights())
TREATMENTS.register(Oversampling())
TREATMENTS.register(Downsampling())
LOGIT_ADJUSTMENT = TREATMENTS.register(LogitAdjustment())
BALANCED_BAGS = TREATMENTS.register(BalancedBags())
EMBEDDING_ZERO_SHOT = TREATMENTS.register(EmbeddingZeroShot())
ZERO_SHOT_PRIOR = TREATMENTS.register(ZeroShotPrior())
TUNED_OFFSETS = TREATMENTS.register(TunedOffsets(), later=True)
TREATMENTS.register(TunedPrior(), later=True)
TREATMENTS.register(
    Mixture(
        "tuned_bags",
        (TUNED_OFFSETS, BALANCED_BAGS),
        meaning="the mean of tuned_offsets and balanced_bags",
        code=TUNED_OFFSETS.code.replace("def score(", "def tune(")
        + BALANCED_BAGS.code.replace("def score(", "def bag(")
        + f"{SCORE}(log_softmax(tune(texts), axis=1) + log_softmax(bag(texts), axis=1)) / 2\n\n",
    ),
    later=True,
)
TREATMENTS.register(DescriptionRows(), later=True)
TREATMENTS.register(LabelledPool(), later=True)

# A job has to name these: no evaluation has shown yet that the choice gains by them.
TREATMENTS.register(ShrunkLda(), default=False)
TREATMENTS.register(Prototypes(), default=False)
TREATMENTS.register(VectorSmote(), default=False)
TREATMENTS.register(ShrunkPrior(), default=False)
TREATMENTS.register(MarkovOversampling(), default=False)
TREATMENTS.register(EasyAugmentation(), default=False)
TREATMENTS.register(SelfTraining(), default=False)
TREATMENTS.register(Spreading(), default=False)
TREATMENTS.register(NaiveBayesEm(), default=False)
TREATMENTS.register(NeighbourVotes(), default=False)
TREATMENTS.register(ZeroShotPool(), default=False)

BASELINE = LOGIT_ADJUSTMENT
"""The simple way that others have to beat: every job has it; forecasts, gains of records and the choice between uses of
added rows begin with it."""
