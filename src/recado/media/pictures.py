"""Pictures as the model is shown them."""

import asyncio
import base64
from collections.abc import Sequence

from recado.db.engine import Database
from recado.db.models import MediaFile
from recado.media.check import SHOWN
from recado.media.repository import MediaRepository
from recado.media.storage import MediaStore

LARGEST = 5 * 1024 * 1024
"""Of one picture that is shown, in bytes."""
MOST, LARGEST_IN_ALL = 10, 20 * 1024 * 1024
"""How many pictures one turn shows, and how many bytes: the newest of them."""


class Pictures:
    """Reads pictures that are kept."""

    def __init__(self, database: Database, store: MediaStore) -> None:
        self._database = database
        self._store = store

    async def data_urls(self, merchant_id: int, media_ids: Sequence[int]) -> dict[int, str]:
        """Each picture in a URL of its own, by id. What is gone, or is no picture for a model, is left out."""
        if not media_ids:
            return {}
        async with self._database.read() as session:
            found = await MediaRepository(session, merchant_id).stored(media_ids)
        return await asyncio.to_thread(self._read, sorted(found, key=lambda media: media.id, reverse=True))

    def _read(self, newest_first: Sequence[MediaFile]) -> dict[int, str]:
        urls: dict[int, str] = {}
        left = LARGEST_IN_ALL
        for media in newest_first:
            size = media.size or 0
            if media.content_type not in SHOWN or size > min(left, LARGEST) or len(urls) == MOST:
                continue
            try:
                data = self._store.read(media.path or "")
            except OSError:  # its sender has taken it back
                continue
            left -= size
            urls[media.id] = f"data:{media.content_type};base64,{base64.b64encode(data).decode()}"
        return urls
