"""The command `python -m app.sandbox`: serve the sandbox on a loopback address."""

import argparse
import ipaddress
import os
import sys
from collections.abc import Mapping, Sequence

from werkzeug.serving import WSGIRequestHandler, make_server

from app.sandbox import create_sandbox

_NEEDED = ("KATANA_CLIENT_ID", "KATANA_CLIENT_SECRET", "KATANA_REDIRECT_URI")


class QuietRequestHandler(WSGIRequestHandler):
    """Serves without an access log: the ledger is the log, and a query may hold a `state`."""

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
    )
    server = make_server(
        options.host, options.port, app, threaded=True, request_handler=QuietRequestHandler
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"Katana sandbox: http://{host}:{server.port}/ shows its ledger", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", type=loopback_host)
    parser.add_argument("--port", default=8001, type=int)
    return parser.parse_args(argv)


def loopback_host(host: str) -> str:
    """Return the host if only this machine can reach it; anybody may press the ledger's buttons.

    :raise ArgumentTypeError: it is not a loopback host.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise argparse.ArgumentTypeError("the sandbox listens on loopback hosts only")

    return host


if __name__ == "__main__":
    sys.exit(main())
