"""Inner products of many vectors with many others, roughly but with a bound that holds: eight bits do most of a search.

Vectors are rounded to whole numbers, row by row, and multiplied by the integer kernels of onnxruntime, which on
processors of these years do four times as many products a second as float32. How far a row is from its rounded self is
known exactly, so by Cauchy and Schwarz no true product is further from the rough one than

    |q . p - rough(q, p)| <= |q| |p - p'| + |q - q'| |p'|

where p' and q' are the rounded rows. What a rough product cannot rule out has to be multiplied out exactly; what it
rules out is ruled out for sure. Queries take 7 bits: without the newest instructions pairs of products are added up in
16 bits, and 2 x 127 x 127 is the most that they hold.

>>> queries, passages = np.eye(2, 8, dtype=np.float32), np.eye(3, 8, dtype=np.float32)
>>> rough = RoughProducts(queries)
>>> slack = rough.load(passages)
>>> (rough.multiply(slice(0, 2)) * rough.get_steps(slice(0, 2))[:, None]).round(3).tolist()
[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise_retrievers.arrays import Vectors

_QUERY_STEPS, _PASSAGE_STEPS = 63, 127
"""Largest size of a rounded number; both signs."""

_ZERO = 64
"""What stands for 0 in a query: the fast kernels want numbers without a sign on one side."""

_ROUNDING = 1e-4
"""Sums of a few thousand float32 numbers lie this near to the true ones, as a share."""

_FLOAT, _UINT8, _INT8 = 1, 2, 3
"""Types of tensors in ONNX."""


class RoughProducts:
    """Products of fixed queries with passages that come block by block; not shared between threads.

    Args:
        queries: (q, dimension) float32.
    """

    def __init__(self, queries: Vectors) -> None:
        codes, steps, errors = _round_rows(queries, _QUERY_STEPS)
        self._codes = (codes + np.float32(_ZERO)).astype(np.uint8)
        self._steps = steps
        self._errors = errors
        self._lengths = _measure_rows(queries)
        self._passages: dict[str, NDArray[Any]] = {}

    def load(self, passages: Vectors) -> Vectors:
        """Take a block of passages; how far each query's rough products with them may be off, (q,)."""
        codes, steps, errors = _round_rows(passages, _PASSAGE_STEPS)
        self._passages = {"b": np.ascontiguousarray(codes.astype(np.int8).T), "b_steps": steps}
        longest = float((_measure_rows(codes) * steps).max(initial=0.0))
        slack = self._lengths * errors.max(initial=0.0) + self._errors * longest
        # All this is worked out in float32; the rest covers its rounding.
        return np.asarray(slack * (1 + _ROUNDING) + _ROUNDING * longest * self._lengths, dtype=np.float32)

    def multiply(self, part: slice) -> Vectors:
        """Rough products of some queries with the block, (part, passages) float32, each row over its `get_steps`."""
        given = {
            "a": self._codes[part],
            "one": np.array(1, np.float32),
            "zero": np.array(_ZERO, np.uint8),
            **self._passages,
        }
        products: Vectors = _open_session().run(None, given)[0]
        return products

    def get_steps(self, part: slice) -> Vectors:
        """What the rows of `multiply` are to be multiplied with, (part,) float32."""
        return self._steps[part]


def _round_rows(rows: Vectors, most: int) -> tuple[Vectors, Vectors, Vectors]:
    """Whole numbers of size at most `most` (as float32), the step of each row, and how far each row is off."""
    steps = np.abs(rows).max(axis=1, initial=0.0) / np.float32(most)
    steps[steps < np.finfo(np.float32).tiny] = 1.0
    exact = rows / steps[:, None]
    codes = np.rint(exact)
    exact -= codes
    return codes, steps, _measure_rows(exact) * steps


def _measure_rows(rows: Vectors) -> Vectors:
    lengths: Vectors = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return lengths


@cache
def _open_session() -> Any:
    """The multiplication as a session on one thread; threads may share it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(_write_graph(), options, providers=["CPUExecutionProvider"])


def _write_graph() -> bytes:
    """One operator, written as the protocol buffer that onnxruntime reads (onnx.proto gives the numbers)."""
    names = ("a", "b", "one", "b_steps", "zero")
    operator = "MatMulIntegerToFloat"
    node = b"".join(_field(1, name.encode()) for name in names)
    node += _field(2, b"y") + _field(4, operator.encode()) + _field(7, b"com.microsoft")
    types = {
        "a": (_UINT8, 2),
        "b": (_INT8, 2),
        "one": (_FLOAT, 0),
        "b_steps": (_FLOAT, 1),
        "zero": (_UINT8, 0),
    }
    graph = _field(1, node) + _field(2, b"products")
    for name, (kind, n_axes) in types.items():
        graph += _field(11, _describe(name, kind, n_axes))
    graph += _field(12, _describe("y", _FLOAT, 2))
    opsets = _field(8, _number(2, 13)) + _field(8, _field(1, b"com.microsoft") + _number(2, 1))
    return _number(1, 8) + _field(7, graph) + opsets


def _describe(name: str, kind: int, n_axes: int) -> bytes:
    """A tensor's name, type and axes of any length."""
    axes = b"".join(_field(1, _field(2, f"{name}{axis}".encode())) for axis in range(n_axes))
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, kind) + _field(2, axes)))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
