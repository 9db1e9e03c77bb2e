"""The last step of `make demo`: `recado serve`, and beside it the stand-in of the conversation API where it is needed.

It is needed where the product would call that API and no server of the user's own is named: the demo never calls the
real one. Everything else, settings and exit included, is `recado serve`'s.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from recado.settings import Settings
from tests.fakes.conversation_api import ConversationApiFake

DATABASE = Path("data/conversation-api.db")
REAL_HOST = urlsplit(Settings.model_fields["cartaai_api_base_url"].default).hostname


def stand_in(settings: Settings, database: Path = DATABASE) -> ConversationApiFake | None:
    """The stand-in, with the prefix and the key that the product will use; None where it is not needed."""
    called = settings.enable_conversation_sync or settings.use_cartaai_api
    if not called or urlsplit(settings.cartaai_api_base_url).hostname != REAL_HOST:
        return None
    database.parent.mkdir(parents=True, exist_ok=True)
    key = settings.cartaai_api_key or None
    return ConversationApiFake(prefix=settings.conversation_api_prefix, api_key=key, database=database)


def main(arguments: Sequence[str]) -> int:
    """The exit code; does not return where no stand-in is needed."""
    command = [str(Path(sys.executable).with_name("recado")), "serve", *arguments]
    api = stand_in(Settings())
    if api is None:
        os.execv(command[0], command)  # noqa: S606 - the very command that `make demo` is about
    with api:
        sys.stderr.write(f"{api.url} stands in for the conversation API; it shows all at /_control/documents\n")
        return _beside(command, {**os.environ, "CARTAAI_API_BASE_URL": api.url})


def _beside(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs it until it ends, or we are told to. Ctrl-C reaches it as well: SIGTERM after that does not hurry it."""
    stopped: list[int] = []
    running: list[subprocess.Popen[bytes]] = []

    def stop(number: int, _frame: object) -> None:
        stopped.append(number)
        for process in running:
            process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    process = subprocess.Popen(command, env=environment)
    running.append(process)
    if stopped:
        process.terminate()
    code = process.wait()
    return 0 if stopped else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
