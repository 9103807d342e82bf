"""What a run directory was begun with: a later version goes on with it as it was."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.runs.directory import RunDirectory
from counterpoise.students.evidence import Evidence, parse_evidence, read_shipped
from counterpoise.tasks.text.default_target import choose_target
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job

OLD_ROUNDS = 4
"""Rounds of a job that names none, in run directories of versions that knew no run without a limit."""


@dataclass(frozen=True, slots=True)
class Begun:
    """How a directory goes on.

    Args:
        evidence: what ways gave on other data sets.
        in_parts: whether a model is shown rows of one part together.
        in_slices: whether rounds buy slices by what they help.
        is_mended: whether labels are mended in the run.
    """

    evidence: Evidence
    in_parts: bool
    in_slices: bool
    is_mended: bool


def read_begun(job: Job, directory: RunDirectory) -> Begun:
    """How a directory was begun; of a new one how runs are begun now, which it keeps."""
    return Begun(
        keep_evidence(job, directory),
        _keep_parts(directory),
        _keep_slices(directory),
        _keep_mending(directory),
    )


def keep_old_rounds(job: Job, inputs: Inputs, directory: RunDirectory) -> Job:
    """The job as its directory was begun: earlier versions stopped after four rounds unless told otherwise."""
    known = directory.read("run")
    if job.rounds is not None or "fingerprint" not in known or "rounds" in known:
        return job
    limited = job.model_copy(update={"rounds": OLD_ROUNDS})
    return limited if known["fingerprint"] == f"{limited.fingerprint()}-{inputs.fingerprint}" else job


def keep_target(job: Job, inputs: Inputs, directory: RunDirectory) -> Job:
    """The job with its target, see `choose_target`; as its directory was begun, where that was before it depended."""
    if directory.read("run").get("fingerprint") == f"{job.fingerprint()}-{inputs.fingerprint}":
        return job
    return choose_target(job, len(inputs.train.records.label_names))


def keep_evidence(job: Job, directory: RunDirectory) -> Evidence:
    """What ways gave on other data sets, as the directory was begun with it: a later version may ship more."""
    kept = directory.read("evidence")
    if not kept:
        is_old = "rounds" in directory.read("run")
        kept = {"simple_ways": "" if is_old or job.evidence == "none" else read_shipped()}
        directory.write("evidence", kept)
    return parse_evidence(kept["simple_ways"])


def _keep_mending(directory: RunDirectory) -> bool:
    """Whether labels are mended in a run: not in a directory that was begun before that was so."""
    return _keep_since(directory, "mending", "is_done")


def _keep_parts(directory: RunDirectory) -> bool:
    """Whether a model is shown rows of one part together: not in a directory that was begun before that was so."""
    return _keep_since(directory, "shown", "in_parts")


def _keep_slices(directory: RunDirectory) -> bool:
    """Whether rounds buy slices by what they help: not in a directory that was begun before that was so."""
    return _keep_since(directory, "planner", "in_slices")


def _keep_since(directory: RunDirectory, kind: str, name: str) -> bool:
    """Whether a directory does what earlier versions did not: settled when it was begun, and kept."""
    kept = directory.read(kind)
    if not kept:
        kept = {name: not directory.read("rounds") and "rounds" not in directory.read("run")}
        directory.write(kind, kept)
    return bool(kept[name])
