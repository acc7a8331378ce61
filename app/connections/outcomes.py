"""What can become of a refresh, and what to do after a failed one."""

from dataclasses import dataclass
from enum import StrEnum

from app.connections.backoff import PROBE_SECONDS, SETTLE_SECONDS, asked_for, growing
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

FOR_HOURS_SECONDS = 3 * 3600  # after so long, a connection that alone is refused offers Reconnect


class RefreshOutcome(StrEnum):
    """What can become of a refresh. Log, history, metrics and pages use these words."""

    OK = "ok"
    #: Renewed, after a response to an earlier request was lost.
    RECOVERED = "recovered"
    #: Another process had renewed it already.
    OVERTAKEN = "overtaken"
    #: The request never left: nothing is spent.
    NOT_SENT = "not_sent"
    #: No usable response came: the token may be spent.
    ANSWER_LOST = "answer_lost"
    #: The response held a refresh token and no access token.
    NO_ACCESS_TOKEN = "no_access_token"  # noqa: S105  a word, not a token
    #: The token endpoint limits requests.
    LOGIN_BUSY = "login_busy"
    #: Refused for a reason that is neither the token's nor the client's.
    REQUEST_REFUSED = "request_refused"
    #: Our client id and secret are refused.
    CLIENT_REFUSED = "client_refused"
    #: The refresh token is refused, which is to be confirmed.
    GRANT_REFUSED = "grant_refused"
    #: Not renewed for hours, while other connections are.
    FAILING_ALONE = "failing_alone"
    #: Many connections are refused: the circuit breaker is open.
    INCIDENT = "incident"
    #: The stored refresh token does not open.
    SEAL_BROKEN = "seal_broken"
    #: The user must reconnect: Katana has ended the grant.
    ENDED = "ended"
    #: The user must reconnect: a response was lost, and the grant with it.
    LOST = "lost"


@dataclass(frozen=True)
class Decision:
    """What to do after a failed refresh."""

    outcome: RefreshOutcome
    #: Seconds without a request, times a random factor between 1 and `spread`.
    pause: float = 0
    spread: float = 1.5
    #: Whether the token may be spent.
    spent: bool = False
    #: Whether the token was refused, which a second refusal confirms.
    refused: bool = False
    #: Why the user must reconnect; None where the connection goes on.
    ends: Reason | None = None
    #: Whether the client id and secret are to be checked.
    alarm: bool = False


def decide(
    error: LoginError, lease: Lease, *, circuit_open: bool, others_renewed: bool
) -> Decision:
    """What to do after `error`, the response to the request that was sent under `lease`.

    `circuit_open`: so many connections were refused in a row that the fault must be Katana's.
    `others_renewed`: other connections were renewed since this one began to fail.
    """
    if isinstance(error, GrantRefused):
        return _after_refused_token(error, lease, circuit_open=circuit_open)

    alone = others_renewed and lease.failing_for >= FOR_HOURS_SECONDS
    least, spread = growing(lease.failures), 1.5
    if isinstance(error, AnswerLost) and not lease.doubtful:
        least, spread = SETTLE_SECONDS, 1.0  # the first repeat comes soon: an overlap may be short
    pause, spread = _obeying(error, least, spread)
    return Decision(
        RefreshOutcome.FAILING_ALONE if alone else _word(error, others_renewed=others_renewed),
        pause,
        spread,
        spent=isinstance(error, AnswerLost),
        alarm=isinstance(error, ClientRefused) and not others_renewed,
    )


def _after_refused_token(error: LoginError, lease: Lease, *, circuit_open: bool) -> Decision:
    if circuit_open:
        pause, spread = _obeying(error, PROBE_SECONDS, 2)
        return Decision(RefreshOutcome.INCIDENT, pause, spread, refused=True)

    # One lost response is settled by the one repeat. After more failures than that, the refusal may
    # be part of the same outage, and has to be confirmed like any other.
    if lease.refused_before or (lease.doubtful and lease.failures <= 1):
        if lease.doubtful:
            return Decision(RefreshOutcome.LOST, ends=Reason.ANSWER_LOST)
        return Decision(RefreshOutcome.ENDED, ends=Reason.GRANT_ENDED)

    pause, spread = _obeying(error, SETTLE_SECONDS, 1.0)
    return Decision(RefreshOutcome.GRANT_REFUSED, pause, spread, refused=True)


def _obeying(error: LoginError, pause: float, spread: float) -> tuple[float, float]:
    """The pause, or the longer one that Katana asks for (RFC 9110 section 10.2.3)."""
    asked = asked_for(error.retry_after)
    return (asked, 1.1) if asked > pause else (pause, spread)


def _word(error: LoginError, *, others_renewed: bool) -> RefreshOutcome:
    if isinstance(error, NotSent):
        return RefreshOutcome.NOT_SENT
    if isinstance(error, AnswerLost):
        return RefreshOutcome.ANSWER_LOST
    if isinstance(error, LoginBusy):
        return RefreshOutcome.LOGIN_BUSY
    if isinstance(error, ClientRefused) and not others_renewed:
        return RefreshOutcome.CLIENT_REFUSED
    return RefreshOutcome.REQUEST_REFUSED
