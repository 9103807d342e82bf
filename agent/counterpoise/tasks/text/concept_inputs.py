"""The concepts of a run's rows: scorers are fitted, all rows labelled, counts corrected."""

from __future__ import annotations

from dataclasses import replace

from counterpoise.balance.corrected_counts import KnownAnswers, correct_cells
from counterpoise.core.encoded_records import EncodedRecords
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

    def label(side: EncodedRecords, given: ModelScores | None = None) -> EncodedRecords:
        plain = [str(text) for text in side.records.texts]
        llm, said = (None, None) if given is None else (given.list_whole(), given.probabilities)
        columns = labeller.label(plain, side.vectors, llm, said)
        return replace(side, records=replace(side.records, concepts=columns))

    labelled = label(train, model)
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
