"""Settings: what is read from where, what is refused, and what is never said aloud."""

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.credentials import TokenKey
from app.errors import ConfigurationError
from app.settings.config import ROOT, SETTINGS, Settings, load
from app.settings.flask_config import for_flask
from tests.support.settings import CANARY, KEY, SOUND, faults


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
