"""A notebook that is executed: progress and results as it shows them, for `make test-extras`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = (
    """
import counterpoise
texts = [f"the {noun} was {word} today, said guest {place}" for place in range(8)
         for noun in ("soup", "fish", "cake") for word in ("good", "fine", "bad", "cold")]
labels = ["<b>up</b>" if "good" in text or "fine" in text else "down" for text in texts]
table = {"text": texts, "label": labels}
counterpoise.check_balance(table, label="label")
""",
    'found = counterpoise.find_label_errors(table, "text", "label", cache_dir=CACHE)\nfound',
    'counterpoise.find_label_errors(table, "text", "label", cache_dir=CACHE, progress=False);',
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """What each cell shows."""
    from counterpoise.core.assets import ensure_asset, find_cache_dir

    folder = tmp_path_factory.mktemp("notebook")
    for name in ("minilm-l6-v2", "minilm-l6-v2-tokenizer"):
        ensure_asset(name)
    (folder / "assets").symlink_to(find_cache_dir(None) / "assets", target_is_directory=True)
    cells = [cell.replace("CACHE", repr(str(folder))) for cell in CELLS]
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # somebody looks at this one
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(Path.cwd())}}
    ).execute()
    return [list(cell.outputs) for cell in notebook.cells]


def list_html(cell: list[Any]) -> list[str]:
    return [output["data"]["text/html"] for output in cell if "text/html" in output.get("data", {})]


def test_results_are_tables_in_which_texts_are_texts(outputs: list[list[Any]]) -> None:
    (balance,) = list_html(outputs[0])
    assert balance.startswith("<div><strong>Balance") and "&lt;b&gt;up" in balance and "<b>up" not in balance
    assert "label changes of 96 rows" in list_html(outputs[1])[-1]


def test_progress_is_shown_and_taken_away(outputs: list[list[Any]]) -> None:
    shown = [output for output in outputs[1] if output["output_type"] == "display_data"]
    assert len(shown) == 1 and list_html(shown) == [""], "written over, and empty at the end"
    assert not list_html(outputs[2]), "switched off"
