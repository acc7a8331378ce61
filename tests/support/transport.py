"""Requests with short limits, and servers that test them."""

import ssl
from pathlib import Path

import trustme
from requests import Session

from app.katana.transport import NeverSent, NoAnswer, harden
from tests.support.wire import Peer

SECRET = "canary-5d07e2"  # in the body of every request
SECONDS = 0.4  # for everything, where the end of the time is what a test is about
LONG = 30.0  # where it is not
BODY_BYTES = 64 * 1024


def ask(
    url: str, seconds: float = LONG, session: Session | None = None, ca: Path | None = None
) -> str:
    """Post the secret to `url`, and say how that ended: an answer's text, or the error's name."""
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
    """Hear the request and say nothing."""
    peer.hear()
    peer.wait()


def served_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
