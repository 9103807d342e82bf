"""The lines of the comparison that are no simple treatment: what they are called, and what they are in a few words."""

from __future__ import annotations

from counterpoise.report.schema_values import ArmKind

OURS = "counterpoise"
WITH_ADDED = "added_rows"
AVERAGED = "averaged"
ADOPTED = "adopted"
WRITTEN = "written"
UNVERIFIED = "unverified"

_OUR_ARMS = {
    OURS: "what inner validation chose, simple ways included",
    WITH_ADDED: "the accepted records added, whatever validation says",
    AVERAGED: "that and the best way on your own rows alone, in shares tuned on rows left out",
    ADOPTED: "the records adopted from the pool alone added",
    WRITTEN: "the records written by a model alone added",
}
_REFERENCES = {
    UNVERIFIED: "every proposal added, no filter",
    "real_data": "as many real records added",
}

ARM_WORDS = _OUR_ARMS | _REFERENCES
"""What these arms do; those of the treatments say it themselves."""


def find_kind(arm: str) -> ArmKind:
    """What an arm is: one of ours, a reference, or else a simple treatment."""
    if arm in _OUR_ARMS:
        return "ours"
    return "reference" if arm in _REFERENCES else "zero_token"
