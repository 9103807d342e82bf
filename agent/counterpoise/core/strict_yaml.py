"""Read configuration strictly: YAML whose keys stand once, pydantic models whose errors are one line.

Job files, concept files and prompts go through here, so that all of them answer a mistake alike:
`job.yaml: key 'budgett': unknown key; did you mean 'budget'?`
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from counterpoise.core.boundaries import refuse_strange_file
from counterpoise.core.errors import JobError

SETTINGS = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
"""Of every part of a job: unknown keys are mistakes."""

Model = TypeVar("Model", bound=BaseModel)
_MOST_LOOKED_AT = 1000
MOST_VALUES = 1_000_000
"""Of one document, its aliases followed; a job has some dozens."""


class StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, but a key may stand once, and `yes`, `no`, `on`, `off` are words."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice, where YAML would silently keep the last."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            line = key_node.start_mark.line + 1
            if key in lines:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key}' stands twice, in lines {lines[key]} and {line}", key_node.start_mark
                )
            lines[key] = line
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                key_node.tag = "tag:yaml.org,2002:str"  # a label named 0, 1.0 or true keeps its spelling
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the line of a value that cannot be: a 99th month, a number of 5,000 digits."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML text.

    Args:
        text: the YAML.
        where: name of its file, for errors.

    Raises:
        JobError: it is not YAML, or a key stands twice; names the line.
    """
    try:
        value = yaml.load(text, StrictLoader)  # noqa: S506 (a SafeLoader)
        n_values = _count_values(value, {})
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}: line {mark.line + 1}" if mark else where
        twice = "stands twice" in (error.problem or "")
        hint = "keep one of them" if twice else "check the indentation and quotes there"
        raise JobError(error.problem or "is not YAML", where=place, hint=hint) from error
    except yaml.YAMLError as error:
        raise JobError("is not YAML", where=where, hint="it holds characters that YAML forbids") from error
    except RecursionError as error:
        raise JobError("is nested too deep", where=where, hint="write keys and values") from error
    if n_values > MOST_VALUES:
        hint = "write them out, or leave aliases (`*name`) away"
        raise JobError(f"stands for more than {MOST_VALUES:,} values", where=where, hint=hint)
    return value


def _count_values(value: Any, known: dict[int, int]) -> int:
    """How many values a document stands for: an alias may repeat a list that repeats another, or hold itself."""
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # until it is counted; what holds itself has no end
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count_values(item, known) for item in inner)
    return known[id(value)]


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds keys and values.

    Raises:
        JobError: the file is missing (near names are offered), unreadable, not UTF-8, empty or not a mapping.
    """
    where = str(path)
    refuse_strange_file(path, JobError)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise JobError("no such file", where=where, hint=suggest_files(path)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise JobError(f"is not UTF-8 in line {line}", where=where, hint="save it as UTF-8") from error
    except OSError as error:
        raise JobError(f"cannot be read ({error.strerror})", where=where) from error
    except MemoryError as error:
        raise JobError("is too large", where=where, hint="write keys and values") from error
    keys = parse_yaml(text, where)
    if not isinstance(keys, dict):
        found = "nothing" if keys is None else f"a {type(keys).__name__}"
        raise JobError(
            f"found {found}", where=where, hint="write keys and values, such as `data: reviews.csv`"
        )
    return {str(key): value for key, value in keys.items()}


def validate(model: type[Model], keys: Mapping[str, Any], where: str) -> Model:
    """Build `model` from `keys`.

    Raises:
        JobError: a key is unknown, missing or has a wrong value; says the first and counts the others.
    """
    _refuse_unwritable(keys, where)
    try:
        return model.model_validate(dict(keys))
    except ValidationError as error:
        # A misspelt key shows twice, as an unknown and as a missing one; the unknown one helps more.
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        message, hint = _explain(details[0], model)
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        place = _visible(details[0])
        where = f"{where}: key '{'.'.join(place)}'" if place else where
        raise JobError(
            message if hint else message + more, where=where, hint=hint + more if hint else ""
        ) from error


def _refuse_unwritable(keys: Mapping[str, Any], where: str) -> None:
    """Refuse text that no path and no file can hold: a zero character, half of another one."""
    for key, value in keys.items():
        left, seen = [key, value], set[int]()
        while left:
            item = left.pop()
            if isinstance(item, str):
                found = (
                    "a zero character" if "\0" in item else "" if _is_unicode(item) else "half a character"
                )
                if found:
                    raise JobError(f"holds {found}", where=f"{where}: key '{key}'", hint="write plain text")
            # A list of YAML may hold itself, or one list a million times.
            elif type(item) in (list, tuple, dict) and id(item) not in seen and len(seen) < _MOST_LOOKED_AT:
                seen.add(id(item))
                left += [*item.keys(), *item.values()] if isinstance(item, dict) else item


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def suggest(wrong: str, right: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'budget'?`, or `otherwise` where nothing is near."""
    near = difflib.get_close_matches(wrong, list(right), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else otherwise


def suggest_files(path: Path) -> str:
    """What a missing file may have meant: a near name in its folder, or the nearest folder that exists."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    return suggest(path.name, sorted(entry.name for entry in folder.iterdir()), "check the path")


def _visible(detail: ErrorDetails) -> list[str]:
    """A key's place without the tags of unions, which start with `<`, as an unknown key may, too."""
    if not detail["loc"]:
        return []
    *outer, last = [str(part) for part in detail["loc"]]
    shown = [part for part in outer if not part.startswith("<")]
    is_tag = last.startswith("<") and detail["type"] != "extra_forbidden"
    return shown if is_tag else [*shown, last]


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint of one pydantic error."""
    path = _visible(detail)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return "unknown key", suggest(path[-1], known, "known keys: " + ", ".join(known))
    if kind == "missing":
        return "missing", "this key is needed"
    context = detail.get("ctx", {})
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
        return message, hint
    # A value under a key that speaks of keys may be a secret.
    found = "" if any("key" in part for part in path) else f"found {detail['input']!r:.60}"
    if kind == "literal_error":
        return found, f"write {context['expected']}"
    expectation = detail["msg"].replace("Input should", "it should")
    return (found, expectation) if found else (expectation, "")


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys that are allowed at `path` inside `model`."""
    for part in path:
        field = next(
            (field for name, field in model.model_fields.items() if part in (name, field.alias)), None
        )
        models = [kind for kind in _flatten(field.annotation) if isinstance(kind, type)] if field else []
        nested = [kind for kind in models if issubclass(kind, BaseModel)]
        if nested:
            model = nested[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _flatten(annotation: Any) -> list[Any]:
    """An annotation and everything inside it."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _flatten(part))]
