"""Requests that kill the engine: suspected after one death, never sent again after two.

Whoever was under way when an engine died may have been the reason. Such a request is sent again alone, so that the
next death, if there is one, is its own. Deaths are kept in the reply store with the run they belong to, so that a run
that is resumed does not begin to kill anew; another run gives the request another chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.core.errors import QuarantinedError
from counterpoise.llm.reply_store import ReplyStore

MOST_DEATHS = 2
"""So many engines may die under a request."""


class Quarantine:
    """Counts deaths of engines for each key.

    Args:
        store: where deaths are kept; None keeps none.
        run_id: the run they belong to; "" keeps none.
    """

    def __init__(self, store: ReplyStore | None, run_id: str) -> None:
        self._store = store if run_id else None
        self._run_id = run_id
        self._deaths = dict(self._store.read_deaths(run_id)) if self._store is not None else {}

    def is_suspect(self, keys: Sequence[bytes]) -> bool:
        """Whether an engine has died while one of these was under way."""
        return bool(self._deaths) and any(key in self._deaths for key in keys)

    def refuse(self, keys: Sequence[bytes]) -> None:
        """Raise where one of these may not be sent any more.

        Raises:
            QuarantinedError: two engines have died while it was under way.
        """
        if not self._deaths:
            return
        for key in keys:
            n_deaths, why = self._deaths.get(key, (0, ""))
            if n_deaths >= MOST_DEATHS:
                raise QuarantinedError(
                    f"{n_deaths} engines died while it was under way, the last one alone with it ({why})"
                )

    async def note_death(self, keys: Sequence[bytes], why: str) -> None:
        """Count the death of an engine against requests that were under way.

        Raises:
            QuarantinedError: it was the second death for one of them.
            StorageError: the store cannot be written.
        """
        for key in keys:
            self._deaths[key] = (self._deaths.get(key, (0, ""))[0] + 1, why)
        if self._store is not None:
            await self._store.note_deaths(self._run_id, {key: self._deaths[key] for key in keys})
        self.refuse(keys)
