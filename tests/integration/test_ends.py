"""How whole runs end: screen, page and JSON say the same of what is short, why, and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from counterpoise.cli import app as cli
from tests.integration.helpers import make_cache, make_reviews, write_reviews
from tests.servers import Body, LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]


def write_nothing_of_use(body: Body, index: int) -> str:
    """The word of a probe in capitals; else a refusal."""
    messages = body.get("messages") or [{"content": ""}]
    asked = str(messages[-1]["content"])
    return (
        asked.rsplit(":", 1)[1].strip().upper()
        if "capital letters" in asked
        else "I'm sorry, but I cannot write that."
    )


def test_a_run_in_which_nothing_is_accepted_says_so_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_reviews(tmp_path / "reviews.csv", make_reviews(60, 12))
    test = write_reviews(tmp_path / "test.csv", make_reviews(15, 15, seed=1))
    make_cache(tmp_path / "cache")
    with LocalServer(write_nothing_of_use) as server:
        job = tmp_path / "job.yaml"
        keys = {
            "data": str(data),
            "held_out": str(test),
            "text": "review",
            "label": "stars",
            "llm": server.url,
            "budget": 30_000,
            "cache_dir": str(tmp_path / "cache"),
            "output": str(tmp_path / "run"),
        }
        job.write_text(json.dumps(keys), encoding="utf-8")
        assert cli.execute(["run", str(job)]) == 0
    screen = capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    n_refused = report["verdicts"]["rejected"]["refusal"]
    assert report["verdicts"]["accepted"] == 0 and n_refused >= 50
    ending = report["ending"]
    assert ending["kind"] == "nothing_pays" and ending["chief_reason"] == "refusal"
    assert ending["short"] == [{"cell": "bad", "have": 12.0, "want": 60.0, "need": 48}]
    counted = f"{ending['refused']} of {ending['proposed']} proposals for them were "
    said = f"no action pays any more: bad lacks 48; {counted}"
    assert (
        report["stopped"].startswith(said)
        and f"tokens were spent on them. To fill them: {ending['advice']}." in page
    )
    headline = (
        f"{report['spend']['used']:,} tokens were spent and no record was added: all {n_refused} proposals"
    )
    for shown in (screen, page, report["headline"] + report["stopped"]):
        assert headline in shown and said in shown
        assert "balanced." not in shown and "no cell is short" not in shown
    # One thing to do, the same everywhere, with its figure and its code.
    (action,) = report["advice"]
    assert action in screen and action in re.sub("<[^>]+>", "", page) and "on the sealed rows" in action
    advised = report["recommendation"]
    assert not advised["uses_added"] and f"{advised['macro_f1']['mean']:.3f}" in action
    assert advised["arm"].replace("_", " ") in report["headline"] and "LogisticRegression" in page
