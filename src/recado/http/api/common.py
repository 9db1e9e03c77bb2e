"""What the routes of the REST API share: pages, ids, texts, and how problems are documented."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Self, TypeVar

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from recado.http.auth import MAX_ID
from recado.http.errors import MEDIA_TYPE
from recado.merchants.schemas import e164
from recado.text import MAX_MESSAGE_CHARACTERS, clean_text

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_PAGE = 1_000_000

T = TypeVar("T")

EXAMPLES = {
    401: ("Unauthenticated", "give a key that is known, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"),
    403: ("Not allowed", "this needs the platform key"),
    404: ("Not found", "Notification 12 not found"),
    409: ("Already answered", "NOTIF_12 has been answered already"),
    422: ("Invalid input", "context.question: it is blank"),
}


class Body(BaseModel):
    """A request body: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class Change(Body):
    """A body that names what is to change; the rest stays, so that null means nothing."""

    @model_validator(mode="after")
    def _no_nulls(self) -> Self:
        nulls = [name for name in sorted(self.model_fields_set) if getattr(self, name) is None]
        if nulls:
            raise ValueError(f"{nulls[0]} cannot be null: leave out what is to stay")
        return self


class Page(BaseModel, Generic[T]):
    """One page of a list. `total` counts what is on all of them."""

    items: list[T]
    total: int
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is wanted."""

    page: int
    page_size: int

    @property
    def offset(self) -> int:
        """How many rows come before it."""
        return (self.page - 1) * self.page_size

    def of(self, items: Iterable[T], total: int) -> Page[T]:
        """The page with these items."""
        return Page(items=list(items), total=total, page=self.page, page_size=self.page_size)


PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="How many items a page has at most")]


def _paging(page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1, page_size: PageSize = DEFAULT_PAGE_SIZE) -> Paging:
    return Paging(page, page_size)


def plain(written: str) -> str:
    """A text as it may be stored: composed, without spaces around it. Raises ValueError where it cannot be."""
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\r\t" for c in written):
        raise ValueError("it holds control characters")
    cleaned = clean_text(written).strip()
    if not cleaned:
        raise ValueError("it is blank")
    return cleaned


WantedPage = Annotated[Paging, Depends(_paging)]
RowId = Annotated[int, Field(ge=1, le=MAX_ID)]
PathId = Annotated[int, Path(ge=1, le=MAX_ID)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_CHARACTERS), AfterValidator(plain)]
PhoneNumber = Annotated[str, Field(max_length=32, description="E.164, such as +51900000001"), AfterValidator(e164)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(plain)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How routes document the problems that they may answer with."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    title, detail = EXAMPLES[status]
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": title, "content": {MEDIA_TYPE: content}}
