"""Sending a named template message of a merchant to people, and keeping who was sent it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns import templates
from recado.campaigns.repository import CampaignRepository
from recado.channels.base import Template
from recado.channels.rules import RULES
from recado.clock import Clock
from recado.conversations.service import ConversationService, Reply
from recado.db.models import Campaign, CampaignLead, Contact, Conversation, Merchant

log = structlog.get_logger(__name__)

SERVICE = "service"
DEFAULT_CAMPAIGNS = (
    templates.QUESTION_REQUEST,
    templates.SUPPORT_REQUEST,
    templates.QUESTION_ANSWER,
    templates.SUPPORT_RESPONSE,
)


@dataclass(frozen=True, slots=True)
class Send:
    """What one send of a campaign says. `key` makes sending it again harmless.

    `text` goes instead of the template while a recipient's window is open; without it, the template's own words do,
    followed by `whole` where the template had to cut that. `buttons` go with them, by language. `instruction` is left
    for the agent in each recipient's conversation.
    """

    key: str
    values: Mapping[str, str]
    text: str | None = None
    whole: str = ""
    buttons: Mapping[str, Sequence[dict[str, str]]] = field(default_factory=dict)
    instruction: str | None = None
    other_data: Mapping[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    announcing: bool = False
    """Outside the window only tell that the message is ready: it does not fit into the template."""
    by_human: bool = False
    """A person wrote `text`."""


class CampaignService:
    """One merchant's campaigns, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock
        self._campaigns = CampaignRepository(session, merchant_id)
        self._conversations = ConversationService(session, merchant_id, clock)

    async def create_default(self) -> list[Campaign]:
        """The service campaigns of the notifications, created where missing, and enabled. Returns those it changed."""
        now = self._clock.now()
        present = {campaign.name: campaign for campaign in await self._campaigns.all()}
        changed = []
        for name in DEFAULT_CAMPAIGNS:
            campaign = present.get(name)
            if campaign is None:
                campaign = Campaign(name=name, campaign_type=SERVICE, enabled=True, created_at=now, updated_at=now)
                self._campaigns.add([campaign])
            elif campaign.enabled:
                continue
            else:
                campaign.enabled, campaign.updated_at = True, now
            changed.append(campaign)
        await self._session.flush()
        return changed

    async def send_service_campaign_messages(
        self, name: str, merchant: Merchant, recipients: Sequence[tuple[Contact, Conversation]], send: Send
    ) -> list[CampaignLead] | None:
        """Send a campaign to people, each in their language. Returns a lead for each who had not been sent it yet.

        None, with a warning in the log, when the merchant has no such campaign or has disabled it.
        """
        return await self.send_campaign(name, await self._campaigns.by_name(name), merchant, recipients, send)

    async def send_campaign(
        self,
        name: str,
        campaign: Campaign | None,
        merchant: Merchant,
        recipients: Sequence[tuple[Contact, Conversation]],
        send: Send,
    ) -> list[CampaignLead] | None:
        """The same with the campaign that the merchant has under this name, where the caller has read it."""
        if campaign is None or not campaign.enabled:
            log.warning("no campaign configured", merchant_id=self._merchant_id, campaign=name)
            return None
        other_data = {"campaign_id": campaign.id, **send.other_data}
        leads = []
        for contact, conversation in recipients:
            template = self._template(name, merchant, conversation, send)
            if send.instruction is not None:
                await self._conversations.instruct(
                    conversation.id, f"{send.key}:instruction:{contact.id}", send.instruction, other_data
                )
            message_id, is_new = await self._conversations.say(
                conversation,
                contact,
                Reply(
                    key=f"{send.key}:{contact.id}",
                    text=send.text or _with_whole(template.text, send.whole),
                    template=template if RULES[contact.channel].templates else None,
                    by_human=send.by_human,
                    buttons=send.buttons.get(template.language, ()),
                    other_data=other_data,
                    prompt=send.prompt,
                ),
            )
            if is_new:
                leads.append(self._lead(campaign, contact, message_id, template))
        self._campaigns.add(leads)
        await self._session.flush()
        return leads

    def _template(self, name: str, merchant: Merchant, conversation: Conversation, send: Send) -> Template:
        language = conversation.language or merchant.language
        name = templates.ANSWER_READY if send.announcing else name
        return templates.fill(name, language, send.values, merchant.template_texts)

    def _lead(self, campaign: Campaign, contact: Contact, message_id: int, template: Template) -> CampaignLead:
        return CampaignLead(
            campaign_id=campaign.id,
            contact_id=contact.id,
            message_id=message_id,
            variables=dict(template.variables),
            created_at=self._clock.now(),
        )


def _with_whole(text: str, whole: str) -> str:
    return text if whole in text else f"{text}\n\n{whole}"
