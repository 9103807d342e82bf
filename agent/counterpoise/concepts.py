"""Which concepts a text mentions: similarity to a one-line definition, with thresholds found on the data.

A closed list with definitions is given by the user. For each concept the cosines of all texts to its definition
are split into two groups by a mixture of two normal distributions; a text is present or absent where the mixture is
sure, and unknown between.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from counterpoise.records import ConceptColumns, Floats, State
from counterpoise_retrievers.encoders import Encoder

PRESENT_FROM = 0.7
ABSENT_UP_TO = 0.3
_FEWEST_TEXTS = 20


def label_concepts(
    vectors: NDArray[np.float32],
    concepts: Mapping[str, str],
    encoder: Encoder,
    reference: NDArray[np.float32] | None = None,
) -> ConceptColumns:
    """Label every concept of a closed list in every text.

    Args:
        vectors: (n, d) vectors of the texts.
        concepts: name -> one-line definition.
        encoder: the encoder the vectors come from.
        reference: (m, d) vectors that the thresholds are found on; by default `vectors`. Pass the original
            rows when labelling added ones, so that what is added cannot move the thresholds.

    Returns:
        States and probabilities, (n, m). With fewer than 20 reference texts every state is unknown.
    """
    names = tuple(concepts)
    basis = vectors if reference is None else reference
    anchors = encoder.encode([concepts[name] for name in names]) if names else np.empty((0, vectors.shape[1]))
    probabilities = np.full((len(vectors), len(names)), 0.5)
    if len(basis) >= _FEWEST_TEXTS:
        for column in range(len(names)):
            similarities = (basis @ anchors[column]).astype(np.float64)
            wanted = (vectors @ anchors[column]).astype(np.float64)
            probabilities[:, column] = calibrate_similarities(similarities, wanted)
    states = np.full(probabilities.shape, State.UNKNOWN, dtype=np.int8)
    states[probabilities >= PRESENT_FROM] = State.PRESENT
    states[probabilities <= ABSENT_UP_TO] = State.ABSENT
    return ConceptColumns(names, states, probabilities, scorer=f"similarity ({encoder.name})")


def calibrate_similarities(reference: Floats, similarities: Floats) -> Floats:
    """Probability that a text belongs to the upper of two groups of similarities.

    A mixture of two normal distributions with one common variance (so that the probability rises with the
    similarity) is fitted to `reference`; it does not depend on the order of its values.

    Args:
        reference: (m,) cosines that the mixture is fitted to.
        similarities: (n,) cosines to judge.

    Returns:
        (n,) probabilities in 0..1; 0.5 throughout where all cosines are equal.
    """
    ordered = np.sort(reference)
    if ordered[-1] - ordered[0] < 1e-6:
        return np.full(len(similarities), 0.5)
    start = np.quantile(ordered, [0.25, 0.75]).reshape(-1, 1)
    mixture = GaussianMixture(
        n_components=2, covariance_type="tied", means_init=start, random_state=0, max_iter=500, tol=1e-4
    )
    mixture.fit(ordered.reshape(-1, 1))
    upper = int(np.argmax(mixture.means_.ravel()))
    return np.asarray(mixture.predict_proba(similarities.reshape(-1, 1))[:, upper])
