"""Parse `Retry-After`: a number of seconds or a date (RFC 9110 section 10.2.3)."""

from datetime import datetime
from email.utils import parsedate_to_datetime

from requests import Response


def seconds(response: Response) -> float | None:
    """Seconds to wait; None if the header is missing or invalid.

    A date is compared with the response's own `Date`, not with the clock of this machine.
    """
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value[:6])  # at most eleven days

    until, now = date(value), date(response.headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def date(text: str) -> datetime | None:
    """Parse an HTTP date; None if it is invalid."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None
