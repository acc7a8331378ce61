"""Starts everything on one machine, for `make run`: settings, migrations, the sandbox, the app."""

import argparse
import base64
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from dotenv import dotenv_values

from app.connections import staged_responses
from app.credentials import KEY_BYTES
from app.errors import ConfigurationError
from app.operations.processes import Server, Servers, end_at_signals, require_free_port
from app.operations.serve import migrate
from app.settings import config, parsing

ENV = config.ROOT / ".env"
SANDBOX = config.ROOT / "sandbox" / "__main__.py"  # a fork may have deleted it
SANDBOX_ENV = config.INSTANCE / "sandbox.env"
SANDBOX_ORIGIN = "http://127.0.0.1:8001"
SANDBOX_MAIL = "smtp://127.0.0.1:8025"
WORKER = Server("The worker", ("flask", "worker"), {}, quiet=True)


def main() -> None:
    """Run until Ctrl-C or a signal to stop. Every failure ends with one sentence and status 1."""
    end_at_signals()
    arguments = _arguments()
    try:
        write_env()
        if not arguments.env_only:
            run()
    except KeyboardInterrupt:
        print("\nStopped.")
    except ConfigurationError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}.")


def write_env(given: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write .env with fresh secrets and the given values, readable by its owner only.

    An existing file is kept.
    """
    if ENV.exists():
        return

    key = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    text = (config.ROOT / ".env.example").read_text()
    fresh = {"SECRET_KEY": secrets.token_hex(32), "TOKEN_ENCRYPTION_KEYS": f"k1:{key}"}
    for name, value in {**fresh, **given}.items():
        text = re.sub(rf"(?m)^{name}=$", f"{name}={value}", text)
    write_private(ENV, text)
    print("Wrote .env with fresh secrets.", flush=True)


def run() -> None:
    """Serve the app until a server ends. Without a client id, serve the sandbox too."""
    config.INSTANCE.mkdir(mode=0o700, exist_ok=True)
    if SANDBOX.exists() and not config.has_client_id(ENV, SANDBOX_ENV):
        write_sandbox_env()
    settings = config.load(sandbox=SANDBOX.exists())
    app = _app(settings)
    sandbox = _sandbox(settings) if _is_sandboxed(settings) else None
    require_free_port(app)
    # The app is started last and stopped first: a refresh in progress still gets its response.
    with Servers() as servers:
        if sandbox:
            require_free_port(sandbox)
            servers.start(sandbox)
        migrate()
        servers.start(WORKER)
        servers.start(app)
        servers.wait_for_answers()
        _say_where(settings, sandbox)
        servers.wait_for_an_end()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.operations.start", description=__doc__)
    parser.add_argument("--env-only", action="store_true", help="write .env and end")
    return parser.parse_args()


def write_sandbox_env() -> None:
    """Write settings with a new client of the sandbox."""
    text = f"""\
# The sandbox in Katana's place, for as long as KATANA_CLIENT_ID is set nowhere else.
KATANA_CLIENT_ID=sandbox-{secrets.token_hex(8)}
KATANA_CLIENT_SECRET={secrets.token_hex(32)}
KATANA_AUTHORIZE_URL={SANDBOX_ORIGIN}/authorize
KATANA_ACCESS_TOKEN_URL={SANDBOX_ORIGIN}/oauth/token
KATANA_REVOKE_URL={SANDBOX_ORIGIN}/oauth/revoke
KATANA_API_BASE_URL={SANDBOX_ORIGIN}/v1
# It receives the app's mail too, and shows it in its ledger.
SMTP_URL={SANDBOX_MAIL}
MAIL_FROM=Connect to Katana <app@localhost>
"""
    write_private(SANDBOX_ENV, text)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all. Raises OSError."""
    try:
        staged_responses.write_private(path, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _is_sandboxed(settings: config.Settings) -> bool:
    return settings.katana.client_id == dotenv_values(SANDBOX_ENV).get("KATANA_CLIENT_ID")


def _sandbox(settings: config.Settings) -> Server:
    katana = settings.katana
    url = urlsplit(katana.authorize_url)
    host, port = url.hostname or "127.0.0.1", url.port or 80
    mail = settings.mail_server
    receiving = ("--smtp-port", str(mail.port)) if mail and mail.host == host else ()
    return Server(
        name="The sandbox",
        command=("sandbox", "--host", host, "--port", str(port), *receiving),
        environ={
            "KATANA_CLIENT_ID": katana.client_id,
            "KATANA_CLIENT_SECRET": katana.client_secret,
            "KATANA_REDIRECT_URI": katana.redirect_uri,
            "KATANA_AUDIENCE": katana.audience,
        },
        host=host,
        port=port,
        remedy="change the port in all four URLs of instance/sandbox.env",
        quiet=True,  # it would print its address a second time
    )


def _app(settings: config.Settings) -> Server:
    host, port = _where_to_listen(settings.katana.redirect_uri)
    return Server(
        name="The app",
        command=("gunicorn", "wsgi:app", "--log-level", "warning"),
        environ={"GUNICORN_BIND": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"},
        host=host,
        port=port,
        remedy="change the port in KATANA_REDIRECT_URI in .env",
    )


def _where_to_listen(redirect_uri: str) -> tuple[str, int]:
    uri = urlsplit(redirect_uri)
    # Behind a tunnel or a proxy, the app does not listen at the address that users see.
    if uri.scheme != "http" or uri.hostname not in parsing.LOOPBACK_HOSTS:
        return "127.0.0.1", 8000

    return uri.hostname, uri.port or 80


def _say_where(settings: config.Settings, sandbox: Server | None) -> None:
    uri = urlsplit(settings.katana.redirect_uri)
    lines = ["", f"  Open {uri.scheme}://{uri.netloc}"]
    if sandbox:
        ledger = f"http://{sandbox.host}:{sandbox.port}"
        lines.append(f"  The sandbox stands in for Katana; its ledger is at {ledger}")
    lines += ["  Ctrl-C ends everything.", "", ""]

    # One write: print() writes the line end separately, and the servers write here too.
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
