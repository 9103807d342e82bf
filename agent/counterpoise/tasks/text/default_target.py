"""How many records labels should have where a job does not say: as many as the largest, or enough where there are many.

Sixty labels of 12 to 6,000 rows would want 300,000 records to be equal, of which the last hundreds of each teach
nothing that the first have not.
"""

from __future__ import annotations

from counterpoise.tasks.text.job import Job

MOST_EQUAL = 10
"""Labels up to which they are wanted equal."""


def choose_target(job: Job, n_labels: int) -> Job:
    """The job with the target that it has for so many labels, unless it names one."""
    if "target" in job.model_fields_set or n_labels <= MOST_EQUAL:
        return job
    return job.model_copy(update={"target": "enough"})
