"""The app behind a proxy that speaks https: S-68, S-69 and S-73, each test named by its item.

The proxy is played by the tests: as it would, they say in headers who asks, and how.
"""

import pytest
import requests

from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.sandbox import TIMEOUT

pytestmark = pytest.mark.one_database

ADA = {"email": "ada@workshop.example", "password": "walnut drawers slide well"}


@pytest.fixture(scope="module")
def rig_settings() -> dict[str, str]:
    """Users come by https, through one proxy."""
    return {"KATANA_REDIRECT_URI": "https://localhost/katana/callback", "PROXY_HOPS": "1"}


def ask(
    rig: Rig,
    method: str,
    where: str,
    *,
    address: str = "203.0.113.7",
    claimed: str = "",
    form: dict[str, str] | None = None,
    cookie: str = "",
    **headers: str,
) -> requests.Response:
    """What the proxy gets for a browser at `address`, which claims to come from elsewhere."""
    passed_on = {
        "X-Forwarded-For": f"{claimed}, {address}" if claimed else address,
        "X-Forwarded-Proto": "https",
        "Cookie": cookie,
    }
    return requests.request(
        method,
        rig.served.url + where,
        data=form,
        headers=passed_on | headers,
        allow_redirects=False,
        timeout=TIMEOUT,
    )


def open_form(rig: Rig, where: str) -> tuple[dict[str, str], str]:
    """The fields of the form there, and the cookie that goes with it."""
    page = ask(rig, "GET", where)
    return Page(200, page.text).form(where).fields, page.headers["Set-Cookie"].partition(";")[0]


def test_s68_a_form_works_from_its_own_page_only(rig: Rig) -> None:
    """S-68: over https one of Sec-Fetch-Site, Origin and Referer must show the source.

    Of the same kind: a browser or a proxy that hides the Referer, a browser without Sec-Fetch-Site,
    a page without Referer whose Origin is null.
    """
    fields, cookie = open_form(rig, "/sign-in")
    here = rig.served.url.replace("http:", "https:")

    def submit(**headers: str) -> int:
        filled = fields | ADA
        return ask(rig, "POST", "/sign-in", form=filled, cookie=cookie, **headers).status_code

    assert ask(rig, "GET", "/sign-in").headers["Referrer-Policy"] == "same-origin"
    assert submit() == 400
    assert submit(Referer="https://evil.example/") == 400
    assert submit(Referer=here.replace("https:", "http:")) == 400
    assert submit(Referer=f"{here}.evil.example/") == 400
    assert submit(Origin="https://evil.example", Referer=f"{here}/sign-in") == 403
    assert submit(Origin="null") == 403
    assert submit(Origin=here, **{"Sec-Fetch-Site": "cross-site"}) == 403
    for proof in (
        {"Referer": f"{here}/sign-in"},
        {"Origin": here},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": here, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    ):
        assert submit(**proof) in {303, 422}


def test_s69_https_is_asked_for_from_then_on(rig: Rig) -> None:
    """S-69: for a year, subdomains included, on pages, files and errors alike."""
    for where in ("/", "/dashboard", "/static/style.css", "/nowhere", "/healthz"):
        headers = ask(rig, "GET", where).headers
        assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    wrong = ask(rig, "GET", "/", Host="evil.example")
    assert wrong.status_code == 400
    assert "Strict-Transport-Security" in wrong.headers


@pytest.mark.accounts
def test_s73_the_last_address_counts_and_no_other(rig: Rig) -> None:
    """S-73: what the browser itself put into X-Forwarded-For evades no limit, and hurts nobody."""
    fields, cookie = open_form(rig, "/sign-in")
    wrong = {**fields, **ADA, "password": "something else altogether"}
    from_here = {"Referer": rig.served.url.replace("http:", "https:")}

    def attempt(address: str, claimed: str) -> int:
        form = {"form": wrong, "cookie": cookie, "address": address, "claimed": claimed}
        return ask(rig, "POST", "/sign-in", **form, **from_here).status_code  # type: ignore[arg-type]

    evading = [attempt("203.0.113.7", f"198.51.100.{n}") for n in range(12)]

    assert evading == [422] * 10 + [429] * 2
    assert attempt("198.51.100.3", "203.0.113.7") == 422


SPELLINGS = [
    ("203.0.113.20:{port}", "203.0.113.21:{port}"),
    ("[2001:db8:20::1]:{port}", "[2001:db8:21::1]:{port}"),
    ("2001:db8:20::1%eth{port}", "2001:db8:21::1%eth{port}"),
    ("::ffff:203.0.113.22", "[::ffff:203.0.113.23]:{port}"),
    ("unknown", "203.0.113.24:{port}"),
    ("_hidden", "_other"),
]


@pytest.mark.accounts
@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_s73_an_address_may_have_a_port(rig: Rig, one: str, other: str) -> None:
    """S-73: as some balancers send it. One visitor's wrong passwords lock no other visitor out.

    Of the same kind: brackets, zones, mapped addresses, and words in place of an address.
    """
    fields, cookie = open_form(rig, "/sign-in")
    wrong = {**fields, **ADA, "password": "something else altogether"}
    from_here = {"Referer": rig.served.url.replace("http:", "https:")}

    def attempt(address: str) -> int:
        return ask(
            rig, "POST", "/sign-in", form=wrong, cookie=cookie, address=address, **from_here
        ).status_code  # type: ignore[arg-type]

    tries = [attempt(one.format(port=50000 + n)) for n in range(12)]

    assert tries == [422] * 10 + [429] * 2
    assert attempt(other.format(port=50000)) == 422


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded"])
def test_s73_a_proxy_is_believed_the_address_and_the_scheme_alone(rig: Rig, name: str) -> None:
    """S-73: the host is the one that was asked for, and there is no other place for pages."""
    value = {"Forwarded": "host=evil.example", "X-Forwarded-Prefix": "/evil"}.get(
        name, "evil.example"
    )

    page = ask(rig, "GET", "/sign-in", **{name: value})

    assert page.status_code == 200
    assert "evil" not in page.text + str(page.headers)
    assert page.headers["Set-Cookie"].startswith("__Host-session=")
