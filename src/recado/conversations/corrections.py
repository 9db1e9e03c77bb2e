"""What a person takes back or puts right of what they sent."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.conversations.service import Received, inbound_key
from recado.db.models import MediaFile, Message
from recado.merchants.account import Account

EDIT, DELETION = "edit", "deletion"


class Corrections:
    """Edits and deletions, within one transaction that the caller commits. Only of messages of the same person."""

    def __init__(self, session: AsyncSession, account: Account) -> None:
        self._session = session
        self._account = account

    async def edit(self, received: Received) -> bool:
        """Put the new text in the place of the old one. False: the old one is being answered already, or unknown, so
        that the new one has to be answered like any other message.
        """
        target = await self._target(received)
        if target is None:
            return False
        if target.other_data.get("deleted"):
            return True
        if target.turn_id is not None:
            return False
        # What the agent never read need not be kept more than once.
        before = target.other_data.get("edited_from", target.text)
        target.text = received.message.text
        target.other_data = {**target.other_data, "edited_from": before}
        await self._session.flush()
        return True

    async def delete(self, received: Received) -> None:
        """Forget what a message said, its edits and its files. The same again changes nothing."""
        target = await self._target(received)
        if target is None:
            return
        edits = select(Message).where(
            Message.merchant_id == self._account.merchant_id,
            Message.conversation_id == received.conversation.id,
            Message.kind == EDIT,
            Message.id > target.id,
        )
        about = target.provider_message_id
        versions = [row for row in await self._session.scalars(edits) if row.other_data.get("about") == about]
        for row in (target, *versions):
            handled = row.other_data.get("handled") or (DELETION if row.turn_id is None else None)
            row.text = ""
            row.other_data = {"deleted": True} | ({"handled": handled} if handled else {})
        await self._session.flush()
        await self._session.execute(
            update(MediaFile)
            .where(MediaFile.merchant_id == self._account.merchant_id, MediaFile.message_id == target.id)
            .values(state="removed", transcript=None)
        )

    async def _target(self, received: Received) -> Message | None:
        """The message of this person that it is about, which no turn takes until this transaction ends."""
        about = received.message.other_data.get("about")
        if about is None:
            return None
        query = select(Message).where(
            Message.merchant_id == self._account.merchant_id,
            Message.key == inbound_key(self._account, about),
            Message.conversation_id == received.conversation.id,
            Message.id < received.message.id,
        )
        return await self._session.scalar(query.with_for_update())
