"""`recado worker` processes beside a server."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.e2e.world import until
from tests.processes import start_forked
from tests.support import RecadoServer


@contextmanager
def workers(server: RecadoServer, environment: dict[str, str], count: int) -> Iterator[Callable[[], None]]:
    """Start so many `recado worker` processes; gives a function that waits until all are working."""
    logs = [server.folder / f"worker-{number}.log" for number in range(count)]
    for log in logs:
        log.touch()
    processes = [start_forked("worker", folder=server.folder, environment=environment, log=log) for log in logs]

    def wait() -> None:
        for log, process in zip(logs, processes, strict=True):
            until(lambda log=log, process=process: "working" in log.read_text() or process.poll(), log.read_text, 40)
            assert process.poll() is None, log.read_text()

    try:
        yield wait
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in processes]
        assert codes == [0] * count, [log.read_text() for log in logs]
