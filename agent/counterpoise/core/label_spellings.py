"""When two values are one label: numbers by value, whatever their type; spellings that people mean as one, by question.

`1`, `1.0` and `"1"` are one label everywhere, as `hash_rows` has it; `01` is another. `bad`, `Bad` and `bad ` are three
labels that differ only in blanks, case or Unicode form: whether they are one is the user's to say (`label_spellings`).
"""

from __future__ import annotations

import datetime
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from counterpoise.core.errors import DataError

Spellings = Literal["ask", "merge", "keep"]

_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")
_TRUTHS = {
    "true": "true",
    "True": "true",
    "TRUE": "true",
    "false": "false",
    "False": "false",
    "FALSE": "false",
}
_LONGEST_NUMBER = 40
_DIGITS = frozenset("0123456789")
_LARGEST_WHOLE = 1 << 53
_MOST_SHOWN = 4

MISSING_WORDS = frozenset({"nan", "null", "<na>"})
"""What stands in a label column for a label that is not there, in lower case and without blanks around it."""

MISSING_BESIDE_NUMBERS = frozenset({"none", "na", "n/a"})
"""What stands for it where all labels are numbers; elsewhere these are labels like any other."""


@dataclass(frozen=True, slots=True)
class Variants:
    """Spellings that differ only in blanks, case or Unicode form, with their rows; the commonest first."""

    counts: tuple[tuple[str, int], ...]

    @property
    def main(self) -> str:
        """The spelling that the others become where they are one."""
        return self.counts[0][0]

    def __str__(self) -> str:
        """`'bad' (17 rows), 'Bad' (2 rows) and 'bad ' (1 row)`."""
        shown = [f"{quote(text)} ({_count_rows(rows)})" for text, rows in self.counts[:_MOST_SHOWN]]
        if len(self.counts) > _MOST_SHOWN:
            shown.append(f"{len(self.counts) - _MOST_SHOWN} more")
        return ", ".join(shown[:-1]) + f" and {shown[-1]}"


def spell_value(value: Any) -> str:
    """How a value is shown: text as it stands, whole numbers without a fraction, a day without a time; "" for none."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _LARGEST_WHOLE else repr(value)
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return str(int(value)) if whole else format(value.normalize(), "f")
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def number_key(text: str) -> str:
    """A text, or where it spells a whole number that one: `1.0`, `+1` and `1e0` give `1`; `01` and `1.10` are texts."""
    # Most texts are none, and this is asked of every value of a table.
    if len(text) > _LONGEST_NUMBER or text[-1:] not in _DIGITS or not _NUMBER.fullmatch(text):
        return text
    number = Decimal(text)
    return str(int(number)) if number == number.to_integral_value() else text


def value_key(text: str) -> str:
    """As `number_key`; what spells a truth value is one value too, whichever program wrote it."""
    return _TRUTHS.get(text) or number_key(text)


def fold_spelling(text: str) -> str:
    """A text without what people do not see: blanks around it, case, Unicode form, characters of no width."""
    plain = unicodedata.normalize("NFKC", text)
    visible = "".join(one for one in plain if unicodedata.category(one) != "Cf")
    return number_key(unicodedata.normalize("NFKC", " ".join(visible.split()).casefold()))


def quote(text: str) -> str:
    """A value in quotes, its invisible and combining characters as escapes, so that values can be told apart."""
    shown = "".join(
        one if one == " " or (one.isprintable() and not unicodedata.combining(one)) else _escape(one)
        for one in text
    )
    return f"'{shown}'"


def unite_numbers(counts: Mapping[str, int]) -> dict[str, str]:
    """Each value -> the spelling it is known by: among equal numbers the commonest, then the shortest."""
    groups: dict[str, list[str]] = {}
    for text in counts:
        groups.setdefault(number_key(text), []).append(text)
    united: dict[str, str] = {}
    for members in groups.values():
        main = min(members, key=lambda text: (-counts[text], len(text), text))
        united |= dict.fromkeys(members, main)
    return united


def find_variants(counts: Mapping[str, int]) -> list[Variants]:
    """Groups of values that differ only in blanks, case or Unicode form; equal numbers count as one value."""
    united = unite_numbers(counts)
    sums: dict[str, int] = {}
    for text, rows in counts.items():
        sums[united[text]] = sums.get(united[text], 0) + rows
    groups: dict[str, list[tuple[str, int]]] = {}
    for text, rows in sums.items():
        groups.setdefault(fold_spelling(text), []).append((text, rows))
    found = [
        Variants(tuple(sorted(members, key=lambda one: (-one[1], one[0] != one[0].strip(), one[0]))))
        for members in groups.values()
        if len(members) > 1
    ]
    return sorted(found, key=lambda one: one.main)


def unite_labels(counts: Mapping[str, int], spellings: Spellings, where: str) -> dict[str, str]:
    """Each label as it is spelled -> the label it is.

    Args:
        counts: rows by spelling.
        spellings: what becomes of those that differ only in blanks, case or Unicode form.
        where: the column, for the error.

    Raises:
        DataError: there are such, and nobody has said what they are.
    """
    united = unite_numbers(counts)
    variants = find_variants(counts) if spellings != "keep" else []
    if variants and spellings == "ask":
        more = f" (and {len(variants) - 1} more)" if len(variants) > 1 else ""
        raise DataError(
            f"{variants[0]} differ only in blanks, case or Unicode form{more}",
            where=where,
            hint=hint_spellings(variants[0]),
        )
    for group in variants:
        mains = dict.fromkeys((text for text, _ in group.counts), group.main)
        united = {text: mains.get(main, main) for text, main in united.items()}
    return united


def hint_spellings(variants: Variants) -> str:
    """How to say what spellings are."""
    return (
        f"say what they are: --label-spellings merge (one label, {quote(variants.main)}) or keep "
        f"({len(variants.counts)} labels); in a job `label_spellings: merge`"
    )


def match_label(name: str, label_names: Iterable[str], spellings: Spellings = "ask") -> str | None:
    """The label that a name means: the one spelled so, else the one of equal value; None where there is none.

    Args:
        name: as it stands in another file, a job, a patch or an answer.
        label_names: the labels of the data.
        spellings: with `merge` blanks, case and Unicode form do not count either.
    """
    names = list(label_names)
    if name in names:
        return name
    keys = [value_key, fold_spelling] if spellings == "merge" else [value_key]
    for key in keys:
        found = [one for one in names if key(one) == key(name)]
        if len(found) == 1:
            return found[0]
    return None


def find_missing(counts: Mapping[str, int], kept: Sequence[str]) -> dict[str, int]:
    """The values that stand for a label that is not there, with their rows; "" among them.

    Args:
        counts: rows by value.
        kept: words that are labels of their own, whatever they say.
    """
    own = {word.strip().casefold() for word in kept}
    words = {text: text.strip().lower() for text in counts}
    missing = {
        text for text, word in words.items() if not word or (word in MISSING_WORDS and word not in own)
    }
    others = [
        text for text, word in words.items() if text not in missing and word not in MISSING_BESIDE_NUMBERS
    ]
    if others and all(_NUMBER.fullmatch(text.strip()) for text in others):
        missing |= {
            text for text, word in words.items() if word in MISSING_BESIDE_NUMBERS and word not in own
        }
    return {text: counts[text] for text in counts if text in missing}


def describe_missing(missing: Mapping[str, int], n_rows: int) -> str:
    """`40 of 60 rows say 'null' and are taken for unlabelled`; "" where the rows say nothing."""
    said = [
        f"{rows:,} of {n_rows:,} rows {'says' if rows == 1 else 'say'} {quote(text)}"
        for text, rows in missing.items()
        if text.strip()
    ]
    if not said:
        return ""
    return " and ".join(said[:_MOST_SHOWN]) + " and are taken for unlabelled"


def hint_missing(missing: Mapping[str, int]) -> str:
    """How to keep words as labels."""
    words = [text.strip() for text in missing if text.strip()]
    options = " ".join(f"--keep-label {shlex.quote(word)}" for word in dict.fromkeys(words))
    return f"if that is a label, keep it with {options} (in a job `keep_labels: [{', '.join(dict.fromkeys(words))}]`)"


def order_names(names: Collection[str]) -> tuple[str, ...]:
    """Labels in the order of numbers where all are numbers, else of names."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


def _escape(one: str) -> str:
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"


def _count_rows(rows: int) -> str:
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"
