"""Files that people sent."""

import asyncio
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse

from recado.errors import NotFound
from recado.http.api.common import PathId
from recado.http.auth import MerchantId
from recado.http.services import HttpServices
from recado.media.repository import STORED, MediaRepository
from recado.media.storage import MediaStore

HEADERS = {
    # What people send is kept as it came: no browser may take it for a page of ours.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


def router(services: HttpServices) -> APIRouter:
    """The routes, on these services."""
    api = _Media(services)
    routes = APIRouter(prefix="/conversation/media", tags=["conversations"])
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    routes.add_api_route(
        "/{media_id}",
        api.download_file,
        methods=["GET"],
        summary="A file that a person sent",
        response_class=FileResponse,
        responses={200: {"description": "The file, to be saved", "content": content}},
    )
    return routes


class _Media:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._store = MediaStore(services.settings.media_dir)

    async def download_file(self, media_id: PathId, merchant_id: MerchantId) -> FileResponse:
        """A file that somebody sent to the merchant, as it came, under the name that they gave it."""
        async with self._database.read() as session:
            found = await MediaRepository(session, merchant_id).with_name(media_id)
        media, filename = found or (None, None)
        path = self._store.locate(media.path) if media and media.path and media.state == STORED else None
        if media is None or path is None or not await asyncio.to_thread(path.is_file):
            raise NotFound(f"File {media_id} not found")
        disposition = f"attachment; filename*=UTF-8''{quote(filename or f'file-{media_id}', safe='')}"
        headers = {**HEADERS, "Content-Disposition": disposition}
        return FileResponse(path, media_type=media.content_type, headers=headers)
