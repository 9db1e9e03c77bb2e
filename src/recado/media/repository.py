"""All SQL about the files that people sent to one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.channels.base import Attachment
from recado.db.models import ChannelAccount, Conversation, MediaFile, Message
from recado.merchants.account import Account
from recado.merchants.repository import to_account

PENDING, STORED, REFUSED, FAILED, REMOVED = "pending", "stored", "refused", "failed", "removed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file with which something is left to do: the attachment, whose it is, and the language of the conversation."""

    media: MediaFile
    attachment: Attachment
    account: Account
    language: str | None


class MediaRepository:
    """One merchant's files."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def wanted(self, turn_id: int) -> list[Wanted]:
        """Of the messages of a turn: the files that are to be fetched, or that nobody has tried to listen to."""
        query = (
            select(MediaFile, Message.attachments, ChannelAccount, Conversation.language)
            .join(Message, Message.id == MediaFile.message_id)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .join(ChannelAccount, ChannelAccount.id == Conversation.channel_account_id)
            .where(
                MediaFile.merchant_id == self._merchant_id,
                Message.merchant_id == self._merchant_id,
                Message.turn_id == turn_id,
                or_(
                    MediaFile.state == PENDING,
                    (MediaFile.state == STORED) & MediaFile.transcript.is_(None) & MediaFile.error.is_(None),
                ),
            )
        )
        rows = await self._session.execute(query.order_by(MediaFile.id))
        return [
            Wanted(media, Attachment(**attachments[media.position]), to_account(account), language)
            for media, attachments, account, language in rows
        ]

    async def change(self, media_id: int, when: str, **values: Any) -> bool:
        """Change a file that is in the state `when`. Whether it was: if not, somebody else was here first."""
        changed = await self._session.execute(
            update(MediaFile)
            .where(MediaFile.merchant_id == self._merchant_id, MediaFile.id == media_id, MediaFile.state == when)
            .values(**values)
            .returning(MediaFile.id)
        )
        return changed.scalar() is not None

    async def of_messages(self, message_ids: Sequence[int]) -> dict[int, list[MediaFile]]:
        """The files of messages, in the order of their attachments, by the messages' ids."""
        found: dict[int, list[MediaFile]] = {}
        if message_ids:
            query = select(MediaFile).where(
                MediaFile.merchant_id == self._merchant_id, MediaFile.message_id.in_(message_ids)
            )
            for media in await self._session.scalars(query.order_by(MediaFile.message_id, MediaFile.position)):
                found.setdefault(media.message_id, []).append(media)
        return found

    async def stored(self, media_ids: Sequence[int]) -> list[MediaFile]:
        """Those of these files that are kept."""
        query = select(MediaFile).where(
            MediaFile.merchant_id == self._merchant_id, MediaFile.id.in_(media_ids), MediaFile.state == STORED
        )
        return list(await self._session.scalars(query))

    async def with_name(self, media_id: int) -> tuple[MediaFile, str | None] | None:
        """A file, and the name that its sender gave it."""
        query = (
            select(MediaFile, Message.attachments)
            .join(Message, Message.id == MediaFile.message_id)
            .where(MediaFile.merchant_id == self._merchant_id, MediaFile.id == media_id)
        )
        row = (await self._session.execute(query)).one_or_none()
        return (row[0], row[1][row[0].position].get("filename")) if row else None

    async def taken_back(self, turn_id: int) -> list[MediaFile]:
        """The files of messages that a message of this turn says are deleted, while they are still there."""
        told = select(Message.conversation_id, Message.other_data).where(
            Message.merchant_id == self._merchant_id, Message.turn_id == turn_id, Message.kind == "deletion"
        )
        about = {(row[0], str(row[1].get("about"))) for row in await self._session.execute(told)}
        if not about:
            return []
        query = (
            select(MediaFile)
            .join(Message, Message.id == MediaFile.message_id)
            .where(
                MediaFile.merchant_id == self._merchant_id,
                Message.conversation_id.in_([conversation_id for conversation_id, _ in about]),
                Message.provider_message_id.in_([message_id for _, message_id in about]),
                or_(MediaFile.state != REMOVED, MediaFile.path.is_not(None)),
            )
        )
        return list(await self._session.scalars(query))
