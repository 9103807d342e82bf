"""A model that is a function, for tests, documentation and trying things out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from counterpoise.llm.chat import ChatRequest, Completion, Usage

Script = Callable[[ChatRequest, int], str | Mapping[str, float]]


class ScriptedChatClient:
    """An engine whose replies are computed by a function; works alone or inside a `ChatClient`.

    Args:
        reply: gives the text of completion `index` (`request.sample + j`), or for a request with choices
            either a letter or a mapping letter -> probability.
        name: identity of the model.

    Attributes:
        requests: every request received, in order.
    """

    def __init__(self, reply: Script, *, name: str = "scripted") -> None:
        self._reply = reply
        self._name = name
        self.requests: list[ChatRequest] = []

    @property
    def name(self) -> str:
        """Identity of the model."""
        return self._name

    @property
    def n_calls(self) -> int:
        """Requests received."""
        return len(self.requests)

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """The completions as the function gives them; tokens are counted as words."""
        self.requests.append(request)
        return [self._complete(request, request.sample + j) for j in range(request.n)]

    def _complete(self, request: ChatRequest, index: int) -> Completion:
        said = self._reply(request, index)
        words = request.prompt or " ".join(message.content for message in request.messages)
        n_prompt = len(words.split())
        if not request.choices:
            if not isinstance(said, str):
                raise TypeError("a script gives probabilities only to requests with choices")
            return Completion(text=said, usage=Usage(n_prompt, len(said.split())))
        weights = {said: 1.0} if isinstance(said, str) else said
        total = sum(weights.get(letter, 0.0) for letter in request.choices)
        if total <= 0:
            raise ValueError(f"the script chose {said!r}, which is none of {', '.join(request.choices)}")
        scores = {letter: weights.get(letter, 0.0) / total for letter in request.choices}
        letter = max(request.choices, key=scores.__getitem__)
        return Completion(text=letter, logprobs=scores, usage=Usage(n_prompt, 1), finish_reason="length")
