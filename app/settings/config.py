"""All settings, the check of each, and where their values come from."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.credentials import KatanaSettings, TokenKey
from app.errors import ConfigurationError
from app.settings import mail_server, parsing
from app.settings.mail_server import MailServer
from app.settings.parsing import Fault

ROOT = Path(__file__).resolve().parents[2]
INSTANCE = ROOT / "instance"
SQLITE_URL = f"sqlite:///{INSTANCE / 'app.db'}"
#: Separate secrets, so that one leak has one effect: no value may be a part of the others.
PURPOSES = {
    "SECRET_KEY": ("KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS"),
    "METRICS_TOKEN": (
        *("SECRET_KEY", "SECRET_KEY_FALLBACKS"),
        *("KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS"),
    ),
}
OFF = frozenset({"0", "false", "no", "off"})
#: Only for a developer's machine, with the values that turn each off. The last two are on with any
#: value.
DEVELOPERS_ONLY: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("FLASK_DEBUG", "FLASK_TESTING", "TESTING"), OFF),
    **dict.fromkeys(("AUTHLIB_INSECURE_TRANSPORT", "OAUTHLIB_INSECURE_TRANSPORT"), frozenset()),
}
NOTHING: Any = ""  # an empty value, parsed like any other

Chosen = Annotated[str, AfterValidator(parsing.chosen)]
Randoms = Annotated[
    tuple[Annotated[str, AfterValidator(parsing.random)], ...], BeforeValidator(parsing.words)
]
Secret = Annotated[Chosen, AfterValidator(parsing.random)]
Url = Annotated[str, AfterValidator(parsing.url)]
Words = Annotated[tuple[str, ...], BeforeValidator(parsing.words)]
Collector = Annotated[
    str,
    Field(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?$"),
    AfterValidator(
        parsing.needs("opentelemetry.exporter.otlp.proto.http", "requirements-tracing.txt")
    ),
]
Broker = Annotated[
    str,
    Field(pattern=r"^(redis|rediss|sentinel|amqp|amqps)://[!-~]+$"),
    AfterValidator(parsing.needs("celery", "requirements-celery.txt")),
]


def _must(do: str, **constraints: Any) -> Any:
    """A field with pydantic's constraints; `do` is the message if one fails, after "must"."""
    return Field(description=f"must {do}.", **constraints)


def _whole(default: int, most: int, **more: Any) -> Any:
    return _must(f"be a whole number from 0 to {most}", default=default, ge=0, le=most, **more)


class Settings(BaseModel):
    """All settings, checked. Each is read from the variable with its name in capital letters."""

    model_config = ConfigDict(
        alias_generator=str.upper,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,  # some depend on other settings
    )

    katana_client_id: Chosen
    katana_client_secret: Chosen
    katana_redirect_uri: Annotated[str, AfterValidator(parsing.callback)]
    katana_authorize_url: Url = KatanaSettings.authorize_url
    katana_access_token_url: Url = KatanaSettings.access_token_url
    katana_revoke_url: Url | None = None
    katana_api_base_url: Url = KatanaSettings.api_base_url
    katana_audience: Chosen = KatanaSettings.audience
    katana_issuer: str | None = None
    katana_pkce: Annotated[Literal["on", "off"], BeforeValidator(str.lower)] = _must(
        "be on or off", default="on"
    )
    katana_rotation_overlap_seconds: int = _whole(0, most=3600)
    secret_key: Secret
    secret_key_fallbacks: Randoms = NOTHING
    token_keys: Annotated[tuple[TokenKey, ...], BeforeValidator(parsing.token_keys)] = Field(
        NOTHING, alias="TOKEN_ENCRYPTION_KEYS"
    )
    database_url: Annotated[str, AfterValidator(parsing.database_url)] = SQLITE_URL
    trusted_hosts: Words = NOTHING
    proxy_hops: int = _whole(0, most=10)
    threads: int = _whole(8, most=1000, alias="GUNICORN_THREADS")
    ratelimit_storage_uri: Annotated[str, AfterValidator(parsing.store)] | None = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)
    ] = _must("be DEBUG, INFO, WARNING, ERROR or CRITICAL", default="INFO")
    log_format: Annotated[Literal["json", "text"], BeforeValidator(str.lower)] | None = _must(
        "be json or text", default=None
    )
    metrics_token: Secret | None = None
    otlp_endpoint: Collector | None = _must(
        "begin with http:// or https://, and hold no user name or query",
        default=None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    celery_broker_url: Broker | None = _must(
        "begin with redis://, rediss://, sentinel://, amqp:// or amqps://", default=None
    )
    smtp_url: Annotated[MailServer, BeforeValidator(mail_server.server)] | None = None
    mail_from: str = ""

    def __repr_args__(self) -> tuple[()]:
        """No values in repr() and str(): most are secret or contain a password."""
        return ()

    @field_validator("trusted_hosts")
    @classmethod
    def _or_host_of_redirect_uri(cls, hosts: tuple[str, ...], info: ValidationInfo) -> Any:
        return hosts or (urlsplit(info.data.get("katana_redirect_uri", "")).hostname or "",)

    @field_validator("mail_from")
    @classmethod
    def _needs_an_address(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("smtp_url", "wrong") is not None:
            mail_server.sender(value)
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _tell_every_fault(
        cls, values: Mapping[str, str], check: ModelWrapValidatorHandler[Self]
    ) -> Self:
        known, faults = _given(values), list[str]()
        try:
            settings = check(known)
        except ValidationError as error:
            faults += cls._sentences(error)
        faults += _faults_between(known)
        if faults:  # raised here, so that pydantic's error is not its context
            raise ConfigurationError(tuple(dict.fromkeys(faults)))

        return settings

    @classmethod
    def _sentences(cls, error: ValidationError) -> Iterator[str]:
        # If a default is invalid, pydantic reports the name of the field.
        places = {
            **cls.model_fields,
            **{str(each.alias): each for each in cls.model_fields.values()},
        }
        for detail in error.errors(include_input=False):
            setting, fault = places[str(detail["loc"][0])], detail.get("ctx", {}).get("error")
            says = fault if isinstance(fault, Fault) else setting.description
            yield f"{setting.alias} {'is not set.' if detail['type'] == 'missing' else says}"

    @property
    def katana(self) -> KatanaSettings:
        """Our client at Katana, and Katana's addresses."""
        values = {
            each.name: getattr(self, f"katana_{each.name}") for each in fields(KatanaSettings)
        }
        values["api_base_url"] = values["api_base_url"].rstrip("/")
        return KatanaSettings(**values | {"pkce": self.katana_pkce == "on"})

    @property
    def mail_server(self) -> MailServer | None:
        """The mail server; None if SMTP_URL is not set: then no mail is sent."""
        if self.smtp_url is None:
            return None

        name, address = mail_server.sender(self.mail_from)
        return replace(self.smtp_url, sender=address, sender_name=name)

    @property
    def https(self) -> bool:
        """Whether users reach this app by https, according to the redirect URI."""
        return urlsplit(self.katana_redirect_uri).scheme == "https"


#: The names of all settings.
SETTINGS = tuple(str(field.alias) for field in Settings.model_fields.values())


class FromEnvironment(BaseSettings, Settings):
    """The settings from pydantic-settings: sandbox over environment over file."""

    model_config = SettingsConfigDict(
        case_sensitive=True, enable_decoding=False, env_ignore_empty=True
    )

    # Not settings: they are read to be refused.
    flask_debug: str = ""
    flask_testing: str = ""
    testing: str = ""
    authlib_insecure_transport: str = ""
    oauthlib_insecure_transport: str = ""

    def __init__(self, file: Path, stand_in: Mapping[str, Any]) -> None:
        super().__init__(_env_file=file, **stand_in)


@contextmanager
def _in_sentences() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise ConfigurationError((".env must be a text file in UTF-8.",)) from None
    except PermissionError as error:
        sentence = f"{Path(error.filename).name} may not be read by this user."
        raise ConfigurationError((sentence,)) from None


@_in_sentences()
def load(
    environ: Mapping[str, str] | None = None, root: Path = ROOT, *, sandbox: bool = True
) -> Settings:
    """The settings in `environ`, or of this process: its environment over `.env`.

    If neither has a client id, the sandbox's settings have priority, unless `sandbox` is false. An
    empty value counts as not set. Raises ConfigurationError with a sentence for each fault. No
    sentence repeats a value.
    """
    if environ is not None:
        return Settings.model_validate(environ)

    stand_in = {}
    if sandbox and not has_client_id(root / ".env"):
        stand_in = _given(dotenv_values(root / INSTANCE.name / "sandbox.env"))
    return FromEnvironment(root / ".env", stand_in)


@_in_sentences()
def has_client_id(*files: Path) -> bool:
    """Whether the environment or one of these files has the client id.

    Raises ConfigurationError if a file cannot be read.
    """
    values = (dict[str, str | None](os.environ), *map(dotenv_values, files))
    return any("KATANA_CLIENT_ID" in _given(each) for each in values)


def with_database(settings: Settings, url: str) -> Settings:
    """`settings` with another DATABASE_URL. Raises ConfigurationError if it is invalid."""
    try:
        return settings.model_copy(update={"database_url": parsing.database_url(url)})
    except Fault as fault:
        raise ConfigurationError((f"DATABASE_URL {fault}",)) from None


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _faults_between(known: Mapping[str, str]) -> Iterator[str]:
    for name, others in PURPOSES.items():
        for other in others:
            if name in known and known[name] in known.get(other, ""):
                yield f"{name} is the same as in {other}: make it a secret of its own."
    if known.get("KATANA_REDIRECT_URI", "").lower().startswith("https:"):
        for name, off in DEVELOPERS_ONLY.items():
            if name in known and known[name].lower() not in off:
                yield f"{name} must not be set when the redirect URI uses https."
