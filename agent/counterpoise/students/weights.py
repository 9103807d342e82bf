"""What a row weighs: by the share of its label, and by whether a model wrote it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers

WRITTEN_WEIGHT = 0.2


LARGEST_OWN_WEIGHT = 3.0


def log_prior(labels: Integers, weights: Floats, n_labels: int) -> Floats:
    """(k,) log of each label's share of the weight; absent labels count as the rarest present one."""
    mass = np.bincount(labels, weights=weights, minlength=n_labels)
    mass = np.where(mass > 0, mass, mass[mass > 0].min())
    return np.asarray(np.log(mass / mass.sum()))


def adjust(plain: Floats, labels: Integers, n_labels: int, weights: Floats | None = None) -> Floats:
    """(m, k) log-probabilities less the logs of the label shares (Menon et al., 2021, Long-tail learning).

    Args:
        plain: (m, k) log-probabilities of a student.
        labels: (n,) label indices of the rows that it was trained on.
        n_labels: k.
        weights: (n,) of these rows; None for 1 each.
    """
    return plain - log_prior(labels, np.ones(len(labels)) if weights is None else weights, n_labels)


def balance_weights(labels: Integers, n_labels: int) -> Floats:
    """(n,) weights that give every label the same total; mean 1."""
    counts = np.bincount(labels, minlength=n_labels)
    present = counts > 0
    share = np.zeros(n_labels)
    share[present] = len(labels) / (present.sum() * counts[present])
    return np.asarray(share[labels])


def weigh_rows(labels: Integers, is_written: NDArray[np.bool_], n_labels: int) -> Floats:
    """The `weight` column of the written data set.

    A generated row is worth less than a real one, and the few real rows of a thin label more than their number
    says: they anchor what the generated ones only spread. A written row weighs 0.2; a real row of a label with
    n real rows, where the largest label has N, weighs up to min(3, sqrt(N / n)), in proportion to how much of the
    gap N - n was written: a handful of written rows changes next to nothing. Contrast rows, written for the largest
    label, together weigh as much as the rows written for the label that got most. The values were chosen on
    trial draws of CEBaB's reviews, a set that `evals/minority_text.py` reports on too: there they flatter.
    Without written rows every weight is 1.

    Args:
        labels: (n,) label indices of all rows.
        is_written: (n,) whether a model wrote the row.
        n_labels: k.

    Returns:
        (n,) weights, 0.2 to 3.
    """
    if not is_written.any():
        return np.ones(len(labels))
    real = np.bincount(labels[~is_written], minlength=n_labels)
    written = np.bincount(labels[is_written], minlength=n_labels)
    anchor = np.minimum(LARGEST_OWN_WEIGHT, np.sqrt(real.max() / np.maximum(real, 1)))
    filled = np.minimum(1.0, written / np.maximum(real.max() - real, 1))
    own = 1.0 + (anchor - 1.0) * filled
    of_written = np.full(n_labels, WRITTEN_WEIGHT)
    largest = int(real.argmax())
    if written[largest]:
        of_written[largest] = min(1.0, WRITTEN_WEIGHT * max(1.0, written.max() / written[largest]))
    return np.asarray(np.where(is_written, of_written[labels], own[labels]))
