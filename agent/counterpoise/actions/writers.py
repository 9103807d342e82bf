"""Writers: a prompt's variant with a name of its own, which its records carry in their provenance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from counterpoise.llm import ChatRequest


@dataclass(frozen=True, slots=True)
class Writer:
    """One way to have new texts written.

    Args:
        name: what provenance and report call it; "" for the one that needs no name.
        instructions: the user's own line, which follows ours where the model follows instructions.
        temperature: instead of the prompt's; None for that.
    """

    name: str = ""
    instructions: str = ""
    temperature: float | None = None

    def sign(self, identity: str) -> str:
        """The identity of a prompt in this writer's hands: name and content hash, as provenance has it.

        >>> Writer().sign("minority_instruction@0123456789ab")
        'minority_instruction@0123456789ab'
        """
        if self == Writer():
            return identity
        prompt, _, content = identity.partition("@")
        told = json.dumps([content, self.instructions, self.temperature], ensure_ascii=False)
        return f"{prompt}{f'/{self.name}' if self.name else ''}@{sha256(told.encode()).hexdigest()[:12]}"

    def sample(self, request: ChatRequest) -> ChatRequest:
        """The request at this writer's temperature."""
        if self.temperature is None:
            return request
        return replace(request, sampling=replace(request.sampling, temperature=self.temperature))


def take_turns(writers: Sequence[Writer], first: int, n: int) -> list[Writer]:
    """The writers of requests `first` to `first + n - 1` of a cell: each in its turn, so that they share it evenly.

    >>> [one.name for one in take_turns([Writer("a"), Writer("b")], 3, 3)]
    ['b', 'a', 'b']
    """
    return [writers[(first + turn) % len(writers)] for turn in range(n)]


def find_repeated(names: Sequence[str]) -> str:
    """A name that stands there twice, "" where none does."""
    return next((name for name, n in Counter(names).items() if n > 1), "")
