"""Parse the rate-limit headers of Katana's API.

Every response has `X-Ratelimit-Limit`, `-Remaining` and `-Reset`; a 429 also has `Retry-After`
(developer.katanamrp.com/reference/api-rate-limiting). According to that page the reset is in
milliseconds since 1970, but its example is in seconds: a value below 1e11 is taken as seconds.
"""

from dataclasses import dataclass

from requests import Response

from app.katana import retry_after

WINDOW_SECONDS = 60.0
LONGEST_WINDOW_SECONDS = 120.0
SECONDS_BELOW = 1e11  # in seconds that is the year 5138, in milliseconds 1973
MOST_REQUESTS = 1_000_000


@dataclass(frozen=True)
class Allowance:
    """The rate limit according to one response."""

    #: Requests per window; None if the response does not say.
    limit: int | None
    remaining: int | None
    #: Seconds until the window ends, by Katana's clock.
    seconds: float
    #: Seconds in which nothing may be sent; 0 unless the response is a 429.
    pause: float


def read(response: Response) -> Allowance:
    """The allowance in the headers of `response`. Missing and invalid headers are ignored."""
    busy = response.status_code == 429
    requested = retry_after.seconds(response)
    seconds = _window(response)
    return Allowance(
        limit=_count(response, "X-Ratelimit-Limit") or None,
        remaining=_count(response, "X-Ratelimit-Remaining"),
        seconds=seconds,
        pause=(seconds if requested is None else requested) if busy else 0.0,
    )


def _window(response: Response) -> float:
    """Seconds from the response's own `Date` to the reset. This machine's clock is not used."""
    reset = _number(response, "X-Ratelimit-Reset")
    now = retry_after.date(response.headers.get("Date", ""))
    if reset is None or now is None:
        return WINDOW_SECONDS

    at = reset if reset < SECONDS_BELOW else reset / 1000
    return min(max(at - now.timestamp(), 0.0), LONGEST_WINDOW_SECONDS)


def _count(response: Response, header: str) -> int | None:
    number = _number(response, header)
    return None if number is None else int(min(number, MOST_REQUESTS))


def _number(response: Response, header: str) -> float | None:
    text = response.headers.get(header, "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
