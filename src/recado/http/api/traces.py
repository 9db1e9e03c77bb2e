"""What happened to a message, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from recado.http.api.common import PathId
from recado.http.auth import MerchantId
from recado.http.services import HttpServices
from recado.stories.schemas import Story
from recado.stories.service import Stories, with_links

Texts = Annotated[
    bool, Query(description="With what was written, the names of customers and whole phone numbers; else masked")
]


def router(services: HttpServices) -> APIRouter:
    """The route, on these services."""
    routes = APIRouter(prefix="/conversation/messages", tags=["conversations"])
    routes.add_api_route(
        "/{message_id}/trace", TracesApi(services).trace_message, methods=["GET"], summary="What happened to a message"
    )
    return routes


class TracesApi:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._channels = services.channels
        self._links = services.links

    async def trace_message(self, message_id: PathId, merchant_id: MerchantId, texts: Texts = False) -> Story:
        """What caused it, how it was sent and received, and what it caused: turns, tools, calls of models, questions to
        the staff and their answers, deliveries and their statuses, the conversation API, alerts."""
        async with self._database.read() as session:
            story = await Stories(session, merchant_id, self._channels).tell(message_id, texts=texts)
        return await with_links(story, self._links)
