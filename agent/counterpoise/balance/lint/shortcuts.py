"""What predicts the label without reading the text: a column alone, a word alone, a cluster nobody named.

No model is asked. Words and clusters are looked for in rows that stand for themselves (one of each group of
near-duplicates); clusters are made without looking at labels, so that testing them afterwards is fair.

Papers: Gardner et al. (2021) "Competency Problems: On Finding and Removing Artifacts in Language Data" for
single words against the label by z; the exact tail is used here because the normal one is far too small for
rare words.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from counterpoise.balance.counts import count_labels
from counterpoise.balance.intervals import Z_95
from counterpoise.balance.lint.columns import TextColumn
from counterpoise.core.records import Integers

TOKEN_PATTERN = r"(?u)\w+|[^\w\s]+"  # noqa: S105
"""Words, and runs of signs: a marker such as `##` or `<br />` can be a shortcut too."""

MOST_WORDS = 20_000
MOST_COUNTED = 400_000
LEAST_DOCUMENTS = 8
N_FOLDS = 5
MOST_CLUSTERED = 20_000
ROWS_PER_CLUSTER = 60
MOST_CLUSTERS = 40
N_COMPONENTS = 50
LEAST_CLUSTERED = 300
_SEED = 20_240_229
_LEAST_Z = 3.0


@dataclass(frozen=True, slots=True)
class Predictor:
    """How well one column alone tells the label.

    Args:
        balanced_accuracy: mean share of each label's rows that are told rightly, out of fold, 0..1; a column
            that tells nothing comes out at chance or a little below.
        low: lower end of its 95% interval.
        high: upper end.
        chance: 1 / number of labels.
    """

    balanced_accuracy: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True, slots=True)
class GroupEffect:
    """A set of rows (those with a word, those of a cluster) against one label.

    Args:
        label: code of the label.
        n: rows in the set.
        n_label: of these, rows with the label.
        precision: share of the set that has the label.
        base_ratio: share of all rows that has the label.
        coverage: share of the label's rows that is in the set.
        effect: correlation (phi) of set and label, -1..1.
        low: lower end of its 95% interval.
        high: upper end.
        z: (seen - expected) / standard deviation under independence.
        p_value: exact, one-sided, after Bonferroni over all sets and labels looked at.
    """

    label: int
    n: int
    n_label: int
    precision: float
    base_ratio: float
    coverage: float
    effect: float
    low: float
    high: float
    z: float
    p_value: float

    @property
    def lift(self) -> float:
        """How much of the doubt the set removes: 0 is the base rate, 1 is certainty."""
        return (self.precision - self.base_ratio) / (1 - self.base_ratio) if self.base_ratio < 1 else 0.0


@dataclass(frozen=True, slots=True)
class WordEffect:
    """A word that goes with a label."""

    word: str
    effect: GroupEffect


@dataclass(frozen=True, slots=True)
class ClusterEffect:
    """A cluster of texts that goes with a label, described by its words."""

    words: tuple[str, ...]
    effect: GroupEffect


def measure_predictor(
    labels: Integers, values: Integers, folds: Integers, n_labels: int, n_values: int
) -> Predictor:
    """Cross-validated balanced accuracy of the rule "the label in which this value is most common".

    Args:
        labels: (n,) codes, none negative.
        values: (n,) codes, none negative.
        folds: (n,) 0..N_FOLDS-1.
        n_labels: number of labels.
        n_values: number of values.

    Returns:
        The predictor; a label without rows does not count, and no rows at all say nothing.
    """
    if not len(labels):
        return Predictor(1 / n_labels, 0.0, 1.0, 1 / n_labels)
    flat = (folds * n_labels + labels) * n_values + values
    tables = np.bincount(flat, minlength=N_FOLDS * n_labels * n_values).reshape(N_FOLDS, n_labels, n_values)
    rest = tables.sum(axis=0) - tables
    shares = rest / np.maximum(rest.sum(axis=2, keepdims=True), 1)
    best = shares == shares.max(axis=1, keepdims=True)
    # A value that two labels share equally counts half for each, so that ties give chance and not more.
    right = (tables * best / best.sum(axis=1, keepdims=True)).sum(axis=(0, 2))
    n = tables.sum(axis=(0, 2))
    used = n > 0
    recall = right[used] / n[used]
    accuracy = float(recall.mean())
    half = Z_95 * float(np.sqrt((recall * (1 - recall) / n[used]).sum())) / int(used.sum())
    return Predictor(accuracy, max(0.0, accuracy - half), min(1.0, accuracy + half), 1 / int(used.sum()))


def find_words(texts: TextColumn, labels: Integers, n_labels: int) -> tuple[list[WordEffect], int]:
    """Words that go with a label beyond chance, strongest first.

    Args:
        texts: n texts.
        labels: (n,) codes, none negative.
        n_labels: number of labels.

    Returns:
        The words whose corrected p-value is at most 0.05, each with the label it goes with most, and the
        number of words that were looked at.
    """
    words = choose_words(texts)
    if not words:
        return [], 0
    counts = np.zeros((n_labels, len(words)), dtype=np.int64)
    start = 0
    for block in count_words(texts, words):
        stop = start + block.shape[0]
        block.data[:] = 1
        counts += _sum_by_label(block, labels[start:stop], n_labels)
        start = stop
    found = measure_groups(counts, count_labels(labels, n_labels))
    effects = [WordEffect(words[position], effect) for position, effect in found]
    return sorted(effects, key=lambda word: (-word.effect.effect, word.word)), len(words)


def find_clusters(texts: TextColumn, labels: Integers, n_labels: int) -> tuple[list[ClusterEffect], int]:
    """Clusters of texts (TF-IDF, truncated SVD, k-means) that go with a label beyond chance, strongest first.

    Args:
        texts: n texts in an order that does not depend on the file; fewer than `LEAST_CLUSTERED` give
            nothing.
        labels: (n,) codes, none negative.
        n_labels: number of labels.

    Returns:
        The clusters whose corrected p-value is at most 0.05, and the number of clusters.
    """
    words = choose_words(texts, CountVectorizer(stop_words="english").build_analyzer())
    if len(labels) < LEAST_CLUSTERED or len(words) <= N_COMPONENTS:
        return [], 0
    matrix = sparse.vstack(list(count_words(texts, words)), format="csr")
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(matrix)
    n_clusters = int(np.clip(len(labels) // ROWS_PER_CLUSTER, 2, MOST_CLUSTERS))
    members = _cluster_rows(weighted, n_clusters)
    counts = np.zeros((n_labels, n_clusters), dtype=np.int64)
    np.add.at(counts, (labels, members), 1)
    weights = _sum_by_label(weighted, members, n_clusters)
    typical = weights / np.maximum(np.bincount(members, minlength=n_clusters), 1)[:, None] - weights.sum(
        axis=0
    ) / len(labels)
    effects = []
    for position, effect in measure_groups(counts, count_labels(labels, n_labels)):
        top = np.argsort(-typical[position], kind="stable")[:6]
        effects.append(ClusterEffect(tuple(words[place] for place in top), effect))
    return sorted(effects, key=lambda cluster: (-cluster.effect.effect, cluster.words)), n_clusters


def measure_groups(counts: Integers, totals: Integers) -> list[tuple[int, GroupEffect]]:
    """Sets of rows against labels.

    Args:
        counts: (L, S) rows of each label in each set.
        totals: (L,) rows of each label.

    Returns:
        For each set with a corrected p-value of at most 0.05, its position and its strongest effect.
    """
    n = int(totals.sum())
    sizes = counts.sum(axis=0)
    labels = np.flatnonzero(totals)
    expected = totals[:, None] * sizes / n
    variance = expected * (1 - totals[:, None] / n) * (n - sizes) / max(n - 1, 1)
    z = np.divide(counts - expected, np.sqrt(variance), out=np.zeros(counts.shape), where=variance > 0)
    n_tests = len(labels) * int((sizes > 0).sum())
    found = []
    for position in np.flatnonzero(z.max(axis=0) >= _LEAST_Z):
        label = int(np.argmax(z[:, position]))
        seen, size, total = int(counts[label, position]), int(sizes[position]), int(totals[label])
        p_value = min(1.0, float(stats.hypergeom.sf(seen - 1, n, total, size)) * n_tests)
        if p_value <= 0.05:
            effect = float(z[label, position]) / np.sqrt(max(n - 1, 1))
            low, high = _correlation_interval(effect, n)
            found.append(
                (
                    int(position),
                    GroupEffect(
                        label=label,
                        n=size,
                        n_label=seen,
                        precision=seen / size,
                        base_ratio=total / n,
                        coverage=seen / total,
                        effect=effect,
                        low=low,
                        high=high,
                        z=float(z[label, position]),
                        p_value=p_value,
                    ),
                )
            )
    return found


def choose_words(texts: TextColumn, analyzer: Callable[[str], list[str]] | None = None) -> list[str]:
    """The words that occur in most texts, at most `MOST_WORDS`, in sorted order.

    Counting keeps at most about `MOST_COUNTED` words: when more have been met the rarest are forgotten, so
    that memory stays bounded however many distinct words there are.
    """
    analyze = analyzer or _build_analyzer()
    counts: Counter[str] = Counter()
    for batch in texts.batches():
        for text in batch:
            counts.update(set(analyze(text)))
        least = 1
        while len(counts) > MOST_COUNTED:
            counts = Counter({word: count for word, count in counts.items() if count > least})
            least *= 2
    frequent = sorted(
        ((-count, word) for word, count in counts.items() if count >= LEAST_DOCUMENTS),
    )
    return sorted(word for _, word in frequent[:MOST_WORDS])


def count_words(texts: TextColumn, words: list[str]) -> Iterator[Any]:
    """Sparse (batch, words) matrices of how often each word occurs, batch after batch."""
    vectorizer = CountVectorizer(
        vocabulary={word: position for position, word in enumerate(words)},
        token_pattern=TOKEN_PATTERN,
        dtype=np.int32,
    )
    for batch in texts.batches():
        yield vectorizer.transform(batch)


def _cluster_rows(weighted: Any, n_clusters: int) -> NDArray[np.int32]:
    """The cluster of each row of a TF-IDF matrix."""
    # Matrices this small are slower on several threads, and one thread gives the same sums every time.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Fewer distinct points than clusters is no fault: the empty ones have no rows and are never listed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        points = normalize(TruncatedSVD(N_COMPONENTS, random_state=_SEED).fit_transform(weighted))
        means = MiniBatchKMeans(n_clusters, n_init=1, max_iter=30, batch_size=2048, random_state=_SEED)
        return np.asarray(means.fit_predict(points))


def _build_analyzer() -> Callable[[str], list[str]]:
    analyzer: Callable[[str], list[str]] = CountVectorizer(token_pattern=TOKEN_PATTERN).build_analyzer()
    return analyzer


def _sum_by_label(block: Any, labels: NDArray[np.integer[Any]], n_labels: int) -> NDArray[Any]:
    """Rows of a sparse matrix added up by label: (n_labels, words)."""
    n = len(labels)
    chooser = sparse.csr_matrix((np.ones(n, dtype=np.int32), (labels, np.arange(n))), shape=(n_labels, n))
    return np.asarray((chooser @ block).todense())


def _correlation_interval(effect: float, n: int) -> tuple[float, float]:
    """Fisher's 95% interval of a correlation."""
    if n <= 3 or abs(effect) >= 1:
        return effect, effect
    centre, half = np.arctanh(effect), Z_95 / np.sqrt(n - 3)
    return float(np.tanh(centre - half)), float(np.tanh(centre + half))
