"""The simulator page in a real browser, against a real server: `demo_server.url` is a running `recado serve`
with the demo model and `examples/bodega.yaml`. A few tests stand in for the server's answers, to see what the
page does with faults and with every kind of message."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
    async_playwright,
    expect,
)

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the PATH")

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOP = "+15550100"
ANA, BEN, ROSA, LUIS = "+51911111111", "+51922222222", "+51900000001", "+51900000002"
TURN = 20_000  # milliseconds that a turn, with its notification jobs, may take on a slow machine
OUT = "[data-direction=out]"
IN = "[data-direction=in]"
CLOSED = re.compile(r"NOTIF_\d+.*(closed|answered|cerrad|respondid)", re.I | re.S)


class Watch:
    """What no test may cause: errors in the console, and requests to other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.url = url
        self.faults: list[str] = []
        page.on("console", self.on_console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self.on_request)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.faults.append(f"a request to {request.url}")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(headless=True, executable_path=CHROMIUM, args=ARGS)
        yield browser
        await browser.close()


@pytest.fixture
def viewport() -> dict[str, int]:
    return {"width": 1280, "height": 800}


@pytest.fixture
async def page(browser: Browser, viewport: dict[str, int]) -> Page:
    return await browser.new_page(viewport=viewport)


@pytest.fixture
async def watch(page: Page, demo_server: Any) -> AsyncIterator[Watch]:
    watch = Watch(page, demo_server.url)
    yield watch
    assert watch.faults == []


@pytest.fixture
async def simulator(page: Page, watch: Watch) -> Page:
    await page.goto(f"{watch.url}/simulator")
    await expect(page.locator("section[data-phone]")).to_have_count(4)
    return page


def phone(page: Page, number: str) -> Locator:
    return page.locator(f'section[data-phone="{number}"]')


def composer(section: Locator) -> Locator:
    return section.get_by_role("textbox", name="Message from")


async def write(section: Locator, text: str) -> Locator:
    """Sends `text` from this phone and returns its bubble."""
    await composer(section).fill(text)
    await composer(section).press("Enter")
    await expect(composer(section)).to_have_value("")
    return section.locator(IN).last


async def answer(section: Locator, question: Locator, text: str) -> Locator:
    await question.get_by_role("button", name="Reply").click()
    await expect(composer(section)).to_be_focused()
    return await write(section, text)


async def has_focus(element: Locator) -> bool:
    return bool(await element.evaluate("element => element === document.activeElement"))


async def press_until_focused(page: Page, key: str, element: Locator) -> None:
    for _ in range(40):
        await page.keyboard.press(key)
        if await has_focus(element):
            return
    pytest.fail(f"{key} does not reach {element}")


async def fits_in_width(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def test_a_question_is_answered_from_the_documents(simulator: Page) -> None:
    ana = phone(simulator, ANA)
    await expect(ana.get_by_text("No messages yet")).to_be_visible()
    await ana.get_by_role("button", name="¿Hacen envíos?").click()
    await composer(ana).press("Enter")
    question = ana.locator(IN).last
    await expect(question).to_contain_text("¿Hacen envíos?")
    await expect(ana.locator("[data-typing]")).to_be_visible(timeout=TURN)
    reply = ana.locator(OUT).filter(has_text="24 horas")
    await expect(reply).to_be_visible(timeout=TURN)
    await expect(ana.locator("[data-typing]")).to_be_hidden()
    await expect(ana.get_by_text("No messages yet")).to_be_hidden()
    await expect(question.get_by_role("img", name="Read")).to_be_visible()
    await expect(reply).to_have_attribute("data-status", "read")  # the page reported that it was seen
    await expect(phone(simulator, BEN).locator("[data-message-id]")).to_have_count(0)


async def test_the_round_trip(simulator: Page) -> None:
    ana, rosa, luis = (phone(simulator, number) for number in (ANA, ROSA, LUIS))
    question = "¿Tienen la zapatilla roja en talla 44?"
    await write(ana, question)
    for staff in (rosa, luis):
        asked = staff.locator(f"{OUT}[data-kind=template]").filter(has_text="talla 44")
        await expect(asked).to_be_visible(timeout=TURN)
        await expect(asked.get_by_text("Template · ")).to_be_visible()

    asked = rosa.locator(OUT).filter(has_text="talla 44")
    answered = await answer(rosa, asked, "Sí, nos queda un par en talla 44")
    await expect(answered.locator(".quote")).to_contain_text("Bodega Sol")
    await expect(ana.locator(OUT).filter(has_text="un par")).to_be_visible(timeout=TURN)
    await expect(luis.locator(OUT).filter(has_text=CLOSED)).to_be_visible(timeout=TURN)

    await answered.locator(".quote").click()  # jumps to what it quotes
    await expect(asked).to_be_focused()


async def test_keyboard_only(simulator: Page) -> None:
    ana = phone(simulator, ANA)
    text_box, quoted = composer(ana), ana.locator(".replying")
    await press_until_focused(simulator, "Tab", text_box)
    await simulator.keyboard.type("¿Hacen")
    await simulator.keyboard.press("Shift+Enter")
    await simulator.keyboard.type("envíos?")
    await simulator.keyboard.press("Enter")
    await expect(ana.locator(IN).locator(".text")).to_have_text("¿Hacen\nenvíos?", use_inner_text=True)
    reply = ana.locator(OUT).last
    await expect(reply).to_be_visible(timeout=TURN)

    await press_until_focused(simulator, "Shift+Tab", reply.get_by_role("button", name="Reply"))
    await simulator.keyboard.press("Enter")
    await expect(text_box).to_be_focused()
    await expect(quoted).to_be_visible()
    await simulator.keyboard.press("Escape")
    await expect(quoted).to_be_hidden()
    await expect(text_box).to_be_focused()

    await press_until_focused(simulator, "Shift+Tab", reply.get_by_role("button", name="Reply"))
    await simulator.keyboard.press("Enter")
    await simulator.keyboard.type("Gracias")
    await simulator.keyboard.press("Enter")
    await expect(quoted).to_be_hidden()
    await expect(ana.locator(IN).last.locator(".quote")).to_contain_text("Bodega Sol")


@pytest.mark.parametrize("viewport", [{"width": 390, "height": 844}])
async def test_one_phone_at_a_time_on_a_narrow_screen(simulator: Page) -> None:
    tabs = simulator.get_by_role("tab")
    await expect(tabs).to_have_count(4)
    await expect(simulator.locator("section[data-phone]:visible")).to_have_count(1)
    assert await fits_in_width(simulator)

    await write(phone(simulator, ANA), "¿Hacen envíos?")
    await tabs.nth(0).focus()
    await simulator.keyboard.press("ArrowRight")
    await expect(tabs.nth(1)).to_be_focused()
    await expect(tabs.nth(1)).to_have_attribute("aria-selected", "true")
    await expect(phone(simulator, BEN)).to_be_visible()
    await expect(phone(simulator, ANA)).to_be_hidden()
    await expect(tabs.nth(0).get_by_text("1", exact=True)).to_be_visible(timeout=TURN)

    await simulator.keyboard.press("End")
    await expect(phone(simulator, LUIS)).to_be_visible()
    await simulator.keyboard.press("ArrowRight")
    await expect(phone(simulator, ANA)).to_be_visible()
    await expect(tabs.nth(0).get_by_text("unread")).to_be_hidden()
    await expect(phone(simulator, ANA).locator(OUT).last).to_be_in_viewport()
    assert await fits_in_width(simulator)


async def test_all_four_phones_fit_on_a_laptop(simulator: Page) -> None:
    for number in (ANA, BEN, ROSA, LUIS):
        await expect(composer(phone(simulator, number))).to_be_in_viewport(ratio=1)
    assert await fits_in_width(simulator)


async def test_after_24_hours_the_answer_is_a_template(simulator: Page) -> None:
    ana, rosa = phone(simulator, ANA), phone(simulator, ROSA)
    await write(ana, "¿Aceptan mascotas en la tienda?")
    asked = rosa.locator(OUT).filter(has_text="mascotas")
    await expect(asked).to_be_visible(timeout=TURN)
    await simulator.get_by_role("button", name="+24 h 1 min").click()
    await expect(simulator.locator("#offset")).to_have_text("+24 h 1 min")

    await answer(rosa, asked, "Sí, las mascotas pequeñas son bienvenidas")
    reply = ana.locator(f"{OUT}[data-kind=template]").filter(has_text="bienvenidas")
    await expect(reply).to_be_visible(timeout=TURN)
    await expect(reply.get_by_text("Template · ")).to_be_visible()
    await expect(ana.locator(".day:visible")).to_have_text(["Yesterday", "Today"])


async def test_the_clock_moves_by_any_number_of_hours(simulator: Page) -> None:
    await simulator.get_by_role("button", name="+1 h").click()
    await expect(simulator.locator("#offset")).to_have_text("+1 h")
    await simulator.get_by_label("Hours to advance the clock by").fill("1.5")
    await simulator.get_by_role("button", name="Advance").click()
    await expect(simulator.locator("#offset")).to_have_text("+2 h 30 min")


async def test_markup_in_a_text_stays_text(simulator: Page) -> None:
    ben = phone(simulator, BEN)
    text = '<img src="x" onerror="window.harmed = 1"><script>window.harmed = 1</script><b>¿Hacen envíos?</b>'
    await write(ben, text)
    await expect(ben.locator(IN).locator(".text")).to_have_text(text)
    await expect(ben.locator(OUT).last).to_be_visible(timeout=TURN)
    await ben.locator(IN).get_by_role("button", name="Reply").click()
    await expect(ben.locator(".replying")).to_contain_text(text)
    await expect(simulator.locator("section :is(img, script)")).to_have_count(0)
    assert await simulator.evaluate("window.harmed") is None


async def test_right_to_left_text_and_long_words(simulator: Page) -> None:
    ben = phone(simulator, BEN)
    await expect(composer(ben)).to_have_attribute("dir", "auto")
    bubble = await write(ben, "هل لديكم مقاس 44؟")
    await expect(bubble.locator(".text")).to_have_css("direction", "rtl")
    await write(ben, "a" * 400)
    assert await ben.locator(".chat").evaluate("chat => chat.scrollWidth <= chat.clientWidth")


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
