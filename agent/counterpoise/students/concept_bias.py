"""How far a student takes a concept for a sign of the label: accuracy in cells, and the bias that it shows.

Bias@C compares what a concept does to the accuracy of one label with what it does to that of another; it is computed
from accuracies by label, which is the same as making the labels even and needs no sampling.

Paper: Zhou et al. (2024) "Explore Spurious Correlations at the Concept Level in Language Models for Text
Classification". Worst-group accuracy: Sagawa et al. (2020) "Distributionally Robust Neural Networks for Group Shifts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats


@dataclass(frozen=True, slots=True)
class BiasFigures:
    """What the accuracies of each label with and without a concept say, in the unit of the accuracies.

    Args:
        bias_at_c: 0 is good; above it the student leans to the later labels where the concept is present. It needs
            labels that have an order; two labels have one.
        acc_at_c: accuracy with the concept, labels counted alike.
        acc_at_noc: without it.
        worst_group_accuracy: the least of all.
        spread: the largest effect of the concept on a label's accuracy minus the smallest, for labels without an order.
        mean_difference: the mean difference of these effects over pairs of labels, in absolute values.
    """

    bias_at_c: Floats
    acc_at_c: Floats
    acc_at_noc: Floats
    worst_group_accuracy: Floats
    spread: Floats
    mean_difference: Floats


def score_cells(right: NDArray[np.bool_] | Floats, members: Any, weights: Floats) -> Floats:
    """The accuracy of each repetition in each cell.

    Args:
        right: (s, n) whether a repetition answers a row rightly, 1 or 0.
        members: (n, c) 1 where a row is in a cell, an array or a sparse matrix.
        weights: (n,) how often each row counts.

    Returns:
        (s, c) in 0..1; NaN of a cell without weight.
    """
    # Rows stand first: sparse columns are then summed over whole lines of memory, ten times as fast.
    hits = np.asarray(members.T @ np.multiply(right.T, weights[:, None], order="C")).T
    totals = np.broadcast_to(np.asarray(weights @ members), hits.shape)
    return np.asarray(np.divide(hits, totals, out=np.full(hits.shape, np.nan), where=totals > 0))


def measure_bias(present: Floats, absent: Floats) -> BiasFigures:
    """Bias@C and what goes with it.

    Args:
        present: (..., k) accuracy of each of two or more labels where the concept is present, in the labels' order.
        absent: (..., k) where it is absent.

    Returns:
        Figures of shape (...).
    """
    n_labels = present.shape[-1]
    effects = present - absent
    # The mean over pairs i > j of effect i - effect j: label i is the larger of i pairs, the smaller of k - 1 - i.
    signs = 2 * np.arange(n_labels) - n_labels + 1
    n_pairs = n_labels * (n_labels - 1) / 2
    # Sorted, no pair has a negative difference, so the same mean is that of absolute values.
    ordered = np.sort(effects, axis=-1)
    return BiasFigures(
        bias_at_c=effects @ signs / n_pairs,
        acc_at_c=present.mean(axis=-1),
        acc_at_noc=absent.mean(axis=-1),
        worst_group_accuracy=np.minimum(present, absent).min(axis=-1),
        spread=ordered[..., -1] - ordered[..., 0],
        mean_difference=ordered @ signs / n_pairs,
    )
