"""Vectors on disk: encoded once, whole or not at all, whoever writes and whenever one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from counterpoise_retrievers import embedding_cache
from counterpoise_retrievers.arrays import Vectors, normalise_rows
from counterpoise_retrievers.embedding_cache import CachedEncoder

pytestmark = pytest.mark.processes


class LetterEncoder:
    """Counts letters; notes what it is asked and may take its time."""

    name = "letters/v1 é"
    dimension = 26
    max_tokens = 1000

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[str] = []
        self._seconds = seconds

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        time.sleep(self._seconds * len(texts))
        counts = [[text.lower().count(chr(97 + letter)) + 0.1 for letter in range(26)] for text in texts]
        return normalise_rows(np.array(counts))


def make_texts(n_texts: int, first: int = 0) -> list[str]:
    return [
        f"{chr(97 + i % 26) * (i % 7)} {'xyz'[i % 3] * (i % 11)} {i}" for i in range(first, first + n_texts)
    ]


def n_stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.keys")) // 16


def test_texts_are_encoded_once_and_come_back_in_order(tmp_path: Path) -> None:
    texts = [*make_texts(300), "again", "again", "", "lone surrogate \ud800", *make_texts(5)]
    expected = LetterEncoder().encode(texts)
    progress: list[tuple[int, int]] = []
    first = LetterEncoder()
    cached = CachedEncoder(
        first, tmp_path / "new" / "folder", on_progress=lambda *step: progress.append(step)
    )
    assert cached.encode(texts).tobytes() == expected.tobytes()
    assert len(first.asked) == len(set(first.asked)) == 304 and progress[-1] == (303, 303)
    second = LetterEncoder()
    again = CachedEncoder(second, tmp_path / "new" / "folder")
    assert again.encode(texts[::-1]).tobytes() == expected[::-1].tobytes()
    assert again.encode([]).shape == (0, 26) and second.asked == []
    again.encode(["one more", "again"])
    assert set(second.asked) - {"one more"} <= set(first.asked) and "again" not in second.asked


def test_a_torn_tail_is_cut_off(tmp_path: Path) -> None:
    texts = make_texts(200)
    expected = LetterEncoder().encode(texts)
    CachedEncoder(LetterEncoder(), tmp_path).encode(texts)
    whole = n_stored(tmp_path)
    [keys], [vectors] = tmp_path.glob("*.keys"), tmp_path.glob("*.vectors")
    # What a crash can leave: rows without keys and half a row, half a key, keys whose rows were lost.
    for n_key_bytes, n_row_bytes in [(0, 3 * 104 + 50), (9, 0), (5 * 16, 17), (0, -104)]:
        with keys.open("ab") as file:
            file.write(b"\xee" * n_key_bytes)
        with vectors.open("r+b") as file:
            file.truncate(vectors.stat().st_size + n_row_bytes)
        encoder = LetterEncoder()
        cached = CachedEncoder(encoder, tmp_path)
        assert cached.encode(texts).tobytes() == expected.tobytes()
        assert len(encoder.asked) <= 2  # the lost row, and the text that is compared before writing
        assert (
            cached.encode([*texts, f"new {n_key_bytes} {n_row_bytes}"])[:-1].tobytes() == expected.tobytes()
        )
        assert vectors.stat().st_size == n_stored(tmp_path) * 104 and keys.stat().st_size % 16 == 0
    assert n_stored(tmp_path) == whole + 3  # four were added, one of them lost its row


SCRIPT = """
import sys
from pathlib import Path
from tests.test_embedding_cache import CachedEncoder, LetterEncoder, make_texts
folder, first, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
print("ready", flush=True)
CachedEncoder(LetterEncoder(seconds), folder).encode(make_texts(1500, first))
"""


def start_process(folder: Path, first: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(first), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])


def wait_for_rows(folder: Path, n_rows: int) -> None:
    deadline = time.monotonic() + 60
    while n_stored(folder) < n_rows:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_run_keeps_what_it_encoded(tmp_path: Path) -> None:
    process = start_process(tmp_path, 0, 0.0005)
    wait_for_rows(tmp_path, 300)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stored = n_stored(tmp_path)
    assert 300 <= stored < 1500
    encoder = LetterEncoder()
    vectors = CachedEncoder(encoder, tmp_path).encode(make_texts(1500))
    assert len(encoder.asked) <= 1500 - stored + 2
    assert vectors.tobytes() == LetterEncoder().encode(make_texts(1500)).tobytes()


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    reader = CachedEncoder(LetterEncoder(), tmp_path)  # open before the others write
    processes = [start_process(tmp_path, first, 0.0001) for first in (0, 700)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    vectors = reader.encode(make_texts(2200))
    assert isinstance(reader.encoder, LetterEncoder) and reader.encoder.asked == []
    assert vectors.tobytes() == LetterEncoder().encode(make_texts(2200)).tobytes()
    assert n_stored(tmp_path) == 2201  # none twice, and the text that is compared


def test_many_keys_are_found_by_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "_UNSORTED_KEYS", 250)
    encoder = LetterEncoder()
    cached = CachedEncoder(encoder, tmp_path)
    for n_texts in (100, 400, 420, 1000, 1001):
        texts = make_texts(n_texts)
        assert cached.encode(texts).tobytes() == LetterEncoder().encode(texts).tobytes()
    assert len(encoder.asked) == 1002 == n_stored(tmp_path)


def test_another_encoder_of_the_same_name_is_refused(tmp_path: Path) -> None:
    class Reversed(LetterEncoder):
        def encode(self, texts: Sequence[str]) -> Vectors:
            return np.ascontiguousarray(super().encode(texts)[:, ::-1])

    class Short(LetterEncoder):
        def encode(self, texts: Sequence[str]) -> Vectors:
            return super().encode(texts)[:1]

    CachedEncoder(LetterEncoder(), tmp_path).encode(["a text"])
    with pytest.raises(ValueError, match="another encoder that was called letters/v1 é"):
        CachedEncoder(Reversed(), tmp_path).encode(["another text"])
    with pytest.raises(ValueError, match="1 vectors came back for 2 texts"):
        CachedEncoder(Short(), tmp_path).encode(["one", "two"])
    assert n_stored(tmp_path) == 2
