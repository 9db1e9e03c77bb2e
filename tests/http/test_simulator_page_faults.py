"""The page and faults: lost connections, refusals, every kind of message, with stand-ins for the server's answers."""

import json
import re
from typing import Any

from playwright.async_api import (
    Page,
    Route,
    expect,
)

from tests.http.page import (
    ANA,
    IN,
    OUT,
    SHOP,
    TURN,
    Watch,
    in_chromium,
    phone,
    write,
)

pytestmark = in_chromium


async def test_what_was_not_sent_keeps_its_text_and_is_retried_with_the_same_id(simulator: Page, watch: Watch) -> None:
    ana, ids = phone(simulator, ANA), []

    async def fail(route: Route) -> None:
        ids.append(route.request.post_data_json["id"])
        await route.abort()

    await simulator.route("**/simulator/messages", fail)
    bubble = await write(ana, "¿Hacen envíos?")
    await expect(bubble).to_have_attribute("data-status", "failed")
    await expect(bubble.get_by_text("Not sent.")).to_be_visible()
    await simulator.unroute("**/simulator/messages", fail)
    async with simulator.expect_request("**/simulator/messages") as retried:
        await bubble.get_by_role("button", name="Retry").click()
    assert (await retried.value).post_data_json["id"] == ids[0]
    await expect(ana.locator(OUT).filter(has_text="24 horas")).to_be_visible(timeout=TURN)
    await expect(ana.locator(IN)).to_have_count(1)
    await expect(bubble.get_by_role("button", name="Retry")).to_be_hidden()
    watch.faults.clear()  # the browser's own note on the request that this test broke


async def test_what_the_server_refuses_is_explained(simulator: Page, watch: Watch) -> None:
    problem = json.dumps({"title": "Unprocessable", "detail": "Nobody has this number.", "status": 422})

    async def refuse(route: Route) -> None:
        await route.fulfill(status=422, content_type="application/problem+json", body=problem)

    await simulator.route("**/simulator/messages", refuse)
    bubble = await write(phone(simulator, ANA), "Hola")
    await expect(bubble.get_by_text("Nobody has this number.")).to_be_visible()
    watch.faults.clear()


async def test_a_lost_connection_is_said_and_mended(page: Page, watch: Watch) -> None:
    async def cut(route: Route) -> None:
        await route.abort()

    await page.route("**/simulator/events?**", cut)
    await page.goto(f"{watch.url}/simulator")
    await expect(page.get_by_text("Connection lost")).to_be_visible()
    await page.unroute("**/simulator/events?**", cut)
    await expect(page.get_by_text("Connection lost")).to_be_hidden(timeout=TURN)
    await write(phone(page, ANA), "¿Hacen envíos?")
    await expect(phone(page, ANA).locator(OUT).last).to_be_visible(timeout=TURN)
    watch.faults.clear()


def message(number: int, direction: str = "out", **more: Any) -> dict[str, Any]:
    ends = {"from": SHOP, "to": ANA} if direction == "out" else {"from": ANA, "to": SHOP}
    return {
        "id": f"m{number}",
        "direction": direction,
        **ends,
        "kind": "text",
        "text": f"Mensaje {number}",
        "status": "read",
        "at": f"2026-01-0{1 + number // 40}T12:{number % 40:02}:00Z",
        **more,
    }


async def serve_messages(page: Page, messages: list[dict[str, Any]]) -> None:
    """Ana's event stream has these messages and ends; the page connects again and gets what is there then."""

    async def stream(route: Route) -> None:
        events = "".join(f"event: message\ndata: {json.dumps(each)}\n\n" for each in messages)
        await route.fulfill(content_type="text/event-stream", body=events)

    await page.route(re.compile(rf"/simulator/events\?phone=%2B{ANA[1:]}"), stream)


async def test_every_kind_and_state_of_a_message(page: Page, watch: Watch) -> None:
    states = ["accepted", "sent", "delivered", "read", "failed"]
    buttons = [{"id": "yes", "title": "Sí, por favor"}, {"id": "no", "title": "No"}]
    template = {"name": "customer_support_response", "language": "es", "variables": {"1": "x"}}
    messages = [message(number, "in", status=state) for number, state in enumerate(states)]
    messages += [
        message(10, kind="template", template=template),
        message(11, kind="interactive", buttons=buttons),
        message(12, status="failed"),
        message(13, "in", reply_to="m10"),
        message(14, reply_to="unknown"),
        message(50, text="Al día siguiente"),
        message(9, text="Llegó tarde"),
    ]
    await serve_messages(page, messages)
    await page.goto(f"{watch.url}/simulator")
    ana = phone(page, ANA)
    for state, bubble in zip(states, await ana.locator(IN).all(), strict=False):
        await expect(bubble.get_by_role("img", name=state.capitalize())).to_be_visible()
    await expect(ana.locator("[data-message-id=m10]")).to_contain_text("Template · customer_support_response")
    await expect(ana.locator("[data-message-id=m12]").get_by_role("img", name="Failed")).to_be_visible()
    await expect(ana.locator("[data-message-id=m13] .quote")).to_contain_text("Mensaje 10")
    await expect(ana.locator("[data-message-id=m14] .quote")).to_be_disabled()
    await expect(ana.locator(".day:visible")).to_have_count(2)
    order = await ana.locator("[data-message-id]").evaluate_all("all => all.map(e => e.dataset.messageId)")
    assert order == ["m0", "m1", "m2", "m3", "m4", "m9", "m10", "m11", "m12", "m13", "m14", "m50"]

    async with page.expect_request("**/simulator/messages") as tapped:
        await ana.get_by_role("button", name="Sí, por favor").click()
    body = (await tapped.value).post_data_json
    assert (body["text"], body["reply_to"], body["button"]) == ("Sí, por favor", "m11", "yes")


async def test_a_reader_who_scrolled_up_is_not_moved(page: Page, watch: Watch) -> None:
    messages = [message(number) for number in range(40)]
    await serve_messages(page, messages)
    await page.goto(f"{watch.url}/simulator")
    ana, fresh = phone(page, ANA), phone(page, ANA).get_by_role("button", name="New messages")
    await expect(ana.locator("[data-message-id=m39]")).to_be_in_viewport()
    await ana.locator("[data-message-id=m0]").scroll_into_view_if_needed()
    await expect(fresh).to_be_hidden()
    messages.append(message(41))
    await expect(fresh).to_be_visible(timeout=TURN)
    await expect(ana.locator("[data-message-id=m0]")).to_be_in_viewport()
    await fresh.click()
    await expect(ana.locator("[data-message-id=m41]")).to_be_in_viewport()
    await expect(fresh).to_be_hidden()


async def test_another_number_is_another_customer(simulator: Page) -> None:
    await write(phone(simulator, ANA), "¿Hacen envíos?")
    await phone(simulator, ANA).get_by_role("button", name="Edit name and number").click()
    dialog = simulator.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Carla")
    await dialog.get_by_label("Phone").fill("+51933333333")
    await dialog.get_by_role("button", name="Save").click()
    carla = phone(simulator, "+51933333333")
    await expect(carla.get_by_role("heading", name="Carla")).to_be_visible()
    await expect(carla.locator("[data-message-id]")).to_have_count(0)
    await write(carla, "¿Hacen envíos?")
    await expect(carla.locator(OUT).last).to_be_visible(timeout=TURN)
