"""The simulator: the page, and the network's side of its phones. It exists only when a simulator account does."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from sqlalchemy.ext.asyncio import AsyncSession
from sse_starlette import EventSourceResponse

from recado.channels.simulator.payloads import describe
from recado.db.models import Merchant
from recado.http.services import HttpServices
from recado.media.check import picture_type
from recado.merchants.account import Account
from recado.merchants.repository import MerchantRepository, find_account, find_accounts
from recado.merchants.schemas import e164
from recado.text import clean_text

PAGES = Path(__file__).parent / "pages"
STATIC = frozenset({"simulator.css", "simulator.js"})
PING_SECONDS = 15
LARGEST_FILES = 2_000_000
"""Of one message's, in bytes: in base64, with the rest, they must be within what a request may carry."""
LONGEST_ADVANCE_SECONDS = 366 * 24 * 3600

CUSTOMERS = (
    {"phone": "+51911111111", "name": "Ana", "role": "customer"},
    {"phone": "+51922222222", "name": "Ben", "role": "customer"},
)
DEMO_NOTICE = (
    "The demo model answers by simple rules and understands no language. Set OPENAI_API_KEY in .env for a real one."
)

Phone = Annotated[str, AfterValidator(e164)]


def _plain(written: str) -> str:
    if clean_text(written) != written:
        raise ValueError("it holds characters that cannot be stored, such as control characters")
    return written


MessageId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]


def _decoded(written: Any) -> Any:
    try:
        return base64.b64decode(written, validate=True) if isinstance(written, str) else written
    except ValueError:
        raise ValueError("it is no base64") from None


FileBytes = Annotated[
    bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "contentEncoding": "base64", "minLength": 1})
]


class SentFile(BaseModel):
    """A file that a person sends. One of a sound without a name is a voice note."""

    content_type: str = Field(pattern=r"^[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}$")
    filename: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)] | None = None
    data: FileBytes = Field(min_length=1, description="The file, in base64")


class SentPlace(BaseModel):
    """Where a person says that something is, in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)] | None = None


class PersonSends(BaseModel):
    """A message that a person sends. `id`: the provider message id (a repeat is a redelivery)."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={"example": {"from": "+51911111111", "to": "+15550100", "text": "¿Hacen envíos?"}},
    )

    sender: Phone = Field(alias="from")
    to: Phone
    text: str = Field("", max_length=100_000, description="May be empty where files or a location are sent")
    attachments: list[SentFile] = Field(default=[], max_length=10)
    location: SentPlace | None = None
    name: str | None = Field(None, max_length=200)
    reply_to: MessageId | None = Field(None, description="The id of the message that is quoted")
    id: MessageId | None = None
    button: str | None = Field(None, max_length=256, description="The id of the button that was tapped")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if "text" not in self.model_fields_set and not self.attachments and self.location is None:
            raise ValueError("give a text, attachments or a location")
        if sum(len(sent.data) for sent in self.attachments) > LARGEST_FILES:
            raise ValueError(f"the files are larger than {LARGEST_FILES // 1_000_000} MB")
        return self


class PersonReads(BaseModel):
    """A person looks at a chat."""

    phone: Phone
    to: Phone


class Advance(BaseModel):
    """How far to move the clock."""

    advance_seconds: float = Field(gt=0, le=LONGEST_ADVANCE_SECONDS)


def router(services: HttpServices) -> APIRouter:
    """The simulator's routes, on these services."""
    simulator = Simulator(services)
    routes = APIRouter(prefix="/simulator", tags=["simulator"], dependencies=[Depends(simulator.accounts)])
    routes.add_api_route("", simulator.page, methods=["GET"], response_class=FileResponse, include_in_schema=False)
    routes.add_api_route("/static/{name}", simulator.static, methods=["GET"], include_in_schema=False)
    routes.add_api_route("/people", simulator.people, methods=["GET"])
    routes.add_api_route("/messages", simulator.send, methods=["POST"], status_code=202)
    routes.add_api_route("/messages", simulator.messages, methods=["GET"])
    routes.add_api_route("/files/{name}", simulator.file, methods=["GET"], include_in_schema=False)
    routes.add_api_route("/events", simulator.events, methods=["GET"])
    routes.add_api_route("/read", simulator.read, methods=["POST"], status_code=204)
    routes.add_api_route("/clock", simulator.clock, methods=["GET"])
    routes.add_api_route("/clock", simulator.advance, methods=["POST"])
    return routes


class Simulator:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._services = services
        self._network = services.network

    async def accounts(self) -> list[Account]:
        """The simulator accounts; 404 while there is none."""
        async with self._services.database.read() as session:
            found = await find_accounts(session, "simulator")
        if not found:
            raise HTTPException(404, "no merchant has a simulator channel: add one to its YAML and run `recado apply`")
        return found

    async def page(self) -> Response:
        """The page."""
        return FileResponse(PAGES / "simulator.html", headers={"Cache-Control": "no-cache"})

    async def static(self, name: str) -> Response:
        """The page's files."""
        if name not in STATIC:
            raise HTTPException(404, f"no file {name!r}")
        return FileResponse(PAGES / name, headers={"Cache-Control": "no-cache"})

    async def people(self) -> dict[str, Any]:
        """Whom the page shows: two customers, and the staff of the merchants that have a simulator account."""
        accounts: list[dict[str, Any]] = []
        staff: list[dict[str, Any]] = []
        for account in await self.accounts():
            async with self._services.database.read() as session:
                merchant, members = await _merchant_and_staff(session, account)
            named = {"address": account.address, "merchant": merchant.name, "language": merchant.language}
            sharing = next((other for other in accounts if other["address"] == account.address), None)
            if sharing is None:
                accounts.append(named)
            else:
                sharing["merchant"] += f" · {merchant.name}"
            staff += [member for member in members if member not in staff]
        demo = self._services.settings.model_provider == "demo"
        return {
            "merchant_accounts": accounts,
            "people": [*CUSTOMERS, *staff],
            "model": self._services.settings.model_provider,
            "demo_notice": DEMO_NOTICE if demo else None,
        }

    async def send(self, body: PersonSends) -> dict[str, str]:
        """A person sends a message. Answered once it is in the inbox."""
        async with self._services.database.read() as session:
            account = await find_account(session, "simulator", body.to)
        if account is None:
            raise HTTPException(422, f"no simulator account has the number {body.to}: see GET /simulator/people")
        row = await self._network.person_sends(
            {
                "client_reference": body.id,
                "address": account.address,
                "phone": body.sender,
                "text": clean_text(body.text),
                "name": body.name,
                "reply_to": body.reply_to,
                "button": body.button,
                "attachments": [sent.model_dump() for sent in body.attachments],
                "location": body.location.model_dump(exclude_none=True) if body.location else None,
            }
        )
        return {"id": row.id}

    async def messages(self, phone: Annotated[Phone, Query()]) -> list[dict[str, Any]]:
        """All that this phone sent and received."""
        return [describe(row) for row in await self._network.messages(phone)]

    async def file(self, name: str) -> Response:
        """A file that a person sent."""
        data = await asyncio.to_thread(self._network.files.read, name)
        if data is None:
            raise HTTPException(404, "no such file")
        shown = picture_type(data)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
        if shown is None:
            headers["Content-Disposition"] = "attachment"
        return Response(data, media_type=shown or "application/octet-stream", headers=headers)

    async def events(self, request: Request, phone: Annotated[Phone, Query()]) -> EventSourceResponse:
        """What happens on this phone, as server-sent events: all its messages first, then each change."""

        async def stream() -> AsyncIterator[dict[str, str]]:
            async with self._network.watch(phone) as notices:
                yield {"event": "clock", "data": json.dumps(self._network.clock())}
                for row in await self._network.messages(phone):
                    yield {"event": "message", "data": json.dumps(describe(row))}
                while True:
                    name, data = await notices.get()
                    yield {"event": name, "data": json.dumps(data)}

        return EventSourceResponse(stream(), ping=PING_SECONDS)

    async def read(self, body: PersonReads) -> Response:
        """A person looks at a chat: what arrived there is read."""
        await self._network.person_reads(body.phone, body.to)
        return Response(status_code=204)

    async def clock(self) -> dict[str, Any]:
        """The system's time, and how far it is ahead of real time."""
        return self._network.clock()

    async def advance(self, body: Advance) -> dict[str, Any]:
        """Move the system's clock forward, to see the 24-hour rule at work."""
        await self._network.advance_clock(body.advance_seconds)
        return self._network.clock()


async def _merchant_and_staff(session: AsyncSession, account: Account) -> tuple[Merchant, list[dict[str, Any]]]:
    merchants = MerchantRepository(session, account.merchant_id)
    staff = [
        {
            "phone": person.phone,
            "name": person.name,
            "role": "staff",
            "types": person.types,
            "merchant": (await merchants.get()).name,
        }
        for person in await merchants.staff()
    ]
    return await merchants.get(), staff
