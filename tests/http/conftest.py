"""The REST API over ASGI; and a browser, a page, and a watch over what it must not do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    Page,
    async_playwright,
    expect,
)

from recado.db.engine import Database
from tests.http.counter import Counter, open_counter
from tests.http.page import ARGS, CHROMIUM, Watch


@pytest.fixture
async def counter(database: Database) -> AsyncIterator[Counter]:
    async with open_counter(database) as counter:
        yield counter


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests: to start it takes longer than most of them."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(headless=True, executable_path=CHROMIUM, args=ARGS)
        yield browser
        await browser.close()


@pytest.fixture
def viewport() -> dict[str, int]:
    return {"width": 1280, "height": 800}


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, viewport: dict[str, int]) -> AsyncIterator[Page]:
    """A page with storage of its own."""
    page = await browser.new_page(viewport=viewport)
    yield page
    await page.close()


@pytest_asyncio.fixture(loop_scope="session")
async def watch(page: Page, demo_server: Any) -> AsyncIterator[Watch]:
    watch = Watch(page, demo_server.url)
    yield watch
    assert watch.faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def simulator(page: Page, watch: Watch) -> Page:
    await page.goto(f"{watch.url}/simulator")
    await expect(page.locator("section[data-phone]")).to_have_count(4)
    return page
