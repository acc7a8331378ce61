"""The sandbox's ledger and its page: what they show, and who may use them."""

import re
import smtplib
import subprocess
import sys
from hashlib import sha256

import pytest
import requests

from app.settings.config import ROOT
from sandbox.__main__ import main
from sandbox.ledger import Entry, Ledger
from tests.support.partner import (
    CHALLENGE,
    CLIENT_ID,
    CLIENT_SECRET,
    REDIRECT_URI,
    VERIFIER,
)
from tests.support.servers import reserved_port

FORM = {"Content-Type": "application/x-www-form-urlencoded"}

PRESSED = (
    *("/rules", "/faults", "/faults/clear", "/kill", "/reset"),
    *("/happen", "/grow", "/webhooks", "/webhooks/foreign", "/deliver", "/deliveries/hurry"),
)


def test_the_ledger_tells_what_came_without_any_value(sandbox_server):
    """Names of fields and headers, a fingerprint, the family, the outcome."""
    grant = sandbox_server.connect()
    sandbox_server.refresh(grant["refresh_token"], surprise="value-of-surprise")
    last = sandbox_server.ledger()["requests"][-1]

    assert last["kind"] == "refresh"
    assert last["fields"] == [
        "client_id",
        "client_secret",
        "grant_type",
        "redirect_uri",
        "refresh_token",
        "surprise",
    ]
    assert "content-type" in last["headers"]
    assert last["fingerprint"] == sha256(grant["refresh_token"].encode()).hexdigest()[:16]
    assert (last["family"], last["status"], last["error"]) == (1, 200, None)
    assert sandbox_server.ledger()["totals"] == {
        "authorize": 1,
        "exchange": 1,
        "refresh": 1,
        "revoke": 0,
        "api": 0,
    }


def test_the_ledger_forgets_old_requests_but_counts_them_all():
    """A long run keeps the latest five thousand, and exact totals."""
    ledger = Ledger()
    for n in range(5_010):
        ledger.write(Entry(0, str(n), "GET", "/v1/factory", "api", (), ()))

    assert [entry.n for entry in ledger.entries()] == list(range(11, 5_011))
    assert ledger.totals()["api"] == 5_010


def test_no_secret_is_ever_shown(sandbox_server):
    """Neither the page nor the JSON holds a token, a code, a verifier, a state or the secret."""
    code = sandbox_server.code()
    grant = sandbox_server.exchange(code).json()
    fresh = sandbox_server.refresh(grant["refresh_token"]).json()
    sandbox_server.read("factory", fresh)
    sandbox_server.refresh(grant["refresh_token"])
    shown = sandbox_server.get("/").text + sandbox_server.get("/ledger").text

    secrets = [code, CLIENT_SECRET, VERIFIER, CHALLENGE, "state-of-the-tests"]
    secrets += [each[name] for each in (grant, fresh) for name in ("access_token", "refresh_token")]
    assert [secret for secret in secrets if secret in shown] == []


def test_the_page_explains_itself_while_it_is_empty(sandbox_server):
    """The first thing to do is one link away."""
    page = sandbox_server.get("/").text

    assert "No tokens yet." in page
    assert 'href="http://localhost:8000"' in page


def test_the_buttons_are_forms_that_lead_back_to_the_ledger(sandbox_server):
    """Without any script each press is a post and a redirect."""
    bearer = {"Authorization": f"Bearer {sandbox_server.connect()['access_token']}"}
    webhook = {"url": "http://127.0.0.1:9/hook", "subscribed_events": ["sales_order.created"]}
    sandbox_server.post("/v1/webhooks", json=webhook, headers=bearer)
    page = sandbox_server.get("/").text
    forms = re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', page, re.DOTALL)
    pressed = []
    for action, fields in sorted(forms, key=lambda form: form[0] == "/reset"):
        data = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', fields))
        pressed.append(sandbox_server.post(action, data=data, headers=FORM))

    assert len(pressed) > 35
    assert {(answer.status_code, answer.headers["Location"]) for answer in pressed} == {(303, "/")}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", PRESSED)
def test_other_sites_cannot_press_the_buttons(sandbox_server, headers, path):
    """A page elsewhere, the app included, changes nothing here."""
    assert sandbox_server.post(path, headers=headers, data={}).status_code == 403


def test_a_foreign_host_name_is_refused(sandbox_server):
    """A name that was rebound to loopback does not open the sandbox to another site."""
    assert sandbox_server.get("/", headers={"Host": "sandbox.example.com"}).status_code == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])
def test_only_loopback_is_listened_on(host, capsys):
    """The buttons have no password, so that nobody else may reach them."""
    with pytest.raises(SystemExit):
        main(["--host", host], {})

    assert "choose from" in capsys.readouterr().err


def test_the_command_names_what_it_lacks(capsys):
    """No secret has a default: without one the command stops."""
    assert main([], {"KATANA_CLIENT_ID": "some-client"}) == 2
    assert "KATANA_CLIENT_SECRET, KATANA_REDIRECT_URI" in capsys.readouterr().err


def test_mail_is_received_and_shown() -> None:
    """The app's mails stand in the ledger, as JSON and on the page, and go to nobody."""
    environ = {
        "KATANA_CLIENT_ID": CLIENT_ID,
        "KATANA_CLIENT_SECRET": CLIENT_SECRET,
        "KATANA_REDIRECT_URI": REDIRECT_URI,
    }
    with reserved_port() as port, reserved_port() as smtp_port:
        ports = ("--port", str(port), "--smtp-port", str(smtp_port))
        process = subprocess.Popen(
            (sys.executable, "-m", "sandbox", *ports),
            cwd=ROOT,
            env=environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout
            assert b"Katana sandbox" in process.stdout.readline()
            with smtplib.SMTP("127.0.0.1", smtp_port) as post:
                post.sendmail(
                    "app@localhost",
                    ["ada@workshop.example"],
                    "Subject: Come back\r\nMessage-ID: <1@x>\r\n\r\nhttp://localhost/dashboard\r\n",
                )
            url = f"http://127.0.0.1:{port}"
            (mail,) = requests.get(f"{url}/ledger", timeout=10).json()["mails"]
            page = requests.get(url, timeout=10).text
        finally:
            process.terminate()
            process.communicate(timeout=30)

    assert mail["to"] == ["ada@workshop.example"]
    assert (mail["subject"], mail["message_id"]) == ("Come back", "<1@x>")
    assert 'href="http://localhost/dashboard"' in page
