"""Every module can be imported where Unix' own modules are missing; what needs them says so when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.test_docs import list_modules

pytestmark = pytest.mark.processes

IMPORT_ALL = """
import importlib, os, sys
sys.modules.update(fcntl=None, resource=None)
for name in ("killpg", "getpgid", "setsid"):
    delattr(os, name)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(sys.argv) - 1)
"""


def test_every_module_is_imported_without_what_only_unix_has() -> None:
    names = list_modules()
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(names) > 200
