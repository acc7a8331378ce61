"""flask connections keep-alive: what is renewed, what stops it, and what does not."""

import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import literal, text, update

from app import connections
from app.connections.circuit_breaker import REFUSALS
from app.connections.fleet.keep_alive import BATCH, PUT_OFF_IN_A_ROW, Outcome
from app.connections.lease_statements import LONGEST_LEASE_SECONDS
from app.connections.models import Connection, Reason, Status
from app.connections.refresh import MAX_SENDS
from app.connections.vault import Vault
from app.credentials import TokenKey
from app.database.db import db
from tests.support.clocks import HeldClock
from tests.support.commands import Ended, ended, flask, on_a_terminal, run
from tests.support.connected import Connected, MakeConnected
from tests.support.crowds import crowd
from tests.support.statements import statements
from tests.support.until import until

pytestmark = pytest.mark.held_time

LONG_AGO = -8 * 24 * 3600.0
IN_FLIGHT = 4
MANY = 10_000
WRONG = Vault([TokenKey("lost", b"0123456789abcdef" * 2)])


@pytest.fixture
def new_idle(new_connected: MakeConnected) -> MakeConnected:
    """Makes users who have been connected long ago."""

    def make(name: str = "ada") -> Connected:
        connected = new_connected(name)
        connected.change(refreshed_at=LONG_AGO)
        return connected

    return make


def keep_alive(app: Flask, *arguments: str) -> Ended:
    """`flask connections keep-alive`, in this process."""
    return run(app, "connections", "keep-alive", "--in-flight", str(IN_FLIGHT), *arguments)


def round_of(app: Flask, stopped: Callable[[], bool] = lambda: False) -> Iterator[Outcome]:
    """What becomes of each, as it comes."""
    with app.app_context():
        fleet = connections.current()
        yield from fleet.keep_alive.run(fleet.idle.moment(7 * 24 * 3600), IN_FLIGHT, stopped)


def ended_ones(app: Flask) -> int:
    """How many connections need their users."""
    with app.app_context():
        return connections.current().overview.counts()[Status.RECONNECT_NEEDED]


@pytest.mark.both_databases
def test_what_is_idle_is_renewed_and_nothing_else(app: Flask, new_idle: MakeConnected) -> None:
    """R-17: after a week without a refresh there is one; what was renewed since is left alone."""
    idle = [new_idle(name) for name in ("ada", "bea", "cleo")]
    fresh, gone = new_idle("dora"), new_idle("eve")
    fresh.change(refreshed_at=-6 * 24 * 3600)
    gone.change(status=Status.RECONNECT_NEEDED, reason=Reason.GRANT_ENDED)

    told = keep_alive(app)

    assert (told.status, told.stdout) == (0, "Renewing: 3 of 3\n3 renewed.\n")
    assert fresh.refreshes() == 3
    assert all(one.holds_the_living_token() for one in idle)
    assert keep_alive(app).output == "Nothing was idle for so long.\n"


@pytest.mark.parametrize("column", ["next_attempt_at", "lease_until"])
@pytest.mark.parametrize("ahead", [24 * 3600, 400 * 24 * 3600])
def test_a_moment_of_a_wrong_clock_keeps_none_out(
    app: Flask, new_idle: MakeConnected, column: str, ahead: int
) -> None:
    """13: written while the database's clock ran ahead; the connection is chosen anyway."""
    idle = new_idle()
    lease = {"lease_owner": literal("x")} if column == "lease_until" else {}
    idle.change(**{column: ahead}, **lease)

    with app.app_context():
        fleet = connections.current()
        chosen = fleet.idle.due(fleet.idle.moment(7 * 24 * 3600), limit=5)

    assert chosen == [idle.id]


def test_how_long_is_idle_is_told(app: Flask, new_idle: MakeConnected) -> None:
    """`--idle-days` moves the border."""
    new_idle()

    assert keep_alive(app, "--idle-days", "9").output == "Nothing was idle for so long.\n"
    assert "1 renewed" in keep_alive(app, "--idle-days", "0.5").output


def test_a_hundred_years_are_not_too_long(app: Flask, new_idle: MakeConnected) -> None:
    """The most that `--idle-days` takes is a moment that either database knows."""
    new_idle()

    assert keep_alive(app, "--idle-days", "36500").output == "Nothing was idle for so long.\n"


@pytest.mark.slow
def test_two_hosts_renew_each_connection_once(
    new_idle: MakeConnected, environ: dict[str, str]
) -> None:
    """Any number may run it at once: one refresh for each connection, and all live on."""
    everybody = [new_idle(f"maker{n}") for n in range(8)]

    hosts = [flask(environ, "connections", "keep-alive") for _ in range(2)]
    told = [ended(host) for host in hosts]

    assert [host.status for host in told] == [0, 0], told
    assert everybody[0].refreshes() == len(everybody)
    assert all(one.holds_the_living_token() for one in everybody)


def test_what_does_not_open_stops_nothing(
    app: Flask, new_idle: MakeConnected, caplog: pytest.LogCaptureFixture
) -> None:
    """A poison row is named and passed over; the others are renewed; the status says so."""
    (poisoned,) = crowd(app, WRONG, 1)  # idle for longer than the other, so it comes first
    other = new_idle()

    told = keep_alive(app)

    assert told.status == 1
    assert "1 renewed; 1 failed here" in told.output
    assert f"connection {poisoned}: no key 'lost'" in caplog.text
    assert other.holds_the_living_token()


def test_an_ended_grant_is_no_failure_of_the_run(app: Flask, new_idle: MakeConnected) -> None:
    """Who must connect again is told; no second run would help them, so the status is 0."""
    ended_one, other = new_idle("ada"), new_idle("bea")
    ended_one.sandbox.kill(ended_one.family_id)

    told = keep_alive(app)

    assert told.status == 0
    assert "1 renewed; 1 must be connected again by their users." in told.output
    assert ended_one.row().reason is Reason.GRANT_ENDED
    assert other.holds_the_living_token()


@pytest.mark.parametrize("overlap", [0, 30])
def test_a_lost_answer_is_settled_in_the_same_run(
    app: Flask, new_idle: MakeConnected, overlap: int
) -> None:
    """R-2: with an overlap the second send heals it; without one its user is told."""
    connected = new_idle()
    connected.sandbox.rules(rotation_overlap_seconds=overlap)
    connected.sandbox.fault("refresh", "lose_answer")

    assert list(round_of(app)) == [Outcome.RENEWED if overlap else Outcome.ENDED]
    assert connected.refreshes() == 2


def test_a_pause_is_kept(app: Flask, new_idle: MakeConnected) -> None:
    """What Katana asked to wait for is waited for by this command too."""
    connected = new_idle()
    connected.change(next_attempt_at=600)

    told = keep_alive(app)

    assert told.status == 1
    assert told.output.endswith("1 pausing after earlier failures.\n")
    assert connected.refreshes() == 0


def test_katana_down_ends_the_run_early(app: Flask, new_idle: MakeConnected) -> None:
    """While Katana renews none, not everybody is sent in vain; nothing is lost."""
    connected = new_idle()
    crowd(app, connected.vault, BATCH * 2)
    connected.sandbox.fault("refresh", "status", status=503, times=0)

    told = keep_alive(app)

    assert told.status == 1
    assert "Katana renews none at present" in told.output
    assert connected.refreshes() <= (PUT_OFF_IN_A_ROW + IN_FLIGHT) * MAX_SENDS
    assert ended_ones(app) == 0


def test_an_incident_at_katana_stops_the_run(app: Flask, new_idle: MakeConnected) -> None:
    """R-13: where Katana refuses everybody, few are asked for and fewer end, however many runs."""
    connected = new_idle()
    crowd(app, connected.vault, BATCH * 2)
    connected.sandbox.fault("refresh", "invalid_grant", times=0)

    for _ in range(3):
        assert keep_alive(app).status == 1

    assert connected.refreshes() <= (REFUSALS + IN_FLIGHT) * MAX_SENDS
    assert ended_ones(app) < REFUSALS


def test_asked_to_stop_it_finishes_what_is_under_way(app: Flask, new_idle: MakeConnected) -> None:
    """Nothing more is begun; what was begun is saved; the rest is as it was."""
    everybody = [new_idle(f"maker{n}") for n in range(3 * IN_FLIGHT)]

    seen = list(round_of(app, stopped=lambda: everybody[0].refreshes() > 0))

    assert set(seen) <= {Outcome.RENEWED, Outcome.LEFT}
    renewed = Counter(seen)[Outcome.RENEWED]
    assert renewed == everybody[0].refreshes() < len(everybody)
    assert all(one.holds_the_living_token() for one in everybody)


@pytest.mark.short_form(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(
    new_idle: MakeConnected, environ: dict[str, str], number: signal.Signals
) -> None:
    """Told to stop, it says what it has done and ends with 0, and every connection lives."""
    everybody = [new_idle(f"maker{n}") for n in range(12)]
    everybody[0].sandbox.rules(latency_seconds=0.2)
    process = flask(environ, "connections", "keep-alive", "--in-flight", "2")
    wait_for_refreshes(everybody[0], 1)

    process.send_signal(number)
    told = ended(process)

    assert told.status == 0, told.output
    assert re.search(r"\d+ renewed; \d+ left for the next time\.\n$", told.output)
    assert all(one.holds_the_living_token() for one in everybody)


@pytest.mark.slow
def test_killed_it_loses_nothing_that_could_be_saved(
    app: Flask, new_idle: MakeConnected, environ: dict[str, str], clock: HeldClock
) -> None:
    """SIGKILL in the middle: the next run goes on with the rest, and with what was under way."""
    everybody = [new_idle(f"maker{n}") for n in range(6)]
    everybody[0].sandbox.rules(latency_seconds=0.2, rotation_overlap_seconds=30)
    process = flask(environ, "connections", "keep-alive", "--in-flight", "2")
    wait_for_refreshes(everybody[0], 3)

    process.kill()
    assert ended(process).status == -signal.SIGKILL
    clock.move(2 * LONGEST_LEASE_SECONDS)  # the killed one had the real time

    assert keep_alive(app).status == 0
    assert all(one.holds_the_living_token() for one in everybody)
    assert all(one.family().state == "live" for one in everybody)


@pytest.mark.slow
def test_watching_it_goes_on(new_idle: MakeConnected, environ: dict[str, str]) -> None:
    """With `--watch` it comes back for what has become idle meanwhile, until it is told to stop."""
    connected = new_idle()
    process = flask(environ, "connections", "keep-alive", "--watch", "--every", "1")
    wait_for_refreshes(connected, 1)
    wait_until_saved(connected, generation=2)

    connected.change(refreshed_at=LONG_AGO)
    wait_for_refreshes(connected, 2)
    process.terminate()

    assert ended(process).status == 0
    assert connected.holds_the_living_token()


@pytest.mark.slow
def test_elsewhere_than_on_a_terminal_each_batch_is_a_line(app: Flask) -> None:
    """A log shows how far it is."""
    crowd(app, WRONG, BATCH * 2 + 10)

    lines = keep_alive(app).stdout.splitlines()

    total = BATCH * 2 + 10
    assert lines[:3] == [f"Renewing: {done} of {total}" for done in (BATCH, BATCH * 2, total)]


@pytest.mark.slow
@pytest.mark.one_database
def test_on_a_terminal_it_draws_a_bar(new_idle: MakeConnected, environ: dict[str, str]) -> None:
    """Somebody who watches sees it move, and no log line tears it apart."""
    new_idle()

    shown = on_a_terminal(environ, "connections", "keep-alive")

    assert "1/1" in shown
    assert "INFO" not in shown
    assert "1 renewed." in shown


@pytest.mark.slow
@pytest.mark.both_databases
def test_the_index_finds_what_is_idle(app: Flask, new_idle: MakeConnected) -> None:
    """Of many connections, no statement reads all from one end to the other, nor sorts them."""
    connected = new_idle()
    crowd(app, connected.vault, MANY)
    with app.app_context():
        fleet = connections.current()
        before = fleet.idle.moment(-LONG_AGO)
        recent = Connection.user_id > MANY // 10
        now = connected.clock.database_time()
        db.session.execute(update(Connection).where(recent).values(refreshed_at=now, renew_at=now))
        db.session.execute(text("ANALYZE"))
        db.session.commit()
        seen = next(fleet.idle.batches(before))[0]

        with statements(db.engine) as sent:
            idle = sum(len(batch) for batch in fleet.idle.batches(before))
            assert fleet.idle.count(before) == idle < MANY // 5
            fleet.idle.oldest()
            assert fleet.refusal_breaker.allows_request()
            assert connected.parts().leases.claim(seen)

        plans = [plan(*statement) for statement in sent if "connections" in statement[0]]
    # PostgreSQL may complete the order of an index by one of few rows, which is no sort of all.
    plans = [re.sub(r"Incremental Sort.*\n.*Sort Key.*\n", "", told) for told in plans]
    for told in plans:
        assert re.search(r"ix_connections_|pk_connections|sqlite_autoindex_connections", told), told
        assert not re.search(r"SCAN connections(?! USING)|Seq Scan|Sort|TEMP B-TREE", told), told


def plan(statement: str, parameters: Any) -> str:
    """How the database goes about it."""
    explain = "EXPLAIN QUERY PLAN" if db.engine.dialect.name == "sqlite" else "EXPLAIN"
    with db.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row[-1]) for row in rows)


def wait_for_refreshes(connected: Connected, number: int) -> None:
    """Return once Katana has been asked so often."""
    until(lambda: connected.refreshes() >= number)


def wait_until_saved(connected: Connected, generation: int) -> None:
    """Return once this generation is stored."""
    until(lambda: connected.row().generation >= generation)
