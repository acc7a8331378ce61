"""The command `python -m sandbox`: serve the sandbox on a loopback address."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox import create_sandbox, mailbox
from sandbox.page_security import LOOPBACK_HOSTS
from sandbox.state import Sandbox

_NEEDED = ("KATANA_CLIENT_ID", "KATANA_CLIENT_SECRET", "KATANA_REDIRECT_URI")


class QuietRequestHandler(WSGIRequestHandler):
    """Serves without an access log: the ledger is the log, and a query may contain a `state`."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Serve until interrupted; return the exit status."""
    options = _options(argv)
    missing = [name for name in _NEEDED if not environ.get(name)]
    if missing:
        print(f"The sandbox needs {', '.join(missing)} in its environment.", file=sys.stderr)
        return 2

    app = create_sandbox(
        client_id=environ["KATANA_CLIENT_ID"],
        client_secret=environ["KATANA_CLIENT_SECRET"],
        redirect_uri=environ["KATANA_REDIRECT_URI"],
        audience=environ.get("KATANA_AUDIENCE") or "https://api.katanamrp.com",
        authority=options.authority,
    )
    server = make_server(
        options.host, options.port, app, threaded=True, request_handler=QuietRequestHandler
    )
    if options.smtp_port is not None:
        _receive_mail(app, options.host, options.smtp_port)
    print(f"Katana sandbox: http://{options.host}:{server.port}/ shows its ledger", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


def _receive_mail(app: Flask, host: str, port: int) -> None:
    sandbox: Sandbox = app.extensions["sandbox"]
    try:
        mailbox.receiving(lambda: sandbox.memory.mailbox, host, port)
    except OSError:
        print(f"Port {port} is taken: the sandbox receives no mail.", file=sys.stderr)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", choices=LOOPBACK_HOSTS)
    parser.add_argument("--port", default=8001, type=int)
    parser.add_argument(
        "--authority", metavar="FILE", help="who has signed the certificate that webhooks meet"
    )
    parser.add_argument("--smtp-port", type=int, help="receive mail at this port")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
