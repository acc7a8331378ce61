"""Settings that are URLs: of the app, of Katana, of databases and of mail servers."""

import pytest
from sqlalchemy import make_url

from app.settings.config import SETTINGS, load
from app.settings.mail_server import Tls
from tests.support.settings import SOUND, faults


@pytest.mark.parametrize(
    "path", ["", "/", "/callback", "/katana/callback/", "/katana/callback2", "/Katana/Callback"]
)
def test_the_redirect_uri_leads_to_the_callback(path: str) -> None:
    """An address that this app does not serve would end in a 404 after the user has approved."""
    (told,) = faults(KATANA_REDIRECT_URI=f"https://app.example{path}")

    assert told == "KATANA_REDIRECT_URI must end in /katana/callback, here and at Katana."
    assert not faults(KATANA_REDIRECT_URI="https://app.example/katana/callback?from=katana")


URLS = [name for name in SETTINGS if name.startswith("KATANA_") and name.endswith(("URL", "URI"))]


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_plain_http_is_for_this_machine(name: str, host: str) -> None:
    """On loopback http is taken, so that the sandbox needs no certificate."""
    assert not faults(**{name: f"http://{host}:8001/katana/callback"})


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "http://workshop.test/",
        "http://localhost.workshop.test/",
        "http://127.0.0.1.workshop.test/",
        "http://localhost@workshop.test/",
        "http://0.0.0.0/",
        "https://",
        "https:///path",
        "//workshop.test/",
        "workshop.test",
        "file:///tokens",
        "https://[broken/",
        "https://workshop.test:99999/",
        "https://user@workshop.test/",
        "https://:password@workshop.test/",
        "https://workshop.test/#fragment",
        "https://workshop.test\\@other.test/",
        "https://workshop.test/a path",
        "https://workshop.test/\x01",
        "https://workshop.tëst/",
        "https://my..workshop.test/",
        f"https://{'w' * 64}.test/",
    ],
)
def test_no_other_url_is_taken(name: str, url: str) -> None:
    """S-14, S-25: one absolute https URL, with nothing in it that readers take differently."""
    (fault,) = faults(**{name: url})

    assert fault.startswith(f"{name} must") or fault == f"{name} is not a URL."


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("postgres://user:pw@host/app", "postgresql+psycopg://user:pw@host/app"),
        ("postgresql://user:pw@host/app", "postgresql+psycopg://user:pw@host/app"),
        ("postgresql+psycopg://user:pw@host/app", "postgresql+psycopg://user:pw@host/app"),
        ("sqlite:////var/lib/app.db", "sqlite:////var/lib/app.db"),
    ],
)
def test_a_database_url_is_read_in_each_of_its_spellings(written: str, read: str) -> None:
    """Hosting services write postgres://; the driver here is psycopg 3."""
    assert load(SOUND | {"DATABASE_URL": written}).database_url == read


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize(
    "rest", ["app:p@ss:canary@db.internal/x", "app:p@canary@db/x", "db:canary/x"]
)
def test_a_database_url_with_a_bare_password_is_told_how_to_write_it(
    scheme: str, rest: str
) -> None:
    """A password of letters that mean something in a URL is the usual reason; none is repeated."""
    told = faults(DATABASE_URL=f"{scheme}://{rest}", PROXY_HOPS="many")

    assert len(told) == 2
    assert told[0] == (
        "DATABASE_URL is not a URL: in a password write % as %25, @ as %40, : as %3A and / as %2F."
    )


def test_a_password_that_is_written_so_is_taken() -> None:
    """What the sentence asks for is read as it was meant."""
    url = load(SOUND | {"DATABASE_URL": "postgresql://app:p%40s%3Aw%2Fo%25@db/x"}).database_url

    assert (make_url(url).password, make_url(url).host) == ("p@s:w/o%", "db")


def test_a_file_needs_its_third_slash() -> None:
    """Without it SQLite would be asked for a host."""
    assert faults(DATABASE_URL="sqlite://canary.db") == (
        "DATABASE_URL must begin with sqlite:/// or postgresql://.",
    )


@pytest.mark.parametrize(
    "uri",
    [
        "memcached://user:canary@host",  # its driver is not in the lock
        "unheard-of://user:canary@host",
        "memcached://user:canary@host:port",
        "redis://[canary",
        "async+memory://",  # counts for another kind of server
        "canary",
    ],
)
def test_a_store_that_cannot_be_used_is_named_without_its_password(uri: str) -> None:
    """What would end the app at its start is told with all else that is wrong."""
    told = faults(RATELIMIT_STORAGE_URI=uri, PROXY_HOPS="many")

    assert len(told) == 2
    assert told[1] == (
        "RATELIMIT_STORAGE_URI names a store that cannot be used here: is its driver installed?"
    )


@pytest.mark.parametrize("uri", ["database://", "memory://", ""])
def test_a_store_that_needs_no_driver_is_taken(uri: str) -> None:
    """The database's own, by its name too, and what limits brings along."""
    assert load(SOUND | {"RATELIMIT_STORAGE_URI": uri}).ratelimit_storage_uri == (uri or None)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtp://127.0.0.1:8025", ("127.0.0.1", 8025, Tls.NONE, None, None)),
        ("smtp://post.example", ("post.example", 587, Tls.STARTTLS, None, None)),
        ("smtps://u:p%40%2F@post.example", ("post.example", 465, Tls.IMPLICIT, "u", "p@/")),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, told: tuple[object, ...]) -> None:
    """On another machine it is never talked to in the clear; its password is in no repr."""
    server = load(SOUND | {"SMTP_URL": url, "MAIL_FROM": "Loom <app@loom.example>"}).mail_server

    assert server
    assert (server.host, server.port, server.tls, server.user, server.password) == told
    assert (server.sender, server.sender_name) == ("app@loom.example", "Loom")
    assert "p@/" not in repr(server)


def test_without_a_url_no_mail_is_sent() -> None:
    """The address alone turns nothing on."""
    assert load(SOUND | {"MAIL_FROM": "app@loom.example"}).mail_server is None


@pytest.mark.parametrize(
    "url",
    [
        *("post.example", "http://post.example", "smtp://", "smtp://post.example:0"),
        *("smtp://post.example:99999", "smtp://u@post.example", "smtp://u:p/w@post.example"),
        *("smtp://post.example/box", "smtp://post.example?x=y"),
    ],
)
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    """In one sentence, without the value."""
    (fault,) = faults(SMTP_URL=url, MAIL_FROM="app@loom.example")

    assert fault.startswith("SMTP_URL must be")
    assert "post.example" not in fault


@pytest.mark.parametrize(
    "sender",
    [
        *("", "nobody", "é@x.de", "a..b@x.example", "Loom\n <a@b.example>", "a@b\x00.example"),
        *("a@b.example, c@d.example", "<a@b.example> <c@d.example>", "Loom, Inc <a@b.example>"),
    ],
)
def test_a_mail_server_needs_a_sender(sender: str) -> None:
    """One address, and plain letters only, which every mail server takes."""
    (fault,) = faults(SMTP_URL="smtp://post.example", MAIL_FROM=sender)

    assert fault == "MAIL_FROM must be one e-mail address, since SMTP_URL is set."
