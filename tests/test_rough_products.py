"""Rough products stay within their bound, whatever the vectors, and are the whole-number products they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise_retrievers import hard_negatives
from counterpoise_retrievers.hard_negatives import mine_hard_negatives
from counterpoise_retrievers.rough_products import RoughProducts

Floats = NDArray[np.float32]


def make_rows(kind: str, n_rows: int, dimension: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n_rows, dimension))
    if kind == "heavy":
        rows = generator.standard_cauchy(size=(n_rows, dimension))
    if kind == "outlying":
        rows[:, -1] += 40
    if kind == "signs":  # every rounded number at its end, so that sums of pairs are as large as they get
        rows = np.sign(rows)
    if kind == "sparse":
        rows[generator.random(rows.shape) < 0.97] = 0
    if kind == "lengths":
        rows *= 10.0 ** generator.uniform(-12, 6, size=(n_rows, 1))
    return np.asarray(rows, dtype=np.float32)


@pytest.mark.parametrize("kind", ["normal", "heavy", "outlying", "signs", "sparse", "lengths"])
@pytest.mark.parametrize("dimension", [1, 7, 384])
def test_no_product_is_further_off_than_the_bound(kind: str, dimension: int) -> None:
    queries, passages = make_rows(kind, 40, dimension, 1), make_rows(kind, 200, dimension, 2)
    rough = RoughProducts(queries)
    slack = rough.load(passages).astype(np.float64)
    part = slice(0, 40)
    products = rough.multiply(part).astype(np.float64) * rough.get_steps(part)[:, None].astype(np.float64)
    exact = queries.astype(np.float64) @ passages.astype(np.float64).T
    assert (np.abs(products - exact) <= slack[:, None]).all()


def test_signs_are_multiplied_without_error() -> None:
    queries, passages = make_rows("signs", 10, 384, 3), make_rows("signs", 30, 384, 4)
    rough = RoughProducts(queries)
    rough.load(passages)
    products = rough.multiply(slice(2, 7)) * rough.get_steps(slice(2, 7))[:, None]
    np.testing.assert_allclose(products, queries[2:7] @ passages.T, atol=1e-3)


def test_bound_is_worth_something() -> None:
    queries, passages = make_rows("normal", 20, 384, 5), make_rows("normal", 100, 384, 6)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    assert RoughProducts(queries).load(passages).max() < 0.04


@pytest.mark.parametrize("kind", ["normal", "heavy", "outlying", "signs", "sparse", "lengths"])
def test_mining_is_exact_where_rounding_is_bad(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_negatives, "_FEWEST_QUERIES", 1)
    queries, passages = make_rows(kind, 30, 16, 7), make_rows(kind, 9000, 16, 8)
    mined = mine_hard_negatives(queries, passages, [[row] for row in range(30)], n_negatives=12)
    scores = np.array([passages.astype(np.float64) @ query.astype(np.float64) for query in queries])
    scores[np.arange(30), np.arange(30)] = -np.inf
    best = -np.sort(-scores, axis=1)[:, :12]
    found = np.take_along_axis(scores, mined.indices, axis=1)
    np.testing.assert_allclose(found, best, rtol=1e-12, atol=0)
