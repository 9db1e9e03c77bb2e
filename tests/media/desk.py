"""A shop to which people send files from a local host, and what makes them ready."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpx
from sqlalchemy import select

from recado.channels.base import Attachment, InboundMessage
from recado.channels.download import Trusted, fetch_file
from recado.db.models import MediaFile, Message
from recado.errors import InvalidInput, ModelError
from recado.media.service import MediaService
from recado.media.storage import MediaStore
from recado.merchants.account import Account
from recado.turns.repository import TurnRepository
from tests.alert_log import AlertLog
from tests.builders import ANA, NOON, Line, ProcessDies, Shop
from tests.media.host import FileHost

LIMIT = 5_000
HOST = "files.provider.example"


@dataclass
class FetchingLine(Line):
    """A provider whose files are on the local host. `dies`: in the middle of how many downloads the process ends."""

    host: FileHost | None = None
    dies: int = 0
    downloads: int = 0

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        assert self.host is not None
        self.downloads += 1
        trusted = Trusted(frozenset({HOST}), self.host.url)
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            told = await fetch_file(client, attachment.source, trusted=trusted, file=file, limit=limit)
        if self.dies:
            self.dies -= 1
            raise ProcessDies
        return told


@dataclass
class Ears:
    """Hears `said`, or fails so. `gate`, while it is there, keeps it listening."""

    said: str = "¿Hacen envíos?"
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    heard: list[tuple[bytes, str, str | None]] = field(default_factory=list)

    async def transcribe(self, file: Path, content_type: str, language: str | None) -> str:
        self.heard.append((await asyncio.to_thread(file.read_bytes), content_type, language))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.said


class MediaDesk:
    """A shop, its files' folder, and the service that fills it."""

    def __init__(self, shop: Shop, host: FileHost, folder: Path) -> None:
        self.shop, self.host, self.folder = shop, host, folder
        self.line, self.ears, self.alerts = FetchingLine(host=host), Ears(), AlertLog(shop.database)
        self.store = MediaStore(folder)

    def service(self, total_seconds: float = 20.0, *, hears: bool = True) -> MediaService:
        shop, ears = self.shop, self.ears if hears else None
        channels = {"simulator": self.line}
        return MediaService(shop.database, shop.clock, channels, self.alerts, ears, self.store, LIMIT, total_seconds)

    async def sends(self, *attachments: Attachment, text: str = "", kind: str = "", **more: object) -> int:
        """Ana sends files; the id of the turn that is to answer."""
        self.shop.heard += 1
        kind = kind or (attachments[0].kind if attachments else "text")
        inbound = InboundMessage(
            f"wamid.{self.shop.heard}",
            ANA,
            ANA,
            "Ana",
            kind,
            text,
            attachments=attachments,
            **more,  # type: ignore[arg-type]
        )
        async with self.shop.conversations() as service:
            received = await service.receive(self.shop.account, inbound, self.shop.clock.now())
        async with self.shop.database.transaction() as session:
            turns = TurnRepository(session, self.shop.merchant_id)
            turn = await turns.running(received.conversation.id)
            if turn is None:
                turn = turns.start(received.conversation.id, "p", NOON, NOON)
                await session.flush()
            await turns.attach_pending(turn)
            return turn.id

    async def prepare(self, turn_id: int, service: MediaService | None = None) -> None:
        await (service or self.service()).prepare(turn_id, self.shop.merchant_id)

    async def files(self) -> list[MediaFile]:
        async with self.shop.database.read() as session:
            return list(await session.scalars(select(MediaFile).order_by(MediaFile.id)))

    async def message(self) -> Message:
        """The newest message."""
        async with self.shop.database.read() as session:
            return (await session.scalars(select(Message).order_by(Message.id.desc()).limit(1))).one()

    def on_disk(self) -> list[Path]:
        """Every file under the folder."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def attachment(path: str, kind: str = "image", content_type: str | None = "image/png", **more: object) -> Attachment:
    """A file of the provider's."""
    source = path if "://" in path else f"https://{HOST}{path}"
    return Attachment(kind, source, content_type, **more)  # type: ignore[arg-type]


FAILURES = [ModelError("gone"), InvalidInput("no model listens to audio/amr")]
