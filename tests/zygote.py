"""A process that has imported the product, and forks a `recado` command each time it is told to.

Most of a start is Python's imports, before anything of the product runs: here they are done once for all commands of
a test run. What a child does is what `python -m recado.entrypoints` does after its imports, with a folder, an
environment and files of its own. Requests are lines of JSON on stdin, answers are lines of JSON on stdout:

    {"start": ["serve"], "folder": "/x", "environment": {…}, "output": "/x/log", "errors": "/x/log"}    the pid
    {"look": pid}     null while it runs, then how it ended, once: the exit code, or minus the signal

At the end of stdin the children are killed.
"""

import json
import os
import signal
import sys
import time
from typing import Any

from recado.entrypoints.__main__ import app
from recado.settings import get_settings

running: set[int] = set()


def become(request: dict[str, Any]) -> None:
    """Make this child what a new process with these words, folder, environment and files would be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),  # what is said on stdin is not for the command,
        (1, request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),  # and what it says is no answer
        (2, request["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["recado", *request["start"]]
    sys.path.insert(0, request["folder"])


def look(pid: int) -> int | None:
    """How a child ended; None: it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    running.remove(pid)
    return os.waitstatus_to_exitcode(status)


def answer(said: int | None) -> None:
    """One line on stdout."""
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()


def obey() -> bool:
    """Do what stdin says until it ends. In a child, which is to be the command, it returns True."""
    for line in sys.stdin:
        request = json.loads(line)
        if "look" in request:
            answer(look(request["look"]))
            continue
        pid = os.fork()
        if pid == 0:
            become(request)
            return True
        running.add(pid)
        answer(pid)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return False


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the keyboard it comes to the children as well, who obey it
    if get_settings.cache_info().currsize:
        sys.exit("the settings were read before there was a command to read them for")
    answer(os.getpid())
    if obey():
        app()
