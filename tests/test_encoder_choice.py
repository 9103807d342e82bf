"""The key `encoder`: a path, a name of what ships, a folder, an installed name, or an object; what is kept on disk."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise.cli.options import JobOptions, read_job
from counterpoise.core import registry
from counterpoise.core.errors import JobError, RunDirectoryError
from counterpoise.data.encoder_choice import list_known_languages, open_registered, resolve_encoder
from counterpoise.data.encoders import make_encoder, open_cached, open_encoders
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.text.job import Job
from tests.parts_distribution.mine_parts.encoders import HashingEncoder


class CountingEncoder(HashingEncoder):
    def __init__(self) -> None:
        self.n_encoded = 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.n_encoded += len(texts)
        return super().encode(texts)


class NamelessVersion(CountingEncoder):
    identity = None  # type: ignore[assignment]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"{HashingEncoder.__module__}:HashingEncoder"
    point = EntryPoint("mine.hashing", target, "counterpoise.encoders")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])


def make_job(**keys: object) -> Job:
    return Job.make(data="reviews.csv", text="review", label="stars", **keys)


def test_what_ships_goes_before_a_folder_and_a_folder_before_what_is_installed(tmp_path: Path) -> None:
    for name in ("minilm", "mine.hashing"):
        (tmp_path / name).mkdir()
    assert resolve_encoder("minilm", tmp_path) == resolve_encoder("", tmp_path) == ""
    assert resolve_encoder("./minilm", tmp_path) == str(tmp_path / "minilm")
    assert resolve_encoder("mine.hashing", tmp_path) == str(tmp_path / "mine.hashing")
    assert resolve_encoder("mine.hashing", tmp_path / "elsewhere") == "mine.hashing"
    assert resolve_encoder("../other", tmp_path) == str(tmp_path.parent / "other")
    assert resolve_encoder(Path("other"), tmp_path) == str(tmp_path / "other")


@pytest.mark.usefixtures("installed")
def test_a_job_names_an_installed_encoder(tmp_path: Path) -> None:
    job = make_job(encoder="mine.hashing")
    assert job.encoder == "mine.hashing" and "encoder: mine.hashing" in job.dump()
    assert job.fingerprint() != make_job().fingerprint() == make_job(encoder="minilm").fingerprint()
    assert RetrievalJob.make(data="triples.jsonl", encoder="mine.hashing").encoder == "mine.hashing"
    cached = open_cached(job.encoder, tmp_path)
    assert (cached.name, cached.dimension) == ("mine.hashing@1", 256)
    assert make_encoder("mine.hashing", tmp_path).name == "mine.hashing"
    assert open_encoders("mine.hashing", cache_dir=tmp_path).name == "mine.hashing@1"


def test_a_name_that_nothing_has_is_one_line() -> None:
    for make in (make_job, partial(RetrievalJob.make, data="triples.jsonl")):
        with pytest.raises(JobError, match=r"key 'encoder': found 'minlm'.*did you mean 'minilm'") as caught:
            make(encoder="minlm")
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_python_gives_the_encoder_itself(tmp_path: Path) -> None:
    job = make_job(encoder=CountingEncoder())
    assert "encoder: memory:mine.hashing" in job.dump()
    assert list_known_languages(job.encoder) == () and list_known_languages("") == ("en",)
    with pytest.raises(
        JobError, match=r"key 'encoder'.*set.*has no `name`; an encoder has `name`, `dimension`"
    ):
        make_job(encoder=set())
    again = make_job(encoder="memory:mine.hashing")  # as the run directory has it
    assert again.fingerprint() == job.fingerprint()
    with pytest.raises(RunDirectoryError, match=r"an object in Python \(mine.hashing\)"):
        open_cached(again.encoder, tmp_path)


def test_vectors_are_kept_by_name_and_identity(tmp_path: Path) -> None:
    class Newer(CountingEncoder):
        identity = "2"

    counted = [CountingEncoder(), CountingEncoder(), Newer()]
    for encoder in counted:
        open_cached(encoder, tmp_path).encode(["a text", "another"])
    assert [encoder.n_encoded for encoder in counted] == [3, 0, 3]  # with the text that is compared
    assert open_cached(Newer(), tmp_path).name == "mine.hashing@2"


def test_without_an_identity_vectors_are_kept_for_as_long_as_the_encoder_is_used(tmp_path: Path) -> None:
    encoder = NamelessVersion()
    cached = open_cached(encoder, tmp_path)
    folder = cached._folder
    first = cached.encode(["a text"])
    assert cached.encode(["a text"]).tobytes() == first.tobytes() and encoder.n_encoded == 2
    assert cached.name == "mine.hashing" and folder.is_dir() and not any(tmp_path.iterdir())
    del cached
    gc.collect()
    assert not folder.exists()


def test_a_part_that_is_no_encoder_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("mine.none", f"{__name__}:NoEncoder", "counterpoise.encoders")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(
        JobError, match=re.escape("'mine.none' of counterpoise.encoders has no `encode` and no `open`")
    ):
        open_registered("mine.none", tmp_path)
    monkeypatch.setattr(NoEncoder, "encode", lambda self, texts: texts, raising=False)
    with pytest.raises(JobError, match=re.escape("'mine.none' (NoEncoder) has no `dimension`")):
        open_registered("mine.none", tmp_path)


class NoEncoder:
    name = "mine.none"


def test_a_command_names_an_encoder(tmp_path: Path) -> None:
    given = JobOptions(str(tmp_path / "reviews.csv"), text=["review"], label="stars", encoder="nomic")
    assert getattr(read_job(given), "encoder", "") == "nomic"
    with pytest.raises(JobError, match="did you mean 'nomic'"):
        read_job(replace(given, encoder="nomik"))
