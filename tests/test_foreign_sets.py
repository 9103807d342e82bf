"""Sets in other languages: a file that is absent or another one is one line that says where the right one is."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from evals.common import MissingDataError
from evals.foreign_sets import FOREIGN_SETS, PinnedFile


@pytest.mark.parametrize("name", list(FOREIGN_SETS))
def test_an_absent_set_says_where_it_is(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        FOREIGN_SETS[name](tmp_path)
    said = str(caught.value)
    assert "\n" not in said and said.startswith("data set absent: ")
    assert "https://raw.githubusercontent.com/" in said


def test_only_the_pinned_content_is_read(tmp_path: Path) -> None:
    file = PinnedFile("a.tsv", "owner/name", "c" * 40, "data/a.tsv", sha256("ƙasa\t1\n".encode()).hexdigest())
    (tmp_path / "a.tsv").write_text("ƙasa\t1\n", encoding="utf-8", newline="")
    assert file.read(tmp_path) == "ƙasa\t1\n"
    (tmp_path / "a.tsv").write_text("ƙasa\t2\n", encoding="utf-8", newline="")
    with pytest.raises(MissingDataError, match="is another file than https://"):
        file.read(tmp_path)
