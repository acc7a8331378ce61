"""Checks that Katana can be reached from here, and that the clocks agree."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import token_urlsafe
from urllib.parse import parse_qsl, urljoin, urlsplit

from requests import RequestException, Response

from app.katana.oauth import new_code_verifier
from app.katana.transport import NeverSent, NoAnswer
from app.operations.doctor import connection_errors
from app.operations.doctor.findings import Examined, Finding, fault, ok, warning
from app.settings.parsing import LOOPBACK_HOSTS

ANSWER_SECONDS = 5.0
MOST_REDIRECTS = 10
CLOCKS_DIFFER_SECONDS = 30


def login(examined: Examined) -> Iterator[Finding]:
    """Katana's login responds. No token or code is sent."""
    yield _answers(examined, "Katana's login", examined.settings.katana.access_token_url)


def api(examined: Examined) -> Iterator[Finding]:
    """Katana's API responds. No token is sent."""
    yield _answers(examined, "Katana's API", examined.settings.katana.api_base_url)


def authorization(examined: Examined) -> Iterator[Finding]:
    """Katana's authorization page opens for this client. Reports where its redirects lead.

    The request is a browser's, without cookies. No user sees the page.
    """
    name = "authorization"
    url, begins = _authorization_url(examined), examined.settings.katana.authorize_url
    origins = [_origin(begins)]
    for _ in range(MOST_REDIRECTS):
        response = _get(examined, url)
        if response is None:
            yield _unreachable(name, url)
            return
        location = response.headers.get("Location") if response.is_redirect else None
        if location is None:
            yield _opens(name, response, origins)
            return
        onward = _joined(url, location)
        if onward is None:
            yield _nowhere(name, url)
            return
        url = onward
        if url.partition("?")[0] == examined.settings.katana.redirect_uri:
            yield _sent_back(name, url)
            return
        origins.append(_origin(url))
    yield fault(
        name,
        f"{origins[0]} redirects more than {MOST_REDIRECTS} times.",
        "Let KATANA_AUTHORIZE_URL name Katana's authorization page.",
    )


def one_katana(examined: Examined) -> Iterator[Finding]:
    """All addresses are Katana's, or all are on this machine."""
    katana = examined.settings.katana
    urls = [katana.authorize_url, katana.access_token_url, katana.api_base_url]
    here = {urlsplit(url).hostname in LOOPBACK_HOSTS for url in urls}
    if len(here) > 1:
        yield fault(
            "one Katana",
            "Some of Katana's addresses lead to this machine, and some do not.",
            "Set KATANA_AUTHORIZE_URL, KATANA_ACCESS_TOKEN_URL and KATANA_API_BASE_URL alike.",
        )
    elif here == {True} and examined.settings.https:
        yield warning(
            "one Katana",
            "The app is served to others, and its Katana is a stand-in on this machine.",
            "Set KATANA_CLIENT_ID and its like, and leave Katana's addresses unset.",
        )
    else:
        yield ok("one Katana", "A stand-in on this machine." if here == {True} else "Katana's own.")


def clock(examined: Examined) -> Iterator[Finding]:
    """The clocks of this machine, the database and Katana agree."""
    katana = _date(_ask(examined, examined.settings.katana.access_token_url))
    if katana is None:
        yield warning("clock", "Katana told no time to compare with.", "Try again.")
        return

    apart = {"This machine": datetime.now(UTC) - katana}
    apart["The database"] = examined.connections.idle.moment(0) - katana
    wrong = [
        f"{whose} is {round(by.total_seconds())} s off."
        for whose, by in apart.items()
        if abs(by.total_seconds()) > CLOCKS_DIFFER_SECONDS
    ]
    if wrong:
        yield warning(
            "clock",
            f"Against Katana's clock: {' '.join(wrong)}",
            "Let time be kept by NTP. Tokens are judged by the database's clock alone.",
        )
    else:
        yield ok("clock", "This machine, the database and Katana agree.")


def _answers(examined: Examined, name: str, url: str) -> Finding:
    host = urlsplit(url).netloc
    response = _ask(examined, url)
    if response is None:
        return _unreachable(name, url)
    if response.status_code >= 500:
        return warning(
            name, f"{host} answers with status {response.status_code}.", "Wait, or ask Katana."
        )
    return ok(name, f"{host} answers.")


def _unreachable(name: str, url: str) -> Finding:
    return fault(
        name,
        f"{urlsplit(url).netloc} does not answer, seen from here: {connection_errors.why(url)}.",
        "See to the address, the network, DNS, a firewall and TLS certificates.",
    )


def _authorization_url(examined: Examined) -> str:
    return examined.connections.login.authorization_url(token_urlsafe(), new_code_verifier())


def _opens(name: str, response: Response, origins: Sequence[str]) -> Finding:
    others = [origin for origin in dict.fromkeys(origins) if origin != origins[0]]
    if response.status_code >= 400:
        return warning(
            name,
            f"{origins[-1]} answers a user who connects with status {response.status_code}.",
            "See to KATANA_AUTHORIZE_URL, KATANA_CLIENT_ID and the redirect URI registered there.",
        )
    if others:
        return warning(
            name,
            f"{origins[0]} redirects users to another origin: {', '.join(others)}.",
            "The Connect button follows. See that it is Katana's, and set KATANA_AUTHORIZE_URL to "
            "the new address if the page has moved.",
        )
    return ok(name, f"{origins[0]} opens, and redirects to no other origin.")


def _sent_back(name: str, url: str) -> Finding:
    error = dict(parse_qsl(urlsplit(url).query)).get("error", "")
    word = error if re.fullmatch("[a-z_]{1,60}", error) else "no error that is known"
    return warning(
        name,
        f"Katana sends users back at once, with {word}.",
        "See to KATANA_CLIENT_ID, KATANA_AUDIENCE and the scope allowed for this client.",
    )


def _nowhere(name: str, url: str) -> Finding:
    return fault(
        name,
        f"{_origin(url)} redirects to an address that cannot be read.",
        "Let KATANA_AUTHORIZE_URL name Katana's authorization page.",
    )


def _joined(url: str, location: str) -> str | None:
    """The target of a redirect; None if it is no http address."""
    try:
        onward = urljoin(url, location)
        parts = urlsplit(onward)
    except ValueError:
        return None
    return onward if parts.scheme in {"http", "https"} and parts.hostname else None


def _origin(url: str) -> str:
    # Without the user name and password that a URL may contain.
    scheme, host = urlsplit(url).scheme, urlsplit(url).netloc.rpartition("@")[2]
    return f"{scheme}://{host}"


def _get(examined: Examined, url: str) -> Response | None:
    try:
        return examined.http.get(url, timeout=ANSWER_SECONDS, allow_redirects=False)
    except (RequestException, ValueError):  # also for an invalid address
        return None


def _ask(examined: Examined, url: str) -> Response | None:
    try:
        return examined.http.head(url, timeout=ANSWER_SECONDS, allow_redirects=False)
    except (NeverSent, NoAnswer):
        return None


def _date(response: Response | None) -> datetime | None:
    if response is None:
        return None

    try:
        date = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
