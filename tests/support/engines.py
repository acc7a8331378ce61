"""Firefox and WebKit from Debian's packages, each driven by its own protocol.

Playwright cannot drive these: it supports only its own builds of Firefox and WebKit. Firefox uses
Marionette, and WebKitGTK's MiniBrowser uses WebDriver.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.until import until

MINI_BROWSER = "webkit2gtk-*/MiniBrowser"


class Window:
    """One window of a browser. Each step waits until it is possible."""

    def __init__(self, driver: Any, go: Callable[[str], object], not_yet: type[Exception]) -> None:
        self._driver = driver
        self._not_yet = not_yet  # errors of an element that is missing or was replaced
        self.go = go

    def press(self, name: str) -> None:
        """Press the button with this name."""
        self._do(f"//button[normalize-space()='{name}']", lambda element: element.click())

    def fill(self, name: str, text: str) -> None:
        """Fill in the field of a form."""
        self._do(f"//input[@name='{name}']", lambda element: element.send_keys(text))

    def shows(self, text: str) -> None:
        """Wait until the page has this text."""
        until(lambda: text in self.text(), lambda: f"no {text!r} in:\n{self.text()}")

    def text(self) -> str:
        """The visible text of the page."""
        with suppress(self._not_yet):
            return str(self._driver.execute_script("return document.body.innerText"))
        return ""

    def width_to_scroll(self) -> int:
        """By how many pixels the page is wider than its window."""
        root = "document.documentElement"
        return int(self._driver.execute_script(f"return {root}.scrollWidth - {root}.clientWidth"))

    def _do(self, path: str, step: Callable[[Any], object]) -> None:
        def is_done() -> bool:
            with suppress(self._not_yet):
                # Firefox ignores a click while the page still loads.
                if self._driver.execute_script("return document.readyState") != "complete":
                    return False
                step(self._driver.find_element("xpath", path))
                return True
            return False

        until(is_done, lambda: f"no {path} in:\n{self.text()}")


def find(engine: str) -> str | None:
    """What this machine lacks to run an engine; None if nothing."""
    needed = {"firefox": ("firefox-esr",), "webkit": ("WebKitWebDriver", "Xvfb")}
    return next((name for name in needed[engine] if shutil.which(name) is None), None)


@contextmanager
def running(engine: str, folder: Path) -> Iterator[Window]:
    """A new window, without cookies or history."""
    with {"firefox": _firefox, "webkit": _webkit}[engine](folder) as window:
        yield window


@contextmanager
def _firefox(folder: Path) -> Iterator[Window]:
    # Imported here, because the import takes a second in every run of the tests.
    from marionette_driver.errors import MarionetteException
    from marionette_driver.marionette import Marionette

    (folder / "user.js").write_text('user_pref("marionette.port", 0);\n')
    command = ("firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(folder))
    process = subprocess.Popen(
        command,
        env=os.environ | {"HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = folder / "MarionetteActivePort"
        until(lambda: port.exists() and port.read_text())
        driver = Marionette(host="127.0.0.1", port=int(port.read_text()))
        driver.start_session()
        yield Window(driver, driver.navigate, MarionetteException)
        driver.delete_session()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _webkit(folder: Path) -> Iterator[Window]:
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver import WebKitGTK
    from selenium.webdriver.webkitgtk.options import Options
    from selenium.webdriver.webkitgtk.service import Service

    with ExitStack() as stack:
        display = stack.enter_context(_display())
        options = Options()
        options.binary_location = str(next(Path("/usr/lib").glob(f"*/{MINI_BROWSER}")))
        options.add_argument("--automation")
        environ = os.environ | {"DISPLAY": display, "HOME": str(folder)}
        service = Service(shutil.which("WebKitWebDriver") or "", env=environ)
        driver = WebKitGTK(options=options, service=service)
        stack.callback(driver.quit)
        yield Window(driver, driver.get, WebDriverException)


@contextmanager
def _display() -> Iterator[str]:
    """The name of a virtual display."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ("Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"),
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        process.terminate()
        process.wait()
