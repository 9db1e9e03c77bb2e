"""A process that has imported the product, and forks a `recado serve` each time it is told to.

Most of a start is Python's imports, before anything of the product runs. Doing them once leaves a crash test the time
for many more lives. `start` on stdin forks; `kill` kills that child with SIGKILL and waits until it is gone, its
status is the answer. At the end of stdin the child is killed as well.
"""

import os
import signal
import sys

from recado.entrypoints import cli


def start() -> int:
    """The pid of a new server. In the child it does not return."""
    pid = os.fork()
    if pid == 0:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)  # what is said on stdin is not for the server,
        os.dup2(2, 1)  # and what it says is no answer
        cli.app()
    return pid


def kill(pid: int) -> int:
    """How the child ended: minus the signal, or the exit code."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def answer(said: int) -> None:
    """One line on stdout."""
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    answer(0)
    child = 0
    for line in sys.stdin:
        if line.strip() == "start":
            child = start()
            answer(child)
        elif child:
            answer(kill(child))
            child = 0
    if child:
        kill(child)
