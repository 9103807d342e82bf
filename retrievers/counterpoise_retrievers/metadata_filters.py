"""Conditions on the metadata of a document, as mappings: which documents a search may give back.

=====================================  =========================================================================
condition                              holds where
=====================================  =========================================================================
`{"tenant": "a", "year": 2020}`        both values are equal to the document's
`{"tenant": ["a", "b"]}`               the document's value is one of these, or is this list itself
`{"year": {"$gte": 2020}}`             `$eq $ne $in $nin $gt $gte $lt $lte $exists`; several of them hold together
`{"$or": [{...}, {...}]}`              `$and`, `$or` of a list of conditions; `$not` of one
=====================================  =========================================================================

A key that a document lacks is equal to nothing and unequal to everything. Values that cannot be compared (a text with a
number) are neither smaller nor larger.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

_MISSING = object()
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_TESTS = ("$eq", "$ne", "$in", "$nin", "$exists", *_ORDERS)
_JOINTS = ("$and", "$or", "$not")


def check_condition(condition: Mapping[str, Any], where: str = "filter") -> None:
    """Refuse what `is_met` does not know, whatever the documents are.

    Args:
        condition: see the head of this module.
        where: what errors call it.

    Raises:
        TypeError: names the key and what was found.
    """
    for key, wanted in condition.items():
        if not isinstance(key, str):
            raise TypeError(f"{where}: a key is a text, found {key!r}")
        place = f"{where}[{key!r}]"
        if key in ("$and", "$or"):
            parts = wanted if isinstance(wanted, list | tuple) else ()
            if not parts or not all(isinstance(part, Mapping) for part in parts):
                raise TypeError(f"{place}: a list of mappings is needed, found {wanted!r:.60}")
            for part in parts:
                check_condition(part, place)
        elif key == "$not":
            if not isinstance(wanted, Mapping):
                raise TypeError(f"{place}: a mapping is needed, found {wanted!r:.60}")
            check_condition(wanted, place)
        elif key.startswith("$"):
            raise TypeError(f"{where}: {key!r} is not known here; known are {', '.join(_JOINTS)}")
        elif _is_test(wanted):
            _check_test(wanted, place)


def is_met(condition: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether metadata meets a condition that `check_condition` has let through."""
    return all(_meets(key, wanted, metadata) for key, wanted in condition.items())


def _meets(key: str, wanted: Any, metadata: Mapping[str, Any]) -> bool:
    if key == "$and":
        return all(is_met(part, metadata) for part in wanted)
    if key == "$or":
        return any(is_met(part, metadata) for part in wanted)
    if key == "$not":
        return not is_met(wanted, metadata)
    found = metadata.get(key, _MISSING)
    if _is_test(wanted):
        return all(_passes(name, value, found) for name, value in wanted.items())
    return _equals(found, wanted) or (
        isinstance(wanted, list | tuple | set | frozenset) and _is_among(found, wanted)
    )


def _is_test(wanted: Any) -> bool:
    """Whether a value is a mapping of operators rather than a value to be equal to."""
    return isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted)


def _check_test(wanted: Mapping[str, Any], place: str) -> None:
    for name, value in wanted.items():
        if name not in _TESTS:
            raise TypeError(f"{place}: {name!r} is not known here; known are {', '.join(_TESTS)}")
        if name in ("$in", "$nin") and not isinstance(value, list | tuple | set | frozenset):
            raise TypeError(f"{place}: {name!r} needs a list of values, found {value!r:.60}")
        if name == "$exists" and not isinstance(value, bool):
            raise TypeError(f"{place}: {name!r} needs True or False, found {value!r:.60}")


def _passes(name: str, value: Any, found: Any) -> bool:
    if name == "$exists":
        return bool((found is not _MISSING) == value)
    if name in ("$eq", "$ne"):
        return _equals(found, value) == (name == "$eq")
    if name in ("$in", "$nin"):
        return _is_among(found, value) == (name == "$in")
    try:
        return found is not _MISSING and bool(_ORDERS[name](found, value))
    except TypeError:
        return False


def _is_among(found: Any, values: Any) -> bool:
    return any(_equals(found, value) for value in values)


def _equals(found: Any, wanted: Any) -> bool:
    return found is not _MISSING and bool(found == wanted)
