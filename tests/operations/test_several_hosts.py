"""Several hosts on one database, in trouble one after the other, while users load pages.

Three web hosts, two worker hosts, PostgreSQL behind pgbouncer, nginx, and the sandbox each have an
address of their own (tests/support/network.py). Access tokens live for seconds, so that refreshes
are under way all the time. The test prints a table of what users saw.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from tests.support.network import lan
from tests.support.postgres import running_postgres
from tests.support.several_hosts import (
    END_OTHERS,
    LOGGED,
    PATHS,
    POOL,
    POSTGRES,
    SLOTS,
    TOKEN_SECONDS,
    USERS,
    WEB,
    WORKERS,
    Site,
    Theirs,
)
from tests.support.syncing import Syncing
from tests.support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]


@pytest.fixture
def site(tmp_path: Path, migrate: Callable[[str], None]) -> Iterator[Site]:
    """Everything runs, and users load pages."""
    tmp_path.chmod(0o755)
    with ExitStack() as stack:
        net = stack.enter_context(lan())
        for name in ("users", "proxy", "sandbox", "database", *WEB, *WORKERS):
            net.add(name)
        with net.hosts["database"].entered():
            server = stack.enter_context(running_postgres(POSTGRES))
            server.stop()  # the number of its connections is read at a start
            server.start()
        site = Site(stack, net, tmp_path, server)
        stack.enter_context(net.hosts["users"].entered())
        site.start(migrate)
        site.sandbox.rules(access_token_seconds=TOKEN_SECONDS, requests_per_minute=100_000)
        site.populate()
        try:
            yield site
        finally:
            site.disperse()
            print(f"\n{site.table()}")


def a_host_is_cut_off(site: Site) -> None:
    """In mid-refresh, and until another host has taken over."""
    host = site.hosts["web1"]
    with (
        site.trouble("web host cut off in mid-refresh", host_away=True),
        site.gate.holding(host) as sent,
        host.cut_off(),
    ):
        site.lost |= site.gate.may_be_lost(host)
        site.held.add(sent.fingerprint)
        site.until_ended(sent)


def clocks_are_wrong(site: Site) -> None:
    """Of a web host and of a worker, by ten minutes, in either direction."""
    with site.trouble("clocks of a web host and a worker 10 min wrong"):
        for wrong in (600, -600):
            site.clock.set(wrong)
            site.until_served()
            assert abs(site.clock_error("web3") - wrong) < 60
        site.clock.set(0)


def hosts_are_paused(site: Site) -> None:
    """A web host in mid-refresh and a worker, until another host has taken over."""
    web, worker = site.hosts["web2"], site.hosts["worker1"]
    with (
        site.trouble("web host and worker host paused", host_away=True),
        site.gate.holding(web) as sent,
        web.paused(),
        worker.paused(),
    ):
        site.lost |= site.gate.may_be_lost(web) | site.gate.may_be_lost(worker)
        site.held.add(sent.fingerprint)
        site.until_ended(sent)


def the_database_dies(site: Site) -> None:
    """At once, and starts again once users have seen it."""
    with site.trouble("PostgreSQL killed and restarted"):
        site.server.stop("immediate")
        until(lambda: site.weather.seen[site.weather.name, "explained"] > len(USERS))
        with site.hosts["database"].entered():
            site.server.start()


def the_pool_is_taken(site: Site) -> None:
    """By others, who keep their transactions open."""
    with site.trouble("pgbouncer's pool taken"), ExitStack() as stack:
        for _ in range(POOL):
            other = stack.enter_context(psycopg.connect(site.pooler, prepare_threshold=None))
            with suppress(psycopg.OperationalError):  # it is the app that has the last ones
                other.execute("SELECT 1")
        until(lambda: site.weather.seen[site.weather.name, "explained"] > len(USERS))
        stack.close()


def the_slots_are_taken(site: Site) -> None:
    """PostgreSQL takes no connection more, and pgbouncer has lost those that it had."""
    direct = site.server.url("app")
    with site.trouble("max_connections taken"), ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(direct, autocommit=True))
        taken = 1
        while taken < SLOTS:
            first.execute(END_OTHERS)
            with suppress(psycopg.OperationalError):  # pgbouncer was there first
                stack.enter_context(psycopg.connect(direct, application_name="test"))
                taken += 1
        until(lambda: site.weather.seen[site.weather.name, "explained"] > len(USERS))
        stack.close()


def a_host_is_killed(site: Site) -> None:
    """In mid-refresh; another one starts in its place."""
    host = site.hosts["web3"]
    with site.trouble("web host killed in mid-refresh, a new one started", host_away=True):
        with site.gate.holding(host) as sent:
            site.lost |= site.gate.may_be_lost(host)
            site.held.add(sent.fingerprint)
            host.kill()
        site.serve("web3")
        site.until_ended(sent)


TROUBLES = (
    *(a_host_is_cut_off, clocks_are_wrong, hosts_are_paused, the_database_dies),
    *(the_pool_is_taken, the_slots_are_taken, a_host_is_killed),
)


def test_hosts_in_trouble_lose_no_grant_but_those_whose_answer_was_lost(site: Site) -> None:
    """Every page is right or says why not; afterwards all grants live and all copies are right."""
    with site.trouble("none"):
        site.until_served()
    for trouble in TROUBLES:
        trouble(site)
    site.disperse()
    site.sandbox.hurry_deliveries()

    logs = site.logs()
    ended = site.ended()
    print(f"grants ended: {len(ended)}; answers held back: {len(site.held)}")
    assert site.weather.wrong == []
    assert site.held <= ended <= site.lost
    for family in site.sandbox.ledger().families:
        twice = {token.fingerprint for token in family.refresh_tokens if token.presented > 1}
        assert twice <= ended
        assert family.reason in (None, "reuse")
    for person in site.people:
        theirs = Theirs(site.app, site.sandbox, person.maker.email)
        assert theirs.family().reason is None
        syncing = Syncing(theirs, site.app)  # type: ignore[arg-type]
        syncing.factory = person.factory
        until(syncing.is_in_step)
        syncing.assert_in_step()
        assert [person.look(path) for path in PATHS] == ["right"] * len(PATHS)
    lines = [line for log in logs.values() for line in log.splitlines()]
    assert [line for line in lines if "Traceback" in line and not LOGGED.search(line)] == []
