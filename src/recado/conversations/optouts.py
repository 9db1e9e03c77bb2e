"""Who wants no messages: what people write to say so, and how they come back.

`docs/decisions/0014-opt-out.md` says what each kind of opt-out stops.
"""

from datetime import datetime

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import InboundMessage, PreferenceChanged
from recado.conversations import notices
from recado.conversations.notices import Decision
from recado.db.models import Contact
from recado.merchants.repository import MerchantRepository
from recado.text import words

log = structlog.get_logger(__name__)

ALL, MARKETING = "all", "marketing"

STOP_WORDS = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "opt out", "optout"}
    | {"alto", "parar", "pare", "baja", "darme de baja", "dar de baja", "dame de baja", "desuscribir", "desuscribirme"}
    | {"sair", "descadastrar", "cancelar inscricao", "arret", "arreter", "desabonner", "me desabonner", "desinscrire"}
)
"""What a whole message says, folded. Not what a customer may mean about an order: "cancelar", "fin", "no"."""

START_WORDS = frozenset(
    {"start", "unstop", "iniciar", "inicio", "comenzar", "empezar", "reanudar", "alta", "darme de alta"}
    | {"comecar", "retomar", "commencer", "recommencer", "reprendre", "demarrer"}
)
WRITTEN = frozenset({"text", "button", "edit"})
"""The kinds of messages in which a word is the person's own."""
CONFIRMATION = {"opt_out": "confirmation"}
"""In the `other_data` of the one message that somebody who has just opted out is still sent."""

COMES_BACK = {
    ALL: "they come back by writing START (INICIAR, COMMENCER) to the merchant's number",
    MARKETING: "they come back by allowing offers and announcements again in the chat's settings, or by writing START",
}


def is_stop(text: str) -> bool:
    """Whether a whole message asks to be sent nothing more."""
    return _whole(text) in STOP_WORDS


def is_start(text: str) -> bool:
    """Whether a whole message asks to be sent messages again."""
    return _whole(text) in START_WORDS


def _whole(text: str) -> str:
    if len(text) > 80:
        return ""
    found = words(text)
    return found[0] if len(set(found)) == 1 else " ".join(found)


class OptOuts:
    """Those of one merchant's people, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def decide(self, contact: Contact, inbound: InboundMessage, at: datetime, *, late: bool) -> Decision | None:
        """Whether a message is about that, or from somebody who wants no answer. `at`: when it was written."""
        written = inbound.text if inbound.kind in WRITTEN else ""
        if inbound.opt_out == "stop" or (inbound.opt_out is None and is_stop(written)):
            return await self._stop(contact, at, by_provider=inbound.opt_out is not None, late=late)
        if inbound.opt_out == "start" or (contact.opt_out is not None and is_start(written)):
            return await self._start(contact, at, by_provider=inbound.opt_out is not None, late=late)
        return Decision("opted_out") if contact.opt_out == ALL else None

    async def prefer(self, contact: Contact, news: PreferenceChanged, at: datetime) -> Decision | None:
        """The provider tells of a person's wish about marketing. What they have told us themselves goes further."""
        if news.marketing == "stop" and contact.opt_out is None:
            await self._change(contact, MARKETING, at)
            return Decision("opt_out", notices.MARKETING_STOPPED, other_data=CONFIRMATION)
        if news.marketing == "resume" and contact.opt_out == MARKETING:
            await self._change(contact, None, at)
        return None

    async def _stop(self, contact: Contact, at: datetime, *, by_provider: bool, late: bool) -> Decision:
        if contact.opt_out == ALL or _is_overtaken(contact, at, late):
            return Decision("opt_out")
        await self._change(contact, ALL, at)
        return Decision("opt_out", None if by_provider else notices.OPTED_OUT, other_data=CONFIRMATION)

    async def _start(self, contact: Contact, at: datetime, *, by_provider: bool, late: bool) -> Decision:
        if contact.opt_out is None or _is_overtaken(contact, at, late):
            return Decision("opt_in")
        await self._change(contact, None, at)
        return Decision("opt_in", None if by_provider else notices.OPTED_IN)

    async def _change(self, contact: Contact, opt_out: str | None, at: datetime) -> None:
        contact.opt_out, contact.opt_out_at = opt_out, at
        await self._session.flush()
        # They may have been two people to us, and what was said to the other one is still sent there.
        await self._session.execute(
            update(Contact)
            .where(Contact.merchant_id == self._merchant_id, Contact.superseded_by_id == contact.id)
            .values(opt_out=opt_out, opt_out_at=at)
        )
        context = {"merchant_id": self._merchant_id, "contact_id": contact.id}
        log.info("opt-out changed", opt_out=opt_out, **context)
        if opt_out is None:
            return
        member = await MerchantRepository(self._session, self._merchant_id).staff_of(contact)
        if member is not None:
            what = "wants no messages" if opt_out == ALL else "has stopped marketing messages"
            reason = f"a member of the staff {what}, so customers' questions do not reach them; {COMES_BACK[opt_out]}"
            alarm = Alarm("staff_opted_out", reason, {**context, "merchant_user_id": member.id})
            raise_within(self._session, [alarm], at)


def _is_overtaken(contact: Contact, at: datetime, late: bool) -> bool:
    """Whether a word that comes hours late is older than what the person has said since."""
    return late and contact.opt_out_at is not None and at < contact.opt_out_at
