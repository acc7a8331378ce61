"""The sandbox's webhooks: how they are registered, changed and limited."""

import json

import pytest
import requests

from sandbox.events import EVENTS

FACTORY = "alder-and-spoke"
CREATED = "sales_order.created"


def register(partner, bearer, url: str, events=(CREATED,), **fields) -> dict:
    body = {"url": url, "subscribed_events": list(events), **fields}
    answer = partner.post("/v1/webhooks", json=body, headers=bearer)
    assert answer.status_code == 200, answer.text

    return answer.json()


def test_a_webhook_is_registered_in_katanas_shape(partner, bearer):
    """Creating, listing and getting one answer the same, token included."""
    answer = register(partner, bearer, "https://app.example.com/hook", description="Ours")

    assert list(answer) == [
        *("id", "url", "token", "enabled", "description", "subscribed_events"),
        *("created_at", "updated_at"),
    ]
    assert answer["enabled"] is True
    assert len(answer["token"]) == 16
    assert int(answer["token"], 16)
    listed = partner.get("/v1/webhooks", headers=bearer)
    assert listed.json() == {"data": [answer]}
    assert json.loads(listed.headers["X-Pagination"])["total_records"] == "1"
    assert partner.get(f"/v1/webhooks/{answer['id']}", headers=bearer).json() == answer


def test_a_webhook_is_changed_and_deleted(partner, bearer):
    """PATCH changes what it names; after DELETE there is none."""
    path = f"/v1/webhooks/{register(partner, bearer, 'https://app.example.com/a')['id']}"
    change = {"enabled": False, "url": "https://app.example.com/b"}

    changed = requests.patch(partner.url + path, json=change, headers=bearer, timeout=10).json()
    assert (changed["enabled"], changed["url"]) == (False, "https://app.example.com/b")
    assert changed["subscribed_events"] == [CREATED]
    assert requests.delete(partner.url + path, headers=bearer, timeout=10).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = requests.request(method, partner.url + path, json={}, headers=bearer, timeout=10)
        assert answer.status_code == 404


def test_there_are_sixty_two_events_and_a_webhook_may_have_all(partner, bearer):
    """Katana's gateway knows as many."""
    assert len(EVENTS) == 62
    assert (
        len(register(partner, bearer, "https://a.example.com", EVENTS)["subscribed_events"]) == 62
    )


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"url": "http://app.example.com/hook"}, ".url"),
        ({"url": "ftp://127.0.0.1/hook"}, ".url"),
        ({"url": "https://"}, ".url"),
        ({"url": "https://app.example.com:bad/"}, ".url"),
        ({"url": "/hook"}, ".url"),
        ({"url": ""}, ".url"),
        ({"url": None}, ".url"),
        ({"subscribed_events": []}, ".subscribed_events"),
        ({"subscribed_events": CREATED}, ".subscribed_events"),
        ({"subscribed_events": ["customer.created"]}, ".subscribed_events[0]"),
        ({"subscribed_events": [CREATED, 7]}, ".subscribed_events[1]"),
        ({"enabled": "yes"}, ".enabled"),
        ({"description": 7}, ".description"),
        ({"token": "mine"}, ""),
    ],
)
def test_a_webhook_that_does_not_fit_is_unprocessable(partner, bearer, change, path):
    """Wrong addresses, events, types and unknown fields are named and refused."""
    body = {"url": "https://app.example.com/hook", "subscribed_events": [CREATED]} | change

    answer = partner.post("/v1/webhooks", json=body, headers=bearer)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["path"] == path
    assert partner.get("/v1/webhooks", headers=bearer).json()["data"] == []


@pytest.mark.parametrize("body", [{"url": "https://a.example.com"}, [], "text"])
def test_a_body_that_lacks_something_is_unprocessable(partner, bearer, body):
    """Both required fields, in an object."""
    assert partner.post("/v1/webhooks", json=body, headers=bearer).status_code == 422


def test_plain_http_is_for_this_machine_and_only_by_rule(partner, bearer):
    """Katana asks for https; an app under development has none."""
    for url in ("http://127.0.0.1:9/hook", "http://localhost:9/hook", "http://[::1]:9/hook"):
        register(partner, bearer, url)
    partner.rules(webhooks_over_http=False)
    body = {"url": "http://127.0.0.1:9/hook", "subscribed_events": [CREATED]}

    assert partner.post("/v1/webhooks", json=body, headers=bearer).status_code == 422


@pytest.mark.parametrize(("rule", "reading"), [("role", 200), ("plan", 403)])
def test_a_role_or_a_plan_may_lack_webhooks(partner, bearer, rule, reading):
    """The role can still read them, the plan cannot; the rest of the API goes on."""
    webhook = register(partner, bearer, "https://app.example.com/hook")
    partner.rules(webhooks=rule)
    body = {"url": "https://app.example.com/hook", "subscribed_events": [CREATED]}

    assert partner.post("/v1/webhooks", json=body, headers=bearer).status_code == 403
    path = f"{partner.url}/v1/webhooks/{webhook['id']}"
    assert requests.delete(path, headers=bearer, timeout=10).status_code == 403
    assert partner.get("/v1/webhooks", headers=bearer).status_code == reading
    assert partner.get("/v1/sales_orders", headers=bearer).status_code == 200


def test_a_factory_has_only_so_many_webhooks(partner, bearer):
    """One more than the rule allows is refused."""
    partner.rules(webhooks_most=1)
    register(partner, bearer, "https://app.example.com/hook")
    body = {"url": "https://app.example.com/more", "subscribed_events": [CREATED]}

    assert partner.post("/v1/webhooks", json=body, headers=bearer).status_code == 422


def test_a_factory_sees_its_own_webhooks_and_those_of_other_apps(partner, bearer):
    """But none of another factory."""
    partner.post("/webhooks/foreign", json={"factory": FACTORY})
    elsewhere = partner.post("/webhooks/foreign", json={"factory": "tallow-and-wick"}).json()["id"]

    (shown,) = partner.get("/v1/webhooks", headers=bearer).json()["data"]
    assert shown["url"] == "https://another-app.example.com/katana"
    assert partner.get(f"/v1/webhooks/{elsewhere}", headers=bearer).status_code == 404


def test_webhooks_need_a_token_and_count_towards_the_limit(partner, bearer):
    """401 without a token, 429 over the limit."""
    assert partner.get("/v1/webhooks").status_code == 401
    partner.rules(requests_per_minute=0)
    refused = partner.get("/v1/webhooks", headers=bearer)
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
