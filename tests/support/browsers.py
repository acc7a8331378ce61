"""The system's own Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# Chromium's own errands on the internet have no place in a test.
ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


# What a page shall show, it shows at once where nothing else runs; a busy machine needs longer.
expect.set_options(timeout=30_000)


def find_chromium() -> str | None:
    """Where Chromium or Chrome is on this machine, None if nowhere."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running_chromium(executable: str) -> Iterator[Browser]:
    """A headless browser; each test takes a context of its own from it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
