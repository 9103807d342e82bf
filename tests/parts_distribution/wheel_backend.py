"""A build backend without dependencies (PEP 517): a wheel is a zip file of the package and four small texts."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel; gives its name."""
    project = tomllib.loads((_FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
        for group, points in project["entry-points"].items()
    ]
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mine\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "\n\n".join(groups) + "\n",
    }
    files = {f"{stem}.dist-info/{name}": text for name, text in info.items()}
    for path in sorted((_FOLDER / "mine_parts").glob("*.py")):
        files[f"mine_parts/{path.name}"] = path.read_text(encoding="utf-8")
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in [*files, record])
    with zipfile.ZipFile(Path(wheel_directory) / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return f"{stem}-py3-none-any.whl"
