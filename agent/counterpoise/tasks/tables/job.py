"""`TableJob`: which table, and which of its columns mean what; a job file says `task: tabular_classification`.

Only `data` and `label` are needed::

    task: tabular_classification
    data: adult.csv
    label: income
    features: [age, workclass, hours]         # by default all columns but the label
    attributes: [sex]                         # columns that should not decide the label
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from counterpoise.core.label_spellings import Spellings
from counterpoise.core.strict_yaml import SETTINGS
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.keys import ColumnNames, LabelWords, TableSource
from counterpoise.tasks.tables.schema import TabularClassification


class TableJob(JobBase):
    """Which table, and which of its columns mean what.

    Args:
        data: file, folder, hub id, or in Python a table.
        label: label column.
        features: columns that are a row's content; by default all but the label.
        attributes: columns that should not decide the label.
        label_spellings: labels that differ only in blanks, case or Unicode form are one (`merge`), several (`keep`), or
            stop the work with a question (`ask`).
        keep_labels: words such as `null`, `NA` or `None` that are labels here, and not missing ones.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(**SETTINGS, arbitrary_types_allowed=True)

    task: Literal["tabular_classification"] = "tabular_classification"
    data: TableSource
    label: str = Field(min_length=1)
    features: ColumnNames = ()
    attributes: ColumnNames = ()
    label_spellings: Spellings = "ask"
    keep_labels: LabelWords = ()

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for key, named in (("features", self.features), ("attributes", self.attributes)):
            if self.label in named:
                raise ValueError(f"column '{self.label}' is the label; leave it out of {key}")
            twice = next((name for name in named if named.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"column '{twice}' is named twice in {key}; keep it once")
        return self

    def as_task(self) -> TabularClassification:
        """Which columns mean what."""
        return TabularClassification(
            self.features, self.label, self.attributes, self.keep_labels, self.label_spellings
        )
