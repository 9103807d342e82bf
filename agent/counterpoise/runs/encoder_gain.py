"""What the encoders at hand give on the rows of a job, before or beside everything else."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.core.assets import find_cache_dir
from counterpoise.data.encoder_choice import DEFAULT_ENCODER, EncoderChoice, is_at_hand, name_encoder
from counterpoise.students.base import Treatment
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.students.treatments import TREATMENTS
from counterpoise.tasks.text.encoder_sentences import say_gain
from counterpoise.tasks.text.encoder_trials import EncoderTrials, list_at_hand, try_encoders
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job


def try_at_hand(job: Job, inputs: Inputs, treatments: Sequence[Treatment]) -> EncoderTrials:
    """The encoder of a job and the others at hand on a sample of its training rows."""
    n_all = len(inputs.train) + len(inputs.held_out) + len(inputs.pool)
    return _try(job, inputs, list_at_hand(job.encoder, find_cache_dir(job.cache_dir)), treatments, n_all)


def note_encoder_gain(job: Job, inputs: Inputs) -> list[str]:
    """A sentence on what another encoder than the default one gives by itself; none where it is the default one."""
    cache_dir = find_cache_dir(job.cache_dir)
    if name_encoder(job.encoder) == DEFAULT_ENCODER or not is_at_hand(DEFAULT_ENCODER, cache_dir):
        return []
    trials = _try(job, inputs, ["", job.encoder], TREATMENTS.choose(job.treatments))
    return [say_gain(trials, METRIC_NAMES[job.metric])] if len(trials.trials) == 2 else []


def _try(
    job: Job,
    inputs: Inputs,
    choices: Sequence[EncoderChoice],
    treatments: Sequence[Treatment],
    n_all: int | None = None,
) -> EncoderTrials:
    return try_encoders(
        inputs.train.records,
        inputs.folds,
        inputs.label_texts,
        choices,
        treatments,
        job.metric,
        find_cache_dir(job.cache_dir),
        n_all,
        job.open_evidence(),
    )
