"""The outcomes of a refresh, and what to do after a failed one."""

from dataclasses import dataclass
from enum import StrEnum

from app.connections.backoff import (
    PROBE_SECONDS,
    REFUSED_SECONDS,
    SETTLE_SECONDS,
    back_off_seconds,
    back_off_with_jitter,
    requested_back_off,
)
from app.connections.leases import Lease
from app.connections.models import Reason
from app.errors import (
    AnswerLost,
    ClientRefused,
    GrantRefused,
    LoginBusy,
    LoginError,
    NotSent,
)
from app.katana.oauth import Grant

#: A connection whose refreshes fail for longer, while others succeed, offers Reconnect to its user.
FAILING_ALONE_SECONDS = 3 * 3600
#: If the API refuses an access token that is younger than this, a refresh would not help. Longer
#: than the longest back-off, so that repeated refusals keep increasing the back-off.
FRESH_SECONDS = 900


class RefreshOutcome(StrEnum):
    """How a refresh ended. The log, the history, the metrics and the pages use these values."""

    OK = "ok"
    #: Refreshed, after the response to an earlier request was lost.
    RECOVERED = "recovered"
    #: Another holder of the lease had saved newer tokens already.
    OVERTAKEN = "overtaken"
    #: The request was not sent: the token is not spent.
    NOT_SENT = "not_sent"
    #: Sent, and no usable response: the token is possibly spent.
    ANSWER_LOST = "answer_lost"
    #: The response had a refresh token, but no access token.
    NO_ACCESS_TOKEN = "no_access_token"  # noqa: S105  a word, not a token
    #: The token endpoint limits requests.
    LOGIN_BUSY = "login_busy"
    #: Refused for another reason than the token or the client credentials.
    REQUEST_REFUSED = "request_refused"
    #: Katana refuses our client id or secret.
    CLIENT_REFUSED = "client_refused"
    #: Katana refused the refresh token; a second refusal will confirm it.
    GRANT_REFUSED = "grant_refused"
    #: Refreshes fail for hours, while other connections are refreshed.
    FAILING_ALONE = "failing_alone"
    #: Many connections are refused: the circuit breaker is open.
    INCIDENT = "incident"
    #: The stored refresh token could not be decrypted.
    SEAL_BROKEN = "seal_broken"
    #: The user must reconnect: Katana has ended the grant.
    ENDED = "ended"
    #: The user must reconnect: a response was lost, and the grant has ended.
    LOST = "lost"


@dataclass(frozen=True)
class Decision:
    """What to do after a failed refresh."""

    outcome: RefreshOutcome
    #: Back-off in seconds; it is multiplied by a random factor between 1 and `spread`.
    pause: float = 0
    spread: float = 1.5
    #: Whether the refresh token is possibly spent.
    possibly_spent: bool = False
    #: Whether Katana refused the refresh token; a second refusal confirms it.
    refused: bool = False
    #: Why the user must reconnect; None if the connection stays active.
    end_reason: Reason | None = None
    #: Whether the operator should check the client id and secret.
    check_client: bool = False


def decide(
    error: LoginError, lease: Lease, *, circuit_open: bool, others_renewed: bool
) -> Decision:
    """What to do after a refresh under `lease` failed with `error`.

    `circuit_open`: Katana refuses many connections in a row, which is treated as an outage.
    `others_renewed`: other connections were refreshed since this one began to fail.
    """
    if isinstance(error, GrantRefused):
        return _decide_after_refusal(error, lease, circuit_open=circuit_open)

    failing_alone = others_renewed and lease.failing_for >= FAILING_ALONE_SECONDS
    least, spread = back_off_seconds(lease.failures), 1.5
    if isinstance(error, AnswerLost) and not lease.possibly_spent:
        least, spread = SETTLE_SECONDS, 1.0  # repeat soon, within a grace period
    pause, spread = _with_retry_after(error, least, spread)
    return Decision(
        RefreshOutcome.FAILING_ALONE
        if failing_alone
        else _outcome_of(error, others_renewed=others_renewed),
        pause,
        spread,
        possibly_spent=isinstance(error, AnswerLost),
        check_client=isinstance(error, ClientRefused) and not others_renewed,
    )


def after_response(grant: Grant, lease: Lease, *, refused_by_api: bool) -> tuple[int, float]:
    """The failures in a row, and the back-off in seconds, after a response with tokens.

    A response without an access token is a failure. So is a new access token if the API has refused
    one that was still fresh: it would most likely refuse this one too.
    """
    if grant.access_token is None or (refused_by_api and lease.token_age < FRESH_SECONDS):
        return lease.failures + 1, back_off_with_jitter(lease.failures)

    return 0, REFUSED_SECONDS if refused_by_api else 0


def _decide_after_refusal(error: LoginError, lease: Lease, *, circuit_open: bool) -> Decision:
    if circuit_open:
        pause, spread = _with_retry_after(error, PROBE_SECONDS, 2)
        return Decision(RefreshOutcome.INCIDENT, pause, spread, refused=True)

    # After one lost response, a refusal of the repeated request is final. After more failures the
    # refusal may belong to the same outage, so it must be confirmed like any other.
    if lease.refused_before or (lease.possibly_spent and lease.failures <= 1):
        if lease.possibly_spent:
            return Decision(RefreshOutcome.LOST, end_reason=Reason.ANSWER_LOST)
        return Decision(RefreshOutcome.ENDED, end_reason=Reason.GRANT_ENDED)

    pause, spread = _with_retry_after(error, SETTLE_SECONDS, 1.0)
    return Decision(RefreshOutcome.GRANT_REFUSED, pause, spread, refused=True)


def _with_retry_after(error: LoginError, pause: float, spread: float) -> tuple[float, float]:
    """The pause, or that of `Retry-After` if it is longer (RFC 9110 section 10.2.3)."""
    requested = requested_back_off(error.retry_after)
    return (requested, 1.1) if requested > pause else (pause, spread)


def _outcome_of(error: LoginError, *, others_renewed: bool) -> RefreshOutcome:
    if isinstance(error, NotSent):
        return RefreshOutcome.NOT_SENT
    if isinstance(error, AnswerLost):
        return RefreshOutcome.ANSWER_LOST
    if isinstance(error, LoginBusy):
        return RefreshOutcome.LOGIN_BUSY
    if isinstance(error, ClientRefused) and not others_renewed:
        return RefreshOutcome.CLIENT_REFUSED
    return RefreshOutcome.REQUEST_REFUSED
