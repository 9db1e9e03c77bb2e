"""Files and places from the simulator's page, by keyboard and on a narrow screen."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.http.page import ANA, IN, OUT, TURN, composer, fits_in_width, in_chromium, phone, press_until_focused
from tests.media.host import PDF, PNG

pytestmark = in_chromium


@pytest.fixture
def viewport() -> dict[str, int]:
    return {"width": 390, "height": 760}


async def test_a_picture_a_document_and_a_place(simulator: Page, tmp_path: Path) -> None:
    ana = phone(simulator, ANA)
    dialog: Any = simulator.locator("#attach")
    attach = ana.get_by_role("button", name="Send a file or a location")
    await composer(ana).focus()
    await press_until_focused(simulator, "Shift+Tab", attach)
    await simulator.keyboard.press("Enter")
    await expect(dialog).to_be_visible()
    assert await fits_in_width(simulator)

    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Choose a file")
    big = {"name": "big.bin", "mimeType": "application/pdf", "buffer": b"x" * 2_000_001}
    await dialog.locator("input[type=file]").set_input_files(big)
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("larger than 2 MB")

    picture = {"name": "zapato.png", "mimeType": "image/png", "buffer": PNG}
    await dialog.locator("input[type=file]").set_input_files(picture)
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog).to_be_hidden()
    shown = ana.locator(IN).last.locator("img")
    await expect(shown).to_have_js_property("naturalWidth", 1)
    # The demo model says honestly that it cannot look.
    await expect(ana.locator(OUT).last).to_contain_text("imágenes", timeout=TURN)

    await attach.click()
    await dialog.locator("input[type=file]").set_input_files(
        {"name": "lista.pdf", "mimeType": "application/pdf", "buffer": PDF}
    )
    await dialog.get_by_role("button", name="Send").click()
    await expect(ana.locator(IN).last.get_by_role("link")).to_have_text("document · lista.pdf · 1 kB")

    await attach.click()
    await dialog.get_by_label("Latitude").fill("-12.05")
    await dialog.get_by_label("Longitude").fill("-77.04")
    await dialog.get_by_label("Name of the place").fill("Casa")
    await simulator.keyboard.press("Enter")
    await expect(ana.locator(IN).last).to_contain_text("location · Casa · -12.05, -77.04")
    await expect(ana.locator(IN)).to_have_count(3)
    assert await fits_in_width(simulator)
