"""Where Katana posts deliveries to: what is signed makes a resource due, all else is refused."""

import hmac
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
import requests
from flask import Flask
from sqlalchemy import event, func, select, update

from app import sync
from app.database.db import db
from app.katana.webhooks import DELIVERY_BYTES
from app.sync.door import JUNK_PER_MINUTE, DeliveryRefused
from app.sync.door import Door as SyncDoor
from app.sync.models import SyncCursor, SyncHint
from app.sync.webhook import Webhook, token_place
from tests.actors import Maker
from tests.conftest import MakeMaker
from tests.sandbox import TIMEOUT, Sandbox
from tests.servers import Served
from tests.syncing import OnlyConnection, Syncing

pytestmark = pytest.mark.slow_on("postgresql")

CREATED = {"action": "sales_order.created", "webhook_id": 1, "object": {"id": "10005"}}
STOCK = "current_inventory.product_updated"
#: All that may be wrong with a signed body. Katana would send the same again.
SAYS_NOTHING = {
    "empty": b"",
    "no JSON": b"\xff\xfe nonsense",
    "a list": b"[]",
    "a number": b"17",
    "null": b"null",
    "deep": b'{"a":' * 8_000 + b"1" + b"}" * 8_000,
    "no action": b'{"object":{"id":1}}',
    "an action that is no text": b'{"action":7}',
    "an unknown event": b'{"action":"spaceship.landed","object":{"id":1}}',
    "a prototype": b'{"__proto__":{"action":"sales_order.created"}}',
}
#: Ids that name no record: the whole list is read, as with none.
NO_ID = ["null", '"abc"', '""', "1e400", "-5", "[]", "{}", '"١٢"', "9" * 5000, f'"{"9" * 5000}"']


@dataclass(frozen=True)
class Door:
    """The door of one connection, from outside."""

    url: str
    token: str
    connection_id: UUID
    app: Flask

    def sign(self, body: bytes) -> str:
        """The signature that Katana would send."""
        return hmac.new(self.token.encode(), body, sha256).hexdigest()

    def post(self, body: bytes, signature: str | None = None, **headers: str) -> requests.Response:
        """Post a body, rightly signed unless `signature` says otherwise."""
        signed = {"x-sha2-signature": self.sign(body) if signature is None else signature}
        return requests.post(self.url, body, headers=signed | headers, timeout=TIMEOUT)

    def due(self) -> set[str]:
        """The resources that a hint has made due since the last look."""
        with self.app.app_context():
            hinted = select(SyncCursor.resource).where(SyncCursor.hinted_at.is_not(None))
            found = set(db.session.scalars(hinted))
            db.session.execute(update(SyncCursor).values(hinted_at=None))
            db.session.commit()
            return found

    def named(self) -> set[int]:
        """The records to be read first."""
        with self.app.app_context():
            return set(db.session.scalars(select(SyncHint.record_id)))


@pytest.fixture
def door(served_maker: Maker, sandbox: Sandbox, app: Flask) -> Door:
    """A connected user of the served app; this process does what a worker would."""
    served_maker.sign_up()
    served_maker.connect()
    return open_door(app, sandbox)


def open_door(app: Flask, sandbox: Sandbox) -> Door:
    """Let the webhook be made, and read its key and token."""
    with app.app_context():
        parts = sync.current()
        (connection_id,) = parts.subscriptions.due(2)
        parts.subscriptions.check(connection_id)
        sealed = db.session.scalar(select(Webhook.sealed_token))
        assert sealed
        token = parts.door.vault.open(sealed, token_place(connection_id))
        db.session.execute(update(SyncCursor).values(hinted_at=None))
        db.session.commit()
    return Door(sandbox.webhooks()[-1]["url"], token, connection_id, app)


@pytest.mark.both_databases
def test_a_delivery_makes_its_resource_due(door: Door) -> None:
    """204, and the order's list is to be read; a new order may have a new customer."""
    answer = door.post(json.dumps(CREATED).encode())

    assert (answer.status_code, answer.content) == (204, b"")
    assert door.due() == {"sales_orders", "customers"}
    assert door.named() == set()


@pytest.mark.parametrize("written", [11004, "11004"])
def test_a_delivery_of_stock_names_what_to_read(door: Door, written: object) -> None:
    """Stock has no dates: the variant is read first, whether its id is a number or text."""
    door.post(json.dumps({"action": STOCK, "object": {"id": written}}).encode())

    assert door.due() == {"inventory"}
    assert door.named() == {11004}


def test_deliveries_of_katana_are_taken(door: Door, sandbox: Sandbox) -> None:
    """As the sandbox signs and sends them: a new order, a shipment, a deletion, stock."""
    for what in ("new_order", "ship_order", "delete_order"):
        sandbox.happen(what)
    sandbox.wait_until_delivered()

    assert door.due() >= {"sales_orders"}
    assert {delivery["state"] for delivery in sandbox.deliveries()} == {"delivered"}


@pytest.mark.one_database
def test_what_says_nothing_is_logged_and_not_asked_for_again(door: Door, served: Served) -> None:
    """204 with nothing due, and one line that says why."""
    for lines, (name, body) in enumerate(SAYS_NOTHING.items(), start=1):
        assert door.post(body).status_code == 204, name
        assert door.due() == set(), name
        assert served.log().count("a delivery") == lines, name
    assert "Traceback" not in served.log()


@pytest.mark.one_database
def test_ids_that_name_nothing_let_the_list_be_read(door: Door) -> None:
    """Text, null, huge numbers: nothing is stored of them, nothing lost."""
    for written in NO_ID:
        body = f'{{"action":"{STOCK}","object":{{"id":{written}}}}}'.encode()
        assert door.post(body).status_code == 204, written
        assert door.due() == {"inventory"}, written
    assert door.named() == set()


def refusals(door: Door) -> dict[str, requests.Response]:
    """Everything that is not Katana's."""
    body = json.dumps(CREATED).encode()
    signature = door.sign(body)
    unknown = Door(f"{door.url[:-4]}AAAA", door.token, door.connection_id, door.app)
    too_long = body + b" " * DELIVERY_BYTES
    return {
        "unsigned": requests.post(door.url, body, timeout=TIMEOUT),
        "an empty signature": door.post(body, ""),
        "of another body": door.post(body + b" ", signature),
        "of the JSON and not of its bytes": door.post(
            json.dumps(CREATED, indent=1).encode(), signature
        ),
        "with a prefix": door.post(body, f"sha256={signature}"),
        "in capitals": door.post(body, signature.upper()),
        "cut": door.post(body, signature[:-1]),
        "not ASCII": requests.post(
            door.url, body, headers={"x-sha2-signature": b"\xe9" * 64}, timeout=TIMEOUT
        ),
        "twice": door.post(body, f"{signature}, {signature}"),
        "of another key": door.post(body, hmac.new(b"0" * 16, body, sha256).hexdigest()),
        "an unknown key": unknown.post(body),
        "no key": requests.post(f"{door.url.rpartition('/')[0]}/x", body, timeout=TIMEOUT),
        "too long": door.post(too_long),
        "too long, in chunks": requests.post(
            door.url,
            iter([too_long]),
            headers={"x-sha2-signature": door.sign(too_long)},
            timeout=TIMEOUT,
        ),
        "under another header": requests.post(
            door.url, body, headers={"X-Katana-Signature": signature}, timeout=TIMEOUT
        ),
    }


def test_all_that_is_not_katanas_is_refused_alike(door: Door) -> None:
    """One answer, which does not tell a wrong key from a wrong signature; nothing is written."""
    answers = refusals(door)

    told = {(answer.status_code, answer.text) for answer in answers.values()}
    assert told == {(404, "not found\n")}, {n: a.status_code for n, a in answers.items()}
    assert door.due() == set()


def test_a_key_opens_its_own_connection_alone(
    door: Door, new_served_maker: MakeMaker, sandbox: Sandbox, app: Flask
) -> None:
    """Another user's key and token are as good as any: for theirs."""
    ben = new_served_maker("ben")
    ben.sign_up()
    ben.connect()
    with app.app_context():
        (id_of_ben,) = sync.current().subscriptions.due(2)
        sync.current().subscriptions.check(id_of_ben)
    url_of_ben = sandbox.webhooks()[-1]["url"]
    body = json.dumps(CREATED).encode()

    crossed = requests.post(
        url_of_ben, body, headers={"x-sha2-signature": door.sign(body)}, timeout=TIMEOUT
    )

    assert crossed.status_code == 404
    assert door.post(body).status_code == 204
    with app.app_context():
        hinted = select(SyncCursor.connection_id).where(SyncCursor.hinted_at.is_not(None))
        assert set(db.session.scalars(hinted)) == {door.connection_id}


@pytest.mark.one_database
def test_a_replay_and_a_foreign_link_do_no_harm(door: Door, sandbox: Sandbox) -> None:
    """The same delivery again is one more hint; its `href` is never asked."""
    elsewhere = {**CREATED, "object": {"id": 1, "href": "http://127.0.0.1:9/steal"}}
    body = json.dumps(elsewhere).encode()
    before = len(sandbox.ledger().of("api"))

    assert [door.post(body).status_code for _ in range(5)] == [204] * 5
    assert len(sandbox.ledger().of("api")) == before


def test_junk_keeps_no_true_delivery_out(door: Door, served: Served, app: Flask) -> None:
    """A thousand forged posts from the same address: pages and true deliveries go on."""
    body = json.dumps(CREATED).encode()
    assert {door.post(body).status_code for _ in range(8)} == {204}  # both workers know the key
    junk = f"{door.url.rpartition('/')[0]}/{'x' * 43}"

    def throw(_: int) -> int:
        return requests.post(junk, body, timeout=TIMEOUT).status_code

    with ThreadPoolExecutor(8) as flood:
        thrown = [flood.submit(throw, n) for n in range(1000)]
        pages = [requests.get(f"{served.url}/sign-in", timeout=TIMEOUT) for _ in range(20)]
        true = [door.post(body) for _ in range(20)]

    assert {future.result() for future in thrown} == {404}
    assert {page.status_code for page in pages} == {200}
    assert {answer.status_code for answer in true} == {204}
    assert door.due() == {"sales_orders", "customers"}


@pytest.mark.one_database
def test_after_some_junk_the_database_is_not_asked_for_more(app: Flask) -> None:
    """Junk from one address costs a look at a counter in memory; other addresses are asked for."""
    asked: list[str] = []
    with app.app_context():
        engine, door = db.engine, sync.current().door

        @event.listens_for(engine, "before_cursor_execute")
        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            asked.append(statement)

        for _ in range(JUNK_PER_MINUTE + 50):
            assert not opens(door, "203.0.113.7")
        assert len(asked) == JUNK_PER_MINUTE
        assert not opens(door, "203.0.113.8")
        assert len(asked) == JUNK_PER_MINUTE + 1


def opens(door: SyncDoor, address: str) -> bool:
    """Whether a made-up key opens."""
    try:
        door.take("made up", "", address, lambda: pytest.fail("a stranger's body is read"))
    except DeliveryRefused:
        return False
    return True


def test_nothing_is_asked_of_katana_while_it_waits(door: Door, sandbox: Sandbox) -> None:
    """The answer does not depend on Katana: its API hangs, and the delivery is taken."""
    sandbox.fault("api", "slow", seconds=30, times=0)
    before = len(sandbox.ledger().of("api"))

    assert door.post(json.dumps(CREATED).encode()).status_code == 204
    assert len(sandbox.ledger().of("api")) == before


@pytest.mark.one_database
def test_the_key_is_in_no_log(door: Door, served: Served) -> None:
    """The address is shown up to the key, whatever is answered."""
    key = door.url.rpartition("/")[2]
    door.post(json.dumps(CREATED).encode())
    door.post(b"", "wrong")

    assert "/katana/webhooks/..." in served.log()
    assert key not in served.log()
    assert door.token not in served.log()


@pytest.mark.one_database("postgresql")
def test_while_the_database_is_away_katana_is_to_send_again(
    door: Door, database_url: str, served: Served
) -> None:
    """503, so that the delivery comes once more."""
    name = urlsplit(database_url).path.removeprefix("/")
    with door.app.app_context():
        db.engine.dispose()
        url = db.engine.url.set(database="postgres")
    with psycopg.connect(url.render_as_string().replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # type: ignore[call-overload]
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )
        try:
            assert door.post(json.dumps(CREATED).encode()).status_code == 503
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # type: ignore[call-overload]

    assert door.post(json.dumps(CREATED).encode()).status_code == 204


@pytest.mark.one_database
def test_a_token_that_does_not_open_is_sealed_anew(door: Door, sandbox: Sandbox) -> None:
    """Its key was rotated away: 503 for this delivery, and the next check reads it from Katana."""
    with door.app.app_context():
        other = sync.current().door.vault.seal("x", token_place(UUID(int=0)))
        db.session.execute(update(Webhook).values(sealed_token=other))
        db.session.commit()
    body = json.dumps(CREATED).encode()

    assert door.post(body).status_code == 503
    with door.app.app_context():
        (connection_id,) = sync.current().subscriptions.due(2)
        sync.current().subscriptions.check(connection_id)

    assert door.post(body).status_code == 204


@pytest.mark.one_database
def test_a_body_that_does_not_come_holds_no_page_up(door: Door, served: Served) -> None:
    """Strangers are refused before their body is read; a silent sender with a key is cut off."""
    url = urlsplit(door.url)
    head = f"Host: {url.netloc}\r\nContent-Length: 500\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), TIMEOUT) as stranger:
        stranger.sendall(f"POST {url.path[:-3]}xyz HTTP/1.1\r\n{head}".encode())
        assert stranger.recv(100).startswith(b"HTTP/1.1 404")
    with socket.create_connection((url.hostname, url.port), TIMEOUT) as silent:
        silent.sendall(f"POST {url.path} HTTP/1.1\r\n{head}".encode())
        assert requests.get(f"{served.url}/sign-in", timeout=TIMEOUT).status_code == 200
        assert silent.recv(100).startswith(b"HTTP/1.1 404")


def test_many_deliveries_at_once_are_each_taken(door: Door) -> None:
    """A busy day at the factory: no deadlock, no error, one resource due."""
    barrier = threading.Barrier(16)

    def post(n: int) -> int:
        barrier.wait()
        body = json.dumps({"action": STOCK, "object": {"id": 11000 + n % 4}}).encode()
        return door.post(body).status_code

    with ThreadPoolExecutor(16) as crowd:
        assert set(crowd.map(post, range(64))) == {204}
    assert door.named() == {11000, 11001, 11002, 11003}
    with door.app.app_context():
        assert db.session.scalar(select(func.count()).select_from(SyncHint)) == 4


@pytest.mark.slow_on("postgresql")
def test_whatever_becomes_of_deliveries_the_copy_is_katanas(
    door: Door, sandbox: Sandbox, app: Flask
) -> None:
    """A busy day is told wrongly; after the next poll every record is as Katana has it."""
    sandbox.rules(requests_per_minute=100_000)
    ada = Syncing(OnlyConnection(app, sandbox))
    ada.run()
    for fault in ("lose", "double", "reorder", "forge", "unsigned", "delay"):
        sandbox.fault("delivery", fault, times=10, seconds=0.1)
        sandbox.happen("busy_day")
        sandbox.hurry_deliveries()
        ada.run()
        sandbox.clear_faults()
    sandbox.hurry_deliveries()
    sandbox.wait_until_delivered()
    with app.app_context():
        sync.update_now(door.connection_id)  # as polling does, after minutes
    ada.run()

    ada.assert_in_step()
