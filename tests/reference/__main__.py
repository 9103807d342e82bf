"""Compare the reference runs with their hashes, or write these anew (`--write`)."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.reference.runs import RUNS, hash_decisions, hash_vectors

HASHES = Path(__file__).with_name("hashes.json")


def main() -> int:
    """The exit code: 1 where a hash differs."""
    known = json.loads(HASHES.read_text(encoding="utf-8")) if HASHES.is_file() else {}
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or list(RUNS)
    found = known | {"vectors": hash_vectors()}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            decisions = RUNS[name](Path(folder))
        if "--show" in sys.argv:
            print(json.dumps(decisions)[-1500:])
        found[name] = hash_decisions(decisions)
        print(f"{name}: {found[name]}{'' if found[name] == known.get(name) else ' (differs)'}")
    if "--write" in sys.argv:
        HASHES.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    return int(found != known)


if __name__ == "__main__":
    sys.exit(main())
