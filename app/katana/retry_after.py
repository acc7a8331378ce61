"""How long Katana asks to wait: a number of seconds or a date (RFC 9110 section 10.2.3)."""

from datetime import datetime
from email.utils import parsedate_to_datetime

from requests import Response


def seconds(response: Response) -> float | None:
    """Seconds to wait; None where Katana does not say, or says nothing that can be read.

    A date counts from the answer's own `Date`: the clock of this machine may be another one.
    """
    asked = response.headers.get("Retry-After", "")
    if asked.isascii() and asked.isdigit():
        return float(asked[:6])  # no pause is longer than eleven days

    until, now = date(asked), date(response.headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def date(text: str) -> datetime | None:
    """The moment that an HTTP date gives; None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None
