"""Commands of the command line, one module a command or a family of them; `cli.app` takes them in."""
