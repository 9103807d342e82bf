"""What the encoders at hand give on the rows of a job, before or beside everything else."""

from __future__ import annotations

from counterpoise.core.assets import find_cache_dir
from counterpoise.data.encoder_choice import DEFAULT_ENCODER, is_at_hand, name_encoder
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.tasks.text.encoder_sentences import say_gain
from counterpoise.tasks.text.encoder_trials import EncoderTrials, list_at_hand, try_for_job
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job


def try_at_hand(job: Job, inputs: Inputs) -> EncoderTrials:
    """The encoder of a job and the others at hand on a sample of its training rows."""
    n_all = len(inputs.train) + len(inputs.held_out) + len(inputs.pool)
    at_hand = list_at_hand(job.encoder, find_cache_dir(job.cache_dir))
    return try_for_job(job, inputs.train.records, inputs.folds, inputs.label_texts, at_hand, n_all)


def note_encoder_gain(job: Job, inputs: Inputs) -> list[str]:
    """A sentence on what another encoder than the default one gives by itself; none where it is the default one."""
    cache_dir = find_cache_dir(job.cache_dir)
    if name_encoder(job.encoder) == DEFAULT_ENCODER or not is_at_hand(DEFAULT_ENCODER, cache_dir):
        return []
    both = ["", job.encoder]
    trials = try_for_job(job, inputs.train.records, inputs.folds, inputs.label_texts, both)
    return [say_gain(trials, METRIC_NAMES[job.scored_by])] if len(trials.trials) == 2 else []
