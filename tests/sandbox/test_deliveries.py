"""The sandbox's deliveries: signed, sent, and sent again as Katana does."""

import hmac
import json
from collections.abc import Iterator
from hashlib import sha256

import pytest
import requests

from tests.support.receivers import Receiver, receiving
from tests.support.until import until

FACTORY = "alder-and-spoke"
CREATED = "sales_order.created"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def register(partner, bearer, url: str, events=(CREATED,), **fields) -> dict:
    body = {"url": url, "subscribed_events": list(events), **fields}
    answer = partner.post("/v1/webhooks", json=body, headers=bearer)
    assert answer.status_code == 200, answer.text

    return answer.json()


def happen(partner, what: str, **details) -> list[dict]:
    answer = partner.post("/happen", json={"what": what, "factory": FACTORY, **details})
    assert answer.status_code == 200, answer.text

    return answer.json()["happened"]


def deliveries(partner) -> list[dict]:
    return partner.get("/deliveries").json()["deliveries"]


def wait_for_state(partner, *states: str) -> None:
    """Return once the deliveries, in their order, are in these states."""
    until(
        lambda: [each["state"] for each in deliveries(partner)] == list(states),
        lambda: f"the deliveries are {deliveries(partner)}",
    )


def wait_for_attempts(partner, many: int) -> dict:
    """The latest delivery, once it was attempted so often."""
    until(
        lambda: len(deliveries(partner)[-1]["attempts"]) == many,
        lambda: f"the attempts are {deliveries(partner)[-1]['attempts']}",
    )
    return deliveries(partner)[-1]


def signature(body: bytes, webhook: dict) -> str:
    return hmac.new(webhook["token"].encode(), body, sha256).hexdigest()


def test_a_delivery_is_signed_over_its_raw_body(partner, bearer, receiver):
    """Lower-case hex HMAC-SHA256 with the webhook's token; a thin payload with an id and a link."""
    webhook = register(partner, bearer, receiver.url)
    (order,) = happen(partner, "new_order")

    (post,) = receiver.wait_for(1)
    assert post.headers["x-sha2-signature"] == signature(post.body, webhook)
    assert post.headers["content-type"] == "application/json"
    assert "x-katana-retry-num" not in post.headers
    assert json.loads(post.body) == {
        "resource_type": "sales_order",
        "action": CREATED,
        "webhook_id": webhook["id"],
        "object": {
            "id": str(order["id"]),
            "status": "NOT_SHIPPED",
            "href": f"{partner.url}/v1/sales_orders/{order['id']}",
        },
    }
    wait_for_state(partner, "delivered")


def test_each_event_goes_to_those_who_have_subscribed(partner, bearer, receiver):
    """A step of shipping is told twice, a deletion has no link, customers have no event."""
    events = [f"sales_order.{name}" for name in ("updated", "packed", "delivered", "deleted")]
    stock = ("current_inventory.product_updated", "current_inventory.product_out_of_stock")
    register(partner, bearer, receiver.url, [*events, *stock, "variant.updated"])
    (order,) = happen(partner, "new_order")
    happen(partner, "ship_order", record=order["id"], times=2)
    happen(partner, "delete_order", record=order["id"])
    happen(partner, "stock_moves", times=9)
    happen(partner, "change", resource="variants")
    happen(partner, "new_customer")
    happen(partner, "change_order", announce=False)

    until(lambda: all(e["state"] == "delivered" for e in deliveries(partner)), lambda: "waiting")
    told = [json.loads(post.body) for post in receiver.posts]
    actions = {each["action"] for each in told}
    assert actions == {*events, *stock, "variant.updated"} - (
        set() if stock[1] in actions else {stock[1]}
    )
    by_action = {each["action"]: each["object"] for each in told}
    assert by_action["sales_order.deleted"] == {"id": str(order["id"]), "status": "DELIVERED"}
    assert "?variant_id=" in by_action[stock[0]]["href"]


def test_ids_may_be_numbers(partner, bearer, receiver):
    """Katana's example does not settle which it is."""
    partner.rules(webhook_ids="number")
    register(partner, bearer, receiver.url)
    (order,) = happen(partner, "new_order")

    assert json.loads(receiver.wait_for(1)[0].body)["object"]["id"] == order["id"]


@pytest.mark.parametrize("status", [500, 400, 404])
def test_what_is_not_acknowledged_is_sent_again_three_times(partner, bearer, receiver, status):
    """After 30, 120 and 900 s, numbered, with the same body."""
    webhook = register(partner, bearer, receiver.url)
    receiver.status = status
    happen(partner, "new_order")

    for retry, wait in enumerate((30, 120, 900), start=1):
        wait_for_attempts(partner, retry)
        partner.clock.sleep(wait)
        post = receiver.wait_for(retry + 1)[retry]
        assert post.headers["x-katana-retry-num"] == str(retry)
        assert post.headers["x-sha2-signature"] == signature(post.body, webhook)
    wait_for_state(partner, "failed")
    assert len({post.body for post in receiver.posts}) == 1


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_is_not_followed(partner, bearer, receiver, status):
    """It would carry a signed payload to an address that is not registered."""
    with receiving() as elsewhere:
        register(partner, bearer, receiver.url)
        receiver.status, receiver.location = status, elsewhere.url
        happen(partner, "new_order")

        assert wait_for_attempts(partner, 1)["attempts"][0]["status"] == status
        assert elsewhere.posts == []


def test_nothing_is_sent_again_before_its_time(partner, bearer, receiver):
    """One second less is too early."""
    register(partner, bearer, receiver.url)
    receiver.status = 503
    happen(partner, "new_order")
    waiting = wait_for_attempts(partner, 1)
    partner.clock.sleep(29)
    happen(partner, "new_order")
    wait_for_attempts(partner, 1)

    assert len(receiver.posts) == 2
    assert waiting["due"] > waiting["attempts"][0]["at"]


def test_an_answer_that_comes_too_late_does_not_count(partner, bearer, receiver):
    """The sender stops waiting and plans the next attempt."""
    partner.rules(webhook_timeout_seconds=0.2)
    register(partner, bearer, receiver.url)
    receiver.hold.clear()
    happen(partner, "new_order")

    attempt = wait_for_attempts(partner, 1)["attempts"][0]
    assert attempt["status"] is None
    assert attempt["error"] == "no answer within 0.2 s"


def test_an_address_without_a_server_is_tried_again(partner, bearer):
    """A refused connection is a failed attempt like any other."""
    register(partner, bearer, "http://127.0.0.1:9/hook")
    happen(partner, "new_order")
    assert wait_for_attempts(partner, 1)["attempts"][0]["error"] == "no connection"
    partner.post("/deliveries/hurry")
    wait_for_attempts(partner, 2)


def test_nothing_is_posted_to_another_machine(partner, bearer):
    """A stand-in on a developer's machine posts nothing to the internet."""
    register(partner, bearer, "https://app.example.com/hook")
    happen(partner, "new_order")

    assert "this machine only" in wait_for_attempts(partner, 1)["attempts"][0]["error"]


def test_a_slow_app_does_not_hold_up_the_others(partner, bearer, receiver):
    """Deliveries to another webhook go on while one waits for its acknowledgement."""
    with receiving() as other:
        register(partner, bearer, receiver.url)
        register(partner, bearer, other.url)
        receiver.hold.clear()
        happen(partner, "new_order", times=3)
        other.wait_for(3)


def arm(partner, fault: str, **details) -> None:
    partner.arm(on="delivery", fault=fault, **details)


def test_a_delivery_can_be_lost(partner, bearer, receiver):
    """It is written down and never posted."""
    register(partner, bearer, receiver.url)
    arm(partner, "lose")
    happen(partner, "new_order", times=2)

    wait_for_state(partner, "lost", "delivered")
    log = partner.get("/deliveries?latest=0").json()
    assert (log["deliveries"], log["totals"]["lost"], log["totals"]["delivered"]) == ([], 1, 1)
    assert len(partner.get("/deliveries?latest=1").json()["deliveries"]) == 1
    assert len(receiver.posts) == 1


def test_a_delivery_can_come_twice(partner, bearer, receiver):
    """The same body, twice."""
    register(partner, bearer, receiver.url)
    arm(partner, "double")
    happen(partner, "new_order")

    first, second = receiver.wait_for(2)
    assert first.body == second.body
    wait_for_state(partner, "delivered", "delivered")


def test_a_delivery_can_come_after_the_next(partner, bearer, receiver):
    """Two deliveries change places."""
    register(partner, bearer, receiver.url)
    arm(partner, "reorder", seconds=600)
    first, second = happen(partner, "new_order", times=2)

    ids = [json.loads(post.body)["object"]["id"] for post in receiver.wait_for(2)]
    assert ids == [str(second["id"]), str(first["id"])]


def test_a_delivery_can_come_late(partner, bearer, receiver):
    """Another one overtakes it."""
    register(partner, bearer, receiver.url)
    arm(partner, "delay", seconds=300)
    late, early = happen(partner, "new_order", times=2)
    receiver.wait_for(1)
    partner.clock.sleep(301)

    ids = [json.loads(post.body)["object"]["id"] for post in receiver.wait_for(2)]
    assert ids == [str(early["id"]), str(late["id"])]


@pytest.mark.parametrize("fault", ["forge", "unsigned"])
def test_a_delivery_can_be_signed_wrongly_or_not_at_all(partner, bearer, receiver, fault):
    """The first attempt only: what is sent again is signed right."""
    webhook = register(partner, bearer, receiver.url)
    receiver.status = 404
    arm(partner, fault)
    happen(partner, "new_order")
    wait_for_attempts(partner, 1)
    receiver.status = 204
    partner.post("/deliveries/hurry")

    first, second = receiver.wait_for(2)
    assert first.headers.get("x-sha2-signature") != signature(first.body, webhook)
    assert ("x-sha2-signature" in first.headers) == (fault == "forge")
    assert second.headers["x-sha2-signature"] == signature(second.body, webhook)


def test_any_body_can_be_posted(partner, bearer, receiver):
    """By a fault or by hand, signed over what is posted."""
    webhook = register(partner, bearer, receiver.url)
    arm(partner, "body", text="{not json")
    happen(partner, "new_order")
    receiver.wait_for(1)
    partner.post("/deliver", json={"text": "plain"})
    receiver.wait_for(2)
    partner.post("/deliver", json={"payload": {"action": 7}, "webhook": webhook["id"]})

    posts = receiver.wait_for(3)
    assert [post.body for post in posts] == [b"{not json", b"plain", b'{"action": 7}']
    for post in posts:
        assert post.headers["x-sha2-signature"] == signature(post.body, webhook)


def test_a_webhook_can_be_disabled_and_deleted_at_katana(partner, bearer, receiver):
    """Nothing new is sent then, and what waited is dropped."""
    webhook = register(partner, bearer, receiver.url)
    partner.post("/webhooks", json={"do": "disable"})
    assert partner.get(f"/v1/webhooks/{webhook['id']}", headers=bearer).json()["enabled"] is False
    happen(partner, "new_order")
    assert deliveries(partner) == []

    partner.post("/webhooks", json={"do": "enable", "webhook": webhook["id"]})
    receiver.status = 500
    happen(partner, "new_order")
    wait_for_attempts(partner, 1)
    partner.post("/webhooks", json={"do": "delete"})
    assert partner.get("/v1/webhooks", headers=bearer).json()["data"] == []
    partner.post("/deliveries/hurry")
    wait_for_state(partner, "dropped")


def test_starting_again_forgets_webhooks_and_deliveries(partner, bearer, receiver):
    """What waited is not posted later."""
    register(partner, bearer, receiver.url)
    receiver.status = 500
    happen(partner, "new_order")
    wait_for_attempts(partner, 1)
    partner.post("/reset")
    partner.clock.sleep(30)

    assert deliveries(partner) == []
    assert partner.ledger()["webhooks"] == []
    assert len(receiver.posts) == 1


def test_the_ledger_shows_webhooks_and_deliveries_without_a_token(partner, bearer, receiver):
    """The page and the JSON show what was done, no secret."""
    webhook = register(partner, bearer, receiver.url)
    happen(partner, "new_order")
    wait_for_state(partner, "delivered")

    page, ledger = partner.get("/").text, partner.get("/ledger").text
    assert receiver.url in page
    assert CREATED in page
    assert receiver.url in ledger
    assert webhook["token"] not in page + ledger + partner.get("/deliveries").text


def test_the_log_of_attempts_is_exported(partner, bearer, receiver):
    """One line for each attempt at the factory's own webhooks, filtered."""
    webhook = register(partner, bearer, receiver.url)
    partner.post("/webhooks/foreign", json={"factory": "tallow-and-wick", "url": receiver.url})
    receiver.status = 500
    happen(partner, "new_order")
    wait_for_attempts(partner, 1)
    receiver.status = 204
    partner.post("/deliveries/hurry")
    wait_for_state(partner, "delivered")

    def exported(**filters) -> list[str]:
        answer = partner.post("/v1/webhook_logs_export", json=filters, headers=bearer)
        return requests.get(answer.json()["url"], timeout=10).text.splitlines()

    head, *lines = exported()
    assert head == "webhook_id,event,status_code,delivered,created_at"
    assert [line.rsplit(",", 1)[0] for line in lines] == [
        f"{webhook['id']},{CREATED},500,False",
        f"{webhook['id']},{CREATED},204,True",
    ]
    assert exported(delivered=False) == [head, lines[0]]
    assert exported(status_code=204, webhook_id=webhook["id"]) == [head, lines[1]]
    assert exported(created_at_max="2020-01-01T00:00:00.000Z") == [head]
    refused = partner.post("/v1/webhook_logs_export", json={"colour": 1}, headers=bearer)
    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/webhooks", {"do": "disable"}),
        ("/webhooks", {"do": "sing"}),
        ("/webhooks", {"do": "delete", "webhook": 7}),
        ("/webhooks/foreign", {"factory": "nowhere"}),
        ("/deliver", {"payload": {}}),
        ("/faults", {"on": "delivery", "fault": "status"}),
        ("/faults", {"on": "api", "fault": "forge"}),
        ("/rules", {"webhook_retry_seconds": "soon"}),
        ("/rules", {"webhooks": "perhaps"}),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(partner, path, body):
    """Controls refuse what they do not know, in words."""
    answer = partner.post(path, json=body)

    assert answer.status_code in (400, 404)
    assert answer.json()["error"].endswith(".")
