"""Counterfactual edits: the smallest change that gives a record another label and keeps its concepts.

For words that stand for a label when they should not, and for cells of which no record exists. After Kaushik, Hovy,
Lipton (2020), Learning the Difference that Makes a Difference with Counterfactually-Augmented Data, where people edit.

A model that follows instructions is asked. Another one continues a list of pairs that no model made: records and
what the lexicon (`lexicon_edit`) makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from counterpoise.actions.edit_sources import (
    N_EXAMPLES,
    N_PAIRS,
    Draft,
    EditMaterial,
    RecordEditor,
    allow_tokens,
    can_instruct,
    draw_pairs,
    draw_shown,
    draw_sources,
)
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.plans import Nature, PlanItem
from counterpoise.llm.prompts import load_prompt


@dataclass(frozen=True, slots=True)
class CounterfactualEdit(RecordEditor):
    """Gives records of other labels the wanted one.

    Args:
        headings: label name -> one line that says what such records are.
        key: the run's key; another draws other sources.
    """

    action: ClassVar = "counterfactual_edit"
    nature: ClassVar = Nature.REWRITTEN
    prompt: ClassVar = "counterfactual_edit"

    def _compose(self, item: PlanItem, material: EditMaterial, capabilities: Capabilities) -> list[Draft]:
        prompt = load_prompt(self._name_prompt(capabilities))
        sources = material.sources.records
        heading = self.headings.get(item.cell.label, item.cell.label)
        drafts = []
        turns = draw_sources(material, item.n_requests, f"{self.key}:{item.cell.key}", item.first_source)
        for row, use in turns:
            identity, text = str(sources.ids[row]), str(sources.texts[row])
            source_label = sources.label_names[int(sources.labels[row])]
            source_heading = self.headings.get(source_label, source_label)
            key = f"{self.key}:{item.cell.key}:{identity}:{use}"
            if not can_instruct(capabilities):
                pairs = draw_pairs(material.pairs, N_PAIRS, key, without=text)
                request = prompt.render(
                    source_heading=source_heading, heading=heading, pairs=pairs, text=text
                )
                drafts.append(Draft(row, (), allow_tokens(request, text)))
                continue
            shown = draw_shown(material.examples, N_EXAMPLES, key, without=identity)
            request = prompt.render(
                source_heading=source_heading,
                heading=heading,
                examples=[str(material.examples.records.texts[place]) for place in shown],
                text=text,
            )
            drafts.append(Draft(row, tuple(shown), allow_tokens(request, text)))
        return drafts
