r"""How records stand in a prompt, and where one of them ends in a reply.

Where the user's rows are lines, each record is a line and a line end ends it. Where their texts have line ends, records
stand between lines of a separator. It is derived from the rows, so that no text can contain it: a record can then
neither end itself early nor begin another one.

    >>> find_form(["Cold soup.", "Rude waiter."]).separator, find_form(["Cold\n\nsoup"] * 9 + ["### x\ny"]).separator
    ('', '####')
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count

import numpy as np

from counterpoise.llm.chat import ChatRequest

SHARE_MEANT = 0.95
"""Lengths and line ends are written up to this quantile of the rows: what is beyond is rarer than one row in twenty."""

_MARKS = ("###", "####", "#####", "######")
_LINES = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class RecordForm:
    """The form of the records of one data set.

    Args:
        separator: the line between records, which none of them contains; "" where each record is a line.
    """

    separator: str = ""

    def shape(self, request: ChatRequest) -> ChatRequest:
        """The request with the marks that end a record of this form.

        A model that continues texts goes on to the next record, so the separator ends it. One that answers may begin
        with the separator: what it says is read whole.
        """
        if not self.separator:
            return request
        stop = (f"\n{self.separator}",) if request.prompt else ()
        return replace(request, sampling=replace(request.sampling, stop=stop))


LINES = RecordForm()
"""Each record is a line."""


def find_form(texts: Iterable[object]) -> RecordForm:
    """The form of texts: blocks where more than one in twenty has several lines, else lines."""
    told = [str(text).strip() for text in texts]
    n_lines = [1 + len(_LINES.findall(text)) for text in told]
    if not told or np.quantile(n_lines, SHARE_MEANT, method="lower") < 2:
        return LINES
    return RecordForm(_derive_separator(told))


def _derive_separator(texts: Sequence[str]) -> str:
    """The first of some marks that stands in no text; where all do, one with a hash of the texts."""
    whole = "\n".join(texts)
    if free := next((mark for mark in _MARKS if mark not in whole), None):
        return free
    coded = whole.encode("utf-8", "surrogatepass")
    marks = (f"### {blake2b(coded, digest_size=4, salt=salt.to_bytes(8)).hexdigest()}" for salt in count())
    return next(mark for mark in marks if mark not in whole)
