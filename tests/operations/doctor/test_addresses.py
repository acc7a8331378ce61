"""flask doctor: addresses, proxies and certificates that are wrong."""

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import trustme
from flask.testing import FlaskClient

from app.operations.doctor.environment import CERTIFICATES
from app.operations.doctor_echo import HEADER, proof
from app.settings.parsing import LOOPBACK_HOSTS
from tests.conftest import MakeApp
from tests.support.commands import ended, flask
from tests.support.examined import CALLBACK, Report
from tests.support.sandbox import Sandbox
from tests.support.servers import reserved_port, serving
from tests.support.wire import Peer, Script, answer, answering, wire

OVERWRITTEN = {"HTTP_X_FORWARDED_FOR": "198.51.100.7"}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


AMISS = [
    ({"TRUSTED_HOSTS": "app.example"}, "redirect URI", "fault", "does not answer to 127.0.0.1"),
    ({"TRUSTED_HOSTS": "127.0.0.1,localhost"}, "redirect URI", "warning", "opens localhost"),
    ({"KATANA_REDIRECT_URI": "{sandbox}" + CALLBACK}, "address", "fault", "not this app"),
    ({"KATANA_REDIRECT_URI": "{https}" + CALLBACK}, "address", "fault", "answers at http://"),
    ({"KATANA_REDIRECT_URI": "{closed}" + CALLBACK}, "address", "warning", "Nothing answers"),
    ({"KATANA_REDIRECT_URI": "{https}" + CALLBACK}, "proxies", "warning", "PROXY_HOPS is 0"),
    ({"PROXY_HOPS": "1"}, "proxies", "warning", "can claim any address"),
    ({"KATANA_ACCESS_TOKEN_URL": "{closed}"}, "Katana's login", "fault", "does not answer"),
    ({"KATANA_API_BASE_URL": "{closed}"}, "Katana's API", "fault", "does not answer"),
    ({"KATANA_AUTHORIZE_URL": "https://login.example"}, "one Katana", "fault", "lead to this"),
    ({"KATANA_REDIRECT_URI": "{https}" + CALLBACK}, "one Katana", "warning", "stand-in"),
    ({"DATABASE_URL": "postgresql://127.0.0.1:{port}/a"}, "database", "fault", "not answer"),
    ({"DATABASE_URL": "sqlite:///:memory:"}, "disk", "fault", "in memory"),
]


@pytest.mark.short_form(5)
@pytest.mark.one_database
@pytest.mark.parametrize(("changed", "check", "level", "says"), AMISS)
def test_wrong_addresses_are_found(
    healthy: MakeApp,
    origin: str,
    sandbox: Sandbox,
    closed_port: int,
    changed: dict[str, str],
    check: str,
    level: str,
    says: str,
) -> None:
    """Each is named with what it means, by the check whose it is."""
    places = {
        "origin": origin,
        "https": origin.replace("http:", "https:"),
        "sandbox": sandbox.url,
        "closed": f"http://127.0.0.1:{closed_port}",
        "port": closed_port,
    }

    report = Report(healthy(**{name: value.format(**places) for name, value in changed.items()}))

    assert (check, level) in report.amiss(), report.output
    assert says in report.says(check)
    assert report.status == ("fault" in {level for _, level in report.amiss()})


@pytest.mark.one_database
def test_a_store_of_limits_that_is_away_is_found(healthy: MakeApp) -> None:
    """Without it nobody can sign in."""
    with reserved_port() as port:
        report = Report(healthy(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{port}"))

    assert ("limits", "fault") in report.amiss()


@pytest.mark.one_database
def test_a_host_that_is_refused_is_found(healthy: MakeApp, origin: str, new_app: MakeApp) -> None:
    """The app runs, but answers to another name than the one that users come back to."""
    with serving(new_app(TRUSTED_HOSTS="app.example")) as url:
        report = Report(healthy(KATANA_REDIRECT_URI=url + CALLBACK))

    assert report.amiss() == [("address", "fault")]
    assert "status 400" in report.says("address")


@pytest.fixture
def proxied(new_app: MakeApp) -> Callable[..., Any]:
    """Serves an app of these settings behind a proxy that sets these headers."""

    def serve(headers: Mapping[str, str], **changed: str) -> Any:
        app = new_app(TRUSTED_HOSTS=",".join(LOOPBACK_HOSTS), **changed)
        inner = app.wsgi_app

        def proxy(environ: dict[str, Any], start_response: Any) -> Any:
            sent = environ.get("HTTP_X_FORWARDED_FOR", "")
            for name, value in headers.items():
                environ[name] = value.format(sent=sent)
            return inner(environ, start_response)

        app.wsgi_app = proxy  # type: ignore[method-assign]
        return serving(app)

    return serve


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("hops", "headers", "says"),
    [
        ("1", {}, "can claim any address"),
        ("2", {"HTTP_X_FORWARDED_FOR": "{sent}, 198.51.100.7"}, "can claim any address"),
        ("1", OVERWRITTEN | {"HTTP_X_FORWARDED_PROTO": "https"}, "arrives as one by https"),
        ("1", OVERWRITTEN, "on this machine"),
        ("1", {"HTTP_X_FORWARDED_FOR": "unknown"}, "address is none"),
        ("1", {"HTTP_X_FORWARDED_FOR": "_gazonk"}, "address is none"),
        ("1", {"HTTP_X_FORWARDED_FOR": "203.0.113.7.8:50007"}, "address is none"),
        ("1", {"HTTP_X_FORWARDED_FOR": "203.0.113.7:50007"}, "on this machine"),
        ("1", {"HTTP_X_FORWARDED_FOR": "{sent}:50007"}, "can claim any address"),
    ],
    ids=[
        *("no proxy", "one that appends", "another scheme", "one that overwrites"),
        *("unknown", "hidden", "no address", "with a port", "one that adds a port"),
    ],
)
def test_what_proxies_let_through_is_tried(
    healthy: MakeApp,
    proxied: Callable[..., Any],
    hops: str,
    headers: dict[str, str],
    says: str,
) -> None:
    """A forged address is sent, and the app itself says whom it takes the request to be from."""
    with proxied(headers, PROXY_HOPS=hops) as url:
        report = Report(healthy(KATANA_REDIRECT_URI=url + CALLBACK, PROXY_HOPS=hops))

    assert says in report.says("proxies")


@pytest.mark.one_database
def test_another_secret_key_is_found(healthy: MakeApp, new_app: MakeApp) -> None:
    """The hosts of one app must have one key, else signing in works on one of them alone."""
    hosts = ",".join(LOOPBACK_HOSTS)
    with serving(new_app(TRUSTED_HOSTS=hosts, SECRET_KEY=token_hex(32))) as url:
        report = Report(healthy(KATANA_REDIRECT_URI=url + CALLBACK))

    assert report.amiss() == [("address", "warning")]
    assert "SECRET_KEY" in report.says("address")


@pytest.mark.one_database
def test_only_who_knows_the_key_is_told_how_a_request_arrives(client: FlaskClient) -> None:
    """Without the proof, or with another, /healthz says ok and nothing else."""
    for headers in ({}, {HEADER: ""}, {HEADER: proof("another key")}, {HEADER: "\xe4"}):
        assert client.get("/healthz", headers=headers).get_data() == b"ok\n"


@pytest.mark.one_database
def test_a_certificate_that_nobody_knows_is_found(healthy: MakeApp) -> None:
    """TLS that fails is told for what it is, and so is a name that does not exist."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with wire(answering(answer()), tls) as katana:
        stranger = Report(healthy(KATANA_ACCESS_TOKEN_URL=f"{katana.url}/oauth/token"))
    nowhere = Report(healthy(KATANA_ACCESS_TOKEN_URL="https://katana.invalid/oauth/token"))

    assert "its certificate is not accepted" in stranger.says("Katana's login")
    assert "no address is known for the name katana.invalid" in nowhere.says("Katana's login")


@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "no CA"])
def test_a_ca_file_that_cannot_be_read_is_found(
    environ: dict[str, str], tmp_path: Path, content: str | None
) -> None:
    """Where SSL_CERT_FILE leads nowhere, doctor says so, and makes the other checks."""
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    https = {"KATANA_REDIRECT_URI": f"https://localhost:9{CALLBACK}", "SSL_CERT_FILE": str(file)}

    told = ended(flask(environ | https, "doctor"))

    assert re.search(r"(?m)^fault +CA file +SSL_CERT_FILE", told.output), told.output
    assert re.search(r"(?m)^\w+ +clock", told.output), told.output
    assert "Traceback" not in told.output


def moved(*locations: str) -> Script:
    """An authorization page that redirects to these in turn; `{here}` is its own address."""
    left = list(locations)

    def script(peer: Peer) -> None:
        asked = peer.hear()
        here = f"http://{asked.headers['host']}"
        there = left.pop(0).replace("{here}", here) if left else None
        redirect = {"Connection": "close"} | ({"Location": there} if there else {})
        peer.send(answer(status=302 if there else 200, headers=redirect))

    return script


@pytest.mark.one_database
def test_an_authorization_page_at_another_origin_is_told(healthy: MakeApp) -> None:
    """Each origin on the way is named, as it is without a query and what else an address holds.

    Of the same kind: a permanent or a temporary redirect, a relative one, another port or scheme,
    and a chain of several. A redirect within the origin is no finding.
    """
    with wire(moved()) as sso, wire(moved("/login?a=1", f"{sso.url}/?code=marmalade")) as page:
        report = Report(healthy(KATANA_AUTHORIZE_URL=f"{page.url}/authorize"))
    assert report.amiss() == [("authorization", "warning")]
    assert f"{page.url} redirects users to another origin: {sso.url}." in report.output
    assert "marmalade" not in report.output

    with wire(moved("/login", "{here}/login/again")) as page:
        report = Report(healthy(KATANA_AUTHORIZE_URL=f"{page.url}/authorize"))
        assert report.amiss() == []
        asked = [heard.target.partition("?")[0] for heard in page.heard]
    assert asked == ["/authorize", "/login", "/login/again"]


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("locations", "level", "says"),
    [
        (["/loop"] * 20, "fault", "more than 10 times"),
        (["http://127.0.0.1:9/"], "fault", "does not answer"),
        (["https://[nonsense"], "fault", "cannot be read"),
        (["{callback}?error=unauthorized_client"], "warning", "with unauthorized_client"),
        (["{callback}?error=%3Cb%3E+marmalade"], "warning", "no error that is known"),
    ],
    ids=["a loop", "nobody there", "no address", "sent back", "sent back with nonsense"],
)
def test_an_authorization_page_that_does_not_open_is_found(
    healthy: MakeApp, origin: str, locations: list[str], level: str, says: str
) -> None:
    """Where a user would be stuck, or sent back without a question, doctor says so."""
    at = [location.replace("{callback}", origin + CALLBACK) for location in locations]
    with wire(moved(*at)) as page:
        report = Report(healthy(KATANA_AUTHORIZE_URL=f"{page.url}/authorize"))

    assert report.amiss() == [("authorization", level)], report.output
    assert says in report.says("authorization")
    assert "marmalade" not in report.output


@pytest.mark.one_database
def test_a_redirect_uri_that_katana_does_not_know_is_found(
    healthy: MakeApp, sandbox: Sandbox
) -> None:
    """The user would see a refusal at Katana."""
    report = Report(healthy(KATANA_AUTHORIZE_URL=f"{sandbox.url}/authorize"))

    assert report.amiss() == [("authorization", "warning")]
    assert "status 400" in report.says("authorization")


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize(
    "name",
    [
        *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"),
    ],
)
def test_what_the_environment_names_in_vain_is_told(
    healthy: MakeApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Requests to Katana use no proxy and no certificates of a company's own: doctor says so.

    Of the same kind: several at once. What a variable holds is not shown: it may be a password.
    """
    monkeypatch.setenv(name, "http://me:marmalade@proxy.example:3128")

    report = Report(healthy())

    assert report.amiss() == [("environment", "warning")]
    assert f"{name} is set" in report.says("environment")
    assert "marmalade" not in report.output


@pytest.mark.one_database
def test_the_systems_own_certificates_are_no_finding(
    healthy: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the public authorities; that they are not used is said all the same."""
    for name in CERTIFICATES:
        monkeypatch.setenv(name, "/etc/ssl/certs/ca-certificates.crt")

    report = Report(healthy())

    assert report.amiss() == []
    assert f"{', '.join(CERTIFICATES)} are set, and not used" in report.says("environment")


@pytest.mark.one_database
def test_katana_in_trouble_and_on_another_clock_is_found(healthy: MakeApp) -> None:
    """An answer is an answer, but a 5xx is told, and so is the time that it names."""
    gone_by = answer(status=503, headers={"Date": "Wed, 01 Jan 2020 00:00:00 GMT"})

    with wire(answering(gone_by)) as katana:
        report = Report(healthy(KATANA_ACCESS_TOKEN_URL=f"{katana.url}/oauth/token"))

    assert report.amiss() == [("Katana's login", "warning"), ("clock", "warning")]
    assert "503" in report.says("Katana's login")
    assert "This machine is" in report.says("clock")
    assert "The database is" in report.says("clock")


@pytest.mark.one_database
def test_a_cookie_without_its_flags_is_found(healthy: MakeApp) -> None:
    """A fork that has loosened one is told which."""
    app = healthy()
    app.config["SESSION_COOKIE_HTTPONLY"] = False

    report = Report(app)

    assert report.amiss() == [("cookies", "fault")]
    assert "SESSION_COOKIE_HTTPONLY" in report.says("cookies")
