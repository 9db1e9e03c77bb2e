"""All SQL about contacts, conversations, messages and deliveries of one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.insert import insert_new
from recado.db.models import (
    HELD_DELIVERY,
    UNSENT_DELIVERY,
    ChannelAccount,
    Contact,
    Conversation,
    Delivery,
    Merchant,
    MerchantUser,
    Message,
    StaffLink,
)
from recado.errors import ConversationNotFound
from recado.merchants.account import Account
from recado.merchants.repository import to_account


@dataclass(frozen=True, slots=True)
class NextDelivery:
    """A delivery to send, in which conversation, to whom, from which account; of which turn, and in which trace."""

    delivery: Delivery
    conversation: Conversation
    contact: Contact
    account: Account
    turn_id: int | None
    trace_id: str | None


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

    async def of_staff(
        self, contact_ids: Sequence[int], but: int | None
    ) -> list[tuple[Contact, Conversation, Account, Merchant]]:
        """Of these contacts all but one member of the staff, each with conversation, account and merchant."""
        query = (
            select(Contact, Conversation, ChannelAccount, Merchant)
            .join(Conversation, Conversation.contact_id == Contact.id)
            .join(ChannelAccount, ChannelAccount.id == Conversation.channel_account_id)
            .join(Merchant, Merchant.id == Contact.merchant_id)
            .where(Contact.merchant_id == self.merchant_id, Contact.id.in_(contact_ids))
        )
        if but is not None:
            theirs = select(MerchantUser.phone).where(
                MerchantUser.merchant_id == self.merchant_id, MerchantUser.id == but
            )
            linked = exists().where(
                StaffLink.merchant_id == self.merchant_id,
                StaffLink.merchant_user_id == but,
                StaffLink.channel == Contact.channel,
                StaffLink.channel_user_id == Contact.channel_user_id,
            )
            query = query.where(Contact.phone.is_distinct_from(theirs.scalar_subquery()), ~linked)
        rows = await self.session.execute(query.order_by(Contact.id))
        return [(row[0], row[1], to_account(row[2]), row[3]) for row in rows]

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

    async def add_messages(self, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
        """Write messages down, but those whose key is there already. The ids of the new ones, by their keys."""
        if not rows:
            return {}
        is_sqlite = self.session.get_bind().dialect.name == "sqlite"
        values = [{"merchant_id": self.merchant_id, **row} for row in rows]
        statement = insert_new(Message, is_sqlite).values(values)
        added = await self.session.execute(statement.returning(Message.key, Message.id))
        return {str(row[0]): int(row[1]) for row in added}

    async def add_deliveries(self, rows: Sequence[dict[str, Any]]) -> None:
        """Put deliveries into the outbox."""
        if rows:
            await self.session.execute(insert(Delivery), [{"merchant_id": self.merchant_id, **row} for row in rows])

    async def message_id(self, key: str) -> int:
        """The id of the message with this key."""
        query = select(Message.id).where(Message.merchant_id == self.merchant_id, Message.key == key)
        return (await self.session.execute(query)).scalar_one()

    async def quoted(self, conversation_id: int, provider_message_ids: Sequence[str]) -> dict[str, Message]:
        """Which of our messages these provider ids are, of those to the person of one conversation: in it, or in one
        from when they were taken for somebody else."""
        person = select(Conversation.contact_id).where(
            Conversation.merchant_id == self.merchant_id, Conversation.id == conversation_id
        )
        rows = await self.session.execute(
            select(Delivery.provider_message_id, Message)
            .join(Message, Message.id == Delivery.message_id)
            .join(Conversation, Conversation.id == Delivery.conversation_id)
            .join(Contact, Contact.id == Conversation.contact_id)
            .where(
                Delivery.merchant_id == self.merchant_id,
                Delivery.provider_message_id.in_(provider_message_ids),
                or_(Conversation.id == conversation_id, Contact.superseded_by_id == person.scalar_subquery()),
            )
        )
        return {str(provider_id): message for provider_id, message in rows}

    async def next_delivery(self, conversation_id: int) -> NextDelivery | None:
        """The oldest delivery of the conversation that is not sent yet, with what sending it needs.

        It is locked: whoever claims it is alone.
        """
        row = (
            await self.session.execute(
                select(Delivery, Conversation, Contact, ChannelAccount, Message.turn_id, Message.trace_id)
                .join(Message, Message.id == Delivery.message_id)
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
        return NextDelivery(row[0], row[1], row[2], to_account(row[3]), row[4], row[5]) if row else None

    async def first_part(self, message_id: int) -> Delivery:
        """The first of a message's deliveries, which decides about the others."""
        query = select(Delivery).where(
            Delivery.merchant_id == self.merchant_id, Delivery.message_id == message_id, Delivery.part == 0
        )
        return (await self.session.scalars(query)).one()

    async def origin(self, message_id: int) -> tuple[int | None, str | None]:
        """The turn and the trace in which a message was written."""
        query = select(Message.turn_id, Message.trace_id).where(
            Message.merchant_id == self.merchant_id, Message.id == message_id
        )
        row = (await self.session.execute(query)).one()
        return row[0], row[1]

    async def hold(self, message_id: int) -> None:
        """Keep the texts of a message back until the person opens the window."""
        await self.session.execute(
            update(Delivery)
            .where(
                Delivery.merchant_id == self.merchant_id,
                Delivery.message_id == message_id,
                Delivery.part > 0,
                Delivery.state == "pending",
            )
            .values(state="held")
        )

    async def release(self, conversation_id: int, now: datetime) -> bool:
        """The window is open: what was held may go. Whether there was anything."""
        released = await self.session.execute(
            update(Delivery)
            .where(Delivery.merchant_id == self.merchant_id, Delivery.conversation_id == conversation_id, HELD_DELIVERY)
            .values(state="pending", due_at=now, attempts=0, slot_at=None, error=None, provider_code=None)
            .returning(Delivery.id)
        )
        return bool(released.all())

    async def window(self, conversation_id: int) -> datetime | None:
        """When the person last wrote, as it is now: nobody changes it until this transaction ends."""
        query = select(Conversation.last_inbound_at).where(
            Conversation.merchant_id == self.merchant_id, Conversation.id == conversation_id
        )
        return await self.session.scalar(query.with_for_update(key_share=True))

    async def close_window(self, conversation_id: int, sent_at: datetime | None, since: datetime | None) -> None:
        """The provider says that it is closed, whatever we counted: true until the person writes again. `since` counts
        as their last message."""
        await self.session.execute(
            update(Conversation)
            .where(
                Conversation.merchant_id == self.merchant_id,
                Conversation.id == conversation_id,
                Conversation.last_inbound_at <= sent_at,
            )
            .values(last_inbound_at=since)
        )

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

    async def confirms_opt_out(self, message_id: int) -> bool:
        """Whether a message only confirms that the person gets no more of them."""
        query = select(Message.other_data).where(Message.merchant_id == self.merchant_id, Message.id == message_id)
        return bool((await self.session.execute(query)).scalar_one().get("opt_out") == "confirmation")

    async def opt_out(self, conversation_id: int, wish: str, sent_at: datetime | None, now: datetime) -> None:
        """By the provider's word the person wants no messages (`all`), or no `marketing`, unless they have said
        something else since `sent_at`, when what the provider refuses was sent."""
        theirs = select(Conversation.contact_id).where(
            Conversation.merchant_id == self.merchant_id, Conversation.id == conversation_id
        )
        await self.session.execute(
            update(Contact)
            .where(
                Contact.merchant_id == self.merchant_id,
                Contact.id == theirs.scalar_subquery(),
                Contact.opt_out.is_(None) if wish == "marketing" else Contact.opt_out.is_distinct_from("all"),
                or_(Contact.opt_out_at.is_(None), Contact.opt_out_at <= (sent_at or now)),
            )
            .values(opt_out=wish, opt_out_at=now)
        )


async def merchant_of(session: AsyncSession, conversation_id: int) -> int:
    """Which merchant a conversation belongs to, for a job that only has its id. Raises ConversationNotFound."""
    found = await session.scalar(select(Conversation.merchant_id).where(Conversation.id == conversation_id))
    if found is None:
        raise ConversationNotFound(f"Conversation {conversation_id} not found")
    return found


async def conversations_with_due_deliveries(session: AsyncSession, now: datetime, limit: int) -> list[tuple[int, int]]:
    """(conversation id, merchant id) of those with a delivery to send, of all merchants, longest due
    first, for the sweep."""
    query = (
        select(Delivery.conversation_id, Delivery.merchant_id)
        .where(UNSENT_DELIVERY, Delivery.due_at <= now)
        .group_by(Delivery.conversation_id, Delivery.merchant_id)
        .order_by(func.min(Delivery.due_at))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def ids_in_use(session: AsyncSession, account: Account, provider_message_ids: Sequence[str]) -> set[str]:
    """Which of these provider ids a delivery from this account's address has. Merchants may share the address, and the
    provider lists the messages of all of them: one that is another's must not be taken for ours."""
    query = (
        select(Delivery.provider_message_id)
        .join(ChannelAccount, ChannelAccount.id == Delivery.channel_account_id)
        .where(
            Delivery.provider_message_id.in_(provider_message_ids),
            ChannelAccount.channel == account.channel,
            ChannelAccount.address == account.address,
        )
    )
    return {str(row) for row in await session.scalars(query)}
