"""Counterpoise finds where training data is thin or skewed, repairs it, and shows what the repair was worth.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoise.api import (
        Run,
        check_balance,
        preview,
        rebalance,
        relabel_negatives,
        resume,
        run,
        teach,
    )
    from counterpoise.core.errors import CounterpoiseError, ServiceError, UserError
    from counterpoise.report.preview import Preview
    from counterpoise.runs.label_errors import LabelErrors, find_label_errors
    from counterpoise.runs.recipe.estimator import Recipe
    from counterpoise.runs.recipe.files import load_recipe
    from counterpoise.sampler import CounterpoiseSampler
    from counterpoise.tasks.registry import load_job
    from counterpoise.tasks.retrieval.mining import mine_hard_negatives
    from counterpoise.tasks.text.job import Job

__version__ = "0.1.0"

__all__ = [
    "CounterpoiseError",
    "CounterpoiseSampler",
    "Job",
    "LabelErrors",
    "Preview",
    "Recipe",
    "Run",
    "ServiceError",
    "UserError",
    "check_balance",
    "find_label_errors",
    "load_job",
    "load_recipe",
    "mine_hard_negatives",
    "preview",
    "rebalance",
    "relabel_negatives",
    "resume",
    "run",
    "teach",
]

_HOMES = {
    **dict.fromkeys(
        (
            "Run",
            "check_balance",
            "preview",
            "rebalance",
            "relabel_negatives",
            "resume",
            "run",
            "teach",
        ),
        "counterpoise.api",
    ),
    **dict.fromkeys(("CounterpoiseError", "ServiceError", "UserError"), "counterpoise.core.errors"),
    "Job": "counterpoise.tasks.text.job",
    "Preview": "counterpoise.report.preview",
    "load_job": "counterpoise.tasks.registry",
    "CounterpoiseSampler": "counterpoise.sampler",
    "mine_hard_negatives": "counterpoise.tasks.retrieval.mining",
    "Recipe": "counterpoise.runs.recipe.estimator",
    "load_recipe": "counterpoise.runs.recipe.files",
    **dict.fromkeys(("LabelErrors", "find_label_errors"), "counterpoise.runs.label_errors"),
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'counterpoise' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
