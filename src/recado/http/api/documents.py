"""What the agent knows, for those who look after it."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from recado.documents.service import DocumentService
from recado.http.api.common import Body, Change, Page, PathId, Text, WantedPage, plain
from recado.http.auth import API_PREFIX, MerchantId
from recado.http.services import HttpServices
from recado.notifications.repository import NotificationRepository
from recado.notifications.schemas import NotificationSchema, described

Category = Literal["faq", "user_question", "support_classification"]


class DocumentSchema(BaseModel):
    """One piece of knowledge, and where it comes from. `source`: `yaml` (change those there), `api`, or `free_input`:
    a customer's question, whose content is empty until it is answered. `answered_by` is the member of the staff; null
    for answers that came over the API.
    """

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 9,
                    "category": "user_question",
                    "source": "free_input",
                    "title": "¿Venden hielo?",
                    "content": "Sí, a 5 soles la bolsa.",
                    "notification_id": 12,
                    "answered_by": 2,
                    "answered_at": "2026-05-01T12:04:00Z",
                    "retired_at": "2026-06-30T08:15:00Z",
                    "created_at": "2026-05-01T12:00:00Z",
                    "updated_at": "2026-06-30T08:15:00Z",
                }
            ]
        },
    )

    id: int
    category: str
    source: str
    title: str
    content: str
    notification_id: int | None
    answered_by: int | None
    answered_at: datetime | None
    retired_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewDocument(Body):
    """Something that the agent is to know from now on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"category": "faq", "title": "¿Hacen envíos?", "content": "Sí, a todo Lima en 24 horas."}]
        }
    )

    category: Category
    title: Text
    content: Text


class DocumentChange(Change):
    """What is to change; the rest stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"content": "Sí, a todo el Perú en 48 horas."}]})

    title: Text | None = None
    content: Text | None = None


Searched = Annotated[
    str,
    Field(max_length=500),
    AfterValidator(plain),
    Query(description="Words that stand together in title or content, whatever their case and accents"),
]


def router(services: HttpServices) -> APIRouter:
    """The routes, on these services."""
    api = DocumentsApi(services)
    routes = APIRouter(prefix="/document/documents", tags=["documents"])
    routes.add_api_route("", api.list_documents, methods=["GET"], summary="Documents, newest first")
    routes.add_api_route("", api.create_document, methods=["POST"], status_code=201, summary="Add a document")
    one = "/{document_id}"
    routes.add_api_route(one, api.get_document, methods=["GET"], summary="One document")
    routes.add_api_route(one, api.change_document, methods=["PATCH"], summary="Change a document")
    routes.add_api_route(f"{one}/retire", api.retire_document, methods=["POST"], summary="Answer from it no more")
    routes.add_api_route(f"{one}/restore", api.restore_document, methods=["POST"], summary="Answer from it again")
    routes.add_api_route(
        f"{one}/notifications", api.list_notifications, methods=["GET"], summary="The questions that it answers"
    )
    return routes


class DocumentsApi:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._clock = services.clock

    async def list_documents(
        self,
        merchant_id: MerchantId,
        paging: WantedPage,
        category: Category | None = None,
        q: Searched | None = None,
        retired: bool = False,
    ) -> Page[DocumentSchema]:
        """The merchant's documents in use, or those that are retired."""
        async with self._database.read() as session:
            service = DocumentService(session, merchant_id, self._clock)
            rows, total = await service.page(category, q, retired, paging.page_size, paging.offset)
        return paging.of(map(DocumentSchema.model_validate, rows), total)

    async def create_document(self, merchant_id: MerchantId, body: NewDocument, response: Response) -> DocumentSchema:
        """The agent answers from it at once."""
        async with self._database.transaction() as session:
            service = DocumentService(session, merchant_id, self._clock)
            row = await service.create(body.category, body.title, body.content)
        response.headers["Location"] = f"{API_PREFIX}/document/documents/{row.id}"
        return DocumentSchema.model_validate(row)

    async def get_document(self, merchant_id: MerchantId, document_id: PathId) -> DocumentSchema:
        """One document, also a retired one."""
        async with self._database.read() as session:
            row = await DocumentService(session, merchant_id, self._clock).get(document_id)
        return DocumentSchema.model_validate(row)

    async def change_document(
        self, merchant_id: MerchantId, document_id: PathId, body: DocumentChange
    ) -> DocumentSchema:
        """Change title or content. A document of a YAML file is changed there."""
        async with self._database.transaction() as session:
            service = DocumentService(session, merchant_id, self._clock)
            row = await service.update(document_id, title=body.title, content=body.content)
        return DocumentSchema.model_validate(row)

    async def retire_document(self, merchant_id: MerchantId, document_id: PathId) -> DocumentSchema:
        """The agent answers from it no more; it is kept, and can be restored. Again, it changes nothing."""
        async with self._database.transaction() as session:
            row = await DocumentService(session, merchant_id, self._clock).retire(document_id)
        return DocumentSchema.model_validate(row)

    async def restore_document(self, merchant_id: MerchantId, document_id: PathId) -> DocumentSchema:
        """The agent answers from it again. Again, it changes nothing."""
        async with self._database.transaction() as session:
            row = await DocumentService(session, merchant_id, self._clock).restore(document_id)
        return DocumentSchema.model_validate(row)

    async def list_notifications(
        self, merchant_id: MerchantId, document_id: PathId, paging: WantedPage
    ) -> Page[NotificationSchema]:
        """The notifications whose answer goes into this document, newest first."""
        async with self._database.read() as session:
            await DocumentService(session, merchant_id, self._clock).get(document_id)
            rows, total = await NotificationRepository(session, merchant_id).page(
                None, (), paging.page_size, paging.offset, document_id=document_id
            )
        return paging.of(map(described, rows), total)
