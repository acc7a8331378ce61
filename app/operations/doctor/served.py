"""Checks that the app is served at the address of its settings: host, proxies, cookies."""

import os
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from requests import Response
from werkzeug.sansio.utils import host_is_trusted

from app.accounts import throttle
from app.accounts.visitor_address import address_in
from app.katana.transport import NeverSent, NoAnswer
from app.operations import doctor_echo
from app.operations.doctor import connection_errors
from app.operations.doctor.findings import Examined, Finding, fault, ok, warning
from app.settings.parsing import LOOPBACK_HOSTS

ANSWER_SECONDS = 5.0
FORGED_ADDRESS = "192.0.2.1"  # nobody's address: RFC 5737 reserves it for examples
CA_FILE = os.environ.get("SSL_CERT_FILE")  # for a certificate of a company's own authority


def redirect_uri(examined: Examined) -> Iterator[Finding]:
    """The redirect URI has a host that this app accepts."""
    name, uri = "redirect URI", urlsplit(examined.settings.katana.redirect_uri)
    if not host_is_trusted(uri.netloc, examined.settings.trusted_hosts):
        yield fault(
            name,
            f"This app does not answer to {uri.hostname}: users would come back to an error.",
            "Add this host to TRUSTED_HOSTS, or leave that empty.",
        )
    elif others := _other_loopback_names(examined, uri):
        yield warning(
            name,
            f"Whoever opens {others[0]} comes back to {uri.hostname}, where nobody knows them.",
            "Name one of the two only in TRUSTED_HOSTS.",
        )
    else:
        yield ok(name, f"Users come back to {uri.scheme}://{uri.netloc}.")


def ca_file(_: Examined) -> Iterator[Finding]:
    """The file in SSL_CERT_FILE exists and contains certificates, if the variable is set."""
    if not CA_FILE:
        return

    try:
        ssl.create_default_context(cafile=CA_FILE)
    except OSError as error:  # includes TLS errors
        yield fault(
            "CA file",
            f"SSL_CERT_FILE names no file of certificates ({type(error).__name__}).",
            "Let it name one in PEM form, or unset it.",
        )
    else:
        yield ok("CA file", "SSL_CERT_FILE names a file of certificates.")


def address(examined: Examined) -> Iterator[Finding]:
    """This app responds at the origin of the redirect URI."""
    uri = urlsplit(examined.settings.katana.redirect_uri)
    origin = f"{uri.scheme}://{uri.netloc}"
    response = _health(examined, origin)
    arrived = doctor_echo.read(response.text) if response is not None else None
    if response is None:
        yield _elsewhere(examined, uri, origin)
    elif arrived and _is_refused(examined, origin):
        yield fault(
            "address",
            f"The app answers at {origin}, and refuses the host {arrived.host}: status 400 for /.",
            "Let the proxy pass Host on, add the host to TRUSTED_HOSTS, and restart the app.",
        )
    elif arrived:
        yield ok("address", f"The app answers at {origin}.")
    elif _is_healthy(response):
        yield warning(
            "address",
            f"An app answers at {origin}, and not with this SECRET_KEY or not with this code.",
            "Let all hosts have the same settings and the same code, and restart them.",
        )
    else:
        yield fault(
            "address",
            f"What answers at {origin} is not this app, or refuses it: "
            f"status {response.status_code} for /healthz.",
            "See which program has that port, whether the proxy passes Host on, and TRUSTED_HOSTS.",
        )


def proxies(examined: Examined) -> Iterator[Finding]:
    """PROXY_HOPS matches the proxies in front: tested by a request with a forged address."""
    hops, https = examined.settings.proxy_hops, examined.settings.https
    uri = urlsplit(examined.settings.katana.redirect_uri)
    forged = {"X-Forwarded-For": FORGED_ADDRESS}
    response = _health(examined, f"{uri.scheme}://{uri.netloc}", forged)
    arrived = doctor_echo.read(response.text) if response is not None else None
    if arrived and address_in(arrived.address) == FORGED_ADDRESS:
        yield fault(
            "proxies",
            "Anyone who asks can claim any address: X-Forwarded-For was believed as it was sent.",
            f"PROXY_HOPS is {hops}: set it to how many proxies there are, and let the first of "
            "them overwrite the header.",
        )
    elif arrived and arrived.scheme != uri.scheme:
        yield fault(
            "proxies",
            f"A request by {uri.scheme} arrives as one by {arrived.scheme}, and all users may "
            "have one address.",
            f"PROXY_HOPS is {hops}: set it to how many proxies there are, and let each set "
            "X-Forwarded-For and X-Forwarded-Proto.",
        )
    elif arrived and address_in(arrived.address) is None:
        yield fault(
            "proxies",
            "What arrives as a visitor's address is none, so that one visitor's limits may hold "
            "for all.",
            f"PROXY_HOPS is {hops}: set it to how many proxies there are, and let the first of "
            "them put the visitor's address into X-Forwarded-For.",
        )
    elif https and not hops:
        yield warning(
            "proxies",
            "Users come by https, and PROXY_HOPS is 0: behind a proxy all would have one address.",
            "Set PROXY_HOPS to how many proxies stand in front and set X-Forwarded-For and -Proto.",
        )
    elif hops and not https:
        yield warning(
            "proxies",
            f"PROXY_HOPS is {hops} on this machine: whoever asks directly can claim any address.",
            "Set PROXY_HOPS to 0, or KATANA_REDIRECT_URI to the https address of the proxy.",
        )
    elif arrived:
        yield ok("proxies", f"PROXY_HOPS is {hops}, and no forged address comes through.")
    else:
        yield ok("proxies", f"PROXY_HOPS is {hops}. The app was not there to try it.")


def cookies(examined: Examined) -> Iterator[Finding]:
    """The session cookie has its flags, and pages that must be closed are closed."""
    config, https = examined.app.config, examined.settings.https
    wanted = {
        "SESSION_COOKIE_SECURE": https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_DOMAIN": None,
    }
    wrong = [name for name, value in wanted.items() if config[name] != value]
    if https and not config["SESSION_COOKIE_NAME"].startswith("__Host-"):
        wrong.append("SESSION_COOKIE_NAME")
    if wrong:
        yield fault(
            "cookies",
            f"Not as they should be: {', '.join(wrong)}.",
            "Leave them to for_flask() in app/settings/flask_config.py.",
        )
    else:
        yield ok("cookies", "HttpOnly, SameSite=Lax" + (", Secure, __Host-." if https else "."))


def limits(examined: Examined) -> Iterator[Finding]:
    """The store of the rate limits responds, if it is not the database."""
    if examined.settings.ratelimit_storage_uri is None:
        return

    if throttle.is_store_available():
        yield ok("limits", "The store that RATELIMIT_STORAGE_URI names answers.")
    else:
        yield fault(
            "limits",
            "The store that RATELIMIT_STORAGE_URI names does not answer: nobody can sign in.",
            "Start it, check its address and password, or unset it to keep limits in the database.",
        )


def _other_loopback_names(examined: Examined, uri: SplitResult) -> list[str]:
    if uri.hostname not in LOOPBACK_HOSTS:
        return []

    others = LOOPBACK_HOSTS - {uri.hostname}
    return [host for host in examined.settings.trusted_hosts if host in others]


def _elsewhere(examined: Examined, uri: SplitResult, origin: str) -> Finding:
    for there in _near(uri):
        response = _health(examined, there)
        if response is not None and _is_healthy(response):
            return fault(
                "address",
                f"The app answers at {there} and not at {origin}.",
                "Let KATANA_REDIRECT_URI, here and at Katana, name where the app is served.",
            )
    return warning(
        "address",
        f"Nothing answers at {origin}, seen from here: {connection_errors.why(origin, CA_FILE)}.",
        "Start the app and its proxy, or open /healthz there in a browser: it says ok. Where a CA "
        "of your own has signed the certificate, name its file in SSL_CERT_FILE.",
    )


def _near(uri: SplitResult) -> list[str]:
    """Corrections of the redirect URI to suggest: another name of this machine, another scheme."""
    hosts = [uri.netloc]
    if uri.hostname in LOOPBACK_HOSTS:
        port = f":{uri.port}" if uri.port else ""
        hosts += [f"{host}{port}" for host in ("localhost", "127.0.0.1")]
    here = (uri.scheme, uri.netloc)
    return [
        f"{scheme}://{host}"
        for scheme in ("https", "http")
        for host in dict.fromkeys(hosts)
        if (scheme, host) != here
    ]


def _health(
    examined: Examined, origin: str, headers: Mapping[str, str] | None = None
) -> Response | None:
    proven = {
        doctor_echo.HEADER: doctor_echo.proof(examined.settings.secret_key),
        **(headers or {}),
    }
    return _get(examined, f"{origin}/healthz", proven)


def _get(examined: Examined, url: str, headers: Mapping[str, str] | None = None) -> Response | None:
    try:
        return examined.http.get(
            url,
            headers=headers,
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
            verify=CA_FILE or True,
        )
    except (NeverSent, NoAnswer):
        return None


def _is_refused(examined: Examined, origin: str) -> bool:
    # /healthz accepts every host name; all other pages accept TRUSTED_HOSTS only.
    response = _get(examined, f"{origin}/")
    return response is not None and response.status_code == 400


def _is_healthy(response: Response) -> bool:
    return response.status_code == 200 and (
        response.content == b"ok\n" or doctor_echo.read(response.text) is not None
    )
