"""What taking an answer back needs to know, read in one go."""

from sqlalchemy.ext.asyncio import AsyncSession

from recado.conversations.repository import ConversationRepository
from recado.notifications.repository import NotificationRepository
from recado.notifications.schemas import AnswerContext
from recado.text import shorten

MAX_CHARACTERS = 4_000


async def load_answer(session: AsyncSession, merchant_id: int, notification_id: int, window: int) -> AnswerContext:
    """The answered notification with its conversation. Raises NotificationNotFound or ConversationNotFound."""
    notification = await NotificationRepository(session, merchant_id).get(notification_id)
    conversations = ConversationRepository(session, merchant_id)
    conversation, contact, merchant = await conversations.get(notification.conversation_id)
    history = await conversations.history(conversation.id, conversation.summarised_through, window)
    return AnswerContext(
        merchant_id=merchant.id,
        merchant=merchant.name,
        conversation_id=conversation.id,
        notification_type=notification.notification_type,
        question=str(notification.context["question"]),
        answer=str(notification.context["answer"]),
        person_name=contact.name or "",
        language=conversation.language or merchant.language,
        summary=conversation.summary,
        history=[
            {
                "role": "user" if message.role == "user" else "assistant",
                "text": shorten(message.text, MAX_CHARACTERS),
            }
            for message in history
            if message.role in {"user", "response", "admin"} and message.text
        ],
    )
