"""From a finished run to its recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from counterpoise.core.errors import JobError
from counterpoise.data.encoder_choice import IN_MEMORY, name_encoder
from counterpoise.llm.config import LlmConfig
from counterpoise.runs.recipe.data import read_data
from counterpoise.runs.recipe.estimator import Recipe
from counterpoise.runs.recipe.parts import take_given
from counterpoise.runs.recipe.prompt import IN_CONTEXT, PromptRecipe
from counterpoise.students.base import Student
from counterpoise.students.old_names import read_old_names
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.registry import load_job
from counterpoise.tasks.text.job import Job


def open_recipe(
    directory: Path,
    report: Mapping[str, Any],
    student: Any,
    given: JobBase | None,
    settings: Mapping[str, Any],
) -> Recipe | PromptRecipe:
    """The recipe of a run.

    Args:
        directory: of the run.
        report: of the run.
        student: see `Run.recipe`.
        given: the job as it was called in this process, which may hold objects; None where it was read back.
        settings: of the recipe.

    Raises:
        UserError: the run has no such student, or kept no rows.
    """
    data = read_data(directory)  # only runs on texts keep any
    job, keys = cast("Job", load_job(directory / "job.yaml")), dict(settings)
    if isinstance(student, str) and student == IN_CONTEXT:
        keys.setdefault("cache_dir", job.cache_dir)
        model = keys.pop("model", None) or _find_model(given or job)
        return PromptRecipe(data=data, model=model, **keys)
    encoder = _find_object(job.encoder, [getattr(given, "encoder", None)])
    encoder = keys.pop("encoder", encoder)
    named, part = _find_student(job, student, report, given, encoder)
    advised = report["recommendation"]["way"] if not student else report["ways"][named]["chosen"]
    way = take_given(keys.pop("treatment", advised), getattr(given, "treatments", ()))
    keys.setdefault("cache_dir", job.cache_dir)
    return Recipe(part, way, data=data, encoder=encoder, **keys)


def _find_model(job: JobBase) -> Any:
    """The model of the run, where it may decide.

    Raises:
        JobError: it is the embedded one, which as a judge of labels is at chance.
        RunDirectoryError: it was an object in Python.
    """
    job.check_models()
    if job.llm.engine == LlmConfig().engine:
        raise JobError(
            "the embedded model judges no labels",
            where=f"recipe '{IN_CONTEXT}'",
            hint="name a larger one: model='http://localhost:8000/v1'",
        )
    return job.llm


def _find_student(
    job: Job, student: Any, report: Mapping[str, Any], given: JobBase | None, encoder: Any
) -> tuple[str, Any]:
    """The name of a student in the report, and the student or its name."""
    ways: Mapping[str, Any] = report["ways"]
    if not isinstance(student, str):
        name = student.name if isinstance(student, Student) else type(student).__name__
        if name not in ways:
            raise _refuse(name, ways)
        return name, student
    name = read_old_names(student) if student else str(report["recommendation"]["student"])
    if name not in ways and f"{name}:{name_encoder(job.encoder)}" in ways:
        name = f"{name}:{name_encoder(job.encoder)}"
    if name not in ways:
        raise _refuse(name, ways)
    if name.startswith("vectors:"):
        return name, "vectors"  # of the encoder at hand, whose hash is checked
    return name, _find_object(name, getattr(given, "students", ()), is_bare=True)


def _refuse(name: str, ways: Mapping[str, Any]) -> JobError:
    return JobError(
        f"the run has no student '{name}'", where="recipe", hint=f"write one of {', '.join(map(str, ways))}"
    )


def _find_object(named: Any, objects: Sequence[Any], *, is_bare: bool = False) -> Any:
    """The object that was given in Python under a name, where there is one, else what is named.

    Args:
        named: as the job of the directory or the report has it.
        objects: of the job as it was called.
        is_bare: whether the name stands without `memory:`.
    """
    if not isinstance(named, str) or not (is_bare or named.startswith(IN_MEMORY)):
        return named
    bare = named.removeprefix(IN_MEMORY)
    return next(
        (one for one in objects if not isinstance(one, str) and getattr(one, "name", "") == bare), named
    )
