"""A student, a treatment and an exporter of an installed package are used where a job or an option names them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import counterpoise
from counterpoise.core.errors import JobError
from counterpoise.data.exporters import EXPORTERS
from counterpoise.data.instances import write_instances
from tests.integration.helpers import make_job, make_reviews, write_reply, write_reviews
from tests.parts_distribution.mine_parts.encoders import HashingEncoder
from tests.servers import LocalServer
from tests.test_exporter_contract import INSTANCES

pytestmark = pytest.mark.processes

PARTS = Path(__file__).parents[1] / "parts_distribution"
ENTRY_POINTS = """
[counterpoise.students]
mine.gaussians = mine_parts.students:GAUSSIANS
[counterpoise.treatments]
mine.half_adjusted = mine_parts.treatments:HalfAdjusted
[counterpoise.exporters]
mine.tsv = mine_parts.exporters:TabSeparated
"""


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip leaves of a package that is installed in place."""
    record = tmp_path / "site" / "mine_parts-0.1.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mine-parts\nVersion: 0.1\n", encoding="utf-8"
    )
    (record / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    for folder in (tmp_path / "site", PARTS):
        monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "mine_parts"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("_installed")
def test_a_job_that_names_them_is_judged_by_them(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", make_reviews(40, 14))
    write_reviews(tmp_path / "test.csv", make_reviews(16, 16, seed=1))
    keys = {
        "students": ["default", "mine.gaussians"],
        "treatments": ["logit_adjustment", "mine.half_adjusted"],
        "encoder": HashingEncoder(),
    }
    with LocalServer(lambda body, index: write_reply(body, index)) as server:
        run = counterpoise.run(make_job(tmp_path, server, "run", rounds=1, budget=15_000, **keys))
    report = json.loads((run.directory / "report.json").read_text(encoding="utf-8"))
    names = ["vectors:mine.hashing", "words", "mine.gaussians"]
    assert [(row["arm"], row["student"]) for row in report["validation"]["rows"][:6]] == [
        *(("logit_adjustment", name) for name in names),
        *(("mine.half_adjusted", name) for name in names),
    ]
    assert report["meanings"]["students"]["mine.gaussians"] == "GaussianNB on sentence vectors"
    page = run.report().read_text(encoding="utf-8")
    assert "GaussianNB on sentence vectors" in page and "half way to the adjusted threshold" in page


def test_what_is_not_installed_is_one_line() -> None:
    with pytest.raises(JobError, match=r"found 'mine.tsv', which is none of them; .*counterpoise.exporters"):
        EXPORTERS.find("mine.tsv")


@pytest.mark.usefixtures("_installed")
def test_an_installed_exporter_is_named_like_those_that_ship(tmp_path: Path) -> None:
    assert write_instances(tmp_path / "out.tsv", INSTANCES[:2], "mine.tsv") == 6
    first = (tmp_path / "out.tsv").read_text(encoding="utf-8").splitlines()[0]
    assert first == "what is tea\ttea is this\t1"
