"""A message too long for its template: an announcement, and the text as soon as the person opens the window."""

import asyncio

import pytest

from recado.campaigns import templates
from recado.errors import Retryable, WindowClosed
from tests.builders import ANA, BETO, TEMPLATE
from tests.conversations.post import LONG, Post

READY = templates.fill(templates.ANSWER_READY, "es", {"lead_name": "Ana"})
CLOSED = WindowClosed("closed", "63016")


async def states(post: Post, conversation_id: int) -> list[str]:
    return [delivery.state for delivery in await post.shop.deliveries(conversation_id)]


async def tap(post: Post) -> int:
    return await post.shop.hear("Ver respuesta", kind="button", button="show_answer")


async def test_in_an_open_window_the_text_goes_and_the_announcement_is_skipped(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG, READY, buttons=[{"id": "a", "title": "A"}])
    deliveries = await post.deliver(conversation_id)
    assert [d.state for d in deliveries] == ["skipped", "sent", "sent", "sent"]
    assert " ".join(str(text) for text in post.line.texts).split() == LONG.split()
    assert [len(m.buttons) for m in post.line.taken.values()] == [0, 0, 1]
    assert await post.due() == []


async def test_in_a_closed_one_the_announcement_goes_and_the_text_is_held(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, LONG, READY)
    for _ in range(2):
        deliveries = await post.deliver(conversation_id)
    assert post.line.texts == [READY.name]
    (sent,) = post.line.taken.values()
    assert sent.template == READY
    assert [d.state for d in deliveries] == ["sent", "held", "held", "held"]
    assert post.alerts.sent == []
    assert await post.due() == [], "what is held is not swept"


async def test_held_texts_hold_nothing_else_back(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "largo", READY)
    await post.shop.say(conversation_id, "otra cosa", TEMPLATE)
    await post.deliver(conversation_id)
    assert post.line.texts == [READY.name, TEMPLATE.name]


@pytest.mark.parametrize("opens", ["text", "button", "image"])
async def test_whatever_opens_the_window_lets_the_text_go_before_what_is_said_later(post: Post, opens: str) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, LONG, READY)
    await post.deliver(conversation_id)
    await post.shop.hear("hola", kind=opens)
    await post.shop.say(conversation_id, "¿Algo más?")
    assert await post.due() == [(conversation_id, post.shop.merchant_id)]
    await post.deliver(conversation_id)
    assert " ".join(str(text) for text in post.line.texts[1:]).split() == [*LONG.split(), "¿Algo", "más?"]


@pytest.mark.parametrize("kind", ["reaction", "call", "edit", "delete", "system"])
async def test_what_opens_no_window_lets_nothing_go(post: Post, kind: str) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "largo", READY)
    await post.deliver(conversation_id)
    await post.shop.hear("", kind=kind)
    assert await states(post, conversation_id) == ["sent", "held"]


async def test_another_persons_message_lets_nothing_go(post: Post) -> None:
    conversation_id = await post.shop.open(ANA)
    await post.shop.say(conversation_id, "largo", READY)
    await post.deliver(conversation_id)
    await post.shop.hear("hola", BETO)
    assert await states(post, conversation_id) == ["sent", "held"]


async def test_tapping_twice_sends_it_once(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "largo", READY)
    await post.deliver(conversation_id)
    for _ in range(2):
        await tap(post)
        await post.deliver(conversation_id)
    assert post.line.texts == [READY.name, "largo"]


@pytest.mark.parametrize("parts", [1, 3])
async def test_when_the_provider_says_closed_the_announcement_goes_after_all(post: Post, parts: int) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG if parts == 3 else "corto", READY)
    post.line.plan = [(CLOSED, False)]
    deliveries = await post.deliver(conversation_id)
    assert post.line.texts == [READY.name]
    assert [d.state for d in deliveries] == ["sent", *["held"] * parts]
    assert post.alerts.sent == []
    # By our count the window was open all the time: the provider's word counts.
    await post.shop.hear("hola otra vez")
    assert (await post.deliver(conversation_id))[-1].state == "sent"
    assert len(post.line.texts) == 1 + parts


async def test_when_it_says_so_later_by_a_status_too(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "largo", READY)
    text = (await post.deliver(conversation_id))[-1]
    await post.status("failed", "p1", text.id, code="63016", failure=WindowClosed)
    await post.deliver(conversation_id)
    assert post.line.texts == ["largo", READY.name]
    assert await states(post, conversation_id) == ["sent", "held"]
    await tap(post)
    await post.deliver(conversation_id)
    assert post.line.texts == ["largo", READY.name, "largo"]
    assert post.alerts.sent == []


async def test_the_providers_word_counts_for_what_follows_until_the_person_writes(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    await post.shop.say(conversation_id, "dos", TEMPLATE)
    post.line.plan = [(CLOSED, False)]
    await post.deliver(conversation_id)
    assert [m.template is None for m in post.line.tries] == [True, False, False]
    await post.shop.hear("hola")
    await post.shop.say(conversation_id, "tres", TEMPLATE)
    await post.deliver(conversation_id)
    assert post.line.texts[-1] == "tres"


async def test_a_message_that_came_meanwhile_is_stronger_than_the_providers_word(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "largo", READY)
    gate = post.line.gate = asyncio.Event()
    post.line.plan = [(CLOSED, False)]
    sending = asyncio.create_task(post.deliver(conversation_id))
    await post.line.started.wait()
    post.shop.clock.forward(seconds=1)
    await post.shop.hear("aquí estoy")
    gate.set()
    await sending
    assert post.line.texts == ["largo"]
    assert await states(post, conversation_id) == ["skipped", "sent"]


async def test_a_window_that_closes_between_the_parts_is_announced(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG, READY)
    post.line.gate = asyncio.Event()
    sending = asyncio.create_task(post.deliver(conversation_id))
    await post.line.started.wait()
    post.shop.clock.forward(hours=25)
    post.line.gate.set()
    await sending
    assert await states(post, conversation_id) == ["sent", "sent", "held", "held"]
    await tap(post)
    await post.deliver(conversation_id)
    assert " ".join(str(t) for t in post.line.texts if t != READY.name).split() == LONG.split()


async def test_what_is_released_and_finds_the_window_closed_again_is_held_again(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "largo", READY)
    await post.deliver(conversation_id)
    await tap(post)
    post.shop.clock.forward(hours=24, seconds=1)
    await post.deliver(conversation_id)
    assert post.line.texts == [READY.name], "it was announced once"
    await tap(post)
    await post.deliver(conversation_id)
    assert post.line.texts == [READY.name, "largo"]


async def test_a_text_that_failed_for_a_moment_is_tried_again(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "largo", READY)
    await post.deliver(conversation_id)
    await tap(post)
    post.line.plan = [(Retryable("busy"), False)]
    await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=2)
    await post.deliver(conversation_id)
    assert post.line.texts == [READY.name, "largo"]


async def test_a_person_whose_window_was_open_costs_no_query_more(post: Post) -> None:
    await post.shop.hear("hola")
    post.shop.clock.forward(hours=1)
    with post.statements() as open_already:
        await post.shop.hear("hola")
    post.shop.clock.forward(hours=25)
    with post.statements() as opening:
        await post.shop.hear("hola")
    assert len(opening) == len(open_already) + 1
    assert not [statement for statement in open_already if "deliveries" in statement]


async def test_who_taps_while_the_announcement_is_being_sent_gets_the_text(post: Post) -> None:
    """Holding and releasing at once, many times: whatever comes first, nothing stays held in an open window."""
    for round_ in range(20):
        phone = f"+5199{round_:07}"
        conversation_id = await post.shop.open(phone)
        await post.shop.say(conversation_id, "largo", READY)
        outboxes = [post.new_outbox("a"), post.new_outbox("b")]
        await asyncio.gather(
            *(outbox.deliver(conversation_id, post.shop.merchant_id) for outbox in outboxes),
            post.shop.hear("hola", phone),
        )
        await post.deliver(conversation_id)
        assert (await states(post, conversation_id))[-1] == "sent"


async def test_the_rest_of_a_text_follows_a_part_that_is_held_in_an_open_window(post: Post) -> None:
    """However that came about: it must neither stay behind nor keep the outbox busy for ever."""
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG, TEMPLATE)
    (first, *_) = await post.shop.deliveries(conversation_id)
    async with post.shop.database.transaction() as session:
        (await session.merge(first)).state = "held"
    await asyncio.wait_for(post.deliver(conversation_id), 10)
    assert " ".join(str(text) for text in post.line.texts).split() == LONG.split()
