"""Files of a repository of the hub, one by one, of one commit: no file is looked at that nobody has named."""

from __future__ import annotations

import re
from pathlib import Path

from counterpoise.core.errors import AssetError, JobError

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(?:@[\w./-]+)?")


def is_hub_id(chosen: str) -> bool:
    """Whether a choice has the form of a repository's name, with `@revision` behind it or without."""
    return _ID.fullmatch(chosen) is not None


class HubFiles:
    """Files of one repository at one revision.

    Args:
        repository: `owner/name`.
        revision: a branch, a tag or a commit; None for the default branch.
        folder: where they are kept.
        key: of a job that has named it.
        instead: what may be named where there is no network.
    """

    def __init__(
        self, repository: str, revision: str | None, folder: Path, *, key: str, instead: str
    ) -> None:
        self._repository = repository
        self._revision = revision
        self._folder = folder
        self._where, self._instead = f"{key}: {repository}", instead
        self.snapshot = folder

    def __call__(self, name: str, *, is_needed: bool = True) -> Path | None:
        """The path of a file; None where the repository has none of that name.

        Without a network a file that is not needed is taken not to be there: had it been, it would be here.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            found = Path(
                hf_hub_download(self._repository, name, revision=self._revision, cache_dir=self._folder)
            )
        except LocalEntryNotFoundError as error:
            if not is_needed:
                return None
            raise AssetError(
                f"the hub cannot be reached, and {name} is not here",
                where=self._where,
                hint=f"try again where there is a network, or name {self._instead}",
            ) from error
        except EntryNotFoundError:
            return None
        except RevisionNotFoundError as error:
            raise JobError(
                f"no revision '{self._revision}'", where=self._where, hint="a branch, tag or commit"
            ) from error
        except RepositoryNotFoundError as error:
            raise JobError(
                "no such repository on the hub, or it is private",
                where=self._where,
                hint="write owner/name as the hub has it",
            ) from error
        except (HfHubHTTPError, OSError) as error:
            raise AssetError(
                f"the hub does not give {name} ({error})", where=self._where, hint="try again later"
            ) from error
        # .../snapshots/COMMIT/NAME
        self.snapshot = found.parents[len(Path(name).parts) - 1]
        return found

    def check_hash(self, path: Path, digest: str) -> None:
        """Refuse a file that is not what the hub says, and drop it, so that the next call fetches it again.

        The hub's client keeps a large file under the hash that the hub has for it, and looks at its size alone.

        Args:
            path: of `__call__`.
            digest: SHA-256 of its content, as hex.

        Raises:
            AssetError: the hub has another hash.
        """
        kept = path.resolve()
        if re.fullmatch("[0-9a-f]{64}", kept.name) is None or kept.name == digest:
            return
        path.unlink(missing_ok=True)
        kept.unlink(missing_ok=True)
        raise AssetError(
            f"{path.name} has the hash {digest[:12]}..., not {kept.name[:12]}... as the hub says; it was dropped",
            where=self._where,
            hint="call again to fetch it once more",
        )
