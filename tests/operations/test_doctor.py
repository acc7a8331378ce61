"""flask doctor: what is well, and each thing that can be amiss, provoked."""

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import trustme
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text, update

from app.connections.circuit_breaker import REFUSALS
from app.connections.models import Connection
from app.connections.vault import Vault
from app.credentials import TokenKey
from app.database.db import Model, db
from app.operations import doctor
from app.operations.doctor import in_time
from app.operations.doctor.database import NETWORK_DISKS, filesystem
from app.operations.doctor.environment import CERTIFICATES, PROXIES
from app.operations.doctor.findings import Finding, Level, ok
from app.operations.doctor_echo import HEADER, proof
from app.settings.parsing import LOOPBACK_HOSTS
from tests.conftest import MakeApp
from tests.support.clones import Clone
from tests.support.commands import ended, flask, run
from tests.support.connected import Connected
from tests.support.crowds import crowd
from tests.support.sandbox import Sandbox
from tests.support.servers import Served, reserved_port, serving
from tests.support.wire import Peer, Script, answer, answering, wire

pytestmark = pytest.mark.slow_on("postgresql")

LOST = Vault([TokenKey("lost", b"0123456789abcdef" * 2)])
OVERWRITTEN = {"HTTP_X_FORWARDED_FOR": "198.51.100.7"}
CALLBACK = "/katana/callback"


class Report:
    """What doctor says of an app."""

    def __init__(self, app: Flask) -> None:
        told = run(app, "doctor", "--json")
        self.status = told.status
        self.output = told.output
        self.findings: list[dict[str, str]] = json.loads(told.stdout)["findings"]

    def amiss(self) -> list[tuple[str, str]]:
        """The checks that found something, and how bad it is."""
        return [(f["check"], f["level"]) for f in self.findings if f["level"] != "ok"]

    def says(self, check: str) -> str:
        """All that a check says."""
        return " ".join(f["says"] for f in self.findings if f["check"] == check)


@pytest.fixture
def origin(new_app: MakeApp) -> Iterator[str]:
    """Where an app of these settings is served."""
    with serving(new_app(TRUSTED_HOSTS=",".join(LOOPBACK_HOSTS))) as url:
        yield url


@pytest.fixture
def healthy(new_app: MakeApp, origin: str) -> Iterator[MakeApp]:
    """Makes apps with which all is well but for the settings that are given."""
    with wire(answering(answer(b"Approve?"))) as page:  # takes any redirect URI
        given = {
            "KATANA_REDIRECT_URI": origin + CALLBACK,
            "TRUSTED_HOSTS": "",
            "KATANA_AUTHORIZE_URL": f"{page.url}/authorize",
        }
        yield lambda **changed: new_app(**given | changed)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's own environment names is no finding of a test."""
    for name in (*PROXIES, *map(str.lower, PROXIES), *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def execute(app: Flask, *statements: Any) -> None:
    """Change the database behind everybody's back."""
    with app.app_context(), db.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def contents(app: Flask) -> Mapping[str, list[Any]]:
    """Every row of every table."""
    with app.app_context(), db.engine.connect() as connection:
        return {
            table.name: sorted(map(str, connection.execute(table.select())))
            for table in Model.metadata.sorted_tables
        }


def files(app: Flask) -> list[bytes]:
    """What stands in the database's files, where it has any that can be seen: its log too."""
    with app.app_context():
        name = db.engine.url.database or ""
    return [path.read_bytes() for path in (Path(name), Path(f"{name}-wal")) if path.is_file()]


def test_all_is_well_where_all_is_well(
    app: Flask, served: Served, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """The app under gunicorn, with a connection in its database, has no fault."""
    Connected(app, sandbox, environ)

    report = Report(app)

    assert report.status == 0
    # The PostgreSQL of the tests need not survive a power cut, and doctor sees that.
    durable = db_name(app) == "sqlite"
    assert report.amiss() == ([] if durable else [("isolation", "warning")]), report.output


def test_it_changes_nothing(healthy: MakeApp, sandbox: Sandbox, environ: dict[str, str]) -> None:
    """Neither a row here nor a token at Katana is another afterwards, nor a byte of a file."""
    app = healthy()
    connected = Connected(app, sandbox, environ)
    before = contents(app), connected.family(), files(app)

    Report(app)

    assert (contents(app), connected.family(), files(app)) == before


@pytest.mark.one_database("postgresql")
def test_it_shows_no_secret(healthy: MakeApp, environ: dict[str, str]) -> None:
    """Whatever it finds, no secret comes out, the database's password included."""
    url = "postgresql://someone:pass-word-of-mine@127.0.0.1:9/nowhere"
    told = [run(healthy(**changed), "doctor") for changed in ({}, {"DATABASE_URL": url})]

    _, key = environ["TOKEN_ENCRYPTION_KEYS"].split(":")
    for secret in (environ["SECRET_KEY"], environ["KATANA_CLIENT_SECRET"], key, "pass-word"):
        assert all(secret not in one.output for one in told)


def test_wrong_settings_are_findings_too(clone: Clone) -> None:
    """What keeps the app from starting is told by doctor in its own form."""
    told = ended(flask({"SECRET_KEY": "secret key"}, "doctor", "--json", folder=clone.path))

    report = json.loads(told.output)
    assert (told.status, report["level"]) == (1, "fault")
    assert "KATANA_CLIENT_ID is not set." in [f["says"] for f in report["findings"]]


@pytest.mark.one_database
def test_every_finding_that_is_not_ok_says_how_to_mend_it(healthy: MakeApp) -> None:
    """A line below says what to do."""
    lines = run(healthy(PROXY_HOPS="1"), "doctor").output.splitlines()

    (at,) = [n for n, line in enumerate(lines) if line.startswith("warning")]
    assert lines[at + 1].startswith(" " * 20)
    assert "Set PROXY_HOPS to 0" in lines[at + 1]


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


def test_what_never_ends_is_a_finding() -> None:
    """Whatever hangs, doctor comes to an end, and says so."""
    hangs = threading.Event()

    def findings() -> Iterator[Finding]:
        yield ok("first", "It is well.")
        hangs.wait()

    first, last = in_time(findings(), seconds=0.2)
    hangs.set()

    assert (first.check, last.check, last.level) == ("first", "time", Level.FAULT)


def test_what_breaks_a_check_is_a_finding() -> None:
    """An error that nobody foresaw ends the report at once, and says so."""

    def findings() -> Iterator[Finding]:
        yield ok("first", "It is well.")
        raise UnicodeError("secret")

    first, last = in_time(findings(), seconds=30)

    assert (first.check, last.check, last.level) == ("first", "doctor", Level.FAULT)
    assert "(UnicodeError)" in last.says
    assert "secret" not in last.says


@pytest.mark.one_database
def test_a_check_that_breaks_stops_no_other(
    healthy: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever error it meets, the checks after it are made."""

    def broken(_: object) -> Iterator[Finding]:
        raise OSError("secret")
        yield

    monkeypatch.setattr(doctor, "ABOUT_ADDRESS", (broken,))
    report = Report(healthy())

    assert report.amiss() == [("broken", "fault")]
    assert "(OSError)" in report.says("broken")
    assert report.says("clock")


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


@pytest.mark.parametrize(
    ("revision", "says"), [("", "older"), ("29991231_from_the_future", "newer")]
)
def test_tables_of_another_code_are_found(healthy: MakeApp, revision: str, says: str) -> None:
    """Older tables need an upgrade, newer ones the code that made them."""
    app = healthy()
    execute(
        app,
        text("DELETE FROM alembic_version")
        if not revision
        else text("UPDATE alembic_version SET version_num = :v").bindparams(v=revision),
    )

    report = Report(app)

    assert ("migrations", "fault") in report.amiss()
    assert says in report.says("migrations")


@pytest.mark.one_database
def test_a_read_only_file_is_found(healthy: MakeApp, database_url: str) -> None:
    """Without writing no token can be renewed."""
    file = database_url.removeprefix("sqlite:///")

    report = Report(healthy(DATABASE_URL=f"sqlite:///file:{file}?mode=ro&uri=true"))

    assert ("writing", "fault") in report.amiss()


def set_up(app: Flask, setting: str) -> None:
    """Let the database be set up otherwise for every new connection."""
    with app.app_context():
        name = db.engine.url.database
    execute(app, text(f'ALTER DATABASE "{name}" SET {setting}'))


@pytest.mark.one_database("postgresql")
def test_a_replica_is_found(healthy: MakeApp) -> None:
    """What cannot be written cannot be used."""
    set_up(healthy(), "default_transaction_read_only = on")

    assert ("writing", "fault") in Report(healthy()).amiss()


@pytest.mark.one_database("postgresql")
def test_the_app_asks_for_the_isolation_that_it_is_made_for(healthy: MakeApp) -> None:
    """Whatever the database is set up for, doctor sees what the app gets."""
    set_up(healthy(), "default_transaction_isolation = 'serializable'")

    assert ("isolation", "fault") not in Report(healthy()).amiss()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "ext4"])
def test_the_kind_of_disk_is_told_by_the_nearest_mount(kind: str) -> None:
    """The table of mounts says it, spaces in names included; the deepest mount counts."""
    mounts = f"/dev/a / ext3 rw 0 0\nhost:/b /srv/my\\040data {kind} rw 0 0\nproc /proc proc rw 0 0"

    assert filesystem(Path("/srv/my data/app.db"), mounts) == kind
    assert filesystem(Path("/srv/my database/app.db"), mounts) == "ext3"
    assert (kind in NETWORK_DISKS) == (kind != "ext4")


def test_a_missing_key_is_found(healthy: MakeApp) -> None:
    """Tokens whose key is gone are counted, with the key's name."""
    app = healthy()
    crowd(app, LOST, 3)

    report = Report(app)

    assert ("keys", "fault") in report.amiss()
    assert "lost (6)" in report.says("keys")


def test_an_unfinished_change_of_keys_is_found(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """While an older key is still needed, doctor says what to run."""
    Connected(healthy(), sandbox, environ)
    new = ended(flask({}, "keys", "new")).output.split()[0]

    report = Report(healthy(TOKEN_ENCRYPTION_KEYS=f"{new},{environ['TOKEN_ENCRYPTION_KEYS']}"))

    assert ("keys", "warning") in report.amiss()
    assert "older keys: test" in report.says("keys")


def test_a_copied_token_is_found(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """A token that was pasted into another row does not open there."""
    app = healthy()
    ada, bea = (Connected(app, sandbox, environ, name) for name in ("ada", "bea"))
    copied = ada.row().sealed_refresh_token
    execute(
        app,
        update(Connection).where(Connection.id == bea.id).values(sealed_refresh_token=copied),
    )

    report = Report(app)

    assert ("opening", "fault") in report.amiss()
    assert str(bea.id) in report.says("opening")


def test_connections_that_nobody_keeps_alive_are_found(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """A refresh that is overdue is told with its age."""
    app = healthy()
    crowd(app, Connected(app, sandbox, environ).vault, 1)

    report = Report(app)

    assert ("connections", "warning") in report.amiss()
    assert "2 active, 0 reconnect_needed. The oldest was last renewed 29 days ago" in report.says(
        "connections"
    )


def test_an_incident_at_katana_is_told(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """Many refusals in a row are told for what they are."""
    app = healthy()
    for n in range(REFUSALS):
        Connected(app, sandbox, environ, f"maker{n}").change(refused_at=1)

    report = Report(app)

    assert ("connections", "warning") in report.amiss()
    assert "refuses many in a row" in report.says("connections")


def db_name(app: Flask) -> str:
    """Which database the app has."""
    with app.app_context():
        return db.engine.dialect.name


@pytest.mark.parametrize("column", ["next_attempt_at", "expires_at", "refreshed_at", "refused_at"])
def test_moments_too_far_ahead_are_named(
    healthy: MakeApp, connected: Connected, column: str
) -> None:
    """13: the database's clock was ahead when they were written; the connection is named."""
    connected.change(**{column: 1000 * 24 * 3600})

    report = Report(healthy())

    assert ("moments", "warning") in report.amiss()
    assert str(connected.id) in report.says("moments")
