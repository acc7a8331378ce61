"""The webhook of a connection: made once, found again, repaired, done without, deleted."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.database.db import db
from app.sync.models import Detail, Webhook, WebhookState
from app.sync.subscriptions import CHECK_SECONDS, LEASE_SECONDS
from tests.support.connected import MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing

pytestmark = pytest.mark.held_time

FACTORY, OTHER = "alder-and-spoke", "tallow-and-wick"


def check(whose: Syncing) -> None:
    """What the worker does where it is due."""
    subscriptions = whose.parts.subscriptions
    with whose.app.app_context():
        if whose.connected.id in subscriptions.due(10):
            subscriptions.check(whose.connected.id)


def stored(whose: Syncing) -> Webhook:
    """Its row."""
    with whose.app.app_context():
        row = db.session.scalar(select(Webhook).where(Webhook.connection_id == whose.connected.id))
        assert row
        db.session.expunge(row)
        return row


def asked_for_webhooks(sandbox: Sandbox) -> int:
    """How often Katana was asked about webhooks."""
    return sum("/webhooks" in request.path for request in sandbox.ledger().of("api"))


def later(whose: Syncing) -> None:
    """A day on, when it is checked again."""
    whose.pass_time(CHECK_SECONDS)
    check(whose)


def test_it_is_made_once_and_found_again(ada: Syncing, sandbox: Sandbox) -> None:
    """Right after the connect; a day later it is looked at, and left as it is."""
    check(ada)
    check(ada)
    (made,) = sandbox.webhooks()
    assert made["enabled"]
    assert "sales_order.created" in made["subscribed_events"]
    assert "current_inventory.product_updated" in made["subscribed_events"]
    row = stored(ada)
    assert (row.katana_id, row.state) == (made["id"], WebhookState.ACTIVE)

    later(ada)

    assert [each["id"] for each in sandbox.webhooks()] == [made["id"]]
    assert stored(ada).checked_at == row.checked_at + timedelta(seconds=CHECK_SECONDS)  # type: ignore[operator]


def test_neither_key_nor_token_is_stored_as_it_is(ada: Syncing, sandbox: Sandbox) -> None:
    """Who reads the table can forge nothing: a hash of the key, and the token sealed."""
    check(ada)
    (made,) = sandbox.webhooks()
    key = made["url"].rpartition("/")[2]
    row = stored(ada)

    assert len(key) >= 40
    assert key not in (row.key_hash or "")
    assert row.sealed_token
    assert b"test" in row.sealed_token  # the name of the key that seals it


def test_an_answer_that_was_lost_makes_no_second_one(ada: Syncing, sandbox: Sandbox) -> None:
    """Katana made it, and the answer came to nobody: it is found by the key in its URL."""
    sandbox.fault("api", "lose_answer", method="POST", path="/v1/webhooks")
    check(ada)
    assert stored(ada).state == WebhookState.MISSING
    (made,) = sandbox.webhooks()

    ada.pass_time(60)
    check(ada)

    assert [each["id"] for each in sandbox.webhooks()] == [made["id"]]
    assert (stored(ada).katana_id, stored(ada).state) == (made["id"], WebhookState.ACTIVE)


def test_a_worker_that_died_is_followed_by_another(ada: Syncing, sandbox: Sandbox) -> None:
    """Its lease runs out; what it may have made is found."""
    with ada.app.app_context():
        lost = update(Webhook).values(
            lease_owner="a dead worker",
            lease_until=ada.connected.clock.database_time(LEASE_SECONDS),
        )
        db.session.execute(lost)
        db.session.commit()
    check(ada)
    assert sandbox.webhooks() == []

    ada.pass_time(LEASE_SECONDS + 1)
    check(ada)

    assert len(sandbox.webhooks()) == 1


@pytest.mark.parametrize("do", ["disable", "delete"])
def test_what_was_undone_at_katana_is_repaired(ada: Syncing, sandbox: Sandbox, do: str) -> None:
    """A user with the right to do so switched it off, or deleted it: one is there a day later."""
    check(ada)
    sandbox.change_webhooks(do)

    later(ada)

    (repaired,) = sandbox.webhooks()
    assert repaired["enabled"]
    assert stored(ada).katana_id == repaired["id"]
    assert stored(ada).state == WebhookState.ACTIVE


@pytest.mark.parametrize(
    ("rules", "detail"),
    [
        ({"webhooks": "role"}, Detail.FORBIDDEN),
        ({"webhooks": "plan"}, Detail.FORBIDDEN),
        ({"webhooks_over_http": False}, Detail.NOT_HTTPS),
    ],
)
def test_without_a_webhook_it_polls_and_says_why(
    ada: Syncing, sandbox: Sandbox, rules: dict[str, object], detail: Detail
) -> None:
    """A role or a plan that has none, an address without https: one try a day, and no harm."""
    sandbox.rules(**rules)
    check(ada)
    ada.run()
    assert (stored(ada).state, stored(ada).detail) == (WebhookState.UNAVAILABLE, detail)
    check(ada)
    assert asked_for_webhooks(sandbox) <= 2

    sandbox.happen("new_order")
    ada.pass_time(61)
    ada.run()
    ada.assert_in_step()

    sandbox.rules(webhooks="allowed", webhooks_over_http=True)
    later(ada)
    assert stored(ada).state == WebhookState.ACTIVE


def test_a_failing_check_backs_off(ada: Syncing, sandbox: Sandbox) -> None:
    """Katana is away for hours: it is asked less often, and once it is back made."""
    sandbox.fault("api", "status", status=500, path="/v1/webhooks", times=0)
    for _ in range(240):
        check(ada)
        ada.pass_time(30)
    asked = asked_for_webhooks(sandbox)
    assert 5 <= asked <= 20

    sandbox.clear_faults()
    ada.pass_time(2 * 3600)
    check(ada)

    assert stored(ada).state == WebhookState.ACTIVE


def test_others_webhooks_are_left_alone(
    ada: Syncing, new_connected: MakeConnected, sandbox: Sandbox
) -> None:
    """Of another app at the same account, and of another user of ours who has connected it too."""
    foreign = sandbox.add_foreign_webhook(FACTORY)
    check(ada)
    ben = Syncing(new_connected("ben"))
    check(ben)
    later(ada)
    later(ben)

    ids = {each["id"] for each in sandbox.webhooks()}
    assert ids == {foreign, stored(ada).katana_id, stored(ben).katana_id}
    assert len(ids) == 3


def test_one_that_nobody_knows_any_more_is_deleted(ada: Syncing, sandbox: Sandbox) -> None:
    """As after a backup was restored: its key opens nothing, and Katana would try for ever."""
    base = ada.parts.subscriptions.base_url
    forgotten = sandbox.add_foreign_webhook(FACTORY, url=f"{base}a-key-of-an-earlier-time")

    check(ada)

    assert forgotten not in {each["id"] for each in sandbox.webhooks()}
    assert len(sandbox.webhooks()) == 1


def test_disconnecting_deletes_it_at_katana(ada: Syncing, sandbox: Sandbox) -> None:
    """While the access token is still good; the row goes with the connection."""
    check(ada)
    ada.connected.disconnect()

    assert sandbox.webhooks() == []
    with ada.app.app_context():
        assert db.session.scalar(select(Webhook)) is None


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_disconnecting_is_not_stopped_by_it(ada: Syncing, sandbox: Sandbox, status: int) -> None:
    """Whatever Katana answers, the tokens are gone, and no token is renewed for it."""
    check(ada)
    sandbox.fault("api", "status", status=status, method="DELETE", times=0)
    ada.connected.disconnect()

    with ada.app.app_context():
        assert db.session.scalar(select(Webhook)) is None
    assert sandbox.ledger().of("refresh") == []
    assert [request.method for request in sandbox.ledger().of("api")].count("DELETE") == 1


def test_a_reconnect_to_another_account_makes_one_there(ada: Syncing, sandbox: Sandbox) -> None:
    """With a key of its own: deliveries for the earlier account are refused from then on."""
    check(ada)
    before = stored(ada).key_hash
    ada.connected.reconnect(factory=OTHER)
    check(ada)

    assert stored(ada).key_hash != before
    assert stored(ada).katana_id == sandbox.webhooks()[-1]["id"]
    assert [each["factory"] for each in sandbox.webhooks()][-1] == OTHER
