"""`recado trace`: what happened to a message, from top to bottom."""

import json
import textwrap
from itertools import groupby
from typing import Annotated

import typer

from recado.bootstrap import Services, make_services
from recado.entrypoints.console import check_schema, read_settings, run
from recado.errors import ConfigurationError
from recado.stories.finding import Found, StoredEvent, find_events, find_messages
from recado.stories.schemas import Moment, Story
from recado.stories.service import Stories, with_links

WIDTH = 100
KIND_WIDTH = 12
INDENT = 2 + 13 + 2 + 10 + 2 + KIND_WIDTH + 2
"""Where what happened begins: after the time, how long it took, and what kind of thing it is."""

NOT_FOUND = """nothing here is called {named!r}. Check that
- it is our number of a message (GET /api/v1/conversation/conversations/ID/messages shows them), or the id that the
  provider has for it: SM…, wamid.…, sim-…
- DATABASE_URL is the database of the server that you mean{merchant}
- the provider has posted it at all: its own console or log shows what was answered, `recado doctor --live` whether the
  webhook's address is right"""


def trace(
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE_ID", help="Our number of it, or a provider's id (SM…, wamid.…, sim-…).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print what the REST API answers.")] = False,
    texts: Annotated[
        bool, typer.Option("--texts", help="Show what was written, names of customers and whole phone numbers.")
    ] = False,
    merchant: Annotated[
        str | None, typer.Option(metavar="SUB_DOMAIN", help="Whose, where several merchants have this id.")
    ] = None,
) -> None:
    """Tell what happened to a message: what caused it, how it was sent and received, and what it caused."""
    settings = read_settings()

    async def show() -> None:
        services = make_services(settings)
        try:
            await check_schema(services.database)
            typer.echo(await _told(services, message.strip(), merchant, as_json=as_json, texts=texts))
        finally:
            await services.database.close()

    run(show())


async def _told(services: Services, named: str, merchant: str | None, *, as_json: bool, texts: bool) -> str:
    """The story as it is printed. Raises ConfigurationError where there is none, or several."""
    async with services.database.read() as session:
        found = await find_messages(session, named, merchant)
        if not found:
            events = await find_events(session, named)
            if not events:
                whose = f"\n- it is a message of {merchant}" if merchant else ""
                raise ConfigurationError(NOT_FOUND.format(named=named, merchant=whose))
            shown = [event.model_dump(mode="json") for event in events]
            return json.dumps(shown, ensure_ascii=False, indent=2) if as_json else _events(events)
        only = _only(named, found)
        story = await Stories(session, only.merchant_id, services.channels).tell(only.message_id, texts=texts)
    story = await with_links(story, services.links)
    return story.model_dump_json(indent=2) if as_json else printed(story)


def _only(named: str, found: list[Found]) -> Found:
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{one.message_id} of {one.sub_domain}" for one in found)
    raise ConfigurationError(f"several messages are called {named!r}: give one of the numbers {known}, or --merchant")


def printed(story: Story) -> str:
    """A story as text of at most `WIDTH` columns, but for addresses."""
    head = [
        f"message {story.message_id} of {story.merchant}: {story.kind}, {story.role}, {story.channel}, "
        f"conversation {story.conversation_id} with {story.person}",
        f"now    {story.outcome}",
        f"began  {story.began_at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC",
        *(f"trace  {trace_id}" for trace_id in story.trace_ids),
    ]
    lines = [line for said in head for line in _wrapped(said, 7)]
    lines += [f"{name}: {address}" for name, address in story.links.items()]  # whole, to be copied
    for chapter, moments in groupby(story.moments, key=lambda moment: moment.chapter):
        within = list(moments)
        asked = any(one.kind == "said" and one.ids.get("message_id") == story.message_id for one in within)
        lines += ["", *_wrapped(f"{chapter}  <- this one" if asked else chapter, 2)]
        lines += [line for moment in within for line in _line(moment)]
    if story.left_out:
        lines += ["", f"{story.left_out} more messages of it are left out"]
    return "\n".join(lines)


def _line(moment: Moment) -> list[str]:
    took = f"{moment.ms:,.1f} ms" if moment.ms is not None else ""
    if moment.ms is not None and moment.ms >= 10_000:
        took = f"{moment.ms / 1e3:,.1f} s"
    kind = f"{moment.kind}{'!' if moment.failed else ''}"
    begins = f"  {f'+{moment.seconds:,.3f} s':>13}  {took:>10}  {kind:<{KIND_WIDTH}}  "
    said = [*_wrapped(begins + moment.what, INDENT)]
    if moment.text:
        said += [line for part in moment.text.splitlines() for line in _wrapped(f"{'':{INDENT}}| {part}", INDENT + 2)]
    return said + [f"{'':{INDENT}}{name}: {address}" for name, address in moment.links.items()]


def _wrapped(line: str, indent: int) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False) or [""]


def _events(events: list[StoredEvent]) -> str:
    lines = []
    for event in events:
        place = f"{event.channel} {event.address}".strip()
        what = (
            f"event {event.event_id}, {event.provider_event_id}, arrived at {event.received_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        lines += _wrapped(f"{what} at {place}: it is {event.state}, and no message tells of it", 2)
        lines += _wrapped(f"  why: {event.error}", 7) if event.error else []
        lines += [f"  it is tried again at {event.due_at:%H:%M:%S} UTC"] if event.due_at else []
        lines += [f"  alert: {alert}" for alert in event.alerts]
    return "\n".join(lines)
