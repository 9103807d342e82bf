"""The filters of proposals that ship, in the order in which they are asked: cheap ones first, copies last."""

from __future__ import annotations

from counterpoise.filters.base import FILTERS
from counterpoise.filters.concepts import ConceptPart
from counterpoise.filters.copies import CopyPart
from counterpoise.filters.distance import DistancePart
from counterpoise.filters.edit_filter import EditPart
from counterpoise.filters.fluency import FluencyPart
from counterpoise.filters.labels import LabelPart
from counterpoise.filters.text import TextPart
from counterpoise.filters.writers import WriterPart
from counterpoise.filters.written import WrittenPart
from counterpoise.tasks.attribute_filter import AttributePart

FILTERS.register(TextPart())
FILTERS.register(WrittenPart())
FILTERS.register(FluencyPart(), later=True)
FILTERS.register(DistancePart(), later=True)
FILTERS.register(LabelPart())
FILTERS.register(WriterPart())
FILTERS.register(ConceptPart())
FILTERS.register(AttributePart())
FILTERS.register(EditPart())
FILTERS.register(CopyPart())

__all__ = ["FILTERS"]
