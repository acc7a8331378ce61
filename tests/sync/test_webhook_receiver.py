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
from app.sync.models import SyncCursor, SyncHint, Webhook, token_place
from app.sync.receiver import REFUSED_PER_MINUTE, DeliveryRefused, Receiver
from tests.conftest import MakeMaker
from tests.support.actors import Maker
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.servers import Served
from tests.support.syncing import OnlyConnection, Syncing

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
class Endpoint:
    """The webhook endpoint of one connection, from outside."""

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
def endpoint(served_maker: Maker, sandbox: Sandbox, app: Flask) -> Endpoint:
    """A connected user of the served app; this process does what a worker would."""
    served_maker.sign_up()
    served_maker.connect()
    return find_endpoint(app, sandbox)


def find_endpoint(app: Flask, sandbox: Sandbox) -> Endpoint:
    """Let the webhook be made, and read its key and token."""
    with app.app_context():
        parts = sync.current()
        (connection_id,) = parts.subscriptions.due(2)
        parts.subscriptions.check(connection_id)
        sealed = db.session.scalar(select(Webhook.sealed_token))
        assert sealed
        token = parts.receiver.vault.open(sealed, token_place(connection_id))
        db.session.execute(update(SyncCursor).values(hinted_at=None))
        db.session.commit()
    return Endpoint(sandbox.webhooks()[-1]["url"], token, connection_id, app)


def test_a_delivery_makes_its_resource_due(endpoint: Endpoint) -> None:
    """204, and the order's list is to be read; a new order may have a new customer."""
    answer = endpoint.post(json.dumps(CREATED).encode())

    assert (answer.status_code, answer.content) == (204, b"")
    assert endpoint.due() == {"sales_orders", "customers"}
    assert endpoint.named() == set()


@pytest.mark.parametrize("written", [11004, "11004"])
def test_a_delivery_of_stock_names_what_to_read(endpoint: Endpoint, written: object) -> None:
    """Stock has no dates: the variant is read first, whether its id is a number or text."""
    endpoint.post(json.dumps({"action": STOCK, "object": {"id": written}}).encode())

    assert endpoint.due() == {"inventory"}
    assert endpoint.named() == {11004}


def test_deliveries_of_katana_are_taken(endpoint: Endpoint, sandbox: Sandbox) -> None:
    """As the sandbox signs and sends them: a new order, a shipment, a deletion, stock."""
    for what in ("new_order", "ship_order", "delete_order"):
        sandbox.happen(what)
    sandbox.wait_until_delivered()

    assert endpoint.due() >= {"sales_orders"}
    assert {delivery["state"] for delivery in sandbox.deliveries()} == {"delivered"}


@pytest.mark.one_database
def test_what_says_nothing_is_logged_and_not_asked_for_again(
    endpoint: Endpoint, served: Served
) -> None:
    """204 with nothing due, and one line that says why."""
    for lines, (name, body) in enumerate(SAYS_NOTHING.items(), start=1):
        assert endpoint.post(body).status_code == 204, name
        assert endpoint.due() == set(), name
        assert served.log().count("a delivery") == lines, name
    assert "Traceback" not in served.log()


@pytest.mark.one_database
def test_ids_that_name_nothing_let_the_list_be_read(endpoint: Endpoint) -> None:
    """Text, null, huge numbers: nothing is stored of them, nothing lost."""
    for written in NO_ID:
        body = f'{{"action":"{STOCK}","object":{{"id":{written}}}}}'.encode()
        assert endpoint.post(body).status_code == 204, written
        assert endpoint.due() == {"inventory"}, written
    assert endpoint.named() == set()


def refusals(endpoint: Endpoint) -> dict[str, requests.Response]:
    """Everything that is not Katana's."""
    body = json.dumps(CREATED).encode()
    signature = endpoint.sign(body)
    unknown = Endpoint(
        f"{endpoint.url[:-4]}AAAA", endpoint.token, endpoint.connection_id, endpoint.app
    )
    too_long = body + b" " * DELIVERY_BYTES
    return {
        "unsigned": requests.post(endpoint.url, body, timeout=TIMEOUT),
        "an empty signature": endpoint.post(body, ""),
        "of another body": endpoint.post(body + b" ", signature),
        "of the JSON and not of its bytes": endpoint.post(
            json.dumps(CREATED, indent=1).encode(), signature
        ),
        "with a prefix": endpoint.post(body, f"sha256={signature}"),
        "in capitals": endpoint.post(body, signature.upper()),
        "cut": endpoint.post(body, signature[:-1]),
        "not ASCII": requests.post(
            endpoint.url, body, headers={"x-sha2-signature": b"\xe9" * 64}, timeout=TIMEOUT
        ),
        "twice": endpoint.post(body, f"{signature}, {signature}"),
        "of another key": endpoint.post(body, hmac.new(b"0" * 16, body, sha256).hexdigest()),
        "an unknown key": unknown.post(body),
        "no key": requests.post(f"{endpoint.url.rpartition('/')[0]}/x", body, timeout=TIMEOUT),
        "too long": endpoint.post(too_long),
        "too long, in chunks": requests.post(
            endpoint.url,
            iter([too_long]),
            headers={"x-sha2-signature": endpoint.sign(too_long)},
            timeout=TIMEOUT,
        ),
        "under another header": requests.post(
            endpoint.url, body, headers={"X-Katana-Signature": signature}, timeout=TIMEOUT
        ),
    }


def test_all_that_is_not_katanas_is_refused_alike(endpoint: Endpoint) -> None:
    """One answer, which does not tell a wrong key from a wrong signature; nothing is written."""
    answers = refusals(endpoint)

    told = {(answer.status_code, answer.text) for answer in answers.values()}
    assert told == {(404, "not found\n")}, {n: a.status_code for n, a in answers.items()}
    assert endpoint.due() == set()


def test_a_key_opens_its_own_connection_alone(
    endpoint: Endpoint, new_served_maker: MakeMaker, sandbox: Sandbox, app: Flask
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
        url_of_ben, body, headers={"x-sha2-signature": endpoint.sign(body)}, timeout=TIMEOUT
    )

    assert crossed.status_code == 404
    assert endpoint.post(body).status_code == 204
    with app.app_context():
        hinted = select(SyncCursor.connection_id).where(SyncCursor.hinted_at.is_not(None))
        assert set(db.session.scalars(hinted)) == {endpoint.connection_id}


@pytest.mark.one_database
def test_a_replay_and_a_foreign_link_do_no_harm(endpoint: Endpoint, sandbox: Sandbox) -> None:
    """The same delivery again is one more hint; its `href` is never asked."""
    elsewhere = {**CREATED, "object": {"id": 1, "href": "http://127.0.0.1:9/steal"}}
    body = json.dumps(elsewhere).encode()
    before = len(sandbox.ledger().of("api"))

    assert [endpoint.post(body).status_code for _ in range(5)] == [204] * 5
    assert len(sandbox.ledger().of("api")) == before


@pytest.mark.own_stage
@pytest.mark.slow
def test_a_flood_of_forged_requests_blocks_no_real_delivery(
    endpoint: Endpoint, served: Served, app: Flask
) -> None:
    """A thousand forged posts from the same address: pages and true deliveries go on."""
    body = json.dumps(CREATED).encode()
    assert {endpoint.post(body).status_code for _ in range(8)} == {204}  # both workers know the key
    forged = f"{endpoint.url.rpartition('/')[0]}/{'x' * 43}"

    def throw(_: int) -> int:
        return requests.post(forged, body, timeout=TIMEOUT).status_code

    with ThreadPoolExecutor(8) as flood:
        thrown = [flood.submit(throw, n) for n in range(1000)]
        pages = [requests.get(f"{served.url}/sign-in", timeout=TIMEOUT) for _ in range(20)]
        true = [endpoint.post(body) for _ in range(20)]

    assert {future.result() for future in thrown} == {404}
    assert {page.status_code for page in pages} == {200}
    assert {answer.status_code for answer in true} == {204}
    assert endpoint.due() == {"sales_orders", "customers"}


@pytest.mark.own_stage
@pytest.mark.one_database
def test_after_many_refusals_the_database_is_not_asked(app: Flask) -> None:
    """A flood from one address costs a look at a counter in memory; others are asked for."""
    asked: list[str] = []
    with app.app_context():
        engine, receiver = db.engine, sync.current().receiver

        @event.listens_for(engine, "before_cursor_execute")
        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            asked.append(statement)

        for _ in range(REFUSED_PER_MINUTE + 50):
            assert not opens(receiver, "203.0.113.7")
        assert len(asked) == REFUSED_PER_MINUTE
        assert not opens(receiver, "203.0.113.8")
        assert len(asked) == REFUSED_PER_MINUTE + 1


def opens(receiver: Receiver, address: str) -> bool:
    """Whether a made-up key opens."""
    try:
        receiver.take("made up", "", address, lambda: pytest.fail("a stranger's body is read"))
    except DeliveryRefused:
        return False
    return True


def test_nothing_is_asked_of_katana_while_it_waits(endpoint: Endpoint, sandbox: Sandbox) -> None:
    """The answer does not depend on Katana: its API hangs, and the delivery is taken."""
    sandbox.fault("api", "slow", seconds=30, times=0)
    before = len(sandbox.ledger().of("api"))

    assert endpoint.post(json.dumps(CREATED).encode()).status_code == 204
    assert len(sandbox.ledger().of("api")) == before


@pytest.mark.one_database
def test_the_key_is_in_no_log(endpoint: Endpoint, served: Served) -> None:
    """The address is shown up to the key, whatever is answered."""
    key = endpoint.url.rpartition("/")[2]
    endpoint.post(json.dumps(CREATED).encode())
    endpoint.post(b"", "wrong")

    assert "/katana/webhooks/..." in served.log()
    assert key not in served.log()
    assert endpoint.token not in served.log()


@pytest.mark.one_database("postgresql")
def test_while_the_database_is_away_katana_is_to_send_again(
    endpoint: Endpoint, database_url: str, served: Served
) -> None:
    """503, so that the delivery comes once more."""
    name = urlsplit(database_url).path.removeprefix("/")
    with endpoint.app.app_context():
        db.engine.dispose()
        url = db.engine.url.set(database="postgres")
    with psycopg.connect(url.render_as_string().replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # type: ignore[call-overload]
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )
        try:
            assert endpoint.post(json.dumps(CREATED).encode()).status_code == 503
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # type: ignore[call-overload]

    assert endpoint.post(json.dumps(CREATED).encode()).status_code == 204


@pytest.mark.one_database
def test_a_token_that_does_not_open_is_sealed_anew(endpoint: Endpoint, sandbox: Sandbox) -> None:
    """Its key was rotated away: 503 for this delivery, and the next check reads it from Katana."""
    with endpoint.app.app_context():
        other = sync.current().receiver.vault.seal("x", token_place(UUID(int=0)))
        db.session.execute(update(Webhook).values(sealed_token=other))
        db.session.commit()
    body = json.dumps(CREATED).encode()

    assert endpoint.post(body).status_code == 503
    with endpoint.app.app_context():
        (connection_id,) = sync.current().subscriptions.due(2)
        sync.current().subscriptions.check(connection_id)

    assert endpoint.post(body).status_code == 204


@pytest.mark.slow
@pytest.mark.one_database
def test_a_body_that_does_not_come_holds_no_page_up(endpoint: Endpoint, served: Served) -> None:
    """Strangers are refused before their body is read; a silent sender with a key is cut off."""
    url = urlsplit(endpoint.url)
    head = f"Host: {url.netloc}\r\nContent-Length: 500\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), TIMEOUT) as stranger:
        stranger.sendall(f"POST {url.path[:-3]}xyz HTTP/1.1\r\n{head}".encode())
        assert stranger.recv(100).startswith(b"HTTP/1.1 404")
    with socket.create_connection((url.hostname, url.port), TIMEOUT) as silent:
        silent.sendall(f"POST {url.path} HTTP/1.1\r\n{head}".encode())
        assert requests.get(f"{served.url}/sign-in", timeout=TIMEOUT).status_code == 200
        assert silent.recv(100).startswith(b"HTTP/1.1 404")


def test_many_deliveries_at_once_are_each_taken(endpoint: Endpoint) -> None:
    """A busy day at the factory: no deadlock, no error, one resource due."""
    barrier = threading.Barrier(16)

    def post(n: int) -> int:
        barrier.wait()
        body = json.dumps({"action": STOCK, "object": {"id": 11000 + n % 4}}).encode()
        return endpoint.post(body).status_code

    with ThreadPoolExecutor(16) as crowd:
        assert set(crowd.map(post, range(64))) == {204}
    assert endpoint.named() == {11000, 11001, 11002, 11003}
    with endpoint.app.app_context():
        assert db.session.scalar(select(func.count()).select_from(SyncHint)) == 4


@pytest.mark.slow
def test_whatever_becomes_of_deliveries_the_copy_is_katanas(
    endpoint: Endpoint, sandbox: Sandbox, app: Flask
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
        sync.hint(endpoint.connection_id)  # as polling does, after minutes
    ada.run()

    ada.assert_in_step()
