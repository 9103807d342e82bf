"""What can go wrong, and who can mend it.

::

    CounterpoiseError        exit code 4: a fault of ours, as is every error that is not in this tree
    ├── UserError            exit code 2: the user's file, key or column; one line says what would be right
    │   ├── JobError         a job file, a command-line option or an argument
    │   ├── DataError        the data itself
    │   ├── RunDirectoryError  a run directory that is in use, unwritable or of another job
    │   └── PartError        a part of the user's own (a filter, a scorer) that fails; the run can be resumed
    └── ServiceError         exit code 3: a server, a model, a download, a disk; the run can be resumed
        ├── ServerError      no answer, or an answer that says no; `retryable` tells which
        │   ├── EngineDiedError  the server's process ended under the request
        │   └── QuarantinedError  the request has killed the server before and is not sent again
        ├── ReplyError       an answer that cannot be used
        ├── AssetError       pinned weights or demo data that cannot be had
        └── StorageError     the disk is full or does not answer

A budget that ran out is not an error: see `counterpoise.llm.budget.BudgetSpent`. Foreign errors become ours in
`boundaries`. No message holds a key (`redactions`).
"""

from __future__ import annotations

from typing import ClassVar, TypedDict, Unpack

from counterpoise.core.redactions import redact

FAULT = 4
"""The exit code of a fault of ours."""


LONGEST = 600
"""Characters of each part of a message; the name of a column may have a million."""


def _shorten(part: str) -> str:
    return part if len(part) <= LONGEST else f"{part[: LONGEST // 2]} ... {part[-LONGEST // 2 :]}"


class CounterpoiseError(Exception):
    """The root of the tree.

    Args:
        message: what was found, in one line.
        where: the file, key, column or address it was found at; stands in front of the message.
        hint: what would be right; stands behind the message.
    """

    exit_code: ClassVar[int] = FAULT
    retryable: bool = False

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(redact(message))
        self.message = redact(message)
        self.where = redact(where)
        self.hint = redact(hint)

    def __str__(self) -> str:
        """One line: where, what, and what would be right."""
        where, message, hint = (_shorten(part) for part in (self.where, self.message, self.hint))
        line = f"{where}: {message}" if where else message
        line = f"{line}; {hint}" if hint else line
        return redact(" ".join(line.split()))


class UserError(CounterpoiseError):
    """A mistake that the user can mend."""

    exit_code = 2


class JobError(UserError):
    """A key, option or argument that is unknown, missing or out of range."""


class DataError(UserError):
    """A data file or column that cannot be used as the job says."""


class RunDirectoryError(UserError):
    """A run directory that is in use, cannot be written, or belongs to another job."""


class PartError(UserError):
    """A part of the user's own that raises or breaks its contract; what was paid for is kept."""


class ServiceError(CounterpoiseError):
    """A failure outside the user's files; the run can be resumed."""

    exit_code = 3


class ServerTraits(TypedDict, total=False):
    """What a `ServerError` says to programs.

    Args:
        retryable: whether asking again may help.
        status: the HTTP status, 0 where there was none.
        retry_after_seconds: how long the server asked to wait, 0 where it did not say.
        maybe_paid: whether the server may have done the work although its answer did not arrive whole.
        is_timeout: whether the server stayed silent for too long.
        is_unreached: whether there was no server to take the request, which so was not sent.
        said: the server's own words, one line, "" where it said nothing.
        is_refusal: it refuses what was asked, at no price, and would refuse it again.
        is_loading: it is there, and loads its model.
    """

    retryable: bool
    status: int
    retry_after_seconds: float
    maybe_paid: bool
    is_timeout: bool
    is_unreached: bool
    said: str
    is_refusal: bool
    is_loading: bool


class ServerError(ServiceError):
    """A model server that does not answer or refuses.

    Args:
        message: what was found.
        where: the server's address.
        hint: what would help.
        traits: what is known beyond that, see `ServerTraits`; each is an attribute.
    """

    status: int = 0
    retry_after_seconds: float = 0.0
    maybe_paid: bool = False
    is_timeout: bool = False
    is_unreached: bool = False
    said: str = ""
    is_refusal: bool = False
    is_loading: bool = False

    def __init__(
        self, message: str, *, where: str = "", hint: str = "", **traits: Unpack[ServerTraits]
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        vars(self).update(traits)


class EngineDiedError(ServerError):
    """The process behind a server ended while it worked on the request, which may have been the reason."""


class QuarantinedError(ServerError):
    """A request that was under way at the deaths of two engines; it is not sent again in its run."""


class ReplyError(ServiceError):
    """A reply that cannot be parsed or breaks its schema, after its repair round."""


class AssetError(ServiceError):
    """Pinned weights or demo data that cannot be had or have the wrong hash."""


class StorageError(ServiceError):
    """A disk that is full or does not answer."""
