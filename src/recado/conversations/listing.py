"""Conversations and their messages, page by page, for people who look at them."""

from dataclasses import dataclass

from sqlalchemy import ScalarSelect, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import Contact, Conversation, Delivery, Message
from recado.db.paging import page_of
from recado.errors import ConversationNotFound

DELIVERY_STATES = ("failed", "held", "pending", "sending", "sent", "delivered", "read", "skipped")
"""A message is as far as that of its parts which comes first here."""


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message, and how far it is on its way to the person; None for one that is not sent to anybody."""

    message: Message
    delivery_state: str | None


class ConversationListing:
    """One merchant's conversations."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def page(self, phone: str | None, limit: int, offset: int) -> tuple[list[tuple[Conversation, Contact]], int]:
        """A page of conversations, newest first, of the person with this phone where given; and how many there are."""
        query = self._with_contact()
        if phone is not None:
            query = query.where(Contact.phone == phone)
        rows, total = await page_of(self._session, query.order_by(Conversation.id.desc()), limit, offset)
        return [(row[0], row[1]) for row in rows], total

    async def get(self, conversation_id: int) -> tuple[Conversation, Contact]:
        """A conversation and its person. Raises ConversationNotFound."""
        query = self._with_contact().where(Conversation.id == conversation_id)
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            raise ConversationNotFound(f"Conversation {conversation_id} not found")
        return row[0], row[1]

    async def messages(self, conversation_id: int, before: int | None, limit: int) -> tuple[list[ListedMessage], int]:
        """The last `limit` messages before the one with id `before`, oldest first; and how many the conversation has.

        Raises ConversationNotFound.
        """
        query = select(Message, delivery_rank()).where(
            Message.merchant_id == self._merchant_id, Message.conversation_id == conversation_id
        )
        total = await self._session.scalar(query.with_only_columns(func.count(), maintain_column_froms=True))
        if not total:
            await self.get(conversation_id)  # empty, or not there?
        if before is not None:
            query = query.where(Message.id < before)
        rows = (await self._session.execute(query.order_by(Message.id.desc()).limit(limit))).all()
        return [ListedMessage(row[0], delivery_state(row[1])) for row in reversed(rows)], total or 0

    async def by_key(self, key: str) -> ListedMessage | None:
        """The message that was written under this key."""
        query = select(Message, delivery_rank()).where(Message.merchant_id == self._merchant_id, Message.key == key)
        row = (await self._session.execute(query)).one_or_none()
        return ListedMessage(row[0], delivery_state(row[1])) if row else None

    def _with_contact(self) -> Select[Conversation, Contact]:
        return (
            select(Conversation, Contact)
            .join(Contact, Contact.id == Conversation.contact_id)
            .where(Conversation.merchant_id == self._merchant_id)
        )


def delivery_rank() -> ScalarSelect[int | None]:
    """For a query over messages: where in `DELIVERY_STATES` each is."""
    ranks = {state: rank for rank, state in enumerate(DELIVERY_STATES)}
    rank = func.min(case(ranks, value=Delivery.state))
    of_message = (Delivery.message_id == Message.id, Delivery.merchant_id == Message.merchant_id)
    return select(rank).where(*of_message).correlate(Message).scalar_subquery()


def delivery_state(rank: int | None) -> str | None:
    """The state that a rank stands for."""
    return None if rank is None else DELIVERY_STATES[rank]
