"""`python -m counterpoise` is the command `counterpoise`."""

from __future__ import annotations

from counterpoise.cli import main

if __name__ == "__main__":
    main()
