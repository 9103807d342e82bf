"""`python -m tests.fuzz --seed 1 --n 2000`: every target on so many inputs, and what did not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import TARGETS, fuzz

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=2000, help="inputs of each target (see SHARES)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", default="", help=f"targets, with commas between: {', '.join(TARGETS)}")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name] or list(TARGETS)
    n_findings = 0
    with tempfile.TemporaryDirectory(prefix="counterpoise-fuzz-") as folder:
        for name in names:
            begun = time.monotonic()
            tally = fuzz(name, given.seed, range(given.first, given.first + given.n), Path(folder))
            codes = ", ".join(f"{count} x {code}" for code, count in sorted(tally.codes.items()))
            print(
                f"{name}: exit codes {codes}; {len(tally.findings)} findings, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
            places = Counter(
                (finding.what, finding.detail.strip().splitlines()[-1][:160]) for finding in tally.findings
            )
            for (what, last), count in places.most_common():
                first = next(
                    one for one in tally.findings if one.detail.strip().splitlines()[-1][:160] == last
                )
                frames = [line.strip() for line in first.detail.splitlines() if line.startswith("  File")][
                    -4:
                ]
                print(
                    f"  {count} x {what}: {last}\n"
                    f"    again: --only {name} --seed {given.seed} --first {first.number} --n 1"
                )
                print("".join(f"    {frame[:150]}\n" for frame in frames), end="", flush=True)
            n_findings += len(tally.findings)
    sys.exit(1 if n_findings else 0)
