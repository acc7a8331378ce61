"""As a partner runs it: PostgreSQL, two servers, nginx with https in front, a user in a browser."""

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.conftest import MakeApp
from tests.support import nginx as fronts
from tests.support.commands import ended, flask
from tests.support.journeys import connect, press, shows, sign_up
from tests.support.nginx import Nginx, find_nginx
from tests.support.sandbox import Sandbox
from tests.support.servers import Served, gunicorn, listening, serving

pytestmark = pytest.mark.one_database("postgresql")


@pytest.fixture(scope="module")
def executable() -> str:
    """The nginx of this machine."""
    found = find_nginx()
    if found is None:
        pytest.skip("nginx is not installed: the setup of docs/running.md is not tested")
    return found


@pytest.fixture
def front(executable: str, tmp_path: Path) -> Iterator[Nginx]:
    """Where nginx will be."""
    with fronts.placed(tmp_path / "nginx") as front:
        yield front


@pytest.fixture
def redirect_uri(front: Nginx) -> str:
    """The callback, as users reach it."""
    return f"{front.url}/katana/callback"


@pytest.fixture
def environ(environ: dict[str, str], front: Nginx) -> dict[str, str]:
    """The settings for one proxy in front; whoever asks knows who has signed its certificate."""
    return environ | {"PROXY_HOPS": "1", "SSL_CERT_FILE": str(front.authority)}


@dataclass(frozen=True)
class Host:
    """One host with the app."""

    served: Served
    listener: socket.socket

    def stop(self) -> int:
        """End the app, and let nobody wait for the next."""
        status = self.served.stop()
        self.listener.close()
        return status


@pytest.fixture
def hosts(environ: dict[str, str], tmp_path: Path) -> Iterator[list[Host]]:
    """The app twice, on one database."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(listening()) for _ in range(2)]
        logs = [tmp_path / f"gunicorn-{n}.log" for n in range(2)]
        yield [
            Host(stack.enter_context(gunicorn(environ, listener, log)), listener)
            for listener, log in zip(listeners, logs, strict=True)
        ]


def place(url: str) -> str:
    """Host and port of `url`; by number, since nginx would also try the other localhost."""
    return f"127.0.0.1:{urlsplit(url).port}"


def doctor(environ: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What each check finds, and what it says."""
    told = ended(flask(environ, "doctor", "--json"))
    return {f["check"]: (f["level"], f["says"]) for f in json.loads(told.output)["findings"]}


@pytest.mark.slow
@pytest.mark.browser
def test_the_journey_behind_https(
    executable: str,
    front: Nginx,
    hosts: list[Host],
    environ: dict[str, str],
    sandbox: Sandbox,
    browser: Browser,
) -> None:
    """The whole way: safe cookies, a host may end, doctor is content, no log has a code or key."""
    with fronts.running(executable, front, [place(host.served.url) for host in hosts]):
        context = browser.new_context(base_url=front.url, ignore_https_errors=True)
        page = context.new_page()
        sign_up(page)
        connect(page)
        cookies = {
            cookie["name"]: (cookie["secure"], cookie["path"]) for cookie in context.cookies()
        }
        assert "__Host-session" in cookies
        assert all(name.startswith("__Host-") for name in cookies)
        assert set(cookies.values()) == {(True, "/")}

        assert hosts[0].stop() == 0
        sandbox.expire()
        page.reload()
        shows(page, "Alder & Spoke Bicycles")

        found = doctor(environ)
        assert {check for check, (level, _) in found.items() if level == "fault"} == set()
        assert found["address"] == ("ok", f"The app answers at {front.url}.")
        assert found["proxies"] == ("ok", "PROXY_HOPS is 1, and no forged address comes through.")

        answer = requests.get(f"{front.url}/sign-in", verify=str(front.authority), timeout=30)
        assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]

        press(page, "Sign out")
        expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()
        context.close()

        hosts[1].stop()
        secret = secrets.token_hex(16)
        for address in (f"callback?code={secret}", f"webhooks/{secret}"):
            requests.get(f"{front.url}/katana/{address}", verify=str(front.authority), timeout=30)

    (family,) = sandbox.ledger().families
    assert family.state == "live"
    assert not any(token.presented > 1 for token in family.refresh_tokens)
    said = front.logs() + "".join(host.served.log() for host in hosts)
    assert "/katana/callback" in said
    assert secret not in said
    assert "state=" not in said


@pytest.mark.short_form(1)
@pytest.mark.parametrize("hops", ["0", "2"])
def test_doctor_finds_a_wrong_number_of_proxies(
    executable: str, front: Nginx, new_app: MakeApp, environ: dict[str, str], hops: str
) -> None:
    """One is there; who reckons with none or with two takes every request for one by http."""
    with ExitStack() as stack:
        url = stack.enter_context(serving(new_app(PROXY_HOPS=hops)))
        stack.enter_context(fronts.running(executable, front, [place(url)]))
        level, says = doctor(environ | {"PROXY_HOPS": hops})["proxies"]

    assert level == "fault"
    assert "arrives as one by http" in says
