"""Everything a run works on.

Inside, rows stand in the order of their ids, so that nothing that is fitted depends on the order of the file; the
result is written in the user's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from counterpoise.balance.corrected_counts import CorrectedCount
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell
from counterpoise.core.records import Integers, Records
from counterpoise.data.encoder_choice import EncoderChoice
from counterpoise.data.patches.values import LabelChange
from counterpoise.scorers.concepts.labeller import ConceptLabeller
from counterpoise.scorers.gold import Gold
from counterpoise.tasks.text.encoder_trials import EncoderTrials
from counterpoise_retrievers.encoder_protocol import Encoder


@dataclass(frozen=True, slots=True)
class Tables:
    """The user's rows as they were read, in the user's order.

    Args:
        train: training rows.
        held_out: sealed rows.
    """

    train: Dataset
    held_out: Dataset


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a run works on.

    Args:
        tables: the user's rows as they were read, which the result is made of.
        train, held_out, pool: the rows by id, with vectors and the user's order; `pool` may have no rows.
        folds: (n,) folds of the training rows.
        encoder: the encoder, cached.
        label_texts: one line a label.
        concepts: name -> definition.
        notes: sentences on what is odd.
        fingerprint: hash of the ids of all rows, of the encoder and of the known answers.
        labeller: labels the concepts of further texts; None without concepts.
        gold: by concept, and for the label under `label`, what is known of some training rows.
        sealed_gold: by concept, what is known of some held-out rows; for the held-out table alone.
        trusted: (n,) whether a training row's label is known to be right, where the job names such a column.
        encoder_choice: the encoder as a job names it; where that says `auto`, the one that was taken.
        encoder_trials: the encoders that were tried for `auto`; None where the job names one.
        answered: ids of the training rows that were rows of the pool until a person labelled them.
        relabelled: id -> the change of a training row whose label was mended; `train` has the label as it is now.
        doubtful: (n,) training rows whose label is likelier wrong than right and undecided; None where there are none.
        corrected: counts of concept cells of the training rows, corrected for the scorers' errors.
    """

    tables: Tables
    train: EncodedRecords
    held_out: EncodedRecords
    pool: EncodedRecords
    folds: Integers
    encoder: Encoder
    label_texts: tuple[str, ...]
    concepts: Mapping[str, str]
    notes: tuple[str, ...]
    fingerprint: str
    labeller: ConceptLabeller | None = None
    gold: Mapping[str, Gold] = field(default_factory=dict)
    sealed_gold: Mapping[str, Gold] = field(default_factory=dict)
    trusted: NDArray[np.bool_] | None = None
    encoder_choice: EncoderChoice = ""
    encoder_trials: EncoderTrials | None = None
    answered: frozenset[str] = frozenset()
    relabelled: Mapping[str, LabelChange] = field(default_factory=dict)
    doubtful: NDArray[np.bool_] | None = None
    corrected: Mapping[Cell, CorrectedCount] = field(default_factory=dict)

    @property
    def given(self) -> Records:
        """The training rows with the labels that the user gave."""
        records = self.train.records
        if not self.relabelled:
            return records
        numbers = {name: place for place, name in enumerate(records.label_names)}
        before = [
            numbers[self.relabelled[identity].before] if identity in self.relabelled else int(label)
            for identity, label in zip(map(str, records.ids), records.labels, strict=True)
        ]
        return replace(records, labels=np.array(before, dtype=np.int64))

    def leave_out_doubtful(self, rows: Integers) -> Integers:
        """Of some training rows those whose label is not in doubt."""
        return rows if self.doubtful is None else rows[~self.doubtful[rows]]
