"""The names of students that earlier versions wrote, into reports, jobs and lines of results."""

from __future__ import annotations

import re

PINNED_ENCODER = "minilm"
"""Name of the encoder that the students of earlier versions were on."""

_OLD_NAMES = {"minilm_lr": f"vectors:{PINNED_ENCODER}", "tfidf_lr": "words"}
_OLD_NAME = re.compile(rf"\b({'|'.join(_OLD_NAMES)})\b")


def read_old_names(text: str) -> str:
    """A text of an earlier version (a name, a report, a line of results) with the names of today.

    >>> read_old_names("cebab/minilm_lr"), read_old_names("words")
    ('cebab/vectors:minilm', 'words')
    """
    return _OLD_NAME.sub(lambda found: _OLD_NAMES[found[0]], text)
