"""Personal data masked where a model is asked: in what it is shown, and in what it says.

What counts as personal data is found by `datafog`'s patterns (extra `mask`): addresses of mail and of machines, numbers
of telephones, cards and American social security, dates, American postal codes. Names of people and streets are not
among them: these take a model of their own. Each value becomes its kind in brackets, the same everywhere:

    Write to jo@example.com or +49 30 1234567  ->  Write to [EMAIL] or [PHONE]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from counterpoise.core.errors import JobError
from counterpoise.llm.chat import ChatRequest, Completion, Message

KINDS = ("email", "phone", "credit_card", "ssn", "ip_address", "date", "zip_code")
"""What may be masked, as a job names it."""

Seen = dict[str, set[bytes]]


@dataclass(frozen=True, slots=True)
class Masker:
    """Masks texts on their way to a model and back, and counts the different values it met.

    Args:
        kinds: of `KINDS`.

    Raises:
        JobError: the package that finds personal data is not installed.
    """

    kinds: Sequence[str]
    _shown: Seen = field(default_factory=dict, compare=False)
    _said: Seen = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Look for the package before anything is asked."""
        try:
            import datafog  # noqa: F401
        except ImportError as error:
            raise JobError(
                "it needs the package datafog, which is not installed",
                where="key 'mask'",
                hint='pip install "counterpoise[mask]"',
            ) from error

    def mask_request(self, request: ChatRequest) -> ChatRequest:
        """A request as a model may see it."""
        turns = tuple(Message(turn.role, self._mask(turn.content, self._shown)) for turn in request.messages)
        prompt = self._mask(request.prompt, self._shown) if request.prompt else ""
        return replace(request, messages=turns, prompt=prompt)

    def mask_completion(self, completion: Completion) -> Completion:
        """A reply as a run may use it."""
        return replace(completion, text=self._mask(completion.text, self._said))

    def count(self) -> dict[str, tuple[int, int]]:
        """Kind -> how many different values were masked in what was shown, and in what was said."""
        return {kind: (len(self._shown.get(kind, ())), len(self._said.get(kind, ()))) for kind in self.kinds}

    def _mask(self, text: str, seen: Seen) -> str:
        from datafog.engine import scan

        found = scan(text, engine="regex", entity_types=[kind.upper() for kind in self.kinds]).entities
        masked, end = [], 0
        for entity in sorted(found, key=lambda entity: (entity.start, -entity.end)):
            if entity.start < end:
                continue  # inside one that was masked
            kind = entity.type.lower()
            seen.setdefault(kind, set()).add(blake2b(entity.text.encode("utf-8", "replace")).digest())
            masked += [text[end : entity.start], f"[{entity.type}]"]
            end = entity.end
        return "".join([*masked, text[end:]])
