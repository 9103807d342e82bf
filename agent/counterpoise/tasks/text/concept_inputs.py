"""The concepts of a run's rows: scorers are fitted, all rows labelled, counts corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from counterpoise.balance.corrected_counts import KnownAnswers, correct_cells
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import Floats
from counterpoise.scorers.concepts.labeller import ModelScores, fit_concepts
from counterpoise.tasks.text.inputs import Inputs


def label_inputs(inputs: Inputs, model: ModelScores | None = None) -> Inputs:
    """Fit the scorers of the concepts and label all rows; correct the counts where answers are known.

    Args:
        inputs: with concepts.
        model: what a language model says of the training rows, where it passed its pilot.
    """
    train = inputs.train
    texts = [str(text) for text in train.records.texts]
    labeller = fit_concepts(
        texts, train.vectors, train.records.ids, inputs.concepts, inputs.encoder, inputs.gold, model
    )
    said = None if model is None else model.list_whole()

    def label(side: EncodedRecords, llm: Mapping[str, Floats] | None = None) -> EncodedRecords:
        columns = labeller.label([str(text) for text in side.records.texts], side.vectors, llm)
        return replace(side, records=replace(side.records, concepts=columns))

    labelled = label(train, said)
    answers = {
        name: KnownAnswers(known.audit_rows, known.audit_truth)
        for name, known in inputs.gold.items()
        if name in inputs.concepts
    }
    return replace(
        inputs,
        train=labelled,
        held_out=label(inputs.held_out),
        pool=label(inputs.pool),
        labeller=labeller,
        corrected=correct_cells(labelled.records, answers),
    )
