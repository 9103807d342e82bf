"""Students that train an encoder, trained: `test_tuned_extras` runs these with pytest where torch is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import counterpoise
from counterpoise.core.assets import MINILM_FULL, MINILM_TOKENIZER, ensure_asset
from counterpoise.core.errors import JobError, ServerError
from counterpoise.core.event_kinds import EncoderTuned, StudentsTrained, TrainingsPriced
from counterpoise.core.events import Event, listening
from counterpoise.core.records import Floats
from counterpoise.report.arm_words import AVERAGED, UNVERIFIED, WITH_ADDED, WRITTEN
from counterpoise.runs.slow_students import TrainedRows, offer_tuning
from counterpoise.students.base import Student, Treatment
from counterpoise.students.fitting import predict as predict_plainly
from counterpoise.students.recipe_code import write_code
from counterpoise.students.registry import STUDENTS, choose_students
from counterpoise.students.treatments import BASELINE, NOTHING, TREATMENTS
from counterpoise.students.tuned import METHODS
from counterpoise.tasks.text.job import load_job
from tests import test_student_contract as contract
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.servers import LocalServer
from tests.test_student_contract import ADDED, TEST, TRAIN, make_side, predict

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
TELLING = ("nothing", "class_weights", "added_rows", "averaged")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of random weights that knows letters and digits."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    path = tmp_path_factory.mktemp("weights") / "tiny"
    path.mkdir()
    tokenizer = Tokenizer(WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(path / "tokenizer.json"))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=METHODS)
def student(request: pytest.FixtureRequest, folder: Path, cache: Path) -> Student:
    return choose_students([f"{request.param}:{folder}"], "minilm", cache)[0]


@pytest.fixture(params=TELLING)
def treatment(request: pytest.FixtureRequest, student: Student) -> Treatment:
    found = TREATMENTS.find(request.param)
    if not found.suits(student):
        pytest.skip(f"{student.name} is not trained in this way")
    return found


@pytest.mark.parametrize(
    "check",
    [
        contract.test_scores_are_finite_and_the_same_for_the_same_seed,
        contract.test_no_row_to_score_gives_no_score,
        contract.test_one_label_in_training_is_the_answer,
        contract.test_many_labels_of_few_rows,
        contract.test_rows_of_no_weight_do_not_stop_it,
    ],
    ids=lambda check: str(check.__name__),
)
def test_what_every_student_keeps(check: Any, student: Student, treatment: Treatment) -> None:
    check(student, treatment)


def test_what_it_is_goes_on_in_a_sentence(student: Student, folder: Path) -> None:
    contract.test_what_it_is_goes_on_in_a_sentence(student)
    assert student.name.endswith(":tiny") and "tiny@" in student.meaning


@pytest.mark.parametrize("method", METHODS)
def test_on_pinned_weights_it_learns(method: str) -> None:
    for asset in (MINILM_FULL, MINILM_TOKENIZER):
        ensure_asset(asset)
    (student,) = choose_students([method], "minilm")
    assert student.name == method and "all-MiniLM-L6-v2" in student.meaning
    contract.test_a_label_that_was_never_seen_has_the_floor(student)


def test_weights_of_rows_count(student: Student) -> None:
    heavy = replace(TRAIN, weights=np.where(TRAIN.labels == 0, 8.0, 1.0))
    light, strong = (
        predict(student, TREATMENTS.find("added_rows"), rows, TEST, 3) for rows in (TRAIN, heavy)
    )
    assert not np.array_equal(light, strong)
    shares = [np.exp(one)[:, 0].mean() for one in (light, strong)]
    assert np.isfinite(shares).all() and len(ADDED)


def end_child(*, is_awaited: bool = True) -> None:
    """End the process that trains, which knows what it has trained."""
    for child in psutil.Process().children():
        if "counterpoise.students.tuned.worker" in child.cmdline():
            child.kill()
            if is_awaited:
                child.wait()


def train_in(cache: Path, student: str, seed: int = 1, n: int = 30) -> Floats:
    (one,) = choose_students([student], "minilm", cache)
    return predict_plainly(BASELINE, one, make_side({0: 12, 1: n}, 2, seed), make_side({0: 6, 1: 6}, 2, 2), 2)


@pytest.mark.parametrize("method", METHODS)
def test_another_process_gives_the_same_bytes_and_what_is_kept_is_read(
    method: str, folder: Path, tmp_path: Path
) -> None:
    heard: list[Event] = []
    first = train_in(tmp_path / "first", f"{method}:{folder}")
    end_child()
    with listening(heard.append):
        second = train_in(tmp_path / "second", f"{method}:{folder}")
        steps = [event for event in heard if isinstance(event, EncoderTuned)]
        heard.clear()
        kept = train_in(tmp_path / "second", f"{method}:{folder}")
    assert first.tobytes() == second.tobytes() == kept.tobytes()
    assert [step.done for step in steps] == list(range(1, steps[0].total + 1)) and not heard
    files = [
        [path.name for path in (tmp_path / name / "trainings").iterdir()] for name in ("first", "second")
    ]
    assert files[0] == files[1] and len(files[0]) == 1


def test_other_weights_are_other_trainings(folder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    other = tmp_path / "tiny"
    shutil.copytree(folder, other)
    weights = load_file(other / "model.safetensors")
    save_file({name: values * 1.01 for name, values in weights.items()}, other / "model.safetensors")
    before, after = (train_in(tmp_path, f"contrastive:{place}") for place in (folder, other))
    assert not np.array_equal(before, after)


def test_weights_of_another_model_are_one_line(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(JobError, match="'fine_tuned' cannot be trained") as caught:
        train_in(tmp_path, f"fine_tuned:{tmp_path / 'tiny'}")
    assert "\n" not in str(caught.value)
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config | {"model_type": "none_such"}))
    with pytest.raises(JobError, match="none_such"):
        train_in(tmp_path, f"fine_tuned:{tmp_path / 'tiny'}")
    assert train_in(tmp_path, f"fine_tuned:{folder}").shape == (12, 2), "the process goes on"


def test_a_process_that_dies_is_one_line_and_the_next_training_starts_another(
    folder: Path, tmp_path: Path
) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, EncoderTuned) and event.done == 1:
            end_child(is_awaited=False)

    with listening(kill), pytest.raises(ServerError, match=r"has ended \(exit code -9\)"):
        train_in(tmp_path, f"fine_tuned:{folder}", n=4_000)  # long enough not to be over by then
    assert not list((tmp_path / "trainings").iterdir())
    assert train_in(tmp_path, f"fine_tuned:{folder}").shape == (12, 2)


SCRIPT = """
import sys
from pathlib import Path
from tests.tuned_student_runs import train_in
for seed in range(3):
    print(float(train_in(Path(sys.argv[1]), sys.argv[2], seed).sum()).hex(), flush=True)
"""


def start(cache: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(cache), f"fine_tuned:{folder}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])


def test_what_was_trained_before_a_kill_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    killed = start(tmp_path, folder)
    assert killed.stdout is not None
    first = killed.stdout.readline()
    children = psutil.Process(killed.pid).children()
    killed.kill()
    killed.wait()
    killed.stdout.close()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "trainings").glob("*.npy")}
    assert kept and len(kept) < 3
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "the process that trains ends with its parent"
    said = start(tmp_path, folder).communicate()[0].splitlines(keepends=True)
    assert said[0] == first and len(said) == 3
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    assert start(tmp_path / "other", folder).communicate()[0].splitlines(keepends=True) == said


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> Iterator[tuple[counterpoise.Run, list[Event]]]:
    place = tmp_path_factory.mktemp("run")
    write_reviews(place / "reviews.csv", make_reviews(48, 14))
    write_reviews(place / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(place / "cache")
    heard: list[Event] = []
    with LocalServer(write_reply) as server:
        students = ["default", *(f"{method}:{folder}" for method in METHODS)]
        job = make_job(place, server, "run", rounds=1, budget=20_000, students=students)
        yield counterpoise.run(job, listener=heard.append), heard


def test_a_run_names_its_price_first_and_measures_them(run: tuple[counterpoise.Run, list[Event]]) -> None:
    done, heard = run
    names = ["fine_tuned:tiny", "contrastive:tiny"]
    prices = [event for event in heard if isinstance(event, TrainingsPriced)]
    assert [price.student for price in prices] == names and all(price.seconds > 0 for price in prices)
    trained = next(place for place, event in enumerate(heard) if isinstance(event, StudentsTrained))
    assert heard.index(prices[-1]) < trained
    report = json.loads((done.directory / "report.json").read_text(encoding="utf-8"))
    for name in names:
        arms = {row["arm"] for row in report["held_out"]["rows"] if row["student"] == name}
        assert {"nothing", "logit_adjustment", WITH_ADDED, AVERAGED} <= arms
        assert not {UNVERIFIED, WRITTEN, "zero_shot_prior"} & arms
        assert name in report["meanings"]["students"]
    assert "with all weights fine-tuned" in done.report().read_text(encoding="utf-8")


def test_it_is_resumed_without_a_training_to_the_same_bytes(
    run: tuple[counterpoise.Run, list[Event]],
) -> None:
    directory, heard = run[0].directory, list[Event]()
    before = (directory / "report.json").read_bytes()
    (directory / "FINISHED").unlink()
    counterpoise.resume(directory, listener=heard.append)
    assert (directory / "report.json").read_bytes() == before
    n_timed = sum(isinstance(event, TrainingsPriced) for event in heard)
    assert n_timed == 2 and not any(isinstance(event, EncoderTuned) for event in heard)


def test_the_recipe_is_what_was_measured(
    run: tuple[counterpoise.Run, list[Event]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(run[0].directory)
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path))
    for method in METHODS:
        student = STUDENTS.find(f"{method}:{folder}")
        for way in (NOTHING, BASELINE):
            code = write_code(way, student, text=("review",), label="stars", descriptions={})
            space: dict[str, Any] = {}
            exec(compile(code, method, "exec"), space)  # the code is ours; that it runs is what is tested
            said = space["score"](["Wonderful, tender soup", "Awful, greasy soup"])
            assert said.shape == (2, 2) and np.isfinite(said).all()


def test_a_preview_says_the_price(run: tuple[counterpoise.Run, list[Event]], folder: Path) -> None:
    job = load_job(run[0].directory / "job.yaml")
    started, heard = time.monotonic(), list[Event]()
    preview = counterpoise.preview(job, listener=heard.append)
    assert (
        sum("minutes a training here" in line or "minute a training here" in line for line in preview.advice)
        == 2
    )
    assert {row["student"] for row in preview.forecasts} <= {"vectors:minilm", "words"}
    assert not any(isinstance(event, EncoderTuned) for event in heard), f"{time.monotonic() - started}"


def test_a_preview_offers_them_with_their_price_where_all_is_at_hand(
    run: tuple[counterpoise.Run, list[Event]],
) -> None:
    rows, cache = (
        TrainedRows(make_side({0: 12, 1: 30}, 2), 5, 40, 42),
        Path(load_job(run[0].directory / "job.yaml").cache_dir),
    )
    students = choose_students(["words", "contrastive"], "minilm", cache)
    assert not offer_tuning(students, rows, cache), "the weights are not here"
    make_cache(cache, MINILM_FULL)
    (offer,) = offer_tuning(students, rows, cache)
    assert "`fine_tuned` would take up to " in offer and "`contrastive` would" not in offer
