"""The line that tells a writer what the records of a cell are."""

from __future__ import annotations

from collections.abc import Mapping

from counterpoise.core.plans import Cell


def describe_cell(cell: Cell, headings: Mapping[str, str], concepts: Mapping[str, str]) -> str:
    """What the records of a cell are, in one line.

    Args:
        cell: the cell.
        headings: label name -> one line that says what such records are; a label without one is called by its name.
        concepts: concept name -> definition.

    >>> describe_cell(Cell("bad", concept="food"), {"bad": "Bad reviews"}, {"food": "what was eaten"})
    'Bad reviews; each mentions food (what was eaten)'
    """
    heading = headings.get(cell.label, cell.label)
    if cell.concept:
        return f"{heading}; each mentions {cell.concept} ({concepts.get(cell.concept, cell.concept)})"
    if cell.attribute:
        return f"{heading}; {cell.attribute}: {cell.value}"
    return heading
