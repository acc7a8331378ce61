"""The sandbox's faults strike for real."""

import pytest
import requests

BAD_REFRESH_TOKEN = {
    "error": "invalid_grant",
    "error_description": "Unknown or invalid refresh token.",
}


def test_a_lost_answer_is_lost_after_the_token_was_spent(sandbox_server):
    """The connection closes without an answer, and the sent token is reuse from now on."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="lose_answer")
    with pytest.raises(requests.ConnectionError):
        sandbox_server.refresh(grant["refresh_token"])

    [family] = sandbox_server.ledger()["families"]
    assert [link["state"] for link in family["refresh_tokens"]] == ["spent", "current"]
    last = sandbox_server.ledger()["requests"][-1]
    assert (last["status"], last["fault"]) == (200, "lose_answer")
    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN


def test_a_dropped_request_changes_nothing(sandbox_server):
    """The connection closes before any work, and the token is still good."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="token", fault="drop_before")
    with pytest.raises(requests.ConnectionError):
        sandbox_server.refresh(grant["refresh_token"])

    assert sandbox_server.ledger()["requests"][-1]["status"] is None
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_a_slow_answer_waits_and_comes(sandbox_server):
    """Slow means late, not wrong."""
    grant = sandbox_server.connect()
    before = sandbox_server.clock.now()
    sandbox_server.arm(on="refresh", fault="slow", seconds=7)

    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200
    assert (sandbox_server.clock.now() - before).total_seconds() == 7


def test_a_dripping_answer_takes_half_a_second_a_byte(sandbox_server):
    """The whole answer arrives, one byte at a time."""
    grant = sandbox_server.connect()
    before = sandbox_server.clock.now()
    sandbox_server.arm(on="refresh", fault="drip")
    answer = sandbox_server.refresh(grant["refresh_token"])

    assert answer.json()["token_type"] == "Bearer"
    waited = (sandbox_server.clock.now() - before).total_seconds()
    assert waited == len(answer.content) * 0.5


def test_a_redirect_keeps_its_location_and_does_no_work(sandbox_server):
    """307 would carry a secret along: a client that follows it can be caught."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="redirect", location="http://127.0.0.1:9/elsewhere")
    answer = sandbox_server.refresh(grant["refresh_token"])

    assert answer.status_code == 307
    assert answer.headers["Location"] == "http://127.0.0.1:9/elsewhere"
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_fields_can_be_omitted_from_a_good_answer(sandbox_server):
    """The rest of the answer is left as it was."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="omit", fields=["refresh_token", "expires_in"])
    answer = sandbox_server.refresh(grant["refresh_token"]).json()

    assert set(answer) == {"access_token", "scope", "token_type"}


def test_any_body_can_stand_in_for_an_answer(sandbox_server):
    """A proxy's web page, say, where JSON was expected."""
    sandbox_server.arm(on="exchange", fault="body", text="<p>hello", content_type="text/html")
    answer = sandbox_server.exchange("any")

    assert (answer.status_code, answer.text) == (200, "<p>hello")
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_spurious_invalid_grant_changes_nothing(sandbox_server):
    """The refusal is a lie; the next refresh works."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="invalid_grant")

    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


@pytest.mark.parametrize(("on", "status"), [("refresh", 503), ("refresh", 429), ("api", 500)])
def test_a_status_strikes_as_often_as_armed(sandbox_server, on, status):
    """Two times means two times, with the Retry-After that was asked for."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on=on, fault="status", status=status, times=2, retry_after="15")
    send = {
        "refresh": lambda: sandbox_server.refresh(grant["refresh_token"]),
        "api": lambda: sandbox_server.read("factory", grant),
    }[on]
    answers = [send() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "15"


def test_a_fault_without_a_count_lasts_until_cleared(sandbox_server):
    """Times 0 is for ever; DELETE /faults ends it."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="api", fault="status", status=503, times=0)
    assert {sandbox_server.read("factory", grant).status_code for _ in range(3)} == {503}

    requests.delete(f"{sandbox_server.url}/faults", timeout=10)
    assert sandbox_server.read("factory", grant).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rules", {"error_shape": "round"}),
        ("/rules", {"access_token_seconds": -1}),
        ("/rules", {"access_token_seconds": True}),
        ("/rules", {"gravity": 9}),
        ("/faults", {"on": "refresh"}),
        ("/faults", {"on": "refresh", "fault": "earthquake"}),
        ("/faults", {"on": "api", "fault": "invalid_grant"}),
        ("/faults", {"on": "api", "fault": "status", "status": "nan"}),
        ("/faults", {"on": "api", "fault": "omit", "fields": 7}),
        ("/faults", {"on": "api", "fault": "body", "color": "red"}),
    ],
)
def test_nonsense_is_refused_with_a_sentence(sandbox_server, path, body):
    """A test that misspells a rule or a fault fails at once, not later."""
    refused = sandbox_server.post(path, json=body)

    assert refused.status_code == 400
    assert refused.json()["error"].endswith(".")


def test_starting_again_forgets_everything(sandbox_server):
    """Families, requests, faults and rules are as on the first day."""
    grant = sandbox_server.connect()
    sandbox_server.rules(access_token_seconds=5)
    sandbox_server.arm(on="api", fault="slow", times=0)
    sandbox_server.post("/reset")
    ledger = sandbox_server.ledger()

    assert (ledger["families"], ledger["requests"], ledger["faults"]) == ([], [], [])
    assert ledger["rules"]["access_token_seconds"] == 60
    assert set(ledger["totals"].values()) == {0}
    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
