"""Fetching what people sent before a turn answers them, and listening to it."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import stamina
import structlog

from recado.agent.transcription import Transcriber
from recado.alerts.raising import Alarm, Alerts
from recado.channels.base import Channel
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import MediaFile
from recado.errors import AccountRefused, InvalidInput, MediaRefused, ModelError, Retryable, SendError
from recado.media.check import type_of
from recado.media.repository import FAILED, PENDING, REFUSED, REMOVED, STORED, MediaRepository, Wanted
from recado.media.storage import MediaStore, digest
from recado.text import MAX_MESSAGE_CHARACTERS, clean_text

log = structlog.get_logger(__name__)

TOTAL_SECONDS = 20.0
"""How long a turn waits for all its files; whoever wrote waits as long."""
TRIES = 3
AT_ONCE = 4


class MediaService:
    """Makes the files of a turn ready. `limit` is the largest that is kept, in bytes."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        alerts: Alerts,
        transcriber: Transcriber | None,
        store: MediaStore,
        limit: int,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._alerts = alerts
        self._transcriber = transcriber
        self._store = store
        self._limit = limit
        self._total_seconds = total_seconds

    async def clean(self) -> None:
        """Remove what processes that died have left half fetched."""
        left = await asyncio.to_thread(self._store.clean)
        if left:
            log.info("removed files that were half fetched", files=left)

    async def prepare(self, turn_id: int, merchant_id: int) -> None:
        """Fetch each file of a turn's messages once, and write down what is said in it. What fails is noted there."""
        async with self._database.read() as session:
            files = MediaRepository(session, merchant_id)
            taken_back, wanted = await files.taken_back(turn_id), await files.wanted(turn_id)
        await self._forget(taken_back, merchant_id)
        if not wanted:
            return
        left = {file.media.id: file for file in wanted}
        few = asyncio.Semaphore(AT_ONCE)

        async def prepare_one(file: Wanted) -> None:
            async with few:
                if file.media.state == STORED or await self._fetch(file):
                    await self._listen(file)
            del left[file.media.id]

        with suppress(TimeoutError):
            async with asyncio.timeout(self._total_seconds):
                for outcome in await asyncio.gather(*map(prepare_one, wanted), return_exceptions=True):
                    if isinstance(outcome, Exception):
                        log.warning("a file could not be made ready", turn_id=turn_id, exc_info=outcome)
                    elif outcome is not None:
                        raise outcome  # the end of the process
        for file in left.values():
            await self._change(file, PENDING, state=FAILED, error="it took too long, or failed in an unknown way")
            await self._change(file, STORED, error="not heard: it took too long, or failed in an unknown way")

    async def _fetch(self, file: Wanted) -> bool:
        """Whether the file is kept now."""
        # Where it will be is written down before: doing it again after a crash leaves no second one.
        path = file.media.path or self._store.new_path(file.media.merchant_id, self._clock.now())
        try:
            async for attempt in stamina.retry_context(
                on=_may_pass, attempts=TRIES, timeout=None, wait_initial=0.3, wait_max=2.0, wait_jitter=0.2
            ):
                with attempt:
                    tries = file.media.attempts + attempt.num
                    return await self._change(file, PENDING, path=path, attempts=tries) and await self._fetch_once(
                        file, path
                    )
        except MediaRefused as error:
            await self._change(file, PENDING, state=REFUSED, path=None, error=str(error))
            if error.foreign:
                await self._alert(file, "security_foreign_file", str(error))
        except (SendError, OSError) as error:
            await self._change(file, PENDING, state=FAILED, path=None, error=str(error)[:2_000])
            if isinstance(error, AccountRefused):
                await self._alert(file, "file_not_kept", f"the account was refused: {error}: {error.remedy}")
        return False

    async def _fetch_once(self, file: Wanted, path: str) -> bool:
        attachment = file.attachment
        with self._store.incoming() as (written, incoming):
            channel = self._channels[file.account.channel]
            told = await channel.download(file.account, attachment, written, self._limit)
            kept = await asyncio.to_thread(self._keep, written, incoming, path, attachment.kind, told)
        content_type, sha256, size = kept
        values = {"content_type": content_type, "sha256": sha256, "size": size, "error": None}
        if await self._change(file, PENDING, state=STORED, **values):
            file.media.path, file.media.content_type = path, content_type
            return True
        await asyncio.to_thread(self._store.remove, path)  # its sender has taken it back meanwhile
        return False

    def _keep(self, written: BinaryIO, incoming: Path, path: str, kind: str, told: str | None) -> tuple[str, str, int]:
        written.flush()
        sha256, size = digest(incoming)
        if size > self._limit:
            raise MediaRefused(f"larger than {self._limit} bytes")
        content_type = type_of(incoming, kind, told)
        self._store.keep(written, incoming, path)
        return content_type, sha256, size

    async def _listen(self, file: Wanted) -> None:
        """Write down what is said in a voice note, or in another sound file."""
        media = file.media
        if self._transcriber is None or file.attachment.kind != "audio" or not media.path or not media.content_type:
            return
        where = self._store.locate(media.path)
        try:
            said = await self._transcriber.transcribe(where, media.content_type, file.language)
        except (InvalidInput, ModelError, OSError) as error:
            log.warning("a voice note could not be heard", media_id=media.id, error=type(error).__name__)
            await self._change(file, STORED, error=f"not heard: {error}"[:2_000])
            return
        await self._change(file, STORED, transcript=clean_text(said).strip()[:MAX_MESSAGE_CHARACTERS])

    async def _forget(self, taken_back: Sequence[MediaFile], merchant_id: int) -> None:
        for media in taken_back:
            if media.path:
                await asyncio.to_thread(self._store.remove, media.path)
            async with self._database.transaction() as session:
                gone = {"state": REMOVED, "path": None, "transcript": None}
                await MediaRepository(session, merchant_id).change(media.id, media.state, **gone)

    async def _change(self, file: Wanted, when: str, **values: Any) -> bool:
        async with self._database.transaction() as session:
            return await MediaRepository(session, file.media.merchant_id).change(file.media.id, when, **values)

    async def _alert(self, file: Wanted, condition: str, why: str) -> None:
        ids = {"merchant_id": file.media.merchant_id, "message_id": file.media.message_id, "media_id": file.media.id}
        await self._alerts.send(Alarm(condition, why, {"channel": file.account.channel, **ids}))


def _may_pass(error: Exception) -> bool:
    return isinstance(error, Retryable) and not isinstance(error, AccountRefused)
