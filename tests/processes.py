"""The `recado` command in processes of its own: most are forked from one that has imported the product already."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parent.parent
INHERITED = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
"""What a command gets of the environment of the tests."""
COMMAND = (sys.executable, "-m", "recado.entrypoints")
Done = subprocess.CompletedProcess[str]


class Process(Protocol):
    """A running command: the part of `subprocess.Popen` that tests need."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


class Start(Protocol):
    """Start `recado` with some words. What it says goes to the end of a log."""

    def __call__(self, *words: str, folder: Path, environment: Mapping[str, str], log: Path) -> Process: ...


class Run(Protocol):
    """Run `recado` with some words to its end. Raises subprocess.TimeoutExpired after so many seconds."""

    def __call__(self, *words: str, folder: Path, environment: Mapping[str, str], timeout: float = 60.0) -> Done: ...


def start_afresh(*words: str, folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """Start the command as an operator does, imports and all."""
    with log.open("ab") as output:
        return subprocess.Popen([*COMMAND, *words], cwd=folder, env=environment, stdout=output, stderr=output)


def start_forked(*words: str, folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """Start the command where its imports are done already: it takes a tenth of the time."""
    return zygote.start(words, folder, environment, log, log)


def run_afresh(*words: str, folder: Path, environment: Mapping[str, str], timeout: float = 60.0) -> Done:
    """Run the command to its end as an operator does, imports and all."""
    command = [*COMMAND, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def run_forked(*words: str, folder: Path, environment: Mapping[str, str], timeout: float = 60.0) -> Done:
    """The same where its imports are done already."""
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        process = zygote.start(words, folder, environment, Path(output.name), Path(errors.name))
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            raise
        return subprocess.CompletedProcess(words, code, output.read(), errors.read())


class Forked:
    """A child of the zygote, which alone can wait for it."""

    def __init__(self, parent: "Zygote", words: tuple[str, ...], pid: int) -> None:
        self.pid = pid
        self._parent, self._words = parent, words
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self._code is None:
                self._code = self._parent.ask(look=self.pid)
            return self._code

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        pause = 0.001
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self._words, timeout or 0.0)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:  # else the number may be somebody else's by now
            os.kill(self.pid, sig)


class Zygote:
    """`tests/zygote.py`, started when it is first needed. Threads may share it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(
        self, words: tuple[str, ...], folder: Path, environment: Mapping[str, str], output: Path, errors: Path
    ) -> Forked:
        files = {"folder": str(folder), "output": str(output), "errors": str(errors)}
        return Forked(self, words, self.ask(start=words, environment=dict(environment), **files))

    def ask(self, **request: Any) -> Any:
        """The answer to a request."""
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    # -P: modules are not looked for beside the script.
                    [sys.executable, "-P", str(ROOT / "tests" / "zygote.py")],
                    env=INHERITED,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                self._exchange(self._process, "")
            return self._exchange(self._process, json.dumps(request) + "\n")

    def end(self) -> None:
        """End it, and with it what it started."""
        with self._lock:
            if self._process is not None:
                self._process.communicate(timeout=20)
                self._process = None

    @staticmethod
    def _exchange(process: subprocess.Popen[str], said: str) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(said)
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the zygote has ended with {process.wait()}"
        return json.loads(line)


zygote = Zygote()
"""One for each process that runs tests."""
