"""The feed: every change once, in order, whoever writes beside whom."""

from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import delete, insert

from app import sync
from app.database.db import db
from app.sync import feed
from app.sync.feed import Change, ChangeKind, Changes, Happened, PositionTooOld, append
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected
from tests.support.syncing import wait_for_no_lock
from tests.support.until import until

pytestmark = pytest.mark.held_time

WRITERS, ROUNDS = 4, 15


@pytest.fixture
def ada(new_connected: MakeConnected) -> Connected:
    """A connected user."""
    return new_connected()


@pytest.fixture
def changes(ada: Connected) -> Changes:
    """The feed."""
    parts: sync.Sync = ada.app.extensions["sync"]
    return parts.changes


def order(number: int, kind: ChangeKind = ChangeKind.UPDATED) -> Happened:
    """What happened to an order."""
    return Happened("sales_orders", kind, number)


def numbers(found: list[Change]) -> list[int]:
    """Which orders."""
    return [change.record_id for change in found]


def test_positions_grow_by_one(ada: Connected, changes: Changes) -> None:
    """From 1 on; a reader goes on behind the last that it has seen, batch by batch."""
    for first in (1, 3):
        with parts(ada).engine.begin() as database:
            append(database, ada.clock, ada.id, [order(first), order(first + 1)])

    assert [change.position for change in changes.after(0)] == [1, 2, 3, 4]
    assert numbers(list(changes.after(2))) == [3, 4]
    assert numbers(list(changes.after(1, limit=2))) == [2, 3]


def parts(ada: Connected) -> sync.Sync:
    """The sync of her app."""
    found: sync.Sync = ada.app.extensions["sync"]
    return found


@pytest.mark.both_databases
def test_what_is_rolled_back_was_never_in_it(ada: Connected, changes: Changes) -> None:
    """Neither the change nor its position."""
    with parts(ada).engine.connect() as database:
        append(database, ada.clock, ada.id, [order(1)])
        database.rollback()
    with parts(ada).engine.begin() as database:
        append(database, ada.clock, ada.id, [order(2)])

    assert [(c.position, c.record_id) for c in changes.after(0)] == [(1, 2)]


@pytest.mark.both_databases
@pytest.mark.one_database("postgresql")
def test_who_writes_later_is_seen_later(ada: Connected, changes: Changes) -> None:
    """A later position is never visible while an earlier one is not: a reader would skip that."""
    engine = parts(ada).engine
    with engine.begin() as database:
        append(database, ada.clock, ada.id, [order(0)])

    def write() -> None:
        with engine.begin() as database:
            append(database, ada.clock, ada.id, [order(2)])

    with engine.connect() as slow:
        append(slow, ada.clock, ada.id, [order(1)])
        thread = Thread(target=write)
        thread.start()
        until(lambda: waiting(ada))
        assert numbers(list(changes.after(0))) == [0]
        slow.commit()
        thread.join()

    assert numbers(list(changes.after(0))) == [0, 1, 2]


def waiting(ada: Connected) -> bool:
    """Whether a transaction waits for another's lock."""
    with parts(ada).engine.connect() as database:
        locks = database.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(locks.scalar())


@pytest.mark.both_databases
def test_a_reader_beside_many_writers_misses_nothing(ada: Connected, changes: Changes) -> None:
    """It reads while they write, each time behind what it has seen, and has all in the end."""
    engine = parts(ada).engine

    def write(writer: int) -> None:
        for step in range(ROUNDS):
            with engine.begin() as database:
                happened = [order(writer * 1000 + step * 10 + n) for n in range(1 + step % 3)]
                append(database, ada.clock, ada.id, happened)

    threads = [Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    seen: list[Change] = []
    while any(thread.is_alive() for thread in threads):
        seen += changes.after(seen[-1].position if seen else 0, limit=7)
    for thread in threads:
        thread.join()
    while more := changes.after(seen[-1].position if seen else 0):
        seen += more

    assert [change.position for change in seen] == list(range(1, WRITERS * ROUNDS * 2 + 1))
    assert numbers(seen) == numbers(list(changes.after(0, limit=10_000)))


def test_old_entries_go_and_a_reader_that_has_missed_them_is_told(
    ada: Connected, changes: Changes, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins anew: it takes the position, reads the copy, and goes on from there."""
    monkeypatch.setattr(feed, "CLEARED_AT_ONCE", 2)
    assert changes.last() == 0
    with parts(ada).engine.begin() as database:
        append(database, ada.clock, ada.id, [order(n) for n in (1, 2, 3)])
    clock.move(feed.KEPT_SECONDS - 1)
    with parts(ada).engine.begin() as database:
        append(database, ada.clock, ada.id, [order(4)])
    assert not changes.clear()
    assert numbers(list(changes.after(0))) == [1, 2, 3, 4]
    clock.move(2)

    assert changes.clear()  # a batch; there may be more
    assert not changes.clear()
    assert not changes.clear()

    for too_old in (0, 2):
        with pytest.raises(PositionTooOld):
            changes.after(too_old)
    assert numbers(list(changes.after(3))) == [4]
    assert changes.last() == 4
    assert changes.after(changes.last()) == []


@pytest.mark.one_database("postgresql")
def test_changes_that_a_disconnect_is_deleting_are_not_waited_for(
    ada: Connected, changes: Changes, clock: HeldClock
) -> None:
    """The disconnect may wait for the feed's rows as well, and neither would go on."""
    with parts(ada).engine.begin() as database:
        append(database, ada.clock, ada.id, [order(1), order(2)])
    clock.move(feed.KEPT_SECONDS + 1)
    wait_for_no_lock(ada.app)
    with parts(ada).engine.begin() as disconnecting:
        disconnecting.execute(delete(feed.ChangeRow).where(feed.ChangeRow.position == 1))
        changes.clear()

    assert changes.after(changes.last()) == []
    with pytest.raises(PositionTooOld):
        changes.after(0)


def test_a_handler_commits_its_work_and_its_position_together(
    ada: Connected, changes: Changes
) -> None:
    """Killed anywhere, it goes on where it was: each label is printed once."""
    engine = parts(ada).engine
    with engine.begin() as database:
        append(database, ada.clock, ada.id, [order(n, ChangeKind.CREATED) for n in range(5)])
    # A table of the partner's own would stand here; this one has what is needed: a number.
    positions, printed = feed.Feed, []

    def handle(crash_at: int) -> None:
        with engine.connect() as database:
            found = database.scalar(db.select(positions.position).where(positions.id == 3))
        for change in changes.after(found or 0, limit=2):
            with engine.begin() as database:
                if found is None:
                    database.execute(insert(positions).values(id=3, position=0))
                    found = 0
                database.execute(
                    db.update(positions).where(positions.id == 3).values(position=change.position)
                )
                if change.record_id == crash_at:
                    raise ZeroDivisionError
            printed.append(change.record_id)

    for crash_at in (1, 3, 9, 9, 9):
        try:
            handle(crash_at)
        except ZeroDivisionError:
            continue

    assert printed == [0, 1, 2, 3, 4]
    assert isinstance(ada.id, UUID)
