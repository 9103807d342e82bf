"""A fitted recipe as one file, written and read by skops: without pickle, so that reading it runs no code of its own.

The file holds plain values, arrays and trained models of scikit-learn. Student, treatment and encoder are names, the
encoder with the hash of its weights. Whoever reads the file has every type in it checked against `TRUSTED`; what
scikit-learn, numpy and scipy bring is known to skops.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sklearn

from counterpoise.core.boundaries import reading
from counterpoise.core.errors import CounterpoiseError, DataError, JobError
from counterpoise.core.files import write_whole, writing
from counterpoise.core.hub_files import is_hub_id
from counterpoise.data.encoder_choice import IN_MEMORY, EncoderChoice, resolve_encoder
from counterpoise.data.served_encoder import ServedEncoder
from counterpoise.runs.recipe.data import pack, unpack
from counterpoise.runs.recipe.estimator import Recipe
from counterpoise.runs.recipe.parts import find_student, find_treatment, take_given
from counterpoise.students.base import Student, Treatment
from counterpoise.students.sklearn_student import SklearnStudent

if TYPE_CHECKING:
    from types import ModuleType

FORMAT = 1
TRUSTED: tuple[str, ...] = ()
"""Types that a file may hold beside those that skops knows. There are none: rows are lists and arrays, models are
scikit-learn's."""


def save_recipe(recipe: Recipe, path: Path, trusted: Sequence[str] = ()) -> Path:
    """Write a fitted recipe.

    Args:
        recipe: fitted.
        path: a file that does not exist.
        trusted: see `Recipe.save`.

    Raises:
        JobError: skops is missing, the file exists, or the student or the treatment is none that a file can hold.
    """
    skops = _import_skops()
    if path.exists():
        raise JobError("exists", where=str(path), hint="name another file")
    data, source = recipe.data_, recipe.rows_source_
    near = source.__dict__.get("zero_shot", source.near)
    rows, pool, facts = pack(data)
    for part in (rows, pool):
        part.pop("zero_shot", None)
    content = {
        "format": FORMAT,
        "sklearn": sklearn.__version__,
        "student": _describe_student(recipe),
        "treatment": _name_treatment(recipe),
        "seed": recipe.seed,
        "encoder": _describe_encoder(recipe),
        "rows": rows,
        "pool": pool,
        "facts": facts,
        "vectors": source.known,
        "zero_shot": near,
        "pool_vectors": recipe.pool_source_.known,
        "pool_zero_shot": recipe.pool_source_.__dict__.get("zero_shot", recipe.pool_source_.near),
        "models": recipe.student_.models,
    }
    written = skops.dumps(content)
    _check_types(skops.get_untrusted_types(data=written), trusted, f"recipe of '{recipe.student_.name}'")
    with writing(path):
        write_whole(path, written, is_private=True)
    return path


def load_recipe(
    path: str | Path,
    *,
    encoder: EncoderChoice | None = None,
    student: Student | None = None,
    treatment: Treatment | None = None,
    trusted: Sequence[str] = (),
    cache_dir: Path | None = None,
) -> Recipe:
    """Read a recipe that `Recipe.save` wrote, ready to predict.

    Args:
        path: the file.
        encoder: the encoder, where it is a folder or an object in Python; its name and hash must be those of the file.
        student: the student, where it was an object in Python.
        treatment: likewise.
        trusted: types beside `TRUSTED` that the file may hold; give none that you do not know.
        cache_dir: where vectors and weights are kept; None for the user's cache folder.

    Raises:
        DataError: the file is no recipe, or holds a type that is not trusted.
        JobError: a part or the encoder is not at hand, or is another one.
    """
    skops, where = _import_skops(), str(path)
    with reading(where, "is no recipe that counterpoise saved"):
        raw = Path(path).read_bytes()
        _check_types(skops.get_untrusted_types(data=raw), trusted, where)
        content = skops.loads(raw, trusted=[*TRUSTED, *trusted])
        if content["format"] != FORMAT:
            raise DataError("is a recipe of another version", where=where, hint="save it again with this one")
        data = unpack(
            _with(content["rows"], content["zero_shot"]),
            _with(content["pool"], content["pool_zero_shot"]),
            {**content["facts"], "encoder": content["encoder"]["name"]},
        )
        chosen = _find_encoder(content["encoder"], encoder)
        recipe = Recipe(
            _find_student(content["student"], student, where),
            _find_treatment(content["treatment"], treatment, where),
            data=data,
            encoder=chosen,
            seed=content["seed"],
            cache_dir=cache_dir,
        )
        # A model of another version of scikit-learn is trained again from the rows, which is sure.
        models = content["models"] if content["sklearn"] == sklearn.__version__ else None
        vectors, pool_vectors = content["vectors"], content["pool_vectors"]
    recipe.set_up(data, models, vectors, pool_vectors)
    return recipe


def _with(columns: dict[str, Any], near: Any) -> dict[str, Any]:
    return columns if near is None else {**columns, "zero_shot": near}


def _import_skops() -> ModuleType:
    try:
        import skops.io
    except ImportError as error:
        raise JobError(
            "saving and loading recipes needs the package skops", hint='pip install "counterpoise[recipe]"'
        ) from error
    module: ModuleType = skops.io
    return module


def _check_types(found: Sequence[str], trusted: Sequence[str], where: str) -> None:
    unknown = sorted(set(found) - {*TRUSTED, *trusted})
    if unknown:
        raise DataError(
            f"holds {unknown[0]}, a type that is not trusted",
            where=where,
            hint=f"if you know it, give trusted={unknown!r} to save and to load",
        )


def _describe_student(recipe: Recipe) -> dict[str, Any]:
    student = recipe.student_.student
    where = f"recipe of '{student.name}'"
    if student.slow_step:
        raise JobError(
            "it cannot be saved: its training changes the weights of an encoder, which the file does not hold",
            where=where,
            hint="fit it where it is used; what was trained is kept in the cache folder",
        )
    if isinstance(student, SklearnStudent):
        on = "vectors" if student.uses_vectors else "words"
        return {"name": student.name, "classifier": student.classifier, "on": on}
    return {"name": student.name}


def _name_treatment(recipe: Recipe) -> str:
    return str(recipe.treatment_.name)


def _describe_encoder(recipe: Recipe) -> dict[str, Any]:
    """Name and hash; of a folder its last part, of a server its address, never a key."""
    choice, encoding = recipe.encoder, recipe.encoding_
    spelled: Any = ""
    if isinstance(choice, ServedEncoder):
        spelled = choice.model_dump(mode="json")
    elif isinstance(choice, str):
        resolved = str(resolve_encoder(choice, Path.cwd()))
        spelled = resolved if is_hub_id(resolved) else re.split(r"[/\\]", resolved)[-1]
    else:
        spelled = f"{IN_MEMORY}{choice.name}"
    return {"choice": spelled, "name": encoding.name, "is_used": encoding.is_used}


def _find_encoder(known: dict[str, Any], given: EncoderChoice | None) -> EncoderChoice:
    if given is not None:
        return given
    choice = known["choice"]
    return ServedEncoder(**choice) if isinstance(choice, dict) else str(choice)


def _find_student(known: dict[str, Any], given: Student | None, where: str) -> Any:
    if "classifier" in known:
        return SklearnStudent(known["name"], known["classifier"], known["on"])
    if given is not None:
        _check_name("student", given.name, known["name"], where)
        return given
    # The name of a student on vectors has the encoder's behind it, which is checked by its hash.
    name = known["name"].partition(":")[0] if known["name"].startswith("vectors:") else known["name"]
    try:
        find_student(name, "", None)
    except CounterpoiseError as error:
        raise _explain("student", name, where, error) from error
    return name


def _find_treatment(known: str, given: Treatment | None, where: str) -> Any:
    if given is not None:
        taken = take_given(known, [given])
        if isinstance(taken, str):
            _check_name("treatment", given.name, known, where)
        return taken
    try:
        find_treatment(known)
    except CounterpoiseError as error:
        raise _explain("treatment", known, where, error) from error
    return known


def _check_name(kind: str, given: str, known: str, where: str) -> None:
    if given != known:
        raise JobError(f"its {kind} is '{known}', and the one given is '{given}'", where=where)


def _explain(kind: str, name: str, where: str, error: CounterpoiseError) -> JobError:
    return JobError(
        f"its {kind} '{name}' is not at hand ({error.message})",
        where=where,
        hint=f"install the package that brings it, or give it: {kind}=...",
    )
