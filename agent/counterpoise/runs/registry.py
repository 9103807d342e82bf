"""What runs and previews of the tasks that ship do, by the name of the task.

What belongs to an installed task is found by the task's name in the groups `counterpoise.previewers` and
`counterpoise.procedures` (see `core.registry`).
"""

from __future__ import annotations

from counterpoise.core.registry import Registry
from counterpoise.runs.loop import TextRun
from counterpoise.runs.procedures import Previewer, Procedure
from counterpoise.runs.retrieval import RetrievalRun
from counterpoise.runs.tables import TablePreviewer

PREVIEWERS: Registry[Previewer] = Registry("previewers", needs=("preview",))
PREVIEWERS.register(TextRun())
PREVIEWERS.register(RetrievalRun())
PREVIEWERS.register(TablePreviewer())

PROCEDURES: Registry[Procedure] = Registry("procedures", needs=("prepare", "carry_out"))
"""Of the tasks that can be run."""
PROCEDURES.register(TextRun())
PROCEDURES.register(RetrievalRun())
