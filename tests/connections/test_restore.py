"""flask connections verify-before-use: a database that came from a backup is not believed."""

import pytest
from flask import Flask
from sqlalchemy import update

from app import connections
from app.connections.circuit_breaker import REFUSALS
from app.connections.models import Connection, Reason, Status
from app.database.db import db
from app.errors import ReconnectNeeded
from tests.support.commands import run
from tests.support.connected import Connected, MakeConnected

IN_BACKUP = (
    "sealed_access_token",
    "sealed_refresh_token",
    "expires_at",
    "renew_at",
    "refreshed_at",
    "generation",
    "parent_generation",
    "fence",
    "written_fence",
)


def use(app: Flask, connected: Connected) -> str:
    """A token, as a page asks for it."""
    with app.app_context():
        return connections.current().refresh.fresh_access_token(connected.id)


def restore(connected: Connected, backup: Connection) -> None:
    """Bring the row back to what it was."""
    with connected.app.app_context():
        db.session.execute(
            update(Connection)
            .where(Connection.id == connected.id)
            .values({name: getattr(backup, name) for name in IN_BACKUP})
        )
        db.session.commit()


def test_no_stored_access_token_is_used_after_it(app: Flask, new_connected: MakeConnected) -> None:
    """Each connection is renewed once before it is used, however long its token would live."""
    connected = new_connected()
    before = use(app, connected)

    told = run(app, "connections", "verify-before-use", "--yes")

    assert (told.status, told.output.splitlines()[-1][:10]) == (0, "Marked: 1.")
    assert use(app, connected) != before
    assert use(app, connected) == use(app, connected)
    assert connected.refreshes() == 1
    assert connected.holds_the_living_token()
    assert connected.row().doubtful_since is None


def test_a_token_spent_after_the_backup_asks_for_a_reconnect(
    app: Flask, new_connected: MakeConnected
) -> None:
    """R-9: the first refusal settles it, and says that an answer never reached this database."""
    connected = new_connected()
    backup = connected.row()
    connected.expire()
    use(app, connected)
    restore(connected, backup)

    run(app, "connections", "verify-before-use", "--yes")

    with pytest.raises(ReconnectNeeded):
        use(app, connected)
    assert connected.row().reason is Reason.ANSWER_LOST
    assert connected.refreshes() == 2


def test_many_spent_tokens_are_no_incident(app: Flask, new_connected: MakeConnected) -> None:
    """However many are refused in a row, each user is told, and who still can goes on."""
    spent = [new_connected(f"maker{n}") for n in range(REFUSALS + 2)]
    good = new_connected("zoe")
    for one in spent:
        one.sandbox.kill(one.family_id)

    run(app, "connections", "verify-before-use", "--yes")
    told = run(app, "connections", "keep-alive", "--idle-days", "0")

    assert told.status == 0, told.output
    assert f"1 renewed; {len(spent)} must be connected again" in told.output
    assert good.holds_the_living_token()


@pytest.mark.both_databases
def test_it_may_be_marked_again_and_beside_a_refresh(
    app: Flask, new_connected: MakeConnected
) -> None:
    """Marked twice is marked once; who holds a lease and then sends nothing leaves the mark."""
    connected = new_connected()
    leases = connected.parts().leases
    seen = leases.read(connected.id)
    assert seen
    lease = leases.claim(seen)
    assert lease

    for _ in range(2):
        run(app, "connections", "verify-before-use", "--yes")
    leases.release_unused(lease)

    assert connected.row().doubtful_since
    use(app, connected)
    assert connected.refreshes() == 1
    assert connected.row().doubtful_since is None


def test_who_needs_a_reconnect_is_left_alone(app: Flask, new_connected: MakeConnected) -> None:
    """Only what is active can be verified."""
    new_connected().change(status=Status.RECONNECT_NEEDED, reason=Reason.GRANT_ENDED)

    assert "Marked: 0." in run(app, "connections", "verify-before-use", "--yes").output


def test_it_asks_first(app: Flask, new_connected: MakeConnected) -> None:
    """Without a yes nothing is marked."""
    connected = new_connected()

    assert run(app, "connections", "verify-before-use").status == 1
    assert connected.row().doubtful_since is None
