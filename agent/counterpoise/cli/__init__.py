"""The command line."""

from __future__ import annotations

from counterpoise.cli.app import execute, main

__all__ = ["execute", "main"]
