"""Generators: each writes proposals for a plan item."""
