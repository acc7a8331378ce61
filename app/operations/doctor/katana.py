"""Whether Katana can be reached from here, and agrees on the time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from requests import Response

from app.katana.transport import NeverSent, NoAnswer
from app.operations.doctor import unreached
from app.operations.doctor.findings import Examined, Finding, fault, ok, warning
from app.settings.parsing import LOOPBACK_HOSTS

ANSWER_SECONDS = 5.0
CLOCKS_DIFFER_SECONDS = 30


def login(examined: Examined) -> Iterator[Finding]:
    """Katana's login answers; it is asked for nothing."""
    yield _answers(examined, "Katana's login", examined.settings.katana.access_token_url)


def api(examined: Examined) -> Iterator[Finding]:
    """Katana's API answers; it is asked for nothing."""
    yield _answers(examined, "Katana's API", examined.settings.katana.api_base_url)


def one_katana(examined: Examined) -> Iterator[Finding]:
    """All addresses lead to Katana, or all to a stand-in on this machine."""
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
    """This machine, the database and Katana agree on the time."""
    katana = _date(_ask(examined, examined.settings.katana.access_token_url))
    if katana is None:
        yield warning("clock", "Katana told no time to compare with.", "Try again.")
        return

    apart = {"This machine": datetime.now(UTC) - katana}
    apart["The database"] = examined.connections.upkeep.idle.moment(0) - katana
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
        return fault(
            name,
            f"{host} does not answer, seen from here: {unreached.why(url)}.",
            "See to the address, the network, DNS, a firewall and TLS certificates.",
        )
    if response.status_code >= 500:
        return warning(
            name, f"{host} answers with status {response.status_code}.", "Wait, or ask Katana."
        )
    return ok(name, f"{host} answers.")


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
