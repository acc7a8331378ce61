"""Coming back from Katana, attacked from outside: S-12 to S-24, each test named by its item.

S-13, which issuer an answer is from, is in `test_issuer.py`. Items that do not apply in
part:

S-13  more than one login server: there is one. A fork that adds a region or a second toolkit must
      store in the attempt which of them it is for, and give each a redirect URI of its own.
S-20  that a browser obeys the header: `tests/pages/test_browser.py` sees it in Chromium.
S-23  a `next` that leads back to where one was: there is none. A fork that adds one must take it
      from a list of its own pages, never from the address.
"""

from collections.abc import Iterator

import pytest

from tests.support.actors import Maker
from tests.support.callbacks import callback, query
from tests.support.rig import Rig
from tests.support.rows import attempts

ALDER = "Alder &amp; Spoke Bicycles"
USED_UP = "This link from Katana no longer works"
LONG = 4097  # one more than what is read

#: What no answer of Katana's looks like; `{state}` is that of an attempt under way.
DOUBTFUL = (
    "",
    "code=c",
    "state={state}",
    "code=&state={state}",
    "code=c&state=",
    "code=c&code=d&state={state}",
    "code=c&code=c&state={state}",
    "code=c&state={state}&state={state}",
    "code=c&state=x&state={state}",
    "code=c&error=access_denied&state={state}",
    "error=access_denied&error=server_error&state={state}",
    "error=&state={state}",
    "error=access_denied",
    "code=c&state={state}&iss=a&iss=b",
    "code=c&state={state}&iss=",
    "code=c%00&state={state}",
    "code=c&state={state}%00",
    "code=c%0d%0aSet-Cookie:x=y&state={state}",
    "code=c%0a&state={state}",
    "code=c&state={state}&iss=%0d%0aX-Y:z",
    "code=c%E2%80%AE&state={state}",
)
#: Only a form is read at such a length; a request line that long ends at the server (414).
ENDLESS = (
    f"code={'c' * LONG}&state={{state}}",
    f"code=c&state={'s' * LONG}",
    f"error={'e' * LONG}&state={{state}}",
)

MARK = "canary-in-the-mine"
#: What could do harm if a page, a header or a line of the log repeated it.
HOSTILE = (
    f"<svg onload=alert('{MARK}')>",
    f"javascript:{MARK}",
    f"\r\nSet-Cookie: {MARK}=1",
    f"\u202e{MARK}",
    f"{MARK} call +372 5555 5555 to unlock your factory",
    f"{{{{ 7*7 }}}}{MARK}",
    MARK * 50,
    MARK * 500,
)


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


@pytest.fixture
def katana_is_not_asked(rig: Rig) -> Iterator[None]:
    """At the end of the test no code was sent."""
    yield
    assert not rig.sandbox.ledger().of("exchange"), "a refused callback asked Katana"


def test_s12_a_callback_that_is_loaded_again_leads_to_the_dashboard(rig: Rig, ada: Maker) -> None:
    """S-12: reloading or going back exchanges nothing twice and frightens nobody."""
    answer = rig.sandbox.approve(ada.begin())
    ada.return_with(answer)

    pages = [ada.browser.send("GET", answer.url) for _ in range(3)]

    assert {(page.status, page.location) for page in pages} == {(303, "/dashboard")}
    assert len(rig.sandbox.ledger().of("exchange")) == 1
    assert ALDER in ada.dashboard().text


def test_s12_somebody_elses_finished_callback_is_refused(rig: Rig, ada: Maker) -> None:
    """S-12: that it was a repeat is told to the one whom it connected, and to nobody else."""
    bob = rig.maker("bob")
    bob.sign_up()
    answer = rig.sandbox.approve(ada.begin())
    ada.return_with(answer)

    assert bob.browser.send("GET", answer.url).status == 400
    assert len(rig.sandbox.ledger().of("exchange")) == 1


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto"])
def test_s14_the_way_back_is_never_taken_from_a_request(rig: Rig, ada: Maker, header: str) -> None:
    """S-14: whatever a request claims to be, Katana gets the configured address, all three times.

    The third is the refresh request, for which Katana's page lists the address too.
    """
    value = {"Forwarded": "host=evil.example", "X-Forwarded-Proto": "https"}.get(
        header, "evil.example"
    )
    form = ada.dashboard().form("/katana/connect").fields

    page = ada.browser.send("POST", "/katana/connect", form, {header: value})

    if header == "Host":
        assert page.status == 400
        return
    assert query(page.location or "")["redirect_uri"] == rig.environ["KATANA_REDIRECT_URI"]
    back = rig.sandbox.approve(page.location or "").url
    assert ada.browser.send("GET", back, headers={header: value}).location == "/dashboard"
    rig.sandbox.expire()
    assert ada.browser.send("GET", "/dashboard", headers={header: value}).status == 200
    asked = [*rig.sandbox.ledger().of("exchange"), *rig.sandbox.ledger().of("refresh")]
    # The sandbox compares the address letter by letter, so that it was sent is enough here.
    assert [("redirect_uri" in request.fields, request.status) for request in asked] == [
        (True, 200),
        (True, 200),
    ]


@pytest.mark.short_form(2)
@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("method", "answers"), [("GET", DOUBTFUL), ("POST", DOUBTFUL + ENDLESS)], ids=["GET", "POST"]
)
def test_s15_a_doubtful_answer_is_refused_before_anything_else(
    rig: Rig, ada: Maker, method: str, answers: tuple[str, ...]
) -> None:
    """S-15: it costs no request, no attempt and no connection, and is never a failure of ours."""
    state = query(ada.begin())["state"]

    for doubtful in answers:
        given = doubtful.format(state=state)
        url = f"/katana/callback?{given}" if method == "GET" else "/katana/callback"
        page = ada.browser.send(method, url, given if method == "POST" else None)

        assert page.status == 400, doubtful
        assert USED_UP in page.text, doubtful
        assert attempts(rig.app) == 1, doubtful


@pytest.mark.short_form(4)
@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        ("access_denied", 200, "You did not connect"),
        ("server_error", 400, "Katana had a problem"),
        ("temporarily_unavailable", 400, "Katana is busy"),
        ("invalid_request", 400, "Katana did not understand this app"),
        ("unauthorized_client", 400, "Katana does not know this app"),
        ("unsupported_response_type", 400, "Katana did not understand this app"),
        ("invalid_scope", 400, "Katana does not give this app the access it asks for"),
        ("call_this_number", 400, "Katana was not connected"),
    ],
)
def test_s16_an_error_is_told_in_our_words(
    rig: Rig, ada: Maker, error: str, status: int, title: str
) -> None:
    """S-16: each known code has its own words, any other the general ones, and all a way on."""
    state = query(ada.begin())["state"]

    page = ada.get(callback(error=error, state=state))

    assert page.status == status
    assert f"<h1>{title}</h1>" in page.text
    assert page.form("/katana/connect")
    assert attempts(rig.app) == 0
    assert ada.get(callback(error=error, state=state)).status == 400


@pytest.mark.short_form(1)
@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize("error", ["access_denied", "server_error", "call_this_number"])
def test_s16_an_error_with_a_foreign_state_says_nothing_of_it(
    rig: Rig, ada: Maker, error: str
) -> None:
    """S-16: the state is judged first, so nobody can make this app say that Katana failed."""
    ada.begin()

    page = ada.get(callback(error=error, state="x" * 43))

    assert page.status == 400
    assert USED_UP in page.text
    assert attempts(rig.app) == 1


@pytest.mark.short_form(3)
@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_s17_nothing_of_the_address_shows_up_anywhere(rig: Rig, ada: Maker, hostile: str) -> None:
    """S-17: what stands in a URL gets into no page, no header, no cookie and no line of the log."""
    state = query(ada.begin())["state"]
    texts = {"error_description": hostile, "error_uri": hostile, "canary": hostile}
    pages = [
        ada.browser.send("GET", callback(**given, **texts))
        for given in (
            {"error": hostile, "state": state},
            {"error": "access_denied", "state": hostile},
            {"error": "access_denied", "state": state},
            {"code": hostile, "state": "x" * 43},
            {"code": "c", "state": "x" * 43, "iss": hostile},
        )
    ]
    pages.append(ada.browser.send("POST", "/katana/callback", {"state": hostile, "x": hostile}))

    for page in pages:
        assert page.status in {200, 400, 414}
        assert MARK not in page.text
        assert MARK not in str(page.headers)
    assert MARK not in str(ada.browser.cookies)
    assert MARK not in ada.dashboard().text
    assert MARK not in rig.log()
