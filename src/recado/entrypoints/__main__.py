"""`python -m recado.entrypoints`: the `recado` command, where the script is not on the path."""

from recado.entrypoints.cli import app

app()
