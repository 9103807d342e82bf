"""Judges with set error rates: they read the prompt as a model would, and err by a keyed hash.

They answer through the same client, prompts and schemas as a model does, so that all that is between a prompt and a
decision is exercised; only the knowledge of what is relevant comes from outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from counterpoise.actions.relabel.judges import Judge, Stage
from counterpoise.core.splits import keyed_hash
from counterpoise.data.instances import Passage
from counterpoise.llm import ChatClient, ChatRequest, ScriptedChatClient
from counterpoise.llm.prompts import quote_data

_NUMBERED = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)
_QUERY = re.compile(r"^Query: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Rates:
    """How often a judge is right on passages that answer, and on passages that do not."""

    sensitivity: float
    specificity: float


FIRST, SECOND = Rates(0.95, 0.80), Rates(0.90, 0.97)
PERFECT = Rates(1.0, 1.0)


def make_judge(
    stage: Stage, rates: Rates, relevant: Collection[tuple[str, str]], *, seed: int, per_call: int = 8
) -> Judge:
    """A judge of a stage with these rates.

    Args:
        stage: which.
        rates: how often it is right; errors on different passages are independent.
        relevant: pairs of query and full text of the passages that answer it.
        seed: another seed errs elsewhere.
        per_call: passages a call.
    """
    reader = Judge("first", ChatClient(ScriptedChatClient(lambda request, index: "")))
    shown = {(quote_data(query), reader.show(Passage("", text))) for query, text in relevant}

    def reply(request: ChatRequest, index: int) -> str:
        content = request.messages[-1].content
        match = _QUERY.search(content)
        query = match[1] if match else ""
        verdicts = []
        for number, text in _NUMBERED.findall(content):
            says_yes = _says_yes(stage, rates, seed, query, text, is_relevant=(query, text) in shown)
            if stage == "first":
                verdicts.append({"number": int(number), "relevant": "yes" if says_yes else "no"})
            else:
                grade = "better_or_equal" if says_yes else "not_relevant"
                verdicts.append(
                    {"number": int(number), "evidence": text[:120] if says_yes else "", "grade": grade}
                )
        return json.dumps({"criterion": "as the evaluation knows", "verdicts": verdicts})

    return Judge(stage, ChatClient(ScriptedChatClient(reply, name=f"scripted {stage}")), per_call=per_call)


class DirectJudges:
    """What two scripted judges decide together, without prompts and replies; the same decisions, much sooner."""

    def __init__(
        self, first: Rates, second: Rates, relevant: Collection[tuple[str, str]], *, seed: int
    ) -> None:
        self._judges: tuple[tuple[Stage, Rates], ...] = (("first", first), ("second", second))
        self._relevant = relevant
        self._seed = seed
        self._reader = Judge("first", ChatClient(ScriptedChatClient(lambda request, index: "")))

    def relabels(self, query: str, passage: Passage) -> bool:
        """Whether both call a passage relevant."""
        is_relevant = (query, passage.full_text) in self._relevant
        return all(
            _says_yes(
                stage,
                rates,
                self._seed,
                quote_data(query),
                self._reader.show(passage),
                is_relevant=is_relevant,
            )
            for stage, rates in self._judges
        )


def _says_yes(stage: Stage, rates: Rates, seed: int, query: str, text: str, *, is_relevant: bool) -> bool:
    drawn = keyed_hash(f"{stage} {seed}", f"{query}\0{text}") / 2**64
    return drawn < (rates.sensitivity if is_relevant else 1 - rates.specificity)
