"""The record in a reply: without what a model says around it, and cut back to its last whole sentence."""

from __future__ import annotations

import re

from counterpoise.filters.text_measures import cut_to_sentence
from counterpoise.llm.chat import Completion

_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "'": "'"}
BULLET = "- "  # what the prompts put before each record


def mend_text(text: str) -> str:
    """A reply as a record's text: without space at either end, half characters replaced.

    A reply that ends within an emoji can hold a lone surrogate, which neither an encoder nor a file takes.
    """
    return text.strip().encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def find_record(text: str) -> tuple[str, bool]:
    r"""The one line of a reply that is the record, and whether more follows it.

    Models that like to talk announce a record in a line of its own that ends in a colon, or fence it; what they say
    behind it is no part of it either.

    >>> find_record("Sure! Here is one more record:\n\n- The soup was cold\n\nShall I go on?")
    ('- The soup was cold', True)
    """
    lines = [line.strip() for line in text.splitlines() if line.strip().strip("`")]
    if len(lines) > 1 and lines[0].endswith((":", "：")):
        del lines[0]
    return (lines[0], len(lines) > 1) if lines else ("", False)


_FENCE = re.compile(r"\A```\w*\s*\n|\n```\s*\Z")
_ANNOUNCEMENT = re.compile(r"\A[^\n]*[:：][ \t]*\n\s*\n(?=\s*\S)")


def find_block(text: str, separator: str) -> tuple[str, bool]:
    r"""The block of a reply that is the record, and whether a line of the separator ends it.

    A model may put the record between two such lines, or end it with one, or know of none; what it says before the
    first and behind the last is no part of it.

    >>> find_block("Sure! Here is one:\n###\nCold soup.\n\nNever again.\n###\nShall I go on?", "###")
    ('Cold soup.\n\nNever again.', True)
    >>> find_block("Cold soup.\n\nNever again.", "###")
    ('Cold soup.\n\nNever again.', False)
    """
    blocks = re.split(rf"^[ \t]*{re.escape(separator)}[ \t]*$", text, flags=re.MULTILINE)
    said = blocks[0].strip()
    is_before = len(blocks) > 1 and (not said or len(blocks) > 2 or said.endswith((":", "：")))
    record = blocks[1] if is_before else blocks[0]
    if len(blocks) == 1:
        record = _ANNOUNCEMENT.sub("", _FENCE.sub("", record.strip()))
    return _FENCE.sub("", record.strip()).strip(), len(blocks) > 1 + is_before


def remove_quotes(text: str) -> str:
    """A text without the one pair of quotation marks that is put around all of it.

    >>> remove_quotes("“The soup was cold”"), remove_quotes('"Cold" soup and a "rude" waiter')
    ('The soup was cold', '"Cold" soup and a "rude" waiter')
    """
    inside = text[1:-1]
    is_quoted = len(text) > 2 and _QUOTES.get(text[0]) == text[-1]
    return inside.strip() if is_quoted and text[0] not in inside and text[-1] not in inside else text


def end_text(
    completion: Completion, *, bullets: bool, quotes: bool = False, separator: str = ""
) -> tuple[str, str]:
    """A completion as a record's text, and why it ended: half a sentence at its end is cut off.

    Args:
        completion: of a model that was shown a list.
        bullets: whether records begin with a list's mark themselves; else it is the list's.
        quotes: whether records stand in quotation marks themselves; else these are the model's.
        separator: the line between records of several lines; "" where a record is a line.

    Returns:
        The text, and `stop`, `cut_back` where its last sentence was not whole, `length` where it has no whole one.
    """
    mended = mend_text(completion.text)
    text, is_whole = find_block(mended, separator) if separator else find_record(mended)
    if not bullets:
        text = text.removeprefix(BULLET).lstrip()
    if not quotes:
        text = remove_quotes(text)
    if completion.finish_reason != "length" or is_whole:
        return text, "stop" if is_whole else completion.finish_reason
    whole = cut_to_sentence(text)
    return (whole, "cut_back") if whole else (text, "length")
