"""Commands of the command line, one module a command or a family of them; `cli.py` takes them in."""
