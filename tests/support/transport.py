"""Requests with short time limits, and servers for them."""

import ssl
from pathlib import Path

import trustme
from requests import Session

from app.katana.transport import NeverSent, NoAnswer, harden
from tests.support.wire import Peer

SECRET = "canary-5d07e2"  # in the body of every request
SECONDS = 0.4  # for everything, in tests about the end of the time
LONG = 30.0  # in all other tests
BODY_BYTES = 64 * 1024


def ask(
    url: str, seconds: float = LONG, session: Session | None = None, ca: Path | None = None
) -> str:
    """Post the secret to `url`; the text of the response, or the name of the error."""
    with session or new_session() as session:
        session.verify = str(ca) if ca else True
        try:
            response = session.post(f"{url}/oauth/token", data={"s": SECRET}, timeout=seconds)
        except (NeverSent, NoAnswer) as error:
            return type(error).__name__
    return response.text


def new_session(send_before: float | None = None) -> Session:
    """A hardened session."""
    session = Session()
    harden(session, body_bytes=BODY_BYTES, send_before=send_before)
    return session


def never_answers(peer: Peer) -> None:
    """Read the request, and never respond."""
    peer.hear()
    peer.wait()


def served_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The TLS settings of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
