"""The simulator page in a real browser, against a real server with the demo model and the demo merchant."""

import pytest
from playwright.async_api import (
    Page,
    expect,
)

from tests.http.page import (
    ANA,
    BEN,
    CLOSED,
    IN,
    LUIS,
    OUT,
    ROSA,
    TURN,
    answer,
    composer,
    fits_in_width,
    in_chromium,
    phone,
    press_until_focused,
    write,
)

pytestmark = in_chromium


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
