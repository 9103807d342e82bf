"""Groups of texts that are equal or nearly so: MinHash with banding, then a check of every pair found.

Texts that are equal once case, white space and punctuation are folded fall together by their hash. The others
are sets of shingles (see `text_sketches`). MinHash turns sets into signatures that agree in a share of places
equal to their Jaccard similarity (Broder 1997); banding finds the pairs that agree in all places of a band
(Leskovec, Rajaraman and Ullman, chapter 3). Each pair found is checked on its shingles. Groups are the
connected components. Bands are worked off one by one and signatures are never kept: memory stays small.

    group_near_duplicates(["A good day, Sir!", "a good day sir", "something else here"])   # [0, 0, 2]
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterpoise_retrievers.arrays import Integers
from counterpoise_retrievers.text_sketches import SKETCH_SIZE, Sketches, Texts, sketch_texts

Places = NDArray[np.int32]

_N_BANDS = 16
_MAX_WIDTH = 16
_WANTED_RECALL_RATIO = 0.999
_NEIGHBOURS = 16
"""Texts of one bucket are compared with so many that follow; a bucket of up to 17 is compared in full."""

_SHINGLES_A_BLOCK = 2**19
_PAIRS_A_BLOCK = 2**14
_MAX_ROWS = 2**31 - 1


def group_near_duplicates(texts: Texts, threshold: float = 0.8) -> Integers:
    """Group texts that are equal or nearly so.

    Texts of fewer than three words are grouped only where they are equal. The groups do not depend on the
    order of the rows; only their numbers do. The texts are read once, in batches; about 16 bytes and 2 bytes
    a shingle are kept of each, 50 bytes more while groups are formed. Missing texts count as empty ones.

    Args:
        texts: n texts: a sequence or array of strings, an Arrow array or chunked array, or an iterable of
            batches (sequences or Arrow arrays) of strings.
        threshold: least Jaccard similarity of two texts' words and word pairs, above 0 and at most 1. It is
            measured on hashes of 16 bits, so that now and then it is one shingle off, and for texts of more
            than about 65 words on 128 of them (standard error about 0.035).

    Returns:
        (n,) int64: for each row the position of the first row of its group.

    Raises:
        ValueError: the threshold is out of range, or something in it is no text.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: a number above 0 and at most 1 is needed, found {threshold}")
    sketches = sketch_texts(texts)
    if len(sketches.content) > _MAX_ROWS:
        raise ValueError(f"texts: at most {_MAX_ROWS} rows are supported, found {len(sketches.content)}")
    rows, members = _find_distinct(sketches.content)
    components = _connect(sketches, rows, threshold)
    return _number_groups(components[members])


def choose_width(threshold: float) -> int:
    """Choose the places in a band: the most for which 16 bands find a pair at the threshold in 99.9%."""
    width = 1
    while width < _MAX_WIDTH and 1 - (1 - threshold ** (width + 1)) ** _N_BANDS >= _WANTED_RECALL_RATIO:
        width += 1
    return width


def _find_distinct(content: NDArray[np.uint64]) -> tuple[Places, Places]:
    """Find a row for each distinct text, in the order of their hashes, and for each row its place there.

    What follows works in this order and so knows nothing of the order of the rows.
    """
    order = np.argsort(content, kind="stable").astype(np.int32)
    is_first = np.ones(len(order), dtype=np.bool_)
    np.not_equal(content[order[1:]], content[order[:-1]], out=is_first[1:])
    members = np.empty(len(order), dtype=np.int32)
    members[order] = np.cumsum(is_first, dtype=np.int32) - 1
    return order[is_first], members


def _connect(sketches: Sketches, rows: Places, threshold: float) -> Places:
    """Give the component of each of `rows`, which hold different texts."""
    components = np.arange(len(rows), dtype=np.int32)
    width = choose_width(threshold)
    for band in range(_N_BANDS):
        found = [
            _keep_near(sketches, rows, pairs[:, components[pairs[0]] != components[pairs[1]]], threshold)
            for pairs in _find_pairs(sketches, rows, band, width)
        ]
        components = _join_components(
            components, np.concatenate([np.empty((2, 0), np.int32), *found], axis=1)
        )
    return components


def _find_pairs(sketches: Sketches, rows: Places, band: int, width: int) -> Iterator[Places]:
    """Find places in `rows` whose texts agree in a band: arrays (2, m), one for each distance in a bucket."""
    # Within a bucket texts stand in a scrambled order, another in each band, so that the texts of a crowded
    # bucket meet other neighbours each time. Multiplying by an odd number modulo 2**32 can be undone.
    factor = int(_draw_factors(band, 1)[0, 0])
    keys = _hash_band(sketches, rows, band, width)
    keys <<= np.uint64(32)
    keys |= np.arange(len(rows), dtype=np.uint32) * np.uint32(factor)
    keys = keys[sketches.starts[rows + 1] > sketches.starts[rows]]
    keys.sort()
    left = np.flatnonzero((keys[1:] ^ keys[:-1]) < np.uint64(2**32))
    inverse = np.uint32(pow(factor, -1, 2**32))
    for distance in range(1, _NEIGHBOURS + 1):
        if len(left) == 0:
            return
        scrambled = np.stack([keys[left], keys[left + distance]]).astype(np.uint32)
        yield (scrambled * inverse).astype(np.int32)
        left = left[left + distance + 1 < len(keys)]
        left = left[(keys[left] ^ keys[left + distance + 1]) < np.uint64(2**32)]


def _hash_band(sketches: Sketches, rows: Places, band: int, width: int) -> NDArray[np.uint64]:
    """Give each of `rows` a number of 32 bits for all places of a band."""
    smallest = np.zeros(len(sketches.content), dtype=np.uint32)
    factors = _draw_factors(band, width + 1)[1:]
    for start, end in _iterate_blocks(sketches.starts):
        starts = sketches.starts[start : end + 1]
        shingles = sketches.shingles[starts[0] : starts[-1]].astype(np.uint32)
        filled = np.flatnonzero(np.diff(starts))
        offsets = starts[filled] - starts[0]
        for first, second in factors:
            permuted = (shingles + first) * second
            permuted ^= permuted >> np.uint32(15)
            permuted *= first
            mixed = smallest[start + filled] ^ np.minimum.reduceat(permuted, offsets)
            mixed *= np.uint32(0x85EBCA6B)
            smallest[start + filled] = mixed ^ (mixed >> np.uint32(13))
    return smallest[rows].astype(np.uint64)


def _draw_factors(band: int, width: int) -> NDArray[np.uint32]:
    """Draw two odd factors for each place of a band: (width, 2); the same with every version of numpy."""
    draws = b"".join(blake2b(f"{band} {place}".encode(), digest_size=8).digest() for place in range(width))
    factors: NDArray[np.uint32] = np.frombuffer(draws, dtype="<u4").astype(np.uint32).reshape(width, 2)
    return factors | np.uint32(1)


def _iterate_blocks(starts: Integers) -> Iterator[tuple[int, int]]:
    """Cut rows into stretches that hold a bounded number of shingles, and at least one."""
    start = 0
    n_rows = len(starts) - 1
    while start < n_rows:
        end = int(np.searchsorted(starts, starts[start] + _SHINGLES_A_BLOCK, side="right")) - 1
        if starts[end] > starts[start]:
            yield start, end
        start = end


def _keep_near(sketches: Sketches, rows: Places, pairs: Places, threshold: float) -> Places:
    """Keep the pairs of places in `rows` (2, m) whose texts reach the threshold."""
    near = np.zeros(pairs.shape[1], dtype=np.bool_)
    for start in range(0, len(near), _PAIRS_A_BLOCK):
        block = slice(start, start + _PAIRS_A_BLOCK)
        similarity = measure_similarity(sketches, rows[pairs[0, block]], rows[pairs[1, block]])
        near[block] = similarity >= threshold - 1e-9
    return pairs[:, near]


def measure_similarity(sketches: Sketches, left: Places, right: Places) -> NDArray[np.float64]:
    """Measure the Jaccard similarity of at most 65,536 pairs of rows that have shingles: (n,) in 0..1."""
    cut_off = np.minimum(_find_cut_off(sketches, left), _find_cut_off(sketches, right))
    keys = np.concatenate([_gather(sketches, rows, cut_off) for rows in (left, right)])
    keys.sort()
    pairs = keys >> np.uint32(16)
    n_both = np.bincount(pairs[1:][keys[1:] == keys[:-1]], minlength=len(left))
    n_either = np.bincount(pairs, minlength=len(left)) - n_both
    similarity: NDArray[np.float64] = n_both / n_either
    return similarity


def _find_cut_off(sketches: Sketches, rows: Places) -> NDArray[np.uint16]:
    """Give the code up to which all shingles of a row are known."""
    ends = sketches.starts[rows + 1]
    is_whole = ends - sketches.starts[rows] < SKETCH_SIZE
    return np.where(is_whole, np.uint16(0xFFFF), sketches.shingles[ends - 1])


def _gather(sketches: Sketches, rows: Places, cut_off: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Give the shingles of rows up to their cut-offs, with the place of the row in the upper half."""
    counts = sketches.starts[rows + 1] - sketches.starts[rows]
    places = np.repeat(np.arange(len(rows), dtype=np.uint32), counts)
    within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    shingles = sketches.shingles[sketches.starts[rows][places] + within]
    is_known = shingles <= cut_off[places]
    gathered: NDArray[np.uint32] = places[is_known] << np.uint32(16)
    gathered |= shingles[is_known]
    return gathered


def _join_components(components: Places, pairs: Places) -> Places:
    """Give new components after the rows of each pair (2, m) were joined."""
    if pairs.shape[1] == 0:
        return components
    ends = components[pairs]
    shape = (len(components), len(components))
    graph = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=shape)
    joined: Places = connected_components(graph, directed=False)[1]
    return joined[components]


def _number_groups(components: Places) -> Integers:
    """Number groups by their first rows: (n,) int64."""
    first_rows = np.full(len(components), len(components), dtype=np.int64)
    np.minimum.at(first_rows, components, np.arange(len(components)))
    numbers: Integers = first_rows[components]
    return numbers
