"""What Katana's answers say of its rate limit.

`X-Ratelimit-Limit`, `-Remaining`, `-Reset` come with every answer, `Retry-After` with a 429
(developer.katanamrp.com/reference/api-rate-limiting). That page gives the reset in milliseconds
since 1970 and shows an example in seconds: a value below 1e11 is read as seconds.
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
    """What one answer said."""

    #: Requests per window; None where the answer did not say.
    limit: int | None
    remaining: int | None
    #: Until the window ends, by Katana's own clock.
    seconds: float
    #: How long Katana asks to send nothing; 0 unless it answered 429.
    pause: float


def read(response: Response) -> Allowance:
    """The allowance in the headers of `response`. What is missing or makes no sense is left out."""
    busy = response.status_code == 429
    asked = retry_after.seconds(response)
    seconds = _window(response)
    return Allowance(
        limit=_count(response, "X-Ratelimit-Limit") or None,
        remaining=_count(response, "X-Ratelimit-Remaining"),
        seconds=seconds,
        pause=(seconds if asked is None else asked) if busy else 0.0,
    )


def _window(response: Response) -> float:
    """Seconds from the answer's own `Date` to the reset: this machine's clock may be another."""
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
