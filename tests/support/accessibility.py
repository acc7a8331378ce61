"""Checks of every page: axe reports nothing, and nothing is wider than the window."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PHONE: tuple[int, Literal["dark"]] = (390, "dark")
DESK: tuple[int, Literal["light"]] = (1280, "light")
SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


def is_accessible(page: Page) -> None:
    """axe reports nothing, in either colour scheme."""
    for width, scheme in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)

        assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"
        assert not page.evaluate(SIDEWAYS), f"{page.url} scrolls sideways at {width} pixels"
