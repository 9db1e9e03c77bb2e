"""What the tests of the simulator page share."""

import re
import shutil

import pytest
from playwright.async_api import (
    ConsoleMessage,
    Locator,
    Page,
    Request,
    expect,
)

CHROMIUM = shutil.which("chromium")

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


in_chromium = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the PATH"),
    pytest.mark.asyncio(loop_scope="session"),  # the browser's, which is started once
]


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
