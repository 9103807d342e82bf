"""A scripted model that picks the letter of a label, read off the prompt as a model would, with a set error rate.

It errs by a keyed hash of the text, so in both orders and however it is asked alike, as a model does that misreads a
text: then it holds one of the other answers that it is shown for right. Where the right label is not among them it says
"none of these". Tokens are counted as a quarter of the characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from counterpoise.core.splits import keyed_hash
from counterpoise.llm import ChatRequest, Completion, Usage
from counterpoise.llm.prompts import quote_data
from counterpoise.scorers.shortlists import NONE_OF_THESE

SURE = 0.9

_TEXT = re.compile(r"<text>(.*?)</text>", re.DOTALL)
_OPTION = re.compile(r"^([A-T])\. (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class ScriptedLabeller:
    """A judge of labels behind prompts; has no name, so that its replies are not kept for other runs.

    Args:
        truth: text, as it stands in a prompt -> the line of its right label.
        right: how often it is right, 0..1.
        seed: another one errs elsewhere.
    """

    truth: Mapping[str, str]
    right: float
    seed: int = 0

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """The letters with their probabilities; to what has no choices a word."""
        content = " ".join(message.content for message in request.messages) or request.prompt
        n_tokens = len(content) // 4
        if not request.choices:
            return [Completion(text="yes", usage=Usage(n_tokens, 1))] * request.n
        letter = self._choose(request.messages[-1].content)
        rest = (1 - SURE) / (len(request.choices) - 1)
        said = {one: SURE if one == letter else rest for one in request.choices}
        return [Completion(text=letter, logprobs=said, usage=Usage(n_tokens, 1), finish_reason="length")]

    def _choose(self, content: str) -> str:
        text: str = _TEXT.findall(content)[-1]
        letters: dict[str, str] = {line: letter for letter, line in _OPTION.findall(content)}
        meant = self.truth.get(text, "")
        meant = meant if meant in letters else NONE_OF_THESE
        if keyed_hash(f"labeller {self.seed}", text) / 2**64 >= self.right:
            others = sorted(line for line in letters if line != meant)
            meant = others[keyed_hash(f"labeller {self.seed} wrong", text) % len(others)]
        return str(letters[meant])


def quote_texts(truth: Mapping[str, str]) -> dict[str, str]:
    """Text -> line of its label, as both stand in a prompt."""
    return {quote_data(text, "</text>"): quote_data(line) for text, line in truth.items()}
