"""Hostile input, made by a grammar: valid files, replies and stores are built and then broken in structured ways.

`python -m tests.fuzz --seed 1 --n 2000` runs every target; a finding is an `internal error`, exit code 4, a traceback,
a message of more than one line, a file of the user's that was changed, or an undo that does not give the old bytes.
"""
