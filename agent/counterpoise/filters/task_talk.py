"""Texts that speak of the task instead of doing it: a model's thoughts, a preamble, an echo of the instruction.

Told by likeness, not by a list of words: such a text is nearer to what was asked than to any record of the data. How
near records are to it by themselves is measured on the user's own rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats
from counterpoise_retrievers.encoders import Encoder

TASK_LINES = (
    "Okay, the user wants one more record of the same kind, so I need to write a new one.",
    "Let me think about what kind of record to write. It should match the style of the examples.",
    "I should keep it short and make sure that it is different from the examples that were given.",
    "Here is one more record in the same style, as long as the others and in their language:",
    "The examples all share the same label, so the new text has to have that label as well.",
    "Write one more record of the same kind, about something else, and answer with nothing else.",
    "Sure! Here is another example of the kind you asked for.",
)
"""What talk about writing a record sounds like."""

_LEFTOVER = re.compile(
    r"</?(?:think|thinking|thought|reasoning|answer|record|output|response)>|<\|[^|<>]{1,40}\|>|\[/?INST\]|<</?SYS>>"
    r"|</?s>|<(?:start|end)_of_turn>|###\s*(?:response|instruction|input|assistant|user)\b"
    r"|^\s*(?:assistant|system|user)\s*:\s",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(r"^[^\n:：]{3,120}[:：]\s*$")


def find_leftover(text: str) -> bool:
    """Whether a chat template's or a reasoner's marks are left in a text, or it is a heading with nothing behind it."""
    return bool(_LEFTOVER.search(text) or _PREAMBLE.match(text.strip()))


def encode_task(encoder: Encoder, headings: Iterable[str] = ()) -> NDArray[np.float32]:
    """(m, d) vectors of talk about the task; `headings` are what the records are called."""
    told = [
        f"The user wants one more of these: {heading}. I need to write a new one." for heading in headings
    ]
    return encoder.encode([*TASK_LINES, *told])


def measure_task_talk(vectors: NDArray[np.float32], task: NDArray[np.float32], nearest: Floats) -> Floats:
    """(n,) how much nearer texts are to talk about the task than to the nearest record; above 0 is nearer.

    Args:
        vectors: (n, d) of the texts.
        task: (m, d), see `encode_task`.
        nearest: (n,) cosine to the nearest record of the data.
    """
    return np.asarray((vectors @ task.T).max(axis=1) - nearest, dtype=np.float64)
