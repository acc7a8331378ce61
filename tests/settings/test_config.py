"""Settings: what is read from where, what is refused, and what is never said aloud."""

import base64
import secrets
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.credentials import KEY_BYTES, TokenKey
from app.errors import ConfigurationError
from app.settings.config import ROOT, SETTINGS, Settings, load
from app.settings.flask_config import for_flask
from app.settings.mail_server import Tls
from app.settings.parsing import SECRET_CHARACTERS

CANARY = "canary"  # part of every wrong value below: no message may repeat one
KEY = bytes(range(KEY_BYTES))
SOUND = {
    "KATANA_CLIENT_ID": "workshop",
    "KATANA_CLIENT_SECRET": "0123456789abcdefghijklmnop",
    "KATANA_REDIRECT_URI": "https://workshop.test/katana/callback",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
    "TOKEN_ENCRYPTION_KEYS": f"k1:{base64.urlsafe_b64encode(KEY).decode()}",
}
WEAK = "ab" * SECRET_CHARACTERS


def faults(**changed: str) -> tuple[str, ...]:
    """What is wrong with sound settings after this change."""
    try:
        load(SOUND | changed)
    except ConfigurationError as error:
        return error.faults
    return ()


def token_key(kid: str, key: bytes) -> str:
    """A key as it stands in TOKEN_ENCRYPTION_KEYS."""
    return f"{kid}:{base64.urlsafe_b64encode(key).decode()}"


def test_sound_settings_are_read() -> None:
    """Five settings are enough; the others have the values that Katana publishes."""
    settings = load(SOUND)

    assert settings.katana.client_id == "workshop"
    assert settings.katana.authorize_url == "https://login.katanamrp.com/authorize"
    assert settings.katana.access_token_url == "https://login.katanamrp.com/oauth/token"
    assert settings.katana.api_base_url == "https://api.katanamrp.com/v1"
    assert settings.katana.audience == "https://api.katanamrp.com"
    assert settings.katana.revoke_url is None
    assert settings.katana.issuer is None
    assert settings.katana.pkce
    assert settings.katana.rotation_overlap_seconds == 0
    assert settings.token_keys == (TokenKey("k1", KEY),)
    assert settings.trusted_hosts == ("workshop.test",)
    assert settings.proxy_hops == 0
    assert settings.https


def test_what_is_missing_is_told_at_once() -> None:
    """Without any setting, one error names all that have no default, and nothing else."""
    with pytest.raises(ConfigurationError) as told:
        load({})

    assert sorted(fault.split()[0] for fault in told.value.faults) == sorted(SOUND)
    assert all(name in str(told.value) for name in SOUND)


def test_everything_wrong_is_told_at_once_and_no_value_with_it() -> None:
    """Each wrong setting is named in the one error; the error repeats none of their values."""
    wrong = {
        "KATANA_CLIENT_ID": f"placeholder-{CANARY}",
        "KATANA_CLIENT_SECRET": f"<{CANARY}>",
        "KATANA_REDIRECT_URI": f"http://{CANARY}.test/",
        "KATANA_AUTHORIZE_URL": f"https://user:{CANARY}@login.test/",
        "KATANA_ACCESS_TOKEN_URL": f"https://login.test:{CANARY}/",
        "KATANA_REVOKE_URL": f"ftp://{CANARY}.test/",
        "KATANA_API_BASE_URL": f"https://api.test/#{CANARY}",
        "KATANA_AUDIENCE": f"your-{CANARY}",
        "KATANA_PKCE": CANARY,
        "KATANA_ROTATION_OVERLAP_SECONDS": f"-1{CANARY}",
        "SECRET_KEY": CANARY,
        "SECRET_KEY_FALLBACKS": f"{SOUND['SECRET_KEY']},{CANARY}",
        "TOKEN_ENCRYPTION_KEYS": f"{CANARY}:{CANARY}",
        "DATABASE_URL": f"mysql://user:{CANARY}@host/app",
        "PROXY_HOPS": CANARY,
        "RATELIMIT_STORAGE_URI": f"unheard-of://user:{CANARY}@host",
        "LOG_LEVEL": CANARY,
        "LOG_FORMAT": CANARY,
        "METRICS_TOKEN": CANARY,
    }

    with pytest.raises(ConfigurationError) as told:
        load(wrong)

    assert {fault.split()[0] for fault in told.value.faults} == wrong.keys()
    assert CANARY not in str(told.value).lower()
    assert CANARY not in repr(told.value).lower()


def test_an_empty_value_counts_as_not_set() -> None:
    """A bare `NAME=` in .env leaves the default in force, as do spaces."""
    settings = load(SOUND | dict.fromkeys(SETTINGS - SOUND.keys(), "  "))

    assert settings == load(SOUND)


@pytest.mark.parametrize("name", ["KATANA_CLIENT_ID", "KATANA_CLIENT_SECRET", "SECRET_KEY"])
@pytest.mark.parametrize(
    "value",
    [
        "change-me-0123456789abcdefghijklmnop",
        "CHANGEME0123456789abcdefghijklmnop",
        "your-client-0123456789abcdefghijklm",
        "your_secret_key_0123456789abcdefghi",
        "placeholder-0123456789abcdefghijkl",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ],
)
def test_a_placeholder_is_not_a_value(name: str, value: str) -> None:
    """S-34, S-43: what stands in a sample file does not start the app."""
    assert faults(**{name: value})[0] == f"{name} still holds a placeholder."


def test_a_random_secret_is_not_taken_for_a_placeholder() -> None:
    """What stands in the middle of a secret is chance."""
    assert not faults(KATANA_CLIENT_SECRET="q7XxX2vYourT-0aZkEyLmN8sPw4bHc_RdGfJ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", SOUND["SECRET_KEY"][: SECRET_CHARACTERS - 1]),
        ("SECRET_KEY", WEAK),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("SECRET_KEY_FALLBACKS", f"{SOUND['SECRET_KEY']},{WEAK}"),
        ("TOKEN_ENCRYPTION_KEYS", token_key("k1", bytes(KEY_BYTES))),
        ("METRICS_TOKEN", WEAK),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused(name: str, value: str) -> None:
    """S-43: too short, or few letters over and over; an earlier key signs cookies as well."""
    (fault,) = faults(**{name: value})

    assert fault.startswith(name)
    assert "too easy to guess" in fault


@pytest.mark.parametrize("other", ["KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS"])
def test_a_secret_serves_one_purpose(other: str) -> None:
    """S-43: what signs cookies neither seals tokens nor is known to Katana."""
    key = base64.urlsafe_b64encode(KEY[::-1]).decode()
    shared = {"SECRET_KEY": key, other: f"k1:{key}" if other.startswith("TOKEN") else key}

    assert faults(**shared) == (
        f"SECRET_KEY is the same as in {other}: make it a secret of its own.",
    )


@pytest.mark.parametrize("other", ["SECRET_KEY", "SECRET_KEY_FALLBACKS", "KATANA_CLIENT_SECRET"])
def test_who_reads_metrics_learns_no_other_secret(other: str) -> None:
    """S-43: the token for /metrics stands in Prometheus' settings, and opens nothing else."""
    token = SOUND["SECRET_KEY"][::-1]

    assert faults(**{"METRICS_TOKEN": token, other: token}) == (
        f"METRICS_TOKEN is the same as in {other}: make it a secret of its own.",
    )
    assert load(SOUND | {"METRICS_TOKEN": token}).metrics_token == token


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLASK_DEBUG", "1"),
        ("FLASK_DEBUG", "True"),
        ("FLASK_TESTING", "yes"),
        ("TESTING", "on"),
        ("AUTHLIB_INSECURE_TRANSPORT", "1"),
        ("AUTHLIB_INSECURE_TRANSPORT", "0"),
        ("OAUTHLIB_INSECURE_TRANSPORT", "false"),
    ],
)
def test_what_developers_use_is_not_for_users(name: str, value: str) -> None:
    """S-74: over https nothing starts with it; on this machine it does no harm."""
    (fault,) = faults(**{name: value})

    assert fault == f"{name} must not be set when the redirect URI uses https."
    assert not faults(
        **{name: value, "KATANA_REDIRECT_URI": "http://localhost:8000/katana/callback"}
    )


@pytest.mark.parametrize("value", ["0", "false", "no", "off", ""])
def test_a_switch_that_is_off_may_be_there(value: str) -> None:
    """S-74: FLASK_DEBUG=0 says what is wanted."""
    assert not faults(FLASK_DEBUG=value)


def test_a_generated_secret_is_never_refused() -> None:
    """What `make .env` and Python's secrets module make is good enough."""
    for _ in range(200):
        secret = secrets.token_urlsafe(48)
        key = token_key("k1", secrets.token_bytes(KEY_BYTES))

        assert not faults(
            SECRET_KEY=secrets.token_hex(32),
            SECRET_KEY_FALLBACKS=f"{secret},{secrets.token_hex(32)}",
            TOKEN_ENCRYPTION_KEYS=key,
        )


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


def test_the_first_key_of_the_ring_stays_first() -> None:
    """The order of the keys is kept: the first seals."""
    ring = ",".join((token_key("k2", KEY[::-1]), f" {token_key('k1', KEY)} "))

    keys = load(SOUND | {"TOKEN_ENCRYPTION_KEYS": ring}).token_keys

    assert keys == (TokenKey("k2", KEY[::-1]), TokenKey("k1", KEY))


@pytest.mark.parametrize(
    "ring",
    [
        base64.urlsafe_b64encode(KEY).decode(),
        token_key("", KEY),
        token_key("two words", KEY),
        token_key("k" * 21, KEY),
        token_key("k1", KEY[:16]),
        token_key("k1", KEY + KEY),
        token_key("k1", KEY)[:-1],
        "k1:not/base64!",
        "k1:ключ",
    ],
)
def test_a_malformed_key_is_refused(ring: str) -> None:
    """A key is a name and 32 bytes: a typing error must not become a shorter key."""
    assert faults(TOKEN_ENCRYPTION_KEYS=ring) == (
        "TOKEN_ENCRYPTION_KEYS must hold kid:base64 pairs, each of 32 bytes.",
    )


def test_two_keys_may_not_share_a_name() -> None:
    """With two keys of one name, half of what is sealed would not open."""
    ring = f"{token_key('k1', KEY)},{token_key('k1', KEY[::-1])}"

    assert faults(TOKEN_ENCRYPTION_KEYS=ring) == ("TOKEN_ENCRYPTION_KEYS names two keys alike.",)


@pytest.mark.parametrize("value", ["-1", "1.5", "ten", "٣", "9" * 9, "9" * 5000])
def test_a_number_is_whole_and_small(value: str) -> None:
    """What is no whole number within bounds is a fault, however long it is."""
    assert faults(PROXY_HOPS=value) == ("PROXY_HOPS must be a whole number from 0 to 10.",)


@pytest.mark.parametrize(("value", "on"), [("on", True), ("ON", True), ("off", False)])
def test_a_switch_is_on_or_off(value: str, on: bool) -> None:
    """Nothing but on and off is read; `false` would be guesswork."""
    assert load(SOUND | {"KATANA_PKCE": value}).katana.pkce is on
    assert faults(KATANA_PKCE=str(on)) == ("KATANA_PKCE must be on or off.",)


def test_cookies_are_as_strict_as_the_redirect_uri_allows() -> None:
    """S-53: `__Host-` and Secure on https; plain on loopback, where Safari sends no others."""
    public = for_flask(load(SOUND))
    local = for_flask(
        load(SOUND | {"KATANA_REDIRECT_URI": "http://localhost:8000/katana/callback"})
    )

    assert public["SESSION_COOKIE_NAME"] == "__Host-session"
    assert public["SESSION_COOKIE_SECURE"] is True
    assert local["SESSION_COOKIE_NAME"] == "katana_session"
    assert local["SESSION_COOKIE_SECURE"] is False


class Process:
    """A process with an environment of its own, `.env`, and what a sandbox has left behind."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        for name in SETTINGS:
            monkeypatch.delenv(name, raising=False)

    def set(self, **environ: str) -> None:
        """Change its environment."""
        for name, value in environ.items():
            self._monkeypatch.setenv(name, value)

    def write(self, name: str, values: Mapping[str, str]) -> None:
        """Write one of its two files."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def load(self, *, sandbox: bool = True) -> Settings:
        """The settings that it reads."""
        return load(root=self.folder, sandbox=sandbox)


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    """A process with no setting in its environment, and no file."""
    return Process(tmp_path, monkeypatch)


def test_the_environment_wins_over_the_file(process: Process) -> None:
    """A setting in the environment stands; what it leaves empty is read from .env."""
    process.write(".env", SOUND | {"KATANA_CLIENT_ID": "file", "LOG_LEVEL": "DEBUG"})
    process.set(KATANA_CLIENT_ID="environment", SECRET_KEY="")

    settings = process.load()

    assert settings.katana.client_id == "environment"
    assert settings.secret_key == SOUND["SECRET_KEY"]
    assert settings.log_level == "DEBUG"


def test_the_sandbox_stands_in_while_there_is_no_client_id(process: Process) -> None:
    """Its URLs then count, although .env and the environment name Katana's; all others stay."""
    url, id_ = "KATANA_API_BASE_URL", "KATANA_CLIENT_ID"
    process.write(".env", SOUND | {id_: "", url: "https://api.katanamrp.com/v1", "PROXY_HOPS": "1"})
    process.set(KATANA_CLIENT_ID=" ", KATANA_API_BASE_URL="https://api.katanamrp.com/v1")
    process.write("instance/sandbox.env", {id_: "sandbox", url: "http://127.0.0.1:8001/v1"})

    settings = process.load()

    assert settings.katana.client_id == "sandbox"
    assert settings.katana.api_base_url == "http://127.0.0.1:8001/v1"
    assert settings.proxy_hops == 1
    with pytest.raises(ConfigurationError, match="KATANA_CLIENT_ID is not set"):
        process.load(sandbox=False)


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_client_id_ends_the_sandbox(process: Process, where: str) -> None:
    """With a client of one's own, nothing of a sandbox left behind is read."""
    process.write("instance/sandbox.env", {"KATANA_CLIENT_ID": "sandbox", "LOG_LEVEL": "DEBUG"})
    if where == "environment":
        process.set(**SOUND)
    else:
        process.write(".env", SOUND)

    read = process.load().model_dump(include=set(Settings.model_fields))
    assert read == load(SOUND).model_dump()


def test_what_developers_use_is_found_in_the_file_and_the_environment(process: Process) -> None:
    """S-74: they are no settings, and are read with them."""
    process.write(".env", SOUND | {"FLASK_DEBUG": "1"})
    process.set(TESTING="1", OAUTHLIB_INSECURE_TRANSPORT="0")

    with pytest.raises(ConfigurationError) as told:
        process.load()

    named = {fault.split()[0] for fault in told.value.faults}
    assert named == {"FLASK_DEBUG", "TESTING", "OAUTHLIB_INSECURE_TRANSPORT"}


def test_given_settings_stand_alone(process: Process) -> None:
    """What the process has is not mixed into settings that are given."""
    process.set(**SOUND)

    with pytest.raises(ConfigurationError):
        load({})


@pytest.mark.parametrize("read", ["given", "from the environment"])
def test_no_error_leads_back_to_a_value(process: Process, read: str) -> None:
    """The error of pydantic, which holds every value, is no cause and no context of ours."""
    wrong = dict.fromkeys(SETTINGS, f"<{CANARY}>")
    process.set(**wrong)

    with pytest.raises(ConfigurationError) as told:
        load(wrong) if read == "given" else process.load()

    assert told.value.__cause__ is told.value.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(told.value))


def test_settings_do_not_change() -> None:
    """They are read once; what is made of them would not follow."""
    with pytest.raises(ValueError, match="frozen"):
        load(SOUND).secret_key = SOUND["SECRET_KEY"][::-1]


def test_the_sqlite_file_is_in_the_instance_folder() -> None:
    """With no DATABASE_URL the database is a file that git ignores."""
    assert load(SOUND).database_url == f"sqlite:///{ROOT / 'instance' / 'app.db'}"


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
