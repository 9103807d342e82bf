"""Texts as small sets of hashed shingles: what is compared when near-duplicates are looked for.

A text is folded first (compatibility forms, case, white space, punctuation), then cut into words; a character
of a script that is written without spaces is a word of its own. Its shingles are its words and its pairs of
neighbouring words, so that order counts: one changed word in fourteen leaves a Jaccard similarity of 0.8.
Of many shingles those with the smallest hashes are kept (bottom-k sketch, Cohen and Kaplan 2007).

Everything works on batches as arrays; only distinct words are hashed one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Texts = Sequence[str] | NDArray[Any] | Iterable[Sequence[str]] | Any
"""n texts: a sequence or array of strings, an Arrow (chunked) array, or an iterable of batches of them."""

SKETCH_SIZE = 128
"""Shingles that are kept of a text. Short texts are kept whole."""

MIN_WORDS = 3
"""Texts of fewer words have no shingles: one changed word changes what they say."""

_TEXTS_A_BATCH = 2_048
_FOLDED = r"[\p{P}\p{Z}\p{C}]+"
_WITHOUT_SPACES = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
_PAIR_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Sketches:
    """What is kept of n texts.

    Args:
        content: (n,) uint64 hashes of the folded texts; equal means the same text.
        starts: (n + 1,) int64; the shingles of row i are `shingles[starts[i]:starts[i + 1]]`.
        shingles: uint16 codes of hashes, ascending and distinct within a row, at most `SKETCH_SIZE` a row.
    """

    content: NDArray[np.uint64]
    starts: NDArray[np.int64]
    shingles: NDArray[np.uint16]


def sketch_texts(texts: Texts) -> Sketches:
    """Read texts once; keep 16 bytes of each and 2 bytes a shingle.

    Raises:
        ValueError: something in it is no text.
    """
    # Arrays of the standard library grow in place, so that nothing is in memory twice.
    content, counts, shingles = array("Q"), array("B"), array("H")
    for batch in iterate_batches(texts):
        batch_content, batch_counts, batch_shingles = _sketch_batch(batch)
        content.frombytes(batch_content.tobytes())
        counts.frombytes(batch_counts.tobytes())
        shingles.frombytes(batch_shingles.tobytes())
    pa.default_memory_pool().release_unused()  # Arrow would keep what cutting words needed
    starts = np.zeros(len(content) + 1, dtype=np.int64)
    np.cumsum(np.frombuffer(counts, dtype=np.uint8), out=starts[1:])
    return Sketches(np.frombuffer(content, np.uint64), starts, np.frombuffer(shingles, np.uint16))


def iterate_batches(texts: Texts) -> Iterator[pa.Array]:
    """Cut texts into Arrow arrays of at most 2,048 strings; a missing text is an empty one."""
    if isinstance(texts, str):
        raise ValueError("texts: several texts are needed, found one string")  # noqa: TRY004
    if isinstance(texts, pa.ChunkedArray):
        for chunk in texts.chunks:
            yield from iterate_batches(chunk)
    elif _is_flat(texts):
        for start in range(0, len(texts), _TEXTS_A_BATCH):
            yield _as_strings(texts[start : start + _TEXTS_A_BATCH])
    else:
        for batch in texts:
            yield from iterate_batches(batch)


def fold_texts(batch: pa.Array) -> pa.Array:
    """Fold compatibility forms, case, white space and punctuation: words with one space between them.

    A text that holds nothing else (a row of dots, an emoticon) is kept as it is.
    """
    normal = pc.utf8_normalize(batch, form="NFKC")
    cased = pa.array([text.casefold() for text in normal.to_pylist()], type=pa.large_string())
    if pc.any(pc.match_substring_regex(cased, _WITHOUT_SPACES)).as_py():
        cased = pc.replace_substring_regex(cased, _WITHOUT_SPACES, r" \1 ")
    folded = pc.utf8_trim(pc.replace_substring_regex(cased, _FOLDED, " "), " ")
    return pc.if_else(pc.equal(folded, ""), pc.utf8_trim_whitespace(cased), folded)


def _is_flat(texts: Texts) -> TypeGuard[Sequence[str]]:
    """Tell one level of texts from batches of them."""
    if isinstance(texts, pa.Array | np.ndarray):
        return True
    return isinstance(texts, Sequence) and (len(texts) == 0 or texts[0] is None or isinstance(texts[0], str))


def _as_strings(texts: Any) -> pa.Array:
    try:
        strings = (
            texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string(), from_pandas=True)
        )
        return pc.fill_null(strings.cast(pa.large_string()), "")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"texts: strings are needed: {error}") from error


def _sketch_batch(batch: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint16]]:
    """Give the content hash, the number of shingles and the shingles of each text."""
    folded = fold_texts(batch)
    words = pc.split_pattern(folded, " ")
    n_words = pc.list_value_length(words).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(batch), dtype=np.uint64), n_words)
    encoded = words.flatten().dictionary_encode()
    hashes = _hash_strings(encoded.dictionary)[encoded.indices.to_numpy()]
    together = rows[1:] == rows[:-1]
    pairs = hashes[:-1][together] * _PAIR_FACTOR + hashes[1:][together]
    pairs = (pairs ^ (pairs >> _HALF)) * _MIX_FACTOR
    keys = np.concatenate([_make_keys(rows, hashes), _make_keys(rows[1:][together], pairs)])
    keys = np.unique(keys[n_words[keys >> np.uint32(16)] >= MIN_WORDS])
    counts = np.bincount(keys >> np.uint32(16), minlength=len(batch))
    # Keys are sorted by row, then by code: the first of each row are its smallest.
    place = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    shingles = keys[place < SKETCH_SIZE].astype(np.uint16)
    return _hash_strings(folded), np.minimum(counts, SKETCH_SIZE).astype(np.uint8), shingles


def _hash_strings(strings: pa.Array) -> NDArray[np.uint64]:
    """Hash strings: (n,) uint64, the same on every machine."""
    digests = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in strings.to_pylist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _make_keys(rows: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Put the number of a row above the 16-bit code of a hash.

    The code is a small float: 4 bits for the place of the highest bit, and the 12 bits that follow it. It
    keeps the order of the hashes and tells small ones apart too, which is what is left of a long text.
    """
    upper = np.maximum(hashes >> _HALF, np.uint64(1 << 16)).astype(np.float64)
    code = (upper.view(np.uint64) - np.uint64((1023 + 16) << 52)) >> np.uint64(52 - 12)
    keys: NDArray[np.uint32] = ((rows << np.uint64(16)) | code).astype(np.uint32)
    return keys
