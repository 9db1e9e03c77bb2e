"""The `recado` command, also as `python -m recado.entrypoints`."""

import gc

# What is imported stays until the end: looking through it again and again took a fifth of the time to start.
gc.disable()

from recado.entrypoints.cli import app  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    app()
