"""A filter of a user's own that fails ends a run with one line; mended, the run goes on and pays nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import counterpoise
from counterpoise.core.errors import PartError
from counterpoise.core.plans import Verdict
from counterpoise.filters.batch import ProposalBatch
from tests.integration.helpers import make_job, make_reviews, write_reply, write_reviews
from tests.parts_distribution.mine_parts.encoders import HashingEncoder
from tests.parts_distribution.mine_parts.filters import PrivacyFilter
from tests.servers import LocalServer

pytestmark = pytest.mark.processes


class UnfinishedFilter(PrivacyFilter):
    """Fails as programs that are being written do."""

    def verdicts(self, batch: ProposalBatch) -> Sequence[Verdict]:
        raise KeyError(batch.proposals[0].text[:5])


def test_a_filter_that_fails_loses_nothing_that_was_paid_for(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", make_reviews(48, 14))
    write_reviews(tmp_path / "test.csv", make_reviews(16, 16, seed=1))
    keys = {"rounds": 1, "budget": 15_000, "encoder": HashingEncoder()}
    with LocalServer(lambda body, index: write_reply(body, index)) as server:
        first = make_job(tmp_path, server, "run", filters=["default", UnfinishedFilter()], **keys)
        with pytest.raises(PartError, match=r"filter 'mine\.privacy': it raised KeyError") as caught:
            counterpoise.run(first)
        assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
        paid = set(server.answered)
        assert paid and not (tmp_path / "run" / "FINISHED").exists()
        mended = make_job(tmp_path, server, "run", filters=["default", PrivacyFilter()], **keys)
        counterpoise.run(mended)
    assert all(server.answered[body] == 1 for body in paid)
    assert (tmp_path / "run" / "FINISHED").exists()
