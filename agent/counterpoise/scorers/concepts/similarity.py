"""What the similarity of texts to a concept says where nobody has answered anything: two groups of texts, or none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.mixture import GaussianMixture

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.languages import N_NOTED, find_languages
from counterpoise.core.records import Floats
from counterpoise.core.splits import sample_by_rank
from counterpoise.scorers.concepts.languages import ENGLISH
from counterpoise.scorers.concepts.passages import make_passages
from counterpoise.scorers.concepts.views import make_anchors, make_views
from counterpoise.scorers.gold import Gold
from counterpoise_retrievers.encoders import Encoder

MOST_REFERENCE_TEXTS = 5_000
"""Texts that scorers are scaled on and taught by; answered ones besides."""


def find_groups(reference: Floats) -> GaussianMixture | None:
    """A mixture of two normal distributions of one variance, or None where one describes the values as well.

    By the Bayesian information criterion: a concept that no text mentions shows one group only.
    """
    ordered = np.sort(reference).reshape(-1, 1)
    if ordered[-1, 0] - ordered[0, 0] < 1e-6:
        return None
    start = np.quantile(ordered, [0.25, 0.75]).reshape(-1, 1)
    mixture = GaussianMixture(
        n_components=2, covariance_type="tied", means_init=start, random_state=0, max_iter=500, tol=1e-4
    ).fit(ordered)
    single = GaussianMixture(n_components=1, random_state=0).fit(ordered)
    return mixture if mixture.bic(ordered) < single.bic(ordered) else None


def calibrate_similarities(reference: Floats, similarities: Floats) -> Floats:
    """Probability that a text belongs to the upper of two groups of similarities.

    A mixture of two normal distributions with one common variance (so that the probability rises with the
    similarity) is fitted to `reference`; it does not depend on the order of its values.

    Args:
        reference: (m,) cosines that the mixture is fitted to.
        similarities: (n,) cosines to judge.

    Returns:
        (n,) probabilities in 0..1; 0.5 throughout where the reference shows one group only.
    """
    mixture = find_groups(reference)
    if mixture is None or not len(similarities):
        return np.full(len(similarities), 0.5)
    upper = int(np.argmax(mixture.means_.ravel()))
    return np.asarray(mixture.predict_proba(similarities.reshape(-1, 1))[:, upper])


def score_answered(
    rows: EncodedRecords, concepts: Mapping[str, str], gold: Mapping[str, Gold], encoder: Encoder
) -> dict[str, Floats]:
    """What similarity says of the answered texts as if nobody had answered them, by concept with answers.

    Args:
        rows: n texts with their vectors.
        concepts: name -> definition.
        gold: by concept the answers.
        encoder: of the vectors.

    Returns:
        (n,) probabilities of present, NaN for texts without an answer.
    """
    records = rows.records
    texts = [str(text) for text in records.texts]
    kept = sample_by_rank(records.ids, MOST_REFERENCE_TEXTS, "concepts")
    answered = [np.concatenate([one.audit_rows, one.training_rows]) for one in gold.values()]
    kept = np.unique(np.concatenate([kept, *answered]))
    few = [texts[row] for row in kept]
    codes = find_languages([few[row] for row in sample_by_rank(few, N_NOTED, "languages")]) or ENGLISH
    passages = make_passages(few, rows.vectors[kept], encoder, codes)
    found = {}
    for name, definition in concepts.items():
        if name in gold:
            similarity = make_views(passages, make_anchors(name, definition, encoder)).similarity
            known = np.concatenate([gold[name].audit_rows, gold[name].training_rows])
            column = np.full(len(records), np.nan)
            column[known] = calibrate_similarities(similarity, similarity)[np.searchsorted(kept, known)]
            found[name] = column
    return found
