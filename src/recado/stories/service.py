"""Telling what happened to a message."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.links import Links
from recado.channels.base import Channel
from recado.stories.alerts import AlertMoments
from recado.stories.gathering import Material, gather
from recado.stories.messages import MessageMoments
from recado.stories.names import Names
from recado.stories.notifications import NotificationMoments
from recado.stories.outcome import outcome_of
from recado.stories.repository import StoryRepository
from recado.stories.schemas import Moment, Story
from recado.stories.turns import TurnMoments


class Stories:
    """One merchant's stories, read within one session."""

    def __init__(self, session: AsyncSession, merchant_id: int, channels: Mapping[str, Channel]) -> None:
        self._repository = StoryRepository(session, merchant_id)
        self._channels = channels

    async def tell(self, message_id: int, *, texts: bool = False) -> Story:
        """What happened to a message: what caused it, how it was sent, what it caused. Raises NotFound.

        `texts`: with what was written, names of customers and whole phone numbers.
        """
        material = await gather(self._repository, message_id)
        names = Names(material, texts=texts)
        messages = MessageMoments(material, names, self._channels)
        moments = [
            *messages.received(),
            *TurnMoments(material, names).all(),
            *NotificationMoments(material, names).all(),
            *messages.sent(),
            *AlertMoments(material, names).all(),
        ]
        return _story(material, names, _arranged(moments))


async def with_links(story: Story, links: Links) -> Story:
    """The story with where to look further: its conversation, its trace, the logs of its minutes."""
    first = story.trace_ids[0] if story.trace_ids else None
    named = {first} | {moment.facts["trace_id"] for moment in story.moments if moment.kind == "alert"}
    # Each is asked for once: it may be a question to another system.
    traces = {trace_id: await links.trace(trace_id) for trace_id in named if trace_id is not None}
    found = {
        "conversation": links.conversation(story.conversation_id),
        "trace": traces.get(first),
        "logs": links.logs(story.began_at),
    }
    moments = []
    for moment in story.moments:
        if moment.kind == "alert":
            there = {"trace": traces.get(moment.facts["trace_id"] or first), "logs": links.logs(moment.at)}
            moment = moment.model_copy(update={"links": moment.links | _known(there)})
        moments.append(moment)
    return story.model_copy(update={"links": _known(found), "moments": moments})


def _known(links: Mapping[str, str | None]) -> dict[str, str]:
    return {name: address for name, address in links.items() if address is not None}


def _arranged(moments: Sequence[Moment]) -> list[Moment]:
    """By chapters in the order in which they begin, and in each by time. Moments of one time stay as they are."""
    begins: dict[str, datetime] = {}
    for moment in moments:
        begins[moment.chapter] = min(moment.at, begins.get(moment.chapter, moment.at))
    places = {chapter: place for place, chapter in enumerate(begins)}
    ordered = sorted(moments, key=lambda one: (begins[one.chapter], places[one.chapter], one.at))
    began = min(begins.values())
    for moment in ordered:
        moment.seconds = round((moment.at - began).total_seconds(), 3)
    return ordered


def _story(material: Material, names: Names, moments: list[Moment]) -> Story:
    focus = material.focus
    traces = [focus.trace_id, *(turn.trace_id for turn in material.turns)]
    traces += [trace_id for row in material.notifications for trace_id in (row.trace_id, row.answer_trace_id)]
    traces += [message.trace_id for message in material.messages]
    return Story(
        message_id=focus.id,
        merchant=material.merchant.sub_domain,
        conversation_id=focus.conversation_id,
        channel=names.channel(focus.conversation_id),
        person=names.person(focus.conversation_id),
        role=focus.role,
        kind=focus.kind,
        outcome=outcome_of(material, names),
        began_at=min(moment.at for moment in moments),
        ended_at=max(moment.at for moment in moments),
        trace_ids=list(dict.fromkeys(trace for trace in traces if trace)),
        moments=moments,
        left_out=material.left_out,
    )
