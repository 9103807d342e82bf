"""What may be done about a cell that lacks records; one file an action, one line here.

The order is that in which a plan prefers them where each could do the same.
"""

from __future__ import annotations

from counterpoise.actions.adopt import Adopt
from counterpoise.actions.base import Action
from counterpoise.actions.concept_injection import InjectConcept
from counterpoise.actions.contextual_insertion import InsertInContext
from counterpoise.actions.counterfactual_edit import EditCounterfactually
from counterpoise.actions.minority_text import WriteMinorityText
from counterpoise.actions.relabelling import RelabelRecords
from counterpoise.actions.rewriting import Rewrite
from counterpoise.core.registry import Registry

ACTIONS: Registry[Action] = Registry("actions", needs=("effect", "offer", "act"))
ACTIONS.register(RelabelRecords(), later=True)
ACTIONS.register(Adopt())
ACTIONS.register(InjectConcept())
ACTIONS.register(EditCounterfactually())
ACTIONS.register(WriteMinorityText())
ACTIONS.register(Rewrite(), later=True)
ACTIONS.register(InsertInContext(), default=False)

__all__ = ["ACTIONS", "Action"]
