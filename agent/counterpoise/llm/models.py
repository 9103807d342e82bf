"""A model as the steps of a run know it: the way to it, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.core.capabilities import Capabilities
from counterpoise.llm.client import ChatClient


@dataclass(frozen=True, slots=True)
class Models:
    """The way to a model, and what is known of it.

    Args:
        chat: asks it.
        capabilities: what it can do; as good as nothing before it was asked.
    """

    chat: ChatClient
    capabilities: Capabilities
