"""The label scorer of edits: for each a classifier that never saw the row it was made from."""

from __future__ import annotations

import numpy as np

from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.students.calibration import calibrate_labels
from counterpoise.students.cell_marks import weigh_records
from counterpoise.students.samples import draw_sample
from counterpoise_retrievers.encoder_protocol import Encoder


def score_without_sources(
    train: EncodedRecords, folds: Integers, encoder: Encoder, vectors: Vectors, source_rows: Integers
) -> Floats:
    """(n, k) label probabilities of edits, each from a classifier that never saw the fold of its source.

    A classifier that was trained on the source holds its edit for the source's label, which would confirm
    every injection and refuse good counterfactual edits. Cells weigh alike, else it would take a concept that goes
    with a label for the label and refuse what the thin cells need. Probabilities are calibrated on what the
    classifiers say of the training rows they did not see: on a hundred rows they are far too timid. They learn from the
    rows of `draw_sample`.
    """
    n_labels = len(train.records.label_names)
    of_sources, drawn = folds[source_rows], draw_sample(train.records).rows
    train, folds = train.take(drawn), folds[drawn]
    weights = weigh_records(train.records)
    probabilities = np.zeros((len(vectors), n_labels))
    out_of_fold = np.zeros((len(train), n_labels))
    for fold in np.unique(folds):
        inside, mine = folds != fold, of_sources == fold
        scorer = ClassifierScorer(
            encoder,
            train.vectors[inside],
            train.records.labels[inside],
            n_labels,
            weights=None if weights is None else weights[inside],
        )
        out_of_fold[~inside] = scorer.score_vectors(train.vectors[~inside])
        if mine.any():
            probabilities[mine] = scorer.score_vectors(vectors[mine])
    return calibrate_labels(out_of_fold, train.records.labels, probabilities)
