"""All SQL about contacts, conversations, messages and deliveries of one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.insert import insert_new
from recado.db.models import UNSENT_DELIVERY, ChannelAccount, Contact, Conversation, Delivery, Merchant, Message
from recado.errors import ConversationNotFound
from recado.merchants.account import Account
from recado.merchants.repository import to_account


@dataclass(frozen=True, slots=True)
class NextDelivery:
    """A delivery to send, in which conversation, to whom, from which account."""

    delivery: Delivery
    conversation: Conversation
    contact: Contact
    account: Account


class ConversationRepository:
    """One merchant's conversations."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self.session = session
        self.merchant_id = merchant_id

    async def get(self, conversation_id: int) -> tuple[Conversation, Contact, Merchant]:
        """A conversation, its person and its merchant. Raises ConversationNotFound."""
        row = (
            await self.session.execute(
                select(Conversation, Contact, Merchant)
                .join(Contact, Contact.id == Conversation.contact_id)
                .join(Merchant, Merchant.id == Conversation.merchant_id)
                .where(Conversation.id == conversation_id, Conversation.merchant_id == self.merchant_id)
            )
        ).one_or_none()
        if row is None:
            raise ConversationNotFound(f"Conversation {conversation_id} not found")
        return row[0], row[1], row[2]

    async def by_channel_user(self, channel: str, channel_user_id: str) -> tuple[Contact, Conversation] | None:
        """The person with this id on the channel, and their conversation."""
        row = (
            await self.session.execute(
                select(Contact, Conversation)
                .join(Conversation, Conversation.contact_id == Contact.id)
                .where(
                    Contact.merchant_id == self.merchant_id,
                    Contact.channel == channel,
                    Contact.channel_user_id == channel_user_id,
                )
            )
        ).one_or_none()
        return row and (row[0], row[1])

    async def by_contact(self, contact_id: int) -> tuple[Contact, Conversation] | None:
        """A person by their contact id, and their conversation."""
        row = (
            await self.session.execute(
                select(Contact, Conversation)
                .join(Conversation, Conversation.contact_id == Contact.id)
                .where(Contact.merchant_id == self.merchant_id, Contact.id == contact_id)
            )
        ).one_or_none()
        return row and (row[0], row[1])

    async def history(self, conversation_id: int, after_id: int, limit: int) -> list[Message]:
        """The last `limit` messages after `after_id`, oldest first."""
        query = (
            select(Message)
            .where(
                Message.conversation_id == conversation_id,
                Message.merchant_id == self.merchant_id,
                Message.id > after_id,
            )
            .order_by(Message.id.desc())
            .limit(limit)
        )
        return list(reversed((await self.session.scalars(query)).all()))

    async def add_message(self, **values: Any) -> tuple[int, bool]:
        """Write a message down unless its key is there already. Its id, and whether it is new."""
        is_sqlite = self.session.get_bind().dialect.name == "sqlite"
        statement = insert_new(Message, is_sqlite).values(merchant_id=self.merchant_id, **values)
        new_id = await self.session.scalar(statement.returning(Message.id))
        if new_id is not None:
            return int(new_id), True
        query = select(Message.id).where(Message.merchant_id == self.merchant_id, Message.key == values["key"])
        return (await self.session.execute(query)).scalar_one(), False

    async def quoted(self, conversation_id: int, provider_message_ids: Sequence[str]) -> dict[str, Message]:
        """Which of our messages these provider ids are, within one conversation."""
        rows = await self.session.execute(
            select(Delivery.provider_message_id, Message)
            .join(Message, Message.id == Delivery.message_id)
            .where(
                Delivery.merchant_id == self.merchant_id,
                Delivery.conversation_id == conversation_id,
                Delivery.provider_message_id.in_(provider_message_ids),
            )
        )
        return {str(provider_id): message for provider_id, message in rows}

    async def set_language(self, conversation_id: int, language: str) -> None:
        """Remember the person's language."""
        await self.session.execute(
            update(Conversation)
            .where(Conversation.id == conversation_id, Conversation.merchant_id == self.merchant_id)
            .values(language=language)
        )

    async def set_summary(self, conversation_id: int, summary: str, through: int) -> None:
        """Remember what was said up to and including message `through`."""
        await self.session.execute(
            update(Conversation)
            .where(Conversation.id == conversation_id, Conversation.merchant_id == self.merchant_id)
            .values(summary=summary, summarised_through=through)
        )

    async def next_delivery(self, conversation_id: int) -> NextDelivery | None:
        """The oldest delivery of the conversation that is not sent yet, with what sending it needs.

        It is locked: whoever claims it is alone.
        """
        row = (
            await self.session.execute(
                select(Delivery, Conversation, Contact, ChannelAccount)
                .join(Conversation, Conversation.id == Delivery.conversation_id)
                .join(Contact, Contact.id == Conversation.contact_id)
                .join(ChannelAccount, ChannelAccount.id == Delivery.channel_account_id)
                .where(
                    Delivery.merchant_id == self.merchant_id,
                    Delivery.conversation_id == conversation_id,
                    UNSENT_DELIVERY,
                )
                .order_by(Delivery.id)
                .limit(1)
                .with_for_update(of=Delivery)
            )
        ).one_or_none()
        return NextDelivery(row[0], row[1], row[2], to_account(row[3])) if row else None

    async def went_as_template(self, message_id: int) -> bool:
        """Whether a message's first part went as its template, which stands for all parts."""
        query = select(Delivery.sent_as).where(
            Delivery.merchant_id == self.merchant_id, Delivery.message_id == message_id, Delivery.part == 0
        )
        return await self.session.scalar(query) == "template"

    async def change_delivery(self, delivery_id: int, expected: Sequence[str], **values: Any) -> bool:
        """Change a delivery if it is still in one of the expected states. Whether it was."""
        done = await self.session.execute(
            update(Delivery)
            .where(
                Delivery.id == delivery_id,
                Delivery.merchant_id == self.merchant_id,
                Delivery.state.in_(expected),
            )
            .values(**values)
            .returning(Delivery.id)
        )
        return done.scalar() is not None

    async def find_delivery(self, provider_message_id: str, delivery_id: int | None) -> Delivery | None:
        """The delivery that a status is about: by our own id where the provider gave it back, else by its own."""
        if delivery_id is not None:
            mine = Delivery.id == delivery_id
        else:
            mine = Delivery.provider_message_id == provider_message_id
        return await self.session.scalar(select(Delivery).where(Delivery.merchant_id == self.merchant_id, mine))

    async def known_provider_ids(self, provider_message_ids: Sequence[str]) -> set[str]:
        """Which of these provider ids a delivery already has."""
        rows = await self.session.scalars(
            select(Delivery.provider_message_id).where(
                Delivery.merchant_id == self.merchant_id,
                Delivery.provider_message_id.in_(provider_message_ids),
            )
        )
        return {str(row) for row in rows}


async def merchant_of(session: AsyncSession, conversation_id: int) -> int:
    """Which merchant a conversation belongs to, for a job that only has its id. Raises ConversationNotFound."""
    found = await session.scalar(select(Conversation.merchant_id).where(Conversation.id == conversation_id))
    if found is None:
        raise ConversationNotFound(f"Conversation {conversation_id} not found")
    return found


async def conversations_with_due_deliveries(session: AsyncSession, now: datetime, limit: int) -> list[tuple[int, int]]:
    """(conversation id, merchant id) of those with a delivery to send, of all merchants, for the sweep."""
    query = (
        select(Delivery.conversation_id, Delivery.merchant_id)
        .where(UNSENT_DELIVERY, Delivery.due_at <= now)
        .group_by(Delivery.conversation_id, Delivery.merchant_id)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]
