"""Guessing passwords from outside: S-62, how often one may try, and that it locks nobody out.

The app believes one proxy here, which is this test: it says where a browser comes from.

What does not hold: in a browser where the account did not sign in lately, who shares its address
(an office, one household) can use up the ten tries there, for five minutes at a time, and a crowd
those everywhere, for an hour. And a burst may be as many tries longer than the limit as there are
threads to take it, since a try is counted when it is over.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from app.accounts import device_cookies
from app.accounts.device_cookies import ACCOUNTS
from app.accounts.models import RateLimit
from app.database.clock import SystemClock
from app.database.db import db
from tests.support.actors import Maker
from tests.support.pages import Page
from tests.support.rig import Jar, Rig

pytestmark = pytest.mark.accounts

GOOD = "walnut drawers slide well"
HOME, ELSEWHERE = "198.51.100.7", "203.0.113.1"
THREADS = 2 * 8  # gunicorn.conf.py: workers times threads


@pytest.fixture(scope="module")
def rig_settings() -> dict[str, str]:
    """There is a proxy, which tells where a request comes from."""
    return {"PROXY_HOPS": "1"}


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who has an account, and whose browser it has signed in with before."""
    ada = rig.maker("ada")
    ada.sign_up()
    ada.sign_out()
    return ada


def try_at(rig: Rig, address: str, email: str, password: str, jar: Jar | None = None) -> Page:
    """The answer to a sign-in from this address; by a browser that was never here, or this one."""
    jar, headers = jar or rig.jar(), {"X-Forwarded-For": address}
    form = jar.send("GET", "/sign-in", headers=headers).form("/sign-in").fields
    return jar.send("POST", "/sign-in", form | {"email": email, "password": password}, headers)


def guess(rig: Rig, addresses: list[str], email: str) -> list[int]:
    """The statuses of wrong passwords from these addresses, one after the other."""
    return [
        try_at(rig, address, email, f"{GOOD} {n}").status for n, address in enumerate(addresses)
    ]


def move_windows(rig: Rig, end: float) -> None:
    """Let the time in which tries are counted end so many seconds from now."""
    with rig.app.app_context():
        db.session.execute(update(RateLimit).values(expires_at=SystemClock().database_time(end)))
        db.session.commit()


@pytest.mark.both_databases
def test_s62_both_workers_count_together_and_say_how_long_to_wait(rig: Rig, ada: Maker) -> None:
    """S-62: ten tries in five minutes at one address for one account, over all workers."""
    assert guess(rig, [ELSEWHERE] * 12, ada.email) == [422] * 10 + [429] * 2

    page = try_at(rig, ELSEWHERE, ada.email, ada.password)
    assert page.status == 429
    assert 0 < int(page.headers["Retry-After"]) <= 300
    assert "Too many tries" in page.text
    assert "so that nobody gets in by guessing" in page.text


def test_s62_who_guesses_does_not_lock_the_owner_out(rig: Rig, ada: Maker) -> None:
    """S-62: not in their own browser, even at the guesser's address; nor at any other address."""
    guess(rig, [ELSEWHERE] * 31, ada.email)

    assert try_at(rig, ELSEWHERE, ada.email, ada.password, ada.browser).status == 303
    assert try_at(rig, HOME, ada.email, ada.password).status == 303


@pytest.mark.slow
@pytest.mark.one_database
def test_s62_a_crowd_does_not_lock_the_owner_out(rig: Rig, ada: Maker) -> None:
    """S-62: many addresses guess in vain; in the browser that the account knows, it signs in."""
    crowd = guess(rig, [f"192.0.2.{n}" for n in range(31)], ada.email)

    assert crowd == [422] * 30 + [429]
    assert try_at(rig, HOME, ada.email, ada.password).status == 429
    assert try_at(rig, HOME, ada.email, ada.password, ada.browser).status == 303


@pytest.mark.one_database
def test_s62_a_known_browser_is_known_to_its_own_account(rig: Rig, ada: Maker) -> None:
    """S-62: it has ten tries too, none for another account, and a made-up cookie none at all."""
    bob = rig.maker("bob")
    bob.sign_up()
    bob.sign_out()
    guess(rig, [ELSEWHERE] * 10, ada.email)
    forged = rig.jar()
    forged.keep({"katana_known": bob.browser.cookies["katana_known"][:-1] + "x"})

    for jar in (bob.browser, forged):
        assert try_at(rig, ELSEWHERE, ada.email, ada.password, jar).status == 429
    own = [try_at(rig, HOME, ada.email, f"{GOOD} {n}", ada.browser).status for n in range(11)]
    assert own == [422] * 10 + [429]


@pytest.mark.slow
@pytest.mark.one_database
def test_s62_one_browser_of_several_people_is_known_to_each(rig: Rig, ada: Maker) -> None:
    """S-62: the one computer of an office, at which Bob has signed in after Ada."""
    bob = rig.maker("bob")
    bob.sign_up()
    try_at(rig, HOME, bob.email, bob.password, ada.browser)
    ada.sign_out()

    for maker in (ada, bob):
        guess(rig, [f"192.0.2.{n}" for n in range(31)], maker.email)
        assert try_at(rig, HOME, maker.email, maker.password, ada.browser).status == 303
        ada.sign_out()


@pytest.mark.one_database
def test_s62_a_browser_is_not_known_to_ever_more(rig: Rig, ada: Maker) -> None:
    """S-62: however many sign in with it, its cookie stays under 1 KiB."""
    for n in range(ACCOUNTS + 2):
        ada.email = f"maker{n}@workshop.example"
        ada.sign_up()
        ada.sign_out()

    with rig.app.app_context():
        names = device_cookies._signer().loads(ada.browser.cookies["katana_known"])
    assert len(names) == ACCOUNTS
    assert len(ada.browser.cookies["katana_known"]) < 1024


@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize(("days", "status"), [(29, 303), (31, 429)])
def test_s62_a_browser_is_not_known_for_ever(rig: Rig, ada: Maker, days: int, status: int) -> None:
    """S-62: a cookie that somebody finds in an old copy of a browser is worth no tries."""

    with rig.app.app_context():
        signer = device_cookies._signer()
        names = signer.loads(ada.browser.cookies["katana_known"])
        ago = {whose: (name, now - days * 24 * 3600) for whose, (name, now) in names.items()}
        jar = rig.jar()
        jar.keep({"katana_known": str(signer.dumps(ago))})
    guess(rig, [ELSEWHERE] * 10, ada.email)

    assert try_at(rig, ELSEWHERE, ada.email, ada.password, jar).status == status


@pytest.mark.one_database
def test_s62_what_a_guesser_claims_of_itself_changes_nothing(rig: Rig, ada: Maker) -> None:
    """S-62, S-73: only what the proxy adds at the end counts, not what stands before it."""
    claims = [f"10.0.0.{n}, 172.16.{n}.1, {ELSEWHERE}" for n in range(11)]

    assert guess(rig, claims, ada.email) == [422] * 10 + [429]


@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize(
    "addresses",
    [
        [f"2001:db8:1:2::{n:x}" for n in range(11)],
        [f"::ffff:{ELSEWHERE}", ELSEWHERE] * 5 + [ELSEWHERE],
    ],
    ids=["one network", "one address in two ways"],
)
def test_s62_one_household_is_one_address(rig: Rig, ada: Maker, addresses: list[str]) -> None:
    """S-62: the 2^64 addresses of an IPv6 network count as one."""
    assert guess(rig, addresses, ada.email) == [422] * 10 + [429]


@pytest.mark.slow
@pytest.mark.one_database
def test_s62_one_address_cannot_go_through_all_accounts(rig: Rig, ada: Maker) -> None:
    """S-62: one password tried on many accounts meets a limit too."""
    headers, jar = {"X-Forwarded-For": ELSEWHERE}, rig.jar()
    filled = jar.send("GET", "/sign-in", headers=headers).form("/sign-in").fields
    forms = [filled | {"email": f"maker{n}@workshop.example", "password": GOOD} for n in range(31)]

    statuses = []
    for form in forms:
        move_windows(rig, 60)  # however slow this machine is, it is one minute
        statuses.append(jar.send("POST", "/sign-in", form, headers).status)

    assert statuses == [422] * 30 + [429]


@pytest.mark.both_databases
def test_s62_a_burst_gets_no_further(rig: Rig, ada: Maker) -> None:
    """S-62: sixty guesses in the same moment are ten, and as many as were under way at once."""
    headers = {"X-Forwarded-For": ELSEWHERE}
    jars = [rig.jar() for _ in range(60)]
    form = jars[0].send("GET", "/sign-in", headers=headers).form("/sign-in").fields
    for jar in jars[1:]:
        jar.keep(jars[0].cookies)

    def burst(n: int) -> int:
        filled = form | {"email": ada.email, "password": f"{GOOD} {n}"}
        return jars[n].send("POST", "/sign-in", filled, headers).status

    with ThreadPoolExecutor(len(jars)) as pool:
        statuses = list(pool.map(burst, range(len(jars))))

    assert set(statuses) <= {422, 429}
    assert 10 <= statuses.count(422) <= 10 + THREADS


@pytest.mark.one_database
def test_s62_another_way_to_write_an_address_is_no_other_account(rig: Rig, ada: Maker) -> None:
    """S-62: capitals and spaces give nobody more tries."""
    ways = [ada.email, ada.email.upper(), f" {ada.email} ", ada.email.title()] * 3

    statuses = [try_at(rig, ELSEWHERE, way, f"{GOOD} {n}").status for n, way in enumerate(ways)]

    assert statuses == [422] * 10 + [429] * 2


@pytest.mark.one_database
def test_s62_a_forged_form_uses_up_no_tries(rig: Rig, ada: Maker) -> None:
    """S-62: only a form with its token counts, so another site cannot use up a user's tries."""
    headers = {"X-Forwarded-For": HOME}
    for _ in range(12):
        page = rig.jar().send("POST", "/sign-in", {"email": ada.email, "password": GOOD}, headers)
        assert page.status == 400

    assert guess(rig, [HOME] * 11, ada.email) == [422] * 10 + [429]


@pytest.mark.one_database
def test_s62_a_limit_ends_with_its_window(rig: Rig, ada: Maker) -> None:
    """S-62: nobody is locked out for good, and the next window begins with all its tries."""
    guess(rig, [ELSEWHERE] * 11, ada.email)
    move_windows(rig, -1)

    assert guess(rig, [ELSEWHERE] * 9, ada.email) == [422] * 9
    assert try_at(rig, ELSEWHERE, ada.email, ada.password).status == 303


@pytest.mark.one_database
def test_s62_a_wrong_clock_locks_nobody_out(rig: Rig, ada: Maker) -> None:
    """13, S-62: tries were counted while the database's clock ran a day ahead; it is set right."""
    guess(rig, [ELSEWHERE] * 11, ada.email)
    move_windows(rig, 24 * 3600)

    assert try_at(rig, ELSEWHERE, ada.email, ada.password).status == 303


def leave_one_try(rig: Rig, limit: str, of: int) -> None:
    """Of a limit such as `100/1/hour`, all tries but one are used up, whoever counts there."""
    with rig.app.app_context():
        counter = update(RateLimit).where(RateLimit.key.endswith(f"/{limit}"))
        changed = db.session.execute(counter.values(hits=of - 1)).rowcount  # type: ignore[attr-defined]
        db.session.commit()
    assert changed == 1


@pytest.mark.one_database
def test_s62_a_patient_crowd_has_a_hundred_tries_an_hour(rig: Rig, ada: Maker) -> None:
    """S-62: who waits for each window of five minutes meets the limit of the hour."""
    guess(rig, [ELSEWHERE], ada.email)
    leave_one_try(rig, "100/1/hour", 100)

    assert guess(rig, ["192.0.2.1", "192.0.2.2"], ada.email) == [422, 429]


@pytest.mark.one_database
@pytest.mark.parametrize(("limit", "of"), [("60/1/minute", 60), ("300/1/hour", 300)])
def test_s62_nobody_fills_the_table_of_accounts(rig: Rig, limit: str, of: int) -> None:
    """S-62: one address makes sixty accounts a minute, and three hundred an hour."""
    rig.maker("first").sign_up()
    leave_one_try(rig, limit, of)

    def status(name: str) -> int:
        maker = rig.maker(name)
        page = maker.get("/sign-up")
        typed = {"email": maker.email, "password": maker.password}
        return maker.submit(page, "/sign-up", **typed).status

    assert [status("second"), status("third")] == [303, 429]


@pytest.mark.one_database
def test_s62_nobody_fills_the_table_of_attempts(rig: Rig) -> None:
    """S-62: the button can be pressed a thousand times an hour."""
    ada = rig.maker("ada")
    ada.sign_up()
    ada.begin()
    leave_one_try(rig, "1000/1/hour", 1000)

    ada.begin()
    refused = ada.submit(ada.dashboard(), "/katana/connect")

    assert refused.status == 429
    assert "Retry-After" in refused.headers


@pytest.mark.slow
@pytest.mark.one_database
def test_s62_nobody_asks_for_all_addresses_at_the_sign_up(rig: Rig, ada: Maker) -> None:
    """S-62, S-63: whether an address has an account can be asked twenty times in five minutes."""
    headers, jar = {"X-Forwarded-For": ELSEWHERE}, rig.jar()
    form = jar.send("GET", "/sign-up", headers=headers).form("/sign-up").fields
    filled = form | {"email": ada.email, "password": GOOD}

    pages = [jar.send("POST", "/sign-up", filled, headers) for _ in range(21)]

    assert [page.status for page in pages] == [422] * 20 + [429]
    assert "guessing" not in pages[-1].text
