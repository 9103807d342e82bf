"""Rules about names, as tests: what is public is listed, is there, and is explained."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import counterpoise
import counterpoise_retrievers

pytestmark = pytest.mark.processes


def iterate_modules() -> Iterator[str]:
    for package in (counterpoise, counterpoise_retrievers):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


MODULES = sorted(iterate_modules())


def list_imported_for_types(module: ModuleType) -> set[str]:
    """Names that `__init__` imports under `TYPE_CHECKING`, for editors and type checkers."""
    tree = ast.parse(inspect.getsource(module))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_the_public_names_are_these() -> None:
    assert counterpoise.__all__ == [
        "CounterpoiseError",
        "CounterpoiseSampler",
        "Job",
        "LabelErrors",
        "Preview",
        "Recipe",
        "Run",
        "ServiceError",
        "UserError",
        "check_balance",
        "find_label_errors",
        "load_job",
        "load_recipe",
        "mine_hard_negatives",
        "preview",
        "rebalance",
        "relabel_negatives",
        "resume",
        "run",
        "teach",
    ]


def test_public_names_are_there_for_users_and_for_type_checkers() -> None:
    for name in counterpoise.__all__:
        assert getattr(counterpoise, name).__name__ == name
    assert list_imported_for_types(counterpoise) == set(counterpoise.__all__)
    with pytest.raises(AttributeError, match="no attribute 'rebalanse'"):
        _ = counterpoise.rebalanse


def test_public_names_are_explained_and_annotated() -> None:
    for name in counterpoise.__all__:
        member = getattr(counterpoise, name)
        assert inspect.getdoc(member), name
        if inspect.isfunction(member):
            parameters = inspect.signature(member).parameters.values()
            assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters), name


def test_importing_the_package_loads_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import counterpoise; "
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('_')))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ast.literal_eval(said.stdout)}
    assert loaded - set(sys.stdlib_module_names) == {"counterpoise"}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_explains_itself_and_lists_only_what_it_has(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), "a module says what it is for"
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed)
    assert [member for member in listed if not hasattr(module, member)] == []
